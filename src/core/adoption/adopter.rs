//! Finds ledgers to empty, makes batches of what they hold, and buries them.

use super::folder::{Entry, LedgerFolder, UNBORN_FOR};
use super::foreign::ForeignLedger;
use crate::ledger::{Corruption, Header, Keeper, LedgerError, Owner};
use crate::privacy::Privacy;
use crate::settings::Bounds;
use opentelemetry_sdk::trace::SpanData;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Empties ledgers of other processes: every dead host's, and live ones' that leave the export to
/// the agent.
#[derive(Debug)]
pub struct Adopter {
    folder: LedgerFolder,
    bounds: Bounds,
    unfinished_after: Duration,
    held: Vec<ForeignLedger>,
}

/// What a look into the folder found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Ledgers in the folder.
    pub ledgers: usize,
    /// Of these, ledgers whose host lives.
    pub live: usize,
    /// Dead hosts' ledgers that were taken over in this look.
    pub adopted: usize,
    /// Files that are not to be touched: links, other kinds of files, other users'.
    pub refused: usize,
    /// Damaged ledgers that were put aside in this look, without anything to export.
    pub quarantined: usize,
    /// Whether there are more dead hosts' ledgers than can be held at a time.
    pub more: bool,
}

/// Spans for one request, and where they came from.
#[derive(Debug, Default)]
pub struct Batch {
    /// The spans.
    pub spans: Vec<SpanData>,
    /// Of the held ledgers in turn: how many are its.
    counts: Vec<usize>,
}

/// What became of ledgers that held nothing any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buried {
    /// Removed.
    pub removed: usize,
    /// Put aside because they were damaged.
    pub quarantined: usize,
}

impl Buried {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.removed += other.removed;
        self.quarantined += other.quarantined;
    }
}

/// Dead hosts' ledgers that are held at a time: each is an open file.
const HELD: usize = 512;

impl Adopter {
    /// An adopter that holds nothing yet.
    pub fn new(folder: LedgerFolder, bounds: Bounds, unfinished_after: Duration) -> Self {
        Self { folder, bounds, unfinished_after, held: Vec::new() }
    }

    /// Looks into the folder, takes over `limit` dead hosts' ledgers at most, and sees what the
    /// live hosts did that leave the export to us. `own` is the ledger of this process.
    pub fn look(&mut self, own: Option<&Path>, limit: usize) -> io::Result<Look> {
        self.refresh();
        let survey = self.folder.survey()?;
        survey.remove_unfinished();
        let mut look = Look { ledgers: survey.ledgers.len(), ..Look::default() };
        let room = limit.min(HELD.saturating_sub(self.dead()));
        for entry in &survey.ledgers {
            if Some(entry.path.as_path()) == own {
                look.live += 1;
            } else if let Some(held) = self.held.iter().find(|held| held.path() == entry.path) {
                look.live += usize::from(held.is_live());
            } else {
                self.take_up(entry, room, &mut look);
            }
        }
        Ok(look)
    }

    /// Takes one ledger over, or attends to it, if it is for us.
    fn take_up(&mut self, entry: &Entry, room: usize, look: &mut Look) {
        let access = match entry.open() {
            Ok(access) => access,
            // Its host, or somebody else, was faster.
            Err(LedgerError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return;
            }
            Err(error) => {
                look.refused += 1;
                tracing::debug!(%error, "a file that is left alone");
                return;
            }
        };
        // Without the lock, which its host may be about to take.
        let unborn = matches!(
            access.header(),
            Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. })
        );
        if unborn && entry.age(SystemTime::now()) < UNBORN_FOR {
            look.live += 1;
            return;
        }
        let found = match access.try_own() {
            Ok(Owner::Lives) => {
                look.live += 1;
                if unborn {
                    return;
                }
                ForeignLedger::attend(access)
            }
            Ok(Owner::Dead) if look.adopted >= room => {
                look.more = true;
                return;
            }
            Ok(Owner::Dead) => match access.header() {
                Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. }) => {
                    // Nothing is in it. Another user's, or somebody else was faster.
                    let _ = access.remove();
                    return;
                }
                _ => ForeignLedger::adopt(access).map(Some),
            },
            Err(source) => {
                Err(LedgerError::File { what: "lock", path: entry.path.clone(), source })
            }
        };
        match found {
            Ok(Some(ledger)) if ledger.keeper() != Keeper::Nobody => {
                look.adopted += usize::from(!ledger.is_live());
                self.held.push(ledger);
                // A live one is looked at once now, then with all others.
                if let Some(ledger) = self.held.last_mut()
                    && let Err(error) = ledger.refresh(self.unfinished_after)
                {
                    tracing::warn!(%error, "a ledger that cannot be read");
                }
            }
            // Somebody put it here: what has no keeper is in no host's ledger.
            Ok(Some(_)) => look.refused += 1,
            Ok(None) => {}
            Err(error) => self.judge(entry, error, look),
        }
    }

    /// A ledger that could not be taken: damaged from its header on, of a newer version, or
    /// refused by the file system.
    fn judge(&self, entry: &Entry, error: LedgerError, look: &mut Look) {
        let damaged = matches!(
            error,
            LedgerError::Corrupt { corruption, .. } if !matches!(corruption, Corruption::Newer(_))
        );
        tracing::warn!(%error, damaged, "a ledger that cannot be read");
        if damaged && self.put_aside(entry).is_ok() {
            look.quarantined += 1;
        } else {
            look.refused += 1;
        }
    }

    /// Moves a file that cannot be a ledger out of the way.
    fn put_aside(&self, entry: &Entry) -> io::Result<()> {
        let access = entry.open().map_err(io::Error::other)?;
        if access.try_own()? == Owner::Lives {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        access.rename(&self.folder.quarantine(&entry.path)?)
    }

    /// Sees what live hosts did. Those that died are adopted by it.
    fn refresh(&mut self) {
        let unfinished_after = self.unfinished_after;
        self.held.retain_mut(|ledger| match ledger.refresh(unfinished_after) {
            Ok(()) => true,
            Err(error) => {
                // Found again, and judged, by the next look.
                tracing::warn!(%error, "a ledger that cannot be read any more");
                false
            }
        });
    }

    fn dead(&self) -> usize {
        self.held.iter().filter(|ledger| !ledger.is_live()).count()
    }

    /// The folder.
    pub fn folder(&self) -> &LedgerFolder {
        &self.folder
    }

    /// Operations of the ledgers at hand that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.held.iter().map(ForeignLedger::waiting).sum()
    }

    /// The ledgers at hand: dead hosts', and live ones'.
    pub fn held(&self) -> (usize, usize) {
        let dead = self.dead();
        (dead, self.held.len() - dead)
    }

    /// Makes a batch of `limit` spans at most, with what `privacy` lets out. It must be settled or put
    /// back before the next.
    pub fn batch(&mut self, limit: usize, privacy: &Privacy) -> Batch {
        let mut batch = Batch::default();
        for ledger in &mut self.held {
            let before = batch.spans.len();
            let count =
                ledger.build(limit - before, privacy, &mut batch.spans).unwrap_or_else(|error| {
                    tracing::warn!(%error, ledger = %ledger.path().display(), "cannot read");
                    batch.spans.truncate(before);
                    // It would be waited for in vain. Another process may have more luck.
                    ledger.leave();
                    0
                });
            batch.counts.push(count);
        }
        batch
    }

    /// A collector took the batch, but for `rejected` spans.
    pub fn settle(&mut self, batch: &Batch, mut rejected: u64) {
        for (ledger, count) in self.held.iter_mut().zip(&batch.counts) {
            // A partial success does not say which.
            let refused = rejected.min(*count as u64);
            rejected -= refused;
            if let Err(error) = ledger.settle(*count, refused) {
                tracing::warn!(%error, ledger = %ledger.path().display(), "cannot write");
                // It would be sent again without end.
                ledger.leave();
            }
        }
    }

    /// Buries the ledgers that hold nothing any more.
    pub fn bury(&mut self, heir: &Header) -> Buried {
        let mut buried = Buried::default();
        for ledger in self.held.extract_if(.., |ledger| ledger.is_finished()) {
            let damaged = ledger.is_damaged();
            let path = ledger.path().to_path_buf();
            match ledger.bury(heir, |path| self.folder.quarantine(path)) {
                Ok(()) if damaged => buried.quarantined += 1,
                Ok(()) => buried.removed += 1,
                Err(error) => {
                    tracing::warn!(%error, ledger = %path.display(), "cannot remove a ledger");
                }
            }
        }
        buried
    }

    /// Gives up the oldest dead ledgers, until the folder keeps within its bounds of files and
    /// bytes. Returns how many operations were lost by it.
    ///
    /// If the collector is `away`, what is too old goes as well. Never otherwise: a clock that is
    /// wrong for a moment must not cost what could have been sent.
    pub fn prune(&mut self, heir: &Header, away: bool) -> io::Result<u64> {
        let survey = self.folder.survey()?;
        let now = SystemTime::now();
        let mut excess = survey.beyond(self.bounds);
        let mut lost = 0;
        for entry in &survey.ledgers {
            let old = away && !self.bounds.age.is_zero() && entry.age(now) > self.bounds.age;
            if (old || excess > 0)
                && let Some(operations) = self.give_up(entry, heir)
            {
                excess = excess.saturating_sub(1);
                lost += operations;
            }
        }
        if lost > 0 {
            tracing::warn!(lost, "the ledger folder is beyond its bounds; the oldest are given up");
        }
        Ok(lost)
    }

    /// Gives up one ledger: how many operations went with it. `None` if its host lives, or it is
    /// not for us.
    fn give_up(&mut self, entry: &Entry, heir: &Header) -> Option<u64> {
        let held = self.held.iter().position(|held| held.path() == entry.path);
        let mut ledger = match held {
            Some(index) if self.held[index].is_live() => return None,
            Some(index) => self.held.remove(index),
            None => {
                let access = entry.open().ok()?;
                if !matches!(access.try_own(), Ok(Owner::Dead)) {
                    return None;
                }
                let may_go = |ledger: &ForeignLedger| ledger.keeper() != Keeper::Nobody;
                ForeignLedger::adopt(access).ok().filter(may_go)?
            }
        };
        let lost = ledger
            .expire()
            .and_then(|lost| ledger.bury(heir, |path| self.folder.quarantine(path)).map(|()| lost));
        lost.inspect_err(|error| {
            tracing::warn!(%error, ledger = %entry.path.display(), "cannot give up a ledger");
        })
        .ok()
    }
}
