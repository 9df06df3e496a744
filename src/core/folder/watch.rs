//! What one process records, and whether it is delivered. Another process reads this without
//! disturbing the first.

use super::{Entry, LedgerFolder};
use crate::ledger::{Corruption, LedgerError, SlotImage, state::Phase};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long the watcher waits before it reads the ledgers again.
const INTERVAL: Duration = Duration::from_millis(20);

/// A process' slots at one moment. A dead process with the same id may have left a ledger, too;
/// nothing changes in that one.
#[derive(Debug, Default)]
pub struct HostSlots {
    slots: BTreeMap<Place, SlotImage>,
    lost: u64,
}

/// A ledger and the slot in it.
type Place = (PathBuf, usize);

/// The slots that an operation took. The watch ends when they are free.
#[derive(Debug)]
pub struct Watch {
    folder: LedgerFolder,
    pid: u32,
    /// The slots, each with its generation.
    slots: BTreeMap<Place, u64>,
    lost: u64,
    since: Instant,
    /// The result so far.
    pub recorded: Recorded,
}

/// What happened to an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// POST's status, and the time from PRE to POST. `None` if no POST came.
    pub post: Option<(u32, Duration)>,
    /// How long after the operation's end the slot was free. `None` if it was not free while it was
    /// watched.
    pub freed_after: Option<Duration>,
    /// Whether the process counted a loss during that time.
    pub lost: bool,
}

impl HostSlots {
    /// Reads the ledgers of the process `pid`. A process without a ledger has no slots.
    pub fn read(folder: &LedgerFolder, pid: u32) -> Result<Self, LedgerError> {
        let mut host = Self::default();
        let path = folder.path();
        let entries = folder.list().map_err(|source| failed("look for", path, source))?;
        let prefix = format!("{pid}-");
        for entry in entries {
            if entry
                .path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            {
                match host.add(&entry) {
                    // The ledger was emptied and removed in the meantime.
                    Err(LedgerError::File { source, .. })
                        if source.kind() == ErrorKind::NotFound => {}
                    Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. }) => {}
                    added => added?,
                }
            }
        }
        Ok(host)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let access = entry.open()?;
        let header = access.header()?;
        self.lost = self.lost.saturating_add(header.counters.lost_in_all());
        access
            .all_slots(&header, |index, slot| {
                self.slots.insert((entry.path.clone(), index), slot);
            })
            .map_err(|source| failed("read", &entry.path, source))
    }

    fn generation(&self, place: &Place) -> u64 {
        self.slots.get(place).map_or(0, |slot| slot.generation)
    }
}

impl Watch {
    /// What the process has recorded since `before`, for an operation that ended just now. Waits
    /// for the record for at most `limit`; `None` if none comes.
    ///
    /// POST's data may be read from a slot that is free again: the slot's numbers stay until the
    /// process uses it for another operation.
    pub fn begin(
        folder: &LedgerFolder,
        pid: u32,
        before: &HostSlots,
        limit: Duration,
    ) -> Result<Option<Self>, LedgerError> {
        let since = Instant::now();
        loop {
            let now = HostSlots::read(folder, pid)?;
            let taken = |place: &&Place| now.generation(place) > before.generation(place);
            let slots: BTreeMap<_, _> = now
                .slots
                .keys()
                .filter(taken)
                .map(|place| (place.clone(), now.generation(place)))
                .collect();
            let post = slots.keys().find_map(|place| post(&now.slots[place]));
            if post.is_some() || since.elapsed() >= limit {
                let recorded = Recorded { post, ..Recorded::default() };
                let (folder, lost) = (folder.clone(), before.lost);
                let watch = Self { folder, pid, slots, lost, since, recorded };
                return Ok(Some(watch).filter(|watch| !watch.slots.is_empty()));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Reads the slots again. Returns whether the watch is over: the slots are free, or `limit` has
    /// passed since the operation ended. A ledger that no longer exists was emptied first.
    pub fn is_over(&mut self, limit: Duration) -> bool {
        let elapsed = self.since.elapsed();
        if self.recorded.freed_after.is_none()
            && let Ok(now) = HostSlots::read(&self.folder, self.pid)
            && self.slots.iter().all(|(place, generation)| now.is_free(place, *generation))
        {
            self.recorded.freed_after = Some(elapsed);
            self.recorded.lost = now.lost > self.lost;
        }
        self.recorded.freed_after.is_some() || elapsed > limit
    }
}

impl HostSlots {
    /// Whether the operation of `generation` has left its slot.
    fn is_free(&self, place: &Place, generation: u64) -> bool {
        let slot = self.slots.get(place);
        slot.is_none_or(|slot| slot.generation > generation || slot.phase == Some(Phase::Free))
    }
}

/// What POST wrote. `None` if no POST came.
fn post(slot: &SlotImage) -> Option<(u32, Duration)> {
    let came = matches!(slot.phase, Some(Phase::Done | Phase::Free));
    let nanos = slot.body.ended.checked_sub(slot.body.started)?;
    came.then_some((slot.body.status, Duration::from_nanos(nanos)))
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::File { what, path: path.into(), source }
}
