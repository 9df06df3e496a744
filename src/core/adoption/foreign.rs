//! One ledger of another process, emptied from here.
//!
//! Of a dead host's ledger we hold the lock, so nobody else writes to it. A live host's that
//! leaves the export to the agent is written to by the host meanwhile: there the agent writes only
//! what the host does not (ledger/mod.rs has the rules), and reads a slot again before it believes
//! it.

use super::estate::Estate;
use crate::ledger::state::{PHASE_BITS, Phase};
use crate::ledger::{
    Access, Header, HeaderImage, Keeper, LedgerError, Loss, Owner, Record, SENT, SENT_UNFINISHED,
    SLOT_COUNT, SLOT_WORDS, SlotImage, Tally, offset,
};
use crate::operation::Operation;
use crate::privacy::Privacy;
use crate::span::span;
use opentelemetry_sdk::trace::SpanData;
use std::collections::VecDeque;
use std::io;
use std::mem::offset_of;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A ledger that this process exports from and did not make.
#[derive(Debug)]
pub struct ForeignLedger {
    access: Access,
    header: HeaderImage,
    /// Whether its host lives; if not, we hold its lock.
    live: bool,
    ready: VecDeque<Ready>,
    /// What is under way in a live host.
    open: Vec<Open>,
    /// Sum of the generations of all slots: operations that were recorded.
    recorded: u64,
    /// The latest time that the ledger knows of, in nanoseconds after the anchor.
    last_moment: u64,
    /// Whether something in it was damaged.
    damaged: bool,
    /// Whether it cannot be read or written, so that this process leaves it as it is.
    stuck: bool,
    /// Slots of a dead host to be freed, with the operations that each has had, until they are.
    spent: Option<Vec<(usize, u64)>>,
    /// When its host last wrote to it, as the file system said.
    date: Option<SystemTime>,
}

/// An operation that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ready {
    slot: usize,
    generation: u64,
    /// Whether its live host may still end it.
    open: bool,
}

/// An operation that is under way in a live host.
#[derive(Clone, Copy, Debug)]
struct Open {
    slot: usize,
    generation: u64,
    started: u64,
}

impl ForeignLedger {
    /// Reads a ledger whose lock is ours. [`refresh`](Self::refresh) takes it over.
    pub fn adopt(access: Access) -> Result<Self, LedgerError> {
        let mut ledger = Self::over(access, false)?;
        ledger.examine()?;
        Ok(ledger)
    }

    /// Attends to the ledger of a live host that leaves the export to the agent; `None` if it
    /// exports by itself, or is of version 1, which waits for its host's death.
    pub fn attend(access: Access) -> Result<Option<Self>, LedgerError> {
        let ledger = Self::over(access, true)?;
        let version = ledger.header.geometry.version;
        Ok((ledger.header.keeper == Keeper::Agent && version > 1).then_some(ledger))
    }

    fn over(access: Access, live: bool) -> Result<Self, LedgerError> {
        let mut header = access.header()?;
        header.origin.recovered = !live;
        // Nothing has been looked at, so every word counts as changed.
        if live {
            header.activity = [u64::MAX; SLOT_WORDS];
        }
        Ok(Self {
            access,
            header,
            live,
            ready: VecDeque::new(),
            open: Vec::new(),
            recorded: 0,
            last_moment: 0,
            damaged: false,
            stuck: false,
            spent: None,
            date: None,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.access.path()
    }

    /// Whether its host lives.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Who exports from it.
    pub fn keeper(&self) -> Keeper {
        self.header.keeper
    }

    /// Whether something in it was damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Operations that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Whether it holds nothing any more, and nothing will come.
    pub fn is_finished(&self) -> bool {
        !self.live && self.ready.is_empty() && !self.stuck
    }

    /// Leaves it as it is for as long as this process holds it: it cannot be read or written.
    pub fn leave(&mut self) {
        self.ready.clear();
        self.stuck = true;
    }

    /// The host's counters and those it inherited.
    pub fn tally(&self) -> Tally {
        let mut tally = self.header.tally(self.recorded);
        tally += self.header.inherited;
        tally
    }

    /// Finds what a dead host left: what was done, and what was open when it died.
    fn examine(&mut self) -> Result<(), LedgerError> {
        let estate = Estate::read(&self.access, &self.header)
            .map_err(|source| self.failed("read", source))?;
        let waiting = |(slot, generation)| Ready { slot, generation, open: false };
        self.ready = estate.ready.into_iter().map(waiting).collect();
        self.spent = Some(estate.spent);
        self.recorded = estate.recorded;
        self.header.counters = estate.counters;
        self.header.inherited = estate.inherited;
        self.last_moment = estate.last_moment;
        self.damaged = estate.damaged;
        self.stuck = false;
        // The file's date says when its host last wrote to it; the folder's bounds go by that.
        self.date = self.access.file().metadata().and_then(|file| file.modified()).ok();
        Ok(())
    }

    /// Writes down what was found out about a dead host's ledger, once it is known to be for us.
    fn take_over(&mut self) -> io::Result<()> {
        let Some(spent) = self.spent.take() else { return Ok(()) };
        // `seen` is not written: it is computed from the slots.
        let counters = Tally { seen: 0, ..self.header.counters }.words().map(u64::to_le_bytes);
        self.access.write_at(offset::COUNTERS, counters.as_flattened())?;
        for (slot, had) in spent {
            let state = had << PHASE_BITS | Phase::Free as u64;
            self.access.write_at(self.header.geometry.slot(slot), &state.to_le_bytes())?;
        }
        self.keep_date();
        Ok(())
    }

    /// Keeps the file's date as its host left it. An old date that is lost only keeps it longer.
    fn keep_date(&self) {
        if let (false, Some(date)) = (self.live, self.date) {
            let _ = self.access.file().set_modified(date);
        }
    }

    /// Looks at what a live host did since the last time. What has been open for longer than
    /// `unfinished_after` is ready, too. If the host has died, all it left is, and the ledger is
    /// from here on changed as ours.
    pub fn refresh(&mut self, unfinished_after: Duration) -> Result<(), LedgerError> {
        if self.live
            && self.access.try_own().map_err(|source| self.failed("lock", source))? == Owner::Dead
        {
            self.live = false;
            self.open.clear();
            self.header = self.access.header()?;
            self.header.origin.recovered = true;
            self.examine()?;
        }
        if !self.live {
            return self.take_over().map_err(|source| self.failed("write to", source));
        }
        let before = std::mem::replace(&mut self.header, self.access.header()?);
        for (word, count) in before.activity.into_iter().enumerate() {
            if count != self.header.activity[word] {
                self.look_at(word * 64..SLOT_COUNT.min((word + 1) * 64))
                    .map_err(|source| self.failed("read", source))?;
            }
        }
        let now = self.header.now();
        let limit = u64::try_from(unfinished_after.as_nanos()).unwrap_or(u64::MAX);
        let ready = &mut self.ready;
        self.open.retain(|open| {
            let overdue = now >= open.started.saturating_add(limit);
            if overdue {
                ready.push_back(Ready { slot: open.slot, generation: open.generation, open: true });
            }
            !overdue
        });
        Ok(())
    }

    /// Looks at some slots of a live host.
    fn look_at(&mut self, slots: Range<usize>) -> io::Result<()> {
        self.open.retain(|open| !slots.contains(&open.slot));
        let mut told = Vec::new();
        let (ready, open) = (&mut self.ready, &mut self.open);
        self.access.each_slot(&self.header, slots, |slot, image| {
            let sent = image.body.sent & SENT_UNFINISHED != 0;
            let generation = image.generation;
            match image.phase {
                Some(Phase::Done) if sent => told.push(slot),
                Some(Phase::Done) => {
                    let same = |one: &&mut Ready| (one.slot, one.generation) == (slot, generation);
                    match ready.iter_mut().find(same) {
                        Some(overdue) => overdue.open = false,
                        None => ready.push_back(Ready { slot, generation, open: false }),
                    }
                }
                // What POST is writing may be open again without a sign of it.
                Some(Phase::Open | Phase::Completing) if !sent => {
                    let overdue = Ready { slot, generation, open: true };
                    if !ready.contains(&overdue) {
                        open.push(Open { slot, generation, started: image.body.started });
                    }
                }
                _ => {}
            }
        })?;
        told.into_iter().try_for_each(|slot| self.free(slot))
    }

    /// Builds the spans of the operations that are ready, `limit` at most, and notes that a
    /// request with them is made. Operations that cannot be read are counted and gone.
    pub fn build(
        &mut self,
        limit: usize,
        privacy: &Privacy,
        spans: &mut Vec<SpanData>,
    ) -> io::Result<usize> {
        let mut count = 0;
        while count < limit
            && let Some(ready) = self.ready.get(count).copied()
        {
            let Some(image) = self.access.slot(&self.header, ready.slot)? else {
                // The file has become shorter.
                self.ready.remove(count);
                self.damaged = true;
                self.count_lost(Loss::Corrupt, 1)?;
                continue;
            };
            let expected = image.generation == ready.generation
                && match image.phase {
                    Some(Phase::Done) => !ready.open,
                    Some(Phase::Open) => ready.open || !self.live,
                    Some(Phase::Completing | Phase::Unfinished) => !self.live,
                    _ => false,
                };
            if !expected && self.live {
                // The host went on: the next look finds what it is now.
                if ready.open && image.phase == Some(Phase::Completing) {
                    let Ready { slot, generation, .. } = ready;
                    self.open.push(Open { slot, generation, started: image.body.started });
                }
                self.ready.remove(count);
                continue;
            }
            let lost = self.untold_losses();
            let operation = (expected && image.is_intact())
                .then(|| self.record(&image, ready.slot))
                .and_then(|record| Operation::decode(&record));
            let Some(operation) = operation else {
                self.ready.remove(count);
                self.damaged = true;
                self.count_lost(Loss::Corrupt, 1)?;
                self.free(ready.slot)?;
                continue;
            };
            spans.push(span(
                privacy.disclose(operation),
                &self.header.origin,
                if count == 0 { lost } else { 0 },
            ));
            if image.body.sent & SENT != 0 {
                self.count_repeated()?;
            }
            self.set_sent(ready.slot, image.body.sent | SENT)?;
            count += 1;
        }
        self.keep_date();
        Ok(count)
    }

    fn record(&self, image: &SlotImage, slot: usize) -> Record {
        let mut body = image.body;
        let phase = image.phase;
        if phase != Some(Phase::Done) && phase != Some(Phase::Unfinished) {
            body.ended = if self.live { self.header.now() } else { self.last_moment };
            // POST may have been writing it.
            body.provider_units = 0;
        }
        Record { unfinished: phase != Some(Phase::Done), number: image.number(slot), body }
    }

    /// Frees the first `count` operations that are ready, `rejected` of which were refused.
    pub fn settle(&mut self, count: usize, rejected: u64) -> io::Result<()> {
        let accepted = (count as u64).saturating_sub(rejected);
        // Counted before freed: if we die between the two, the next adopter counts again, and
        // takes back what we counted.
        self.header.counters.exported = self.header.counters.exported.saturating_add(accepted);
        self.write_counter(offset_of!(Tally, exported), self.header.counters.exported)?;
        if rejected > 0 {
            self.count_lost(Loss::Rejected, rejected)?;
        }
        let lost = self.header.counters.lost_in_all();
        if lost > self.header.lost_told && count > 0 {
            self.header.lost_told = lost;
            self.access.write_at(offset::LOST_TOLD, &lost.to_le_bytes())?;
        }
        let settled: Vec<Ready> = self.ready.drain(..count.min(self.ready.len())).collect();
        for ready in settled {
            if ready.open {
                // The host still has it.
                self.set_sent(ready.slot, SENT | SENT_UNFINISHED)?;
            } else {
                self.free(ready.slot)?;
            }
        }
        self.keep_date();
        Ok(())
    }

    /// Gives up what is ready: it is too old, or there is too much.
    pub fn expire(&mut self) -> io::Result<u64> {
        self.take_over()?;
        let count = self.ready.len() as u64;
        self.count_lost(Loss::Expired, count)?;
        for ready in std::mem::take(&mut self.ready) {
            self.free(ready.slot)?;
        }
        Ok(count)
    }

    /// Removes a ledger that is finished. `heir` takes its counters over; `quarantine` names the
    /// place for it if it was damaged.
    pub fn bury(
        self,
        heir: &Header,
        quarantine: impl FnOnce(&Path) -> io::Result<std::path::PathBuf>,
    ) -> io::Result<()> {
        if !self.header.counters_moved {
            self.access.write_at(offset::COUNTERS_MOVED, &[1])?;
            heir.inherit(&self.tally());
        }
        if self.damaged {
            let place = quarantine(self.access.path())?;
            self.access.rename(&place)
        } else {
            self.access.remove()
        }
    }

    fn untold_losses(&self) -> u64 {
        self.header.counters.lost_in_all().saturating_sub(self.header.lost_told)
    }

    fn count_lost(&mut self, loss: Loss, count: u64) -> io::Result<()> {
        let counter = &mut self.header.counters.lost[loss as usize];
        *counter = counter.saturating_add(count);
        let value = *counter;
        self.write_counter(loss.place(), value)
    }

    fn count_repeated(&mut self) -> io::Result<()> {
        let counter = &mut self.header.counters.repeated;
        *counter = counter.saturating_add(1);
        let value = *counter;
        self.write_counter(offset_of!(Tally, repeated), value)
    }

    /// Writes the counter at this place of a [`Tally`].
    fn write_counter(&self, place: usize, value: u64) -> io::Result<()> {
        self.access.write_at(offset::COUNTERS + place, &value.to_le_bytes())
    }

    fn set_sent(&self, slot: usize, sent: u8) -> io::Result<()> {
        self.access.write_at(self.header.geometry.sent(slot), &[sent])
    }

    /// Frees a slot: the phase is the lowest byte of its state, and the first in the file.
    fn free(&self, slot: usize) -> io::Result<()> {
        self.access.write_at(self.header.geometry.slot(slot), &[Phase::Free as u8])
    }

    fn failed(&self, what: &'static str, source: io::Error) -> LedgerError {
        LedgerError::File { what, path: self.path().into(), source }
    }
}
