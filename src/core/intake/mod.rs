//! Takes operations out of the ledgers of other processes: of dead hosts, and of live hosts that
//! leave delivery to the agent.
//!
//! A [`Round`] holds what was found; until then nothing in a ledger has changed. The caller writes
//! the round to its own store and then [concludes](Intake::conclude) it. Only then are slots freed
//! and files removed. If a round is dropped, the next one finds the same operations.
//!
//! Every ledger counts as hostile: its owner may have put anything there, and may write while it is
//! read. A bad ledger may harm only its owner: a round takes from each owner in turn, and each
//! owner has a [`Quota`].

mod damaged;
mod foreign;
mod opened;
mod quota;
mod round;
mod watched;

pub use round::{Losses, POWER_LOSS, Round, Taken};
pub use watched::SWEEP;

use crate::folder::LedgerFolder;
use crate::ledger::{Access, LedgerError, Loss, Record, is_ledger_name};
use crate::operation::Operation;
use crate::origin::Origin;
use crate::platform::{self, Directory};
use crate::span::started_unix_nanos;
use damaged::Damaged;
use foreign::{ForeignLedger, Found};
use opened::{Opened, open};
use quota::Quota;
use round::{Discarded, Visited};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use watched::{STUCK_FOR, Sight, Watched};

/// Longer than any operation takes, in nanoseconds.
const LONGEST: u64 = 7 * DAY;
/// How far a date may be after the latest known one, in nanoseconds, because clocks are set.
const DAY: u64 = 24 * 3600 * 1_000_000_000;

/// A round ends when it has this many operations. The last ledger is still taken whole, so a round
/// may have a thousand more.
const OPERATIONS: usize = 1000;
/// A round ends after this many ledgers.
const LEDGERS: usize = 256;
/// How many files' owners are asked for in one round.
const LEARNED: usize = 4096;
/// How many live ledgers are kept open, each with a file handle.
const HELD: usize = 800;
/// How many of these may belong to one owner who is not trusted.
const HELD_BY_ONE: usize = 128;
/// How many names of the folder are remembered.
const NAMES: usize = 200_000;

/// Empties the ledgers in one folder.
#[derive(Debug)]
pub struct Intake {
    folder: LedgerFolder,
    directory: Option<Arc<Directory>>,
    damaged: Damaged,
    unfinished_after: Duration,
    /// How often live ledgers are read.
    look_every: Duration,
    boot_id: u64,
    files: BTreeMap<OsString, Watched>,
    owners: BTreeMap<Arc<str>, Quota>,
    /// The owner that was served last.
    served: Option<Arc<str>>,
    swept: Option<Instant>,
}

/// The state of the folder, as far as the intake knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sights {
    /// Ledgers of live hosts.
    pub live: usize,
    /// How many of these are kept open, because their operations are taken over as they end.
    pub held: usize,
    /// Files that are not touched.
    pub refused: usize,
    /// Owners whose quota is used up, so that their operations wait for the next hour.
    pub deferred: usize,
    /// Copies of damaged ledgers.
    pub damaged: usize,
}

impl Intake {
    /// An intake that has read nothing yet. Copies of damaged ledgers go to `damaged`.
    pub fn new(
        folder: LedgerFolder,
        damaged: PathBuf,
        unfinished_after: Duration,
        look_every: Duration,
    ) -> Self {
        Self {
            folder,
            directory: None,
            damaged: Damaged::new(damaged),
            unfinished_after,
            look_every,
            boot_id: platform::boot_id(),
            files: BTreeMap::new(),
            owners: BTreeMap::new(),
            served: None,
            swept: None,
        }
    }

    /// The folder.
    pub fn folder(&self) -> &LedgerFolder {
        &self.folder
    }

    /// Lists the folder, unless that was done within [`SWEEP`].
    pub fn sweep(&mut self, now: Instant) -> io::Result<()> {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return Ok(());
        }
        self.list(now)
    }

    /// Lists the folder. The next round looks at new names; names that are gone are forgotten.
    pub fn list(&mut self, now: Instant) -> io::Result<()> {
        self.swept = Some(now);
        if !self.directory.as_ref().is_some_and(|directory| directory.is_there()) {
            self.directory = self.folder.open()?;
        }
        let mut before = std::mem::take(&mut self.files);
        let Some(directory) = &self.directory else { return Ok(()) };
        for listed in directory.list()? {
            if !is_ledger_name(&listed.name.to_string_lossy()) {
                continue;
            }
            let same = |known: &Watched| known.id.is_none_or(|id| id == listed.id);
            let known = before.remove(&listed.name).filter(same);
            if known.is_some() || self.files.len() < NAMES {
                let mut file = known.unwrap_or_else(|| Watched::new(now));
                file.id = Some(listed.id);
                self.files.insert(listed.name, file);
            }
        }
        // An owner whose files are gone has still used a part of this hour's quota.
        self.owners.retain(|owner, quota| {
            !quota.is_over(now)
                || self.files.values().any(|file| file.owner.as_ref() == Some(owner))
        });
        Ok(())
    }

    /// Notes that a file of this name may have been made just now.
    pub fn note_birth(&mut self, name: &OsStr, now: Instant) -> io::Result<()> {
        if self.directory.is_none() {
            return self.list(now);
        }
        if is_ledger_name(&name.to_string_lossy()) && self.files.len() < NAMES {
            // The host is still making the file, and this process must not disturb it.
            let later = now + self.look_every;
            self.files.entry(name.to_owned()).or_insert_with(|| Watched::new(later));
        }
        Ok(())
    }

    /// When the next file is due. The next sweep counts, too.
    pub fn due(&self) -> Option<Instant> {
        let files = self.files.values().map(|file| file.due);
        files.chain(self.swept.map(|swept| swept + SWEEP)).min()
    }

    /// Finds the operations that can be taken now, from each owner in turn, and not more than can
    /// be written down at once. `latest` is the latest date that is known, in nanoseconds since
    /// 1970; an operation long after it is damaged.
    pub fn collect(&mut self, now: Instant, latest: u64) -> Round {
        let mut round = Round::default();
        let Some(directory) = self.directory.clone() else { return round };
        round.more = self.learn_owners(&directory, now);
        let (queue, is_cut) = self.queue(now);
        round.more |= is_cut;
        for (owner, name) in queue {
            if round.taken.len() >= OPERATIONS || round.ledgers.len() >= LEDGERS {
                round.more = true;
                break;
            }
            if let Entry::Occupied(file) = self.files.entry(name) {
                let (name, file) = file.remove_entry();
                self.served = Some(Arc::clone(&owner));
                self.visit(&directory, &owner, name, file, (now, latest), &mut round);
            }
        }
        round
    }

    /// Asks the file system for the owners of new files. Returns whether more files are waiting.
    fn learn_owners(&mut self, directory: &Arc<Directory>, now: Instant) -> bool {
        let new = |file: &Watched| file.owner.is_none() && file.due <= now;
        let names: Vec<OsString> = self
            .files
            .iter()
            .filter(|(_, file)| new(file))
            .map(|(name, _)| name.clone())
            .take(LEARNED)
            .collect();
        for name in &names {
            let owner = Access::open(directory, name).and_then(|access| {
                platform::owner_of(access.file()).map_err(|source| LedgerError::File {
                    what: "see the owner of",
                    path: access.path().into(),
                    source,
                })
            });
            match owner {
                Ok(owner) => {
                    let text: Arc<str> = owner.name.into();
                    let quota = || Quota::new(owner.is_trusted, now);
                    self.owners.entry(Arc::clone(&text)).or_insert_with(quota);
                    if let Some(file) = self.files.get_mut(name) {
                        file.owner = Some(text);
                    }
                }
                Err(error) if is_gone(&error) => {
                    self.files.remove(name);
                }
                Err(error) => {
                    tracing::debug!(%error, "a file is left alone");
                    if let Some(file) = self.files.get_mut(name) {
                        file.put_off(Sight::Refused, now, STUCK_FOR);
                    }
                }
            }
        }
        names.len() == LEARNED
    }

    /// The files to look at now, one of each owner in turn. The first owner is the one after the
    /// owner that was served last. Also returns whether there are more files than one round takes.
    fn queue(&self, now: Instant) -> (Vec<(Arc<str>, OsString)>, bool) {
        let mut is_cut = false;
        let mut owners: BTreeMap<&Arc<str>, VecDeque<&OsString>> = BTreeMap::new();
        for (name, file) in &self.files {
            if let Some(owner) = file.owner.as_ref().filter(|_| file.due <= now) {
                let due = owners.entry(owner).or_default();
                if due.len() < LEDGERS {
                    due.push_back(name);
                } else {
                    is_cut = true;
                }
            }
        }
        let (first, then): (Vec<_>, Vec<_>) =
            owners.into_iter().partition(|(owner, _)| Some(*owner) > self.served.as_ref());
        let mut owners: VecDeque<_> = first.into_iter().chain(then).collect();
        let mut queue = Vec::new();
        while let Some((owner, mut due)) = owners.pop_front() {
            if let Some(name) = due.pop_front() {
                queue.push((Arc::clone(owner), name.clone()));
                owners.push_back((owner, due));
            }
        }
        (queue, is_cut)
    }

    /// Looks at one file. What is found goes into the round, together with the file's place in
    /// `files`.
    fn visit(
        &mut self,
        directory: &Arc<Directory>,
        owner: &Arc<str>,
        name: OsString,
        mut file: Watched,
        (now, latest): (Instant, u64),
        round: &mut Round,
    ) {
        let quota = self.owners.entry(Arc::clone(owner)).or_insert_with(|| Quota::new(false, now));
        quota.renew(now);
        if let Some(until) = quota.spent_until() {
            file.due = until;
            self.files.insert(name, file);
            return;
        }
        match self.open(directory, &name, &mut file, now) {
            Ok((Opened::Ledger(ledger), found)) => {
                let mut ledger = *ledger;
                if ledger.is_live() && found.is_empty() {
                    let concluded = ledger.conclude(&found);
                    self.keep(name, file, ledger, concluded, now);
                } else {
                    self.take(owner, &ledger, &found, latest, round);
                    round.ledgers.push(Visited { name, watched: file, ledger, found });
                }
            }
            Ok((Opened::Later(sight, longest), _)) => {
                file.put_off(sight, now, longest);
                self.files.insert(name, file);
            }
            Ok((Opened::Nothing(access, loss), _)) => {
                if let Some(reason) = loss {
                    let name = name_hash(&name);
                    round.lose([0, 0, name], (reason, 1), &[], 0);
                }
                round.discarded.push(Discarded { name, watched: file, access });
            }
            Ok((Opened::Damaged(access), _)) => {
                self.keep_copy(owner, &access);
                round.removed += 1;
                round.damaged += 1;
                round.discarded.push(Discarded { name, watched: file, access });
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "a file is left alone");
                file.put_off(Sight::Refused, now, STUCK_FOR);
                self.files.insert(name, file);
            }
        }
    }

    /// Opens one file, if it is not held open, and reads what is in it.
    fn open(
        &self,
        directory: &Arc<Directory>,
        name: &OsStr,
        file: &mut Watched,
        now: Instant,
    ) -> Result<(Opened, Found), LedgerError> {
        let opened = match file.held.take() {
            Some(ledger) => Opened::Ledger(Box::new(ledger)),
            None => open(directory, name, now.saturating_duration_since(file.since))?,
        };
        match opened {
            Opened::Ledger(mut ledger) => {
                let found = ledger.look(self.unfinished_after)?;
                Ok((Opened::Ledger(ledger), found))
            }
            other => Ok((other, Found::default())),
        }
    }

    /// Checks what was found and puts it into the round, within its owner's quota.
    fn take(
        &mut self,
        owner: &Arc<str>,
        ledger: &ForeignLedger,
        found: &Found,
        latest: u64,
        round: &mut Round,
    ) {
        let Some(quota) = self.owners.get_mut(owner) else { return };
        let origin = Arc::new(ledger.origin().clone());
        let mut unreadable = found.unreadable;
        let claimed = found.claimed.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let claimed = quota.claim(claimed);
        let first = round.taken.len();
        for record in &found.records {
            let operation = Operation::decode(record)
                .filter(|operation| is_plausible(record, operation, &origin, latest));
            let Some(operation) = operation else {
                unreadable += 1;
                continue;
            };
            let server = operation.remote.server.as_deref();
            round.taken.push(Taken {
                owner: Arc::clone(owner),
                origin: Arc::clone(&origin),
                record: *record,
                kind: operation.kind,
                outcome: operation.outcome,
                server_is_other: server.is_some_and(|server| !quota.admits(server)),
                lost: if round.taken.len() == first { claimed } else { 0 },
            });
        }
        quota.take_operations((round.taken.len() - first) as u64 + unreadable);
        if !ledger.is_live() {
            quota.take_ledger();
            round.removed += 1;
        }
        // A half-written slot of an earlier boot is not damage: the ledger is not made to survive a
        // loss of power.
        let is_of_this_boot = [0, self.boot_id].contains(&origin.boot_id);
        let reason = if is_of_this_boot { Loss::Corrupt.name() } else { POWER_LOSS };
        round.lose(origin.ids.seed(), (reason, unreadable), &found.claimed, claimed);
        // A slot that promised an operation and holds none is damage, too.
        let is_damaged = found.is_damaged || unreadable > found.unreadable;
        if is_damaged && is_of_this_boot && !ledger.is_live() {
            round.damaged += 1;
            self.keep_copy(owner, ledger.access());
        }
    }

    fn keep_copy(&self, owner: &str, access: &Access) {
        if let Err(error) = self.damaged.keep(owner, access) {
            tracing::warn!(%error, "cannot keep a copy of a damaged ledger");
        }
    }

    /// Frees the slots and removes the files of a round that has been written down.
    pub fn conclude(&mut self, round: Round, now: Instant) {
        for Visited { name, watched, mut ledger, found } in round.ledgers {
            if ledger.is_live() {
                let concluded = ledger.conclude(&found);
                self.keep(name, watched, ledger, concluded, now);
                continue;
            }
            // Even if the file cannot be removed, nothing is taken out of it again.
            if let Err(error) = ledger.conclude(&found) {
                tracing::debug!(%error, "slots could not be freed; the ledger is removed nevertheless");
            }
            if let Err(error) = ledger.remove() {
                self.stuck(name, watched, now, &error);
            }
        }
        for Discarded { name, watched, access } in round.discarded {
            tracing::info!(file = %access.path().display(), "the file was removed because it is not a ledger");
            if let Err(error) = access.remove() {
                self.stuck(name, watched, now, &error);
            }
        }
    }

    /// Keeps the open ledger of a live host, if there is room for one more.
    fn keep(
        &mut self,
        name: OsString,
        mut file: Watched,
        ledger: ForeignLedger,
        concluded: Result<(), LedgerError>,
        now: Instant,
    ) {
        if let Err(error) = concluded {
            self.stuck(name, file, now, &error);
            return;
        }
        file.sight = Sight::Live;
        if !file.may_be_held {
            let holders = || self.files.values().filter(|other| other.may_be_held);
            let quota = file.owner.as_ref().and_then(|owner| self.owners.get(owner));
            let by_one = holders().filter(|other| other.owner == file.owner).count();
            file.may_be_held = holders().count() < HELD
                && (by_one < HELD_BY_ONE || quota.is_some_and(Quota::is_trusted));
        }
        file.due = now + if file.may_be_held { self.look_every } else { SWEEP };
        file.held = file.may_be_held.then_some(ledger);
        self.files.insert(name, file);
    }

    /// Leaves a ledger alone that cannot be written to or removed: otherwise its operations would
    /// be taken over again and again.
    fn stuck(
        &mut self,
        name: OsString,
        mut file: Watched,
        now: Instant,
        error: &dyn std::fmt::Display,
    ) {
        tracing::warn!(%error, "a ledger that was taken over cannot be removed; it is left alone for an hour");
        (file.sight, file.due) = (Sight::Refused, now + STUCK_FOR);
        self.files.insert(name, file);
    }

    /// The state of the folder, as far as the intake has looked.
    pub fn sights(&self) -> Sights {
        let count = |sight| self.files.values().filter(|file| file.sight == sight).count();
        Sights {
            live: count(Sight::Live),
            held: self.files.values().filter(|file| file.held.is_some()).count(),
            refused: count(Sight::Refused),
            deferred: self.owners.values().filter(|quota| quota.spent_until().is_some()).count(),
            damaged: self.damaged.count(),
        }
    }
}

/// A number for a file without a seed.
fn name_hash(name: &OsStr) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn is_gone(error: &LedgerError) -> bool {
    matches!(error, LedgerError::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Whether an operation can have happened: it ended after it began, within a week, and not after
/// `latest`. Dates are compared with a tolerance of one day, because clocks are set.
fn is_plausible(record: &Record, operation: &Operation, origin: &Origin, latest: u64) -> bool {
    let body = &record.body;
    body.ended >= body.started
        && body.ended - body.started <= LONGEST
        && started_unix_nanos(operation, origin) <= latest.saturating_add(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An intake that knows so many files of each of these owners; all are due.
    fn intake(owners: &[(&str, usize)], now: Instant) -> Intake {
        let folder = LedgerFolder::new("nowhere");
        let mut intake = Intake::new(folder, "nowhere".into(), Duration::MAX, Duration::ZERO);
        for (owner, count) in owners {
            for number in 0..*count {
                let mut file = Watched::new(now);
                file.owner = Some((*owner).into());
                intake.files.insert(format!("{owner}{number}").into(), file);
            }
        }
        intake
    }

    fn names(queue: Vec<(Arc<str>, OsString)>) -> Vec<String> {
        queue.into_iter().map(|(_, name)| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn an_owner_whose_ledgers_are_gone_gets_no_new_quota_in_the_same_hour() {
        let now = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let place = LedgerFolder::new(folder.path());
        let mut intake = Intake::new(place, "nowhere".into(), Duration::MAX, Duration::ZERO);
        let mut quota = Quota::new(false, now);
        let all = quota.claim(u64::MAX);
        assert!(all > 0);
        intake.owners.insert("a".into(), quota);
        intake.list(now + SWEEP).unwrap();
        assert_eq!(intake.owners.get_mut("a").map(|quota| quota.claim(1)), Some(0));
        intake.list(now + Duration::from_secs(3600)).unwrap();
        assert!(intake.owners.is_empty());
    }

    #[test]
    fn each_owner_is_served_in_turn_beginning_behind_the_last_one() {
        let now = Instant::now();
        let mut intake = intake(&[("a", 3), ("b", 1), ("c", 2)], now);
        for (served, expected) in [
            (None, ["a0", "b0", "c0", "a1", "c1", "a2"]),
            (Some("a"), ["b0", "c0", "a0", "c1", "a1", "a2"]),
            (Some("c"), ["a0", "b0", "c0", "a1", "c1", "a2"]),
            // The first owner's files are gone.
            (Some("bb"), ["c0", "a0", "b0", "c1", "a1", "a2"]),
        ] {
            intake.served = served.map(Arc::from);
            let (queue, is_cut) = intake.queue(now);
            assert_eq!((names(queue), is_cut), (expected.map(str::to_owned).to_vec(), false));
        }
    }

    #[test]
    fn only_files_that_are_due_and_have_an_owner_are_looked_at() {
        let now = Instant::now();
        let mut intake = intake(&[("a", 4)], now);
        intake.files.get_mut(OsStr::new("a1")).unwrap().owner = None;
        intake.files.get_mut(OsStr::new("a2")).unwrap().put_off(Sight::Live, now, SWEEP);
        assert_eq!(names(intake.queue(now).0), ["a0", "a3"]);
        assert_eq!(names(intake.queue(now + SWEEP).0), ["a0", "a2", "a3"]);
    }

    #[test]
    fn an_owner_with_more_than_a_round_makes_no_other_owner_wait() {
        let now = Instant::now();
        let intake = intake(&[("a", LEDGERS + 1), ("b", 2)], now);
        let (queue, is_cut) = intake.queue(now);
        let names = names(queue);
        assert_eq!((names.len(), is_cut), (LEDGERS + 2, true));
        assert_eq!(names[..4], ["a0", "b0", "a1", "b1"]);
    }
}
