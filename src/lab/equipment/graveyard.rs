//! A folder of dead hosts' ledgers, made in the test's own process.
//!
//! A host dies here by dropping its ledger: what is in the file stays, and its lock goes.

use mpr_otel_core::clock::{Clock, unix_nanos};
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::intake::{Intake, Losses, Round, Sights};
use mpr_otel_core::ledger::{
    Claim, HEADER_SIZE, KIND_ADD, Keeper, Ledger, NO_SESSION, NUMBER_STRIDE, SLOT_SIZE, Seed,
    SlotImage,
};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::process::Identity;
use mpr_otel_core::span::span;
use mpr_otel_core::trace_context::IdSource;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// Where a slot has its checksum, written down a second time.
const CHECKSUM: usize = 8;

/// Between its fork and its exec a child process has all of its parent's open files, and with them
/// their locks: a host that died meanwhile would seem to live.
static FORKS: RwLock<()> = RwLock::new(());

/// Starts a process while no host lives in this one. Not for a test that has a graveyard.
pub fn without_hosts<T>(start: impl FnOnce() -> T) -> T {
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    start()
}

/// A ledger folder, and a folder outside of it for copies of damaged ledgers.
pub struct Graveyard {
    path: PathBuf,
    _folder: Option<TempDir>,
    damaged: TempDir,
    hosts: Cell<u64>,
    _no_forks: RwLockReadGuard<'static, ()>,
}

/// A host that lives in this process. Dropped, it is dead.
pub struct Host {
    pub ledger: Ledger,
    ids: IdSource,
}

/// What an intake found until nothing was left to take.
#[derive(Debug, Default)]
pub struct TakenOver {
    /// The spans of the operations, as they are sent.
    pub spans: Vec<SpanData>,
    /// Losses that were found.
    pub losses: Losses,
    /// Ledgers of dead hosts that were removed, and how many of them were damaged.
    pub removed: (u64, u64),
    /// What the folder has afterwards.
    pub sights: Sights,
}

impl TakenOver {
    /// Operations lost for this reason.
    pub fn lost(&self, reason: &str) -> u64 {
        self.losses.get(reason).copied().unwrap_or(0)
    }
}

impl Graveyard {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let yard = Self::within(folder.path());
        Self { _folder: Some(folder), ..yard }
    }

    /// In a folder that is there.
    pub fn within(folder: &Path) -> Self {
        Self {
            path: folder.into(),
            _folder: None,
            damaged: tempfile::tempdir().unwrap(),
            hosts: Cell::new(0),
            _no_forks: FORKS.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn folder(&self) -> LedgerFolder {
        LedgerFolder::new(self.path())
    }

    /// Where copies of damaged ledgers go.
    pub fn damaged(&self) -> &Path {
        self.damaged.path()
    }

    /// A new host.
    pub fn host(&self, keeper: Keeper) -> Host {
        self.host_of_boot(keeper, 0)
    }

    /// A new host, in this boot of the machine.
    pub fn host_of_boot(&self, keeper: Keeper, boot_id: u64) -> Host {
        self.hosts.set(self.hosts.get() + 1);
        let identity = identity();
        let seed = Seed { boot_id, ..seed(&identity, self.hosts.get(), keeper) };
        Host {
            ledger: Ledger::create(self.path(), seed).unwrap(),
            ids: IdSource::new(seed.id_seed, None),
        }
    }

    /// The ledger of a host that did these operations and died.
    pub fn dead(&self, names: &[&str]) -> Grave {
        let host = self.host(Keeper::Host);
        for name in names {
            host.done(name);
        }
        host.die()
    }

    /// An intake that has not looked yet, and takes what has been open for `unfinished_after`.
    pub fn intake(&self, unfinished_after: Duration) -> Intake {
        let damaged = self.damaged.path().to_path_buf();
        Intake::new(self.folder(), damaged, unfinished_after, Duration::ZERO)
    }

    /// Lets a new intake take all there is to take.
    pub fn take_over(&self) -> TakenOver {
        self.take_over_by(&mut self.intake(Duration::from_secs(3600)), Instant::now())
    }

    /// Lets an intake list the folder and take all there is to take at this time.
    pub fn take_over_by(&self, intake: &mut Intake, now: Instant) -> TakenOver {
        let mut all = TakenOver::default();
        intake.list(now).unwrap();
        loop {
            let round = collect(intake, now);
            let more = round.more;
            all.add(&round);
            intake.conclude(round, now);
            if !more {
                all.sights = intake.sights();
                return all;
            }
        }
    }

    /// How many files are in the folder, and how many copies of damaged ones there are.
    pub fn files(&self) -> (usize, usize) {
        let count = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
        let owners = std::fs::read_dir(self.damaged.path()).unwrap();
        let copies = owners.map(|owner| count(&owner.unwrap().path())).sum();
        (count(self.path()), copies)
    }
}

impl TakenOver {
    /// Adds what a round found.
    pub fn add(&mut self, round: &Round) {
        self.spans.extend(spans(round));
        for (reason, count) in round.losses.iter().flat_map(|(_, losses)| losses) {
            *self.losses.entry(reason).or_default() += count;
        }
        self.removed.0 += round.removed;
        self.removed.1 += round.damaged;
    }
}

/// One round of an intake, whose clock is right.
pub fn collect(intake: &mut Intake, now: Instant) -> Round {
    intake.collect(now, unix_nanos(SystemTime::now()))
}

/// The spans of a round's operations, as they are sent with all names.
pub fn spans(round: &Round) -> Vec<SpanData> {
    let told = round.taken.iter().map(|taken| {
        let operation = taken.operation().expect("what is taken can be decoded");
        span(Privacy::FULL.disclose(operation), &taken.origin, taken.lost)
    });
    told.collect()
}

fn identity() -> Identity {
    Identity { pid: 4711, executable: "host.exe".into(), session_id: None, service: None }
}

fn seed(identity: &Identity, host: u64, keeper: Keeper) -> Seed<'_> {
    let id_seed = [host, 0x5EED_0000 + host, 0x1D00_0000 + host];
    Seed { identity, parent: None, clock: Clock::start(), id_seed, boot_id: 0, keeper }
}

impl Host {
    /// PRE: the operation's slot and its handle.
    pub fn begin(&self, name: &str) -> (usize, usize) {
        let (slot, mut claim) = self.ledger.claim(0).unwrap();
        write(&mut claim, name);
        let (handle, _) = self.ledger.publish(slot, claim);
        (slot, handle.to_context())
    }

    /// POST, with success.
    pub fn end(&self, context: usize) {
        let (slot, mut completion) = self.ledger.complete(context).unwrap();
        completion.ended = completion.started + 1_000_000;
        completion.status = 0;
        self.ledger.finish(slot, completion);
    }

    /// PRE and POST: the operation's slot.
    pub fn done(&self, name: &str) -> usize {
        let (slot, context) = self.begin(name);
        self.end(context);
        slot
    }

    /// The exporter: a collector has the span.
    pub fn export(&self, slot: usize) {
        self.ledger.header().count_exported(1);
        self.ledger.release(slot);
    }

    /// The id of the span of a slot's operation.
    pub fn id(&self, slot: usize, generation: u64) -> SpanId {
        span_id(&self.ids, slot, generation)
    }

    pub fn die(self) -> Grave {
        Grave { path: self.ledger.path().unwrap().into(), ids: self.ids }
    }
}

/// What PRE writes.
pub fn write(claim: &mut Claim<'_>, name: &str) {
    let body = &mut **claim;
    body.kind = KIND_ADD;
    (body.thread_id, body.flags, body.resource_type, body.force) = (1, 0, 1, 0);
    (body.started_unix_nanos, body.session_id, body.checksum) = (0, NO_SESSION, 0);
    (body.started, body.ended, body.sent, body.truncated) = (1, 0, 0, 0);
    (body.remote_units, body.local_units, body.provider_units) = (0, 0, 0);
    for unit in name.encode_utf16() {
        body.text[usize::from(body.remote_units)] = unit;
        body.remote_units += 1;
    }
}

fn span_id(ids: &IdSource, slot: usize, generation: u64) -> SpanId {
    SpanId::from_bytes(ids.ids(generation * NUMBER_STRIDE + slot as u64).span_id)
}

/// A dead host's ledger, which can be damaged.
pub struct Grave {
    pub path: PathBuf,
    ids: IdSource,
}

impl Grave {
    /// The id of the span of a slot's operation.
    pub fn id(&self, slot: usize, generation: u64) -> SpanId {
        span_id(&self.ids, slot, generation)
    }

    pub fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    /// Writes these bytes at `offset` of the file.
    pub fn patch(&self, offset: usize, bytes: &[u8]) {
        self.file().write_all_at(bytes, offset as u64).unwrap();
    }

    /// Writes these bytes at `offset` of a slot.
    pub fn patch_slot(&self, slot: usize, offset: usize, bytes: &[u8]) {
        self.patch(HEADER_SIZE + slot * SLOT_SIZE + offset, bytes);
    }

    /// Writes the checksum of what a slot holds now.
    pub fn reseal(&self, slot: usize) {
        let start = HEADER_SIZE + slot * SLOT_SIZE;
        let image = SlotImage::parse(self.bytes()[start..].first_chunk().unwrap());
        self.patch_slot(slot, CHECKSUM, &image.body.sum().to_le_bytes());
    }

    pub fn resize(&self, length: u64) {
        self.file().set_len(length).unwrap();
    }
}

/// What the span says of its remote name.
pub fn remote_name(span: &SpanData) -> String {
    attribute(span, "mpr.remote.name").unwrap_or_default()
}

pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let mut found = span.attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    let value = found.next().map(|attribute| attribute.value.to_string());
    assert!(found.next().is_none(), "{key} is there twice");
    value
}

/// The spans' remote names and ids, by name.
pub fn told(spans: &[SpanData]) -> Vec<(String, SpanId)> {
    let mut told: Vec<_> =
        spans.iter().map(|span| (remote_name(span), span.span_context.span_id())).collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    told
}
