//! One ledger of another process, and the operations that can be taken out of it.
//!
//! Reading the ledger changes nothing in the file. The caller first writes down elsewhere what was
//! found. Only then are the slots freed ([`ForeignLedger::conclude`]) or is the file removed.
//!
//! This process holds the lock of a dead host's ledger, so no other process writes to it. A live
//! host that leaves delivery to the agent writes at the same time. Then this process writes only
//! fields that the host does not write (ledger/mod.rs has the rules), and it reads a body a second
//! time if its checksum is wrong.

use crate::ledger::state::Phase;
use crate::ledger::{
    Access, HeaderImage, Keeper, LOSSES, LedgerError, Owner, Record, SENT, SENT_UNFINISHED,
    SLOT_COUNT, SLOT_WORDS, SlotImage, offset,
};
use crate::origin::Origin;
use std::io;
use std::time::Duration;

/// A ledger that this process did not make.
#[derive(Debug)]
pub(super) struct ForeignLedger {
    access: Access,
    header: HeaderImage,
    /// Whether the host lives. If not, this process holds the ledger's lock.
    is_live: bool,
    /// The header's `activity` at the time when everything found before was concluded.
    activity: [u64; SLOT_WORDS],
    /// The operations that are under way in a live host.
    open: Vec<Open>,
}

/// An operation that is under way in a live host.
#[derive(Clone, Copy, Debug)]
struct Open {
    slot: usize,
    generation: u64,
    started: u64,
}

/// What a ledger holds that has not been taken over yet.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Operations that are finished, that a dead host left open, or that a live host has had open
    /// for too long.
    pub records: Vec<Record>,
    /// Losses that the header claims and no span has reported, by reason.
    pub claimed: [u64; LOSSES],
    /// Operations that cannot be read: their PRE had not returned, or the slot's bytes are not an
    /// operation.
    pub unreadable: u64,
    /// Whether something in the file is damaged.
    pub is_damaged: bool,
    /// Slots that are to be freed.
    free: Vec<usize>,
    /// Slots whose operation was taken over as unfinished and is still under way.
    overdue: Vec<usize>,
    activity: [u64; SLOT_WORDS],
    open: Vec<Open>,
    lost_told: u64,
}

impl Found {
    /// Whether nothing was found that must be written down.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.unreadable == 0 && self.claimed == [0; LOSSES]
    }
}

impl ForeignLedger {
    /// A ledger with this owner. If its host lives, the ledger must be [for the
    /// agent](Self::is_for_agent).
    pub fn new(access: Access, header: HeaderImage, owner: Owner) -> Self {
        let is_live = owner == Owner::Lives;
        // Nothing has been read yet, so every word counts as changed.
        let activity = [u64::MAX; SLOT_WORDS];
        Self { access, header, is_live, activity, open: Vec::new() }
    }

    /// Whether operations are taken out of a ledger while its host lives.
    pub fn is_for_agent(header: &HeaderImage) -> bool {
        header.keeper == Keeper::Agent && header.geometry.version > 1
    }

    /// Whether the host lived when the ledger was last read.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// What its operations have in common.
    pub fn origin(&self) -> &Origin {
        &self.header.origin
    }

    /// The file.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Finds the operations that can be taken over. An operation that a live host has had open for
    /// longer than `unfinished_after` counts as unfinished.
    pub fn look(&mut self, unfinished_after: Duration) -> Result<Found, LedgerError> {
        if self.is_live
            && self.access.try_own().map_err(|source| self.failed("lock", source))? == Owner::Dead
        {
            self.is_live = false;
        }
        self.header = self.access.header()?;
        self.header.origin.recovered = !self.is_live;
        let mut found =
            if self.is_live { self.look_at_live(unfinished_after) } else { self.look_at_dead() }
                .map_err(|source| self.failed("read", source))?;
        self.claim(&mut found);
        Ok(found)
    }

    /// Reads those slots of a live host that it has written to since the last time.
    fn look_at_live(&self, unfinished_after: Duration) -> io::Result<Found> {
        let mut found =
            Found { activity: self.header.activity, open: self.open.clone(), ..Found::default() };
        for word in 0..SLOT_WORDS {
            if self.activity[word] == found.activity[word] {
                continue;
            }
            let slots = word * 64..SLOT_COUNT.min((word + 1) * 64);
            found.open.retain(|open| !slots.contains(&open.slot));
            let mut images = Vec::new();
            self.access.each_slot(&self.header, slots, |slot, image| images.push((slot, image)))?;
            for (slot, image) in images {
                let is_told = image.body.sent & SENT_UNFINISHED != 0;
                match image.phase {
                    Some(Phase::Done) => {
                        found.free.push(slot);
                        if !is_told {
                            found.take(slot, self.whole(slot, image)?);
                        }
                    }
                    // A slot that POST is writing may become open again, and `activity` does not
                    // show that.
                    Some(Phase::Open | Phase::Completing) if !is_told => {
                        let (generation, started) = (image.generation, image.body.started);
                        found.open.push(Open { slot, generation, started });
                    }
                    _ => {}
                }
            }
        }
        let (now, limit) = (self.header.now(), nanos(unfinished_after));
        let is_overdue = |open: &mut Open| now >= open.started.saturating_add(limit);
        for open in found.open.extract_if(.., is_overdue).collect::<Vec<_>>() {
            match self.access.slot(&self.header, open.slot)? {
                Some(image) if image.generation != open.generation => {}
                Some(image) if image.phase == Some(Phase::Open) => {
                    found.overdue.push(open.slot);
                    found.take(open.slot, Some(self.unfinished(image, now)));
                }
                // POST is writing. The next look will find the result.
                Some(image) if image.phase == Some(Phase::Completing) => found.open.push(open),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The finished operation as POST wrote it. POST may have been writing while the slot was read,
    /// so a slot with a wrong checksum is read again.
    fn whole(&self, slot: usize, image: SlotImage) -> io::Result<Option<SlotImage>> {
        if image.is_intact() {
            return Ok(Some(image));
        }
        let again = self.access.slot(&self.header, slot)?;
        Ok(again.filter(|again| again.generation == image.generation && again.is_intact()))
    }

    /// Finds everything that a dead host left.
    fn look_at_dead(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let mut images = Vec::new();
        self.access.all_slots(&self.header, |slot, image| images.push((slot, image)))?;
        // Only intact slots are used here: a damaged one may hold any time.
        let intact = images.iter().filter(|(_, image)| image.is_intact());
        let last_moment = intact.map(|(_, image)| last_moment(image)).max();
        let last_moment = self.header.last_seen.max(last_moment.unwrap_or(0));
        // The file may have become shorter since it was opened.
        found.is_damaged =
            !self.access.is_whole(&self.header) || images.len() < self.header.geometry.slot_count;
        for (slot, image) in images {
            match image.phase {
                Some(Phase::Free) => continue,
                // The host died inside PRE: the record may be incomplete, and was never promised.
                Some(Phase::Claimed) => found.unreadable += 1,
                None => found.take(slot, None),
                Some(_) if image.body.sent & SENT_UNFINISHED != 0 => {}
                Some(Phase::Done) => found.take(slot, Some(image).filter(SlotImage::is_intact)),
                Some(Phase::Unfinished) => found.take(slot, Some(image)),
                Some(Phase::Open | Phase::Completing) => {
                    found.take(slot, Some(self.unfinished(image, last_moment)));
                }
            }
            found.free.push(slot);
        }
        Ok(found)
    }

    /// The same operation as one that had not ended at `moment`, in nanoseconds after the anchor.
    fn unfinished(&self, mut image: SlotImage, moment: u64) -> SlotImage {
        image.phase = Some(Phase::Unfinished);
        image.body.ended = moment.max(image.body.started);
        image.body.asleep_after = image.body.asleep_before;
        // POST may have been writing the provider's name.
        image.body.provider_units = 0;
        image
    }

    /// The losses that the header claims, without those already reported on a span. The header does
    /// not say the reasons of the reported losses, so they are subtracted from the first reasons.
    fn claim(&self, found: &mut Found) {
        let counters = &self.header.counters;
        let mut told = self.header.lost_told.min(counters.lost_in_all());
        found.lost_told = counters.lost_in_all();
        for (claimed, lost) in found.claimed.iter_mut().zip(counters.lost) {
            let skipped = told.min(lost);
            told -= skipped;
            *claimed = lost - skipped;
        }
    }

    /// Frees the slots of everything that was found. The caller has written it down elsewhere.
    pub fn conclude(&mut self, found: &Found) -> Result<(), LedgerError> {
        let geometry = self.header.geometry;
        let write = |place, bytes: &[u8]| {
            self.access.write_at(place, bytes).map_err(|source| self.failed("write to", source))
        };
        if found.claimed != [0; LOSSES] {
            write(offset::LOST_TOLD, &found.lost_told.to_le_bytes())?;
        }
        for slot in &found.overdue {
            write(geometry.sent(*slot), &[SENT | SENT_UNFINISHED])?;
        }
        for slot in &found.free {
            // The phase is the lowest byte of the state, so it is the first in the file.
            write(geometry.slot(*slot), &[Phase::Free as u8])?;
        }
        self.activity = found.activity;
        self.open.clone_from(&found.open);
        Ok(())
    }

    /// Removes the file of a dead host.
    pub fn remove(self) -> Result<(), LedgerError> {
        let path = self.access.path().to_path_buf();
        self.access.remove().map_err(|source| LedgerError::File { what: "remove", path, source })
    }

    fn failed(&self, what: &'static str, source: io::Error) -> LedgerError {
        LedgerError::File { what, path: self.access.path().into(), source }
    }
}

impl Found {
    /// Takes the operation of a slot. Counts it as unreadable if the slot holds none.
    fn take(&mut self, slot: usize, image: Option<SlotImage>) {
        let Some(image) = image else {
            self.is_damaged = true;
            self.unreadable += 1;
            return;
        };
        let unfinished = image.phase == Some(Phase::Unfinished);
        self.records.push(Record { unfinished, number: image.number(slot), body: image.body });
    }
}

/// The latest time in a slot, in nanoseconds after the anchor.
fn last_moment(image: &SlotImage) -> u64 {
    let body = &image.body;
    match image.phase {
        Some(Phase::Done | Phase::Unfinished | Phase::Free) => body.started.max(body.ended),
        Some(Phase::Open | Phase::Completing) => body.started,
        Some(Phase::Claimed) | None => 0,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
