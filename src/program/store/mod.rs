//! Operations that were taken over from ledgers and wait to be sent. They are in one file that only
//! the agent reads.
//!
//! Every change is one transaction, which includes its counts. So `seen = exported + pending +
//! lost` holds at any time, even if the process is killed. A ledger's slot is freed after its
//! operation is in the store. If the process dies between the two steps, the next one finds the
//! operation in the ledger again, and recognises it by its ledger's seed and its number.

mod bounds;
mod counts;
mod stored;

pub(crate) use bounds::Bounds;
pub(crate) use counts::{Counts, LOSSES};
pub(crate) use stored::Stored;

use counts::{ENDED, EXPORTED, LOST, REPEATED, SEEN};
use mpr_otel_core::intake::{Losses, Round, Taken};
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::platform;
use prost::Message;
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    WriteTransaction,
};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A record's place: its owner's number, and its own number, which grows.
pub(crate) type Key = (u32, u64);
/// What identifies an operation: its ledger's seed, and its number.
type Identity = [u8; 32];

/// The value: when the record was taken in, in nanoseconds since 1970, and a [`Stored`].
const RECORDS: TableDefinition<Key, (u64, &[u8])> = TableDefinition::new("records");
/// Numbers of owners who have records.
const OWNERS: TableDefinition<&str, u32> = TableDefinition::new("owners");
/// Bytes and number of records of each owner.
const SHARES: TableDefinition<u32, (u64, u64)> = TableDefinition::new("shares");
/// Operations that may still be in a ledger.
const TAKEN: TableDefinition<&Identity, ()> = TableDefinition::new("taken");
/// See [`Counts`].
const COUNTS: TableDefinition<(&str, &str, &str), u64> = TableDefinition::new("counts");
/// The counts that were already reported as metrics.
const TOLD: TableDefinition<(&str, &str, &str), u64> = TableDefinition::new("told");
/// Numbers of the store itself.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// In [`NUMBERS`]: the number of the next record, and of the next owner.
const NEXT: &str = "next";
/// In [`NUMBERS`]: the latest time of an intake, in nanoseconds since 1970.
const LATEST: &str = "latest";
/// In [`NUMBERS`]: when a collector last took something, in nanoseconds since 1970.
const LAST_EXPORT: &str = "last_export";

/// Stands in place of an operation's number for the losses of a ledger.
const LOSSES_OF_LEDGER: u64 = u64::MAX;

/// Memory for the file's pages.
const CACHE: usize = 16 << 20;
/// Bytes that a record needs besides its own bytes, in the file and for the bounds.
const OVERHEAD: u64 = 64;
/// If the file is larger than its contents by this many bytes, it is written again when it is
/// opened.
const SLACK: u64 = 64 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another process uses it.
    #[error("{} is used by another process; leave the work to that one", .0.display())]
    Taken(PathBuf),
    /// The file system refused, or the disk is full.
    #[error("cannot use the store {}: {source}; it needs room on the disk, and this process the right to write there", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` after a failure: the next access opens it again.
    database: Option<Database>,
    /// What the last round took in. When the next round comes, its ledgers have been written to.
    last_round: Vec<Identity>,
    /// Whether everything that an earlier process took in has been found again or is gone.
    is_caught_up: bool,
    /// Where a damaged store was moved to, until a caller asks.
    put_aside: Option<PathBuf>,
    /// When records began to be removed for their age, and how many may still be removed within an
    /// hour of that.
    ageing: Option<(Instant, u64)>,
}

type Outcome<T> = Result<T, Box<redb::Error>>;

/// Turns every error of redb into the type that holds all of them.
fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

impl Store {
    /// The store at `path`. The first access opens or makes the file.
    pub(crate) fn at(path: PathBuf, bounds: Bounds) -> Self {
        Self { path, bounds, state: Mutex::default() }
    }

    /// Opens or makes the file. A file that is damaged or is not a store is moved away. A file that
    /// is much larger than its contents is written again.
    pub(crate) fn open(&self) -> Result<(), StoreError> {
        self.with(|state| {
            let Some(database) = &mut state.database else { return Err(boxed(closed())) };
            let length = self.path.metadata().map_or(0, |file| file.len());
            let bytes = used(&database.begin_read().map_err(boxed)?)?;
            if length > 2 * bytes + SLACK {
                database.compact().map_err(boxed)?;
            }
            Ok(())
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a damaged store was moved to since the last call.
    pub(crate) fn put_aside(&self) -> Option<PathBuf> {
        self.lock().put_aside.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // If a thread panicked, its open transaction was undone, so the state is valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with the open database.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> Outcome<T>) -> Result<T, StoreError> {
        let mut state = self.lock();
        if state.database.is_none() {
            state.database = Some(database(&self.path, &mut state.put_aside)?);
        }
        let done = work(&mut state);
        if done.is_err() {
            state.database = None;
        }
        self.concluded(done)
    }

    fn concluded<T>(&self, done: Outcome<T>) -> Result<T, StoreError> {
        done.map_err(|source| StoreError::File { path: self.path.clone(), source })
    }

    /// Does `work` in one transaction. When this returns, the transaction is on the disk.
    fn change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, &mut State) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        self.with(|state| {
            let Some(database) = &state.database else { return Err(boxed(closed())) };
            let transaction = database.begin_write().map_err(boxed)?;
            let done = work(&transaction, state)?;
            transaction.commit().map_err(boxed)?;
            Ok(done)
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        self.with(|state| {
            let Some(database) = &state.database else { return Err(boxed(closed())) };
            work(&database.begin_read().map_err(boxed)?)
        })
    }

    /// Stores a round, at this date in nanoseconds since 1970. The round must be concluded before
    /// the next one is taken in.
    pub(crate) fn take_in(&self, round: &Round, now: u64) -> Result<(), StoreError> {
        if round.is_empty() && self.lock().is_caught_up {
            return Ok(());
        }
        self.change(|transaction, state| {
            let mut intake = Intake::begin(transaction, now)?;
            let mut taken = transaction.open_table(TAKEN).map_err(boxed)?;
            let mut identities: Vec<Identity> = round.taken.iter().map(of_operation).collect();
            for (one, identity) in round.taken.iter().zip(&identities) {
                if taken.insert(identity, ()).map_err(boxed)?.is_some() {
                    intake.counts.add((REPEATED, "", ""), 1);
                } else {
                    intake.add(one)?;
                }
            }
            for (ledger, losses) in &round.losses {
                let identity = of_number(*ledger, LOSSES_OF_LEDGER);
                // A live ledger may lose more in each round. So losses are known already only if an
                // earlier process took them in and did not conclude the round.
                let is_known = taken.insert(&identity, ()).map_err(boxed)?.is_some();
                if !is_known || state.last_round.contains(&identity) {
                    intake.lose(losses);
                }
                identities.push(identity);
            }
            for identity in &state.last_round {
                if !identities.contains(identity) {
                    taken.remove(identity).map_err(boxed)?;
                }
            }
            if !state.is_caught_up && !round.more {
                taken.retain(|identity, ()| identities.contains(identity)).map_err(boxed)?;
                state.is_caught_up = true;
            }
            drop(taken);
            intake.finish()?;
            state.last_round = identities;
            self.bounds.keep(transaction)
        })
    }

    /// The next records to send: at most `limit`, none of `except`, from each owner in turn, the
    /// oldest first. They are not removed. A record that cannot be read is removed and counted as
    /// lost.
    pub(crate) fn batch(
        &self,
        limit: usize,
        except: &[Key],
    ) -> Result<Vec<(Key, Stored)>, StoreError> {
        let (mut batch, mut unreadable) = (Vec::new(), Vec::new());
        self.read(|transaction| {
            let Some(records) = table(transaction.open_table(RECORDS))? else { return Ok(()) };
            let Some(shares) = table(transaction.open_table(SHARES))? else { return Ok(()) };
            let mut owners = VecDeque::new();
            for share in shares.iter().map_err(boxed)? {
                let owner = share.map_err(boxed)?.0.value();
                owners.push_back(records.range(of_owner(owner)).map_err(boxed)?);
            }
            while batch.len() < limit
                && let Some(mut rest) = owners.pop_front()
            {
                let Some(record) = rest.next() else { continue };
                let (key, value) = record.map_err(boxed)?;
                match Stored::decode(value.value().1) {
                    _ if except.contains(&key.value()) => {}
                    Ok(stored) => batch.push((key.value(), stored)),
                    Err(_) => unreadable.push(key.value()),
                }
                owners.push_back(rest);
            }
            Ok(())
        })?;
        if !unreadable.is_empty() {
            self.give_up(&unreadable, Loss::Corrupt.name())?;
        }
        Ok(batch)
    }

    /// One record. `None` if it is gone or cannot be read.
    pub(crate) fn get(&self, key: Key) -> Result<Option<(Key, Stored)>, StoreError> {
        self.read(|transaction| {
            let Some(records) = table(transaction.open_table(RECORDS))? else { return Ok(None) };
            let record = records.get(key).map_err(boxed)?;
            let stored = record.and_then(|record| Stored::decode(record.value().1).ok());
            Ok(stored.map(|stored| (key, stored)))
        })
    }

    /// Removes records that a collector answered at this date. It took them, except `rejected` of
    /// them, which it refused for good. `repeated` of them had been sent before, and it was not
    /// known whether they had arrived.
    pub(crate) fn settle(
        &self,
        keys: &[Key],
        (rejected, repeated): (u64, u64),
        now: u64,
    ) -> Result<(), StoreError> {
        self.change(|transaction, _| {
            let removed = remove(transaction, keys)?;
            let rejected = rejected.min(removed);
            let mut counts = Counts::default();
            counts.add((EXPORTED, "", ""), removed - rejected);
            counts.add((LOST, Loss::Rejected.name(), ""), rejected);
            counts.add((REPEATED, "", ""), repeated);
            counts.add_to(transaction)?;
            if removed > rejected {
                let mut numbers = transaction.open_table(NUMBERS).map_err(boxed)?;
                numbers.insert(LAST_EXPORT, now).map_err(boxed)?;
            }
            Ok(())
        })
    }

    /// Removes records that are lost for this reason.
    pub(crate) fn give_up(&self, keys: &[Key], reason: &str) -> Result<(), StoreError> {
        self.change(|transaction, _| give_up(transaction, keys, reason))
    }

    /// Removes records that are too old at this date, in nanoseconds since 1970.
    pub(crate) fn age(&self, now: u64) -> Result<u64, StoreError> {
        let has_old = self.read(|transaction| self.bounds.has_old(transaction, now))?;
        if !has_old {
            return Ok(0);
        }
        self.change(|transaction, state| {
            self.bounds.remove_old(transaction, now, &mut state.ageing)
        })
    }

    /// All that was counted since the store was made.
    pub(crate) fn counts(&self) -> Result<Counts, StoreError> {
        self.read(Counts::of)
    }

    /// What was counted since the last call.
    pub(crate) fn tell(&self) -> Result<Counts, StoreError> {
        // Usually nothing is new, and then nothing is written.
        if self.read(Counts::is_told)? {
            return Ok(Counts::default());
        }
        self.change(|transaction, _| Counts::tell(transaction))
    }

    /// Bytes of the records.
    pub(crate) fn bytes(&self) -> Result<u64, StoreError> {
        self.read(used)
    }

    /// The latest time of an intake, in nanoseconds since 1970; 0 for none.
    pub(crate) fn latest(&self) -> Result<u64, StoreError> {
        self.number(LATEST)
    }

    /// When a collector last took something, in nanoseconds since 1970; 0 for never.
    pub(crate) fn last_export(&self) -> Result<u64, StoreError> {
        self.number(LAST_EXPORT)
    }

    fn number(&self, name: &str) -> Result<u64, StoreError> {
        self.read(|transaction| {
            let Some(numbers) = table(transaction.open_table(NUMBERS))? else { return Ok(0) };
            Ok(numbers.get(name).map_err(boxed)?.map_or(0, |number| number.value()))
        })
    }

    /// Closes the file and removes it.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.lock().database = None;
        std::fs::remove_file(&self.path)
    }
}

/// Opens or makes the file, so that no other user can read it. A file that is not a store is moved
/// away, and its new path is noted.
fn database(path: &Path, put_aside: &mut Option<PathBuf>) -> Result<Database, StoreError> {
    let failed = |source| StoreError::File { path: path.into(), source };
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        platform::owner_only(&mut options);
        let file = options.open(path).map_err(StorageError::from)?;
        let is_new = file.metadata().map_err(StorageError::from)?.len() == 0;
        let made =
            Database::builder().set_cache_size(CACHE).create_with_backend(FileBackend::new(file)?);
        if is_new && made.is_err() {
            // A half-made store is removed: the disk may be full.
            let _ = std::fs::remove_file(path);
        }
        made
    };
    match open() {
        Ok(database) => return Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Taken(path.into())),
        Err(DatabaseError::Storage(StorageError::Io(error)))
            if error.kind() != io::ErrorKind::InvalidData =>
        {
            return Err(failed(boxed(StorageError::Io(error))));
        }
        Err(error) => {
            let aside = path.with_extension("damaged");
            let store = path.display();
            tracing::error!(%error, %store, aside = %aside.display(), "a damaged store was moved away");
            std::fs::rename(path, &aside)
                .map_err(|error| failed(boxed(StorageError::Io(error))))?;
            *put_aside = Some(aside);
        }
    }
    open().map_err(|error| failed(boxed(error)))
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

/// A table, if it was ever written to.
fn table<T>(opened: Result<T, redb::TableError>) -> Outcome<Option<T>> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(boxed(error)),
    }
}

fn of_owner(owner: u32) -> std::ops::RangeInclusive<Key> {
    (owner, 0)..=(owner, u64::MAX)
}

fn used(transaction: &redb::ReadTransaction) -> Outcome<u64> {
    let Some(shares) = table(transaction.open_table(SHARES))? else { return Ok(0) };
    let mut sum = 0;
    for share in shares.iter().map_err(boxed)? {
        sum += share.map_err(boxed)?.1.value().0;
    }
    Ok(sum)
}

fn of_operation(taken: &Taken) -> Identity {
    of_number(taken.origin.ids.seed(), taken.record.number)
}

fn of_number(seed: [u64; 3], number: u64) -> Identity {
    let mut identity = [0; 32];
    for (place, word) in identity.chunks_exact_mut(8).zip(seed.into_iter().chain([number])) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    identity
}

/// Removes these records. Returns how many of them were there.
fn remove(transaction: &WriteTransaction, keys: &[Key]) -> Outcome<u64> {
    let mut records = transaction.open_table(RECORDS).map_err(boxed)?;
    let mut shares = transaction.open_table(SHARES).map_err(boxed)?;
    let mut removed = 0;
    for key in keys {
        let Some(bytes) = records
            .remove(key)
            .map_err(boxed)?
            .map(|value| value.value().1.len() as u64 + OVERHEAD)
        else {
            continue;
        };
        removed += 1;
        let share = shares.get(key.0).map_err(boxed)?.map_or((0, 0), |share| share.value());
        if share.1 <= 1 {
            shares.remove(key.0).map_err(boxed)?;
        } else {
            let rest = (share.0.saturating_sub(bytes), share.1 - 1);
            shares.insert(key.0, rest).map_err(boxed)?;
        }
    }
    Ok(removed)
}

fn give_up(transaction: &WriteTransaction, keys: &[Key], reason: &str) -> Outcome<()> {
    let mut counts = Counts::default();
    counts.add((LOST, reason, ""), remove(transaction, keys)?);
    counts.add_to(transaction)
}

/// What is changed while a round is taken in.
struct Intake<'a> {
    transaction: &'a WriteTransaction,
    records: redb::Table<'a, Key, (u64, &'static [u8])>,
    owners: redb::Table<'a, &'static str, u32>,
    shares: redb::Table<'a, u32, (u64, u64)>,
    next: u64,
    now: u64,
    counts: Counts,
}

impl<'a> Intake<'a> {
    fn begin(transaction: &'a WriteTransaction, now: u64) -> Outcome<Self> {
        let mut numbers = transaction.open_table(NUMBERS).map_err(boxed)?;
        let next = numbers.get(NEXT).map_err(boxed)?.map_or(1, |next| next.value());
        let latest = numbers.get(LATEST).map_err(boxed)?.map_or(0, |latest| latest.value());
        numbers.insert(LATEST, now.max(latest)).map_err(boxed)?;
        drop(numbers);
        Ok(Self {
            transaction,
            records: transaction.open_table(RECORDS).map_err(boxed)?,
            owners: transaction.open_table(OWNERS).map_err(boxed)?,
            shares: transaction.open_table(SHARES).map_err(boxed)?,
            next,
            now,
            counts: Counts::default(),
        })
    }

    fn add(&mut self, taken: &Taken) -> Outcome<()> {
        let known = self.owners.get(&*taken.owner).map_err(boxed)?.map(|owner| owner.value());
        let owner = match known {
            Some(owner) => owner,
            None => {
                let mut number = 1;
                for owner in self.owners.iter().map_err(boxed)? {
                    number = number.max(owner.map_err(boxed)?.1.value() + 1);
                }
                self.owners.insert(&*taken.owner, number).map_err(boxed)?;
                number
            }
        };
        let bytes = Stored::of(taken).encode_to_vec();
        let (used, count) =
            self.shares.get(owner).map_err(boxed)?.map_or((0, 0), |share| share.value());
        let share = (used + bytes.len() as u64 + OVERHEAD, count + 1);
        self.shares.insert(owner, share).map_err(boxed)?;
        self.records.insert((owner, self.next), (self.now, &*bytes)).map_err(boxed)?;
        self.next += 1;
        self.counts.add((SEEN, "", ""), 1);
        let class = taken.outcome.class().map_or("", |class| class.name());
        self.counts.add((ENDED, taken.outcome.name(), class), 1);
        Ok(())
    }

    fn lose(&mut self, losses: &Losses) {
        for (reason, count) in losses {
            self.counts.add((SEEN, "", ""), *count);
            self.counts.add((LOST, reason, ""), *count);
        }
    }

    fn finish(self) -> Outcome<()> {
        let mut numbers = self.transaction.open_table(NUMBERS).map_err(boxed)?;
        numbers.insert(NEXT, self.next).map_err(boxed)?;
        self.counts.add_to(self.transaction)
    }
}

#[cfg(test)]
pub(crate) mod tests;
