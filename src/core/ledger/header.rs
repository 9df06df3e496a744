//! The ledger's first page: what it is, whose it is, and the counters that outlive the host.

use super::{HEADER_SIZE, SLOT_COUNT, SLOT_SIZE, Seed};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// First bytes of every ledger.
pub const MAGIC: [u8; 8] = *b"MPROTEL\0";
/// Version of the format. A reader refuses any other.
pub const VERSION: u32 = 1;
/// Room for the host program's file name, in UTF-16 units.
pub const EXECUTABLE_UNITS: usize = 260;
/// `Header::session_id` where there are no sessions.
pub const NO_SESSION: u32 = u32::MAX;

/// Offsets of what other processes read and write in place (adoption/, agent/).
pub(crate) mod offset {
    /// The counters, in the order of [`super::Tally::words`] without its first.
    pub const COUNTERS: usize = 1024;
    /// When the exporter was last alive.
    pub const LAST_SEEN: usize = 1112;
    /// When a collector last accepted a batch.
    pub const LAST_EXPORT: usize = 1120;
    /// Losses that a span has told.
    pub const LOST_TOLD: usize = 1128;
    /// Whether the counters have been inherited.
    pub const BURIED: usize = 1136;
    /// What was inherited.
    pub const INHERITED: usize = 1152;
    /// What the agent has told of what it inherited and saw.
    pub const TOLD: usize = 1280;
    /// How often each word of the table was written to.
    pub const ACTIVITY: usize = 2048;
}

/// Who exports from a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Keeper {
    /// The host itself; after its death the next host or the agent.
    Host = 0,
    /// The agent, even while the host lives.
    Agent = 1,
    /// Nobody: it is the agent's own, and holds what it inherited.
    Nobody = 2,
}

impl Keeper {
    /// The keeper for a header's byte, which may come from a damaged file.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Host,
            1 => Self::Agent,
            2 => Self::Nobody,
            _ => return None,
        })
    }
}

/// Why an operation that was seen is not exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Loss {
    /// Every slot was taken, so the operation was not recorded.
    TableFull = 0,
    /// The exporter could not be told; the operation stays in the ledger.
    ChannelFull = 1,
    /// Neither a file nor memory could be had for a ledger.
    LedgerUnavailable = 2,
    /// The collector refused the span for good.
    Rejected = 3,
    /// The operation grew older than what is kept.
    Expired = 4,
    /// The record could not be read.
    Corrupt = 5,
}

impl Loss {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 6] = [
        Self::TableFull,
        Self::ChannelFull,
        Self::LedgerUnavailable,
        Self::Rejected,
        Self::Expired,
        Self::Corrupt,
    ];

    /// The reason's name in telemetry and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::TableFull => "table_full",
            Self::ChannelFull => "channel_full",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Corrupt => "corrupt",
        }
    }
}

/// What happened in this ledger's host. Every value only grows.
#[repr(C)]
#[derive(Debug)]
pub struct Counters {
    exported: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
    unmatched: AtomicU64,
    malformed: AtomicU64,
    unprotected: AtomicU64,
    repeated: AtomicU64,
}

/// A reading of [`Counters`]. `seen = exported + pending + lost` holds between operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations whose PRE arrived.
    pub seen: u64,
    /// Operations whose span a collector accepted.
    pub exported: u64,
    /// Operations lost, by reason, in the order of [`Loss::ALL`].
    pub lost: [u64; Loss::ALL.len()],
    /// POST calls whose handle named no open operation. Never trusted, so never a span.
    pub unmatched: u64,
    /// Calls that broke the contract: a NULL structure or an unknown `dwNotifyStatus`.
    pub malformed: u64,
    /// Operations recorded in memory only, because no file could be made: a host that dies takes
    /// them along.
    pub unprotected: u64,
    /// Spans that were sent again because nobody knew whether they had arrived.
    pub repeated: u64,
}

/// Numbers in a [`Tally`].
pub(crate) const TALLY_WORDS: usize = 6 + Loss::ALL.len();

impl Tally {
    /// Every number, in the order of the format: `seen` first, then the counters.
    pub fn words(&self) -> [u64; TALLY_WORDS] {
        let mut words = [0; TALLY_WORDS];
        words[0] = self.seen;
        words[1] = self.exported;
        words[2..2 + Loss::ALL.len()].copy_from_slice(&self.lost);
        words[TALLY_WORDS - 4..].copy_from_slice(&[
            self.unmatched,
            self.malformed,
            self.unprotected,
            self.repeated,
        ]);
        words
    }

    /// The tally of these numbers.
    pub fn from_words(words: [u64; TALLY_WORDS]) -> Self {
        let [seen, exported, ..] = words;
        let [.., unmatched, malformed, unprotected, repeated] = words;
        let lost = std::array::from_fn(|reason| words[2 + reason]);
        Self { seen, exported, lost, unmatched, malformed, unprotected, repeated }
    }

    /// Operations lost, for whatever reason.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// The tally of a ledger that nobody uses any more and that holds `left` operations, made to
    /// add up; and whether it is damaged.
    ///
    /// Who counted operations and died before it freed them has counted what will be counted
    /// again: that is taken back. What no counter and no slot tells of is lost, which is one
    /// operation for a slot at most: where more is missing, `seen` is wrong.
    pub(crate) fn balanced(mut self, left: u64) -> (Self, bool) {
        let counted = left.saturating_add(self.exported).saturating_add(self.lost_in_all());
        let missing = self.seen.saturating_sub(counted);
        let excess = counted.saturating_sub(self.seen);
        if missing > SLOT_COUNT as u64 {
            self.seen = counted;
        } else {
            self.lost[Loss::Corrupt as usize] += missing;
        }
        let mut rest = excess;
        for counter in std::iter::once(&mut self.exported).chain(self.lost.iter_mut().rev()) {
            let back = rest.min(*counter);
            *counter -= back;
            rest -= back;
        }
        (self, missing > 0 || excess > left)
    }

    /// Operations seen that are neither exported nor lost.
    pub fn pending(&self) -> u64 {
        self.seen.saturating_sub(self.exported.saturating_add(self.lost_in_all()))
    }
}

impl std::ops::AddAssign for Tally {
    /// Saturates: numbers may come from a damaged file.
    fn add_assign(&mut self, other: Self) {
        let (mine, theirs) = (self.words(), other.words());
        let sum = std::array::from_fn(|word| mine[word].saturating_add(theirs[word]));
        *self = Self::from_words(sum);
    }
}

/// The first [`HEADER_SIZE`] bytes of a ledger. The [module above](super) documents the layout.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    magic: [u8; 8],
    version: u32,
    header_size: u32,
    slot_size: u32,
    slot_count: u32,
    pid: u32,
    session_id: u32,
    anchor_unix_nanos: u64,
    parent_trace_id: [u8; 16],
    parent_span_id: [u8; 8],
    has_parent: u8,
    pointer_bytes: u8,
    executable_units: u16,
    executable: [u16; EXECUTABLE_UNITS],
    _to_id_seed: [u8; 4],
    id_seed: [u64; 3],
    anchor_monotonic: u64,
    keeper: u8,
    /// The counters have cache lines of their own.
    _to_counters: [u8; 399],
    counters: Counters,
    last_seen: AtomicU64,
    last_export_unix_nanos: AtomicU64,
    lost_told: AtomicU64,
    buried: AtomicU8,
    _to_inherited: [u8; 15],
    inherited: [AtomicU64; TALLY_WORDS],
    _to_told: [u8; 32],
    told: [AtomicU64; TALLY_WORDS],
    _to_activity: [u8; offset::ACTIVITY - 1376],
    activity: [Activity; SLOT_COUNT / 64],
    _rest: [u8; HEADER_SIZE - offset::ACTIVITY - 1024],
}

/// Counts the writes to 64 slots, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
struct Activity(AtomicU64);

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() == HEADER_SIZE);
    assert!(offset_of!(Header, anchor_unix_nanos) == 32);
    assert!(offset_of!(Header, executable) == 68);
    assert!(offset_of!(Header, id_seed) == 592);
    assert!(offset_of!(Header, anchor_monotonic) == 616);
    assert!(offset_of!(Header, keeper) == 624);
    assert!(offset_of!(Header, counters) == offset::COUNTERS);
    assert!(offset_of!(Header, last_seen) == offset::LAST_SEEN);
    assert!(offset_of!(Header, last_export_unix_nanos) == offset::LAST_EXPORT);
    assert!(offset_of!(Header, lost_told) == offset::LOST_TOLD);
    assert!(offset_of!(Header, buried) == offset::BURIED);
    assert!(offset_of!(Header, inherited) == offset::INHERITED);
    assert!(offset_of!(Header, told) == offset::TOLD);
    assert!(offset_of!(Header, activity) == offset::ACTIVITY);
};

impl Header {
    /// The header of a new ledger.
    pub fn new(seed: Seed<'_>) -> Self {
        let Seed { identity, parent, clock, id_seed, keeper } = seed;
        let mut executable = [0; EXECUTABLE_UNITS];
        let mut executable_units = 0;
        for (place, unit) in executable.iter_mut().zip(identity.executable.encode_utf16()) {
            *place = unit;
            executable_units += 1;
        }
        Self {
            magic: MAGIC,
            version: VERSION,
            header_size: HEADER_SIZE as u32,
            slot_size: SLOT_SIZE as u32,
            slot_count: SLOT_COUNT as u32,
            pid: identity.pid,
            session_id: identity.session_id.unwrap_or(NO_SESSION),
            anchor_unix_nanos: clock.anchor_unix_nanos(),
            parent_trace_id: parent.map_or([0; 16], |parent| parent.trace_id),
            parent_span_id: parent.map_or([0; 8], |parent| parent.span_id),
            has_parent: u8::from(parent.is_some()),
            pointer_bytes: size_of::<usize>() as u8,
            executable_units,
            executable,
            _to_id_seed: [0; 4],
            id_seed,
            anchor_monotonic: clock.anchor_monotonic(),
            keeper: keeper as u8,
            _to_counters: [0; 399],
            counters: Counters {
                exported: AtomicU64::new(0),
                lost: Default::default(),
                unmatched: AtomicU64::new(0),
                malformed: AtomicU64::new(0),
                unprotected: AtomicU64::new(0),
                repeated: AtomicU64::new(0),
            },
            last_seen: AtomicU64::new(0),
            last_export_unix_nanos: AtomicU64::new(0),
            lost_told: AtomicU64::new(0),
            buried: AtomicU8::new(0),
            _to_inherited: [0; 15],
            inherited: Default::default(),
            _to_told: [0; 32],
            told: Default::default(),
            _to_activity: [0; offset::ACTIVITY - 1376],
            activity: Default::default(),
            _rest: [0; HEADER_SIZE - offset::ACTIVITY - 1024],
        }
    }

    /// Counts `count` operations as exported.
    pub fn count_exported(&self, count: u64) {
        self.counters.exported.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts `count` operations as lost.
    pub fn count_lost(&self, loss: Loss, count: u64) {
        self.counters.lost[loss as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a POST that named no open operation.
    pub fn count_unmatched(&self) {
        self.counters.unmatched.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that broke the contract.
    pub fn count_malformed(&self) {
        self.counters.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts operations that were recorded in memory only.
    pub fn count_unprotected(&self, count: u64) {
        self.counters.unprotected.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts spans that are sent again.
    pub fn count_repeated(&self, count: u64) {
        self.counters.repeated.fetch_add(count, Ordering::Relaxed);
    }

    /// Notes that a collector accepted a batch at this date.
    pub fn note_export(&self, unix_nanos: u64) {
        self.last_export_unix_nanos.fetch_max(unix_nanos, Ordering::Relaxed);
    }

    /// Losses that a span has told of.
    pub fn lost_told(&self) -> u64 {
        self.lost_told.load(Ordering::Relaxed)
    }

    /// Notes that a span told of `lost` losses in all.
    pub fn tell_lost(&self, lost: u64) {
        self.lost_told.store(lost, Ordering::Relaxed);
    }

    /// Takes over the counters of a ledger that is about to be removed. For one thread alone.
    pub fn inherit(&self, tally: &Tally) {
        let mut sum = self.inherited();
        sum += *tally;
        for (word, value) in self.inherited.iter().zip(sum.words()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The counters that were inherited.
    pub fn inherited(&self) -> Tally {
        Tally::from_words(std::array::from_fn(|word| self.inherited[word].load(Ordering::Relaxed)))
    }

    /// What the agent's metrics have said of all ledgers; in its own ledger alone.
    pub fn told(&self) -> Tally {
        Tally::from_words(std::array::from_fn(|word| self.told[word].load(Ordering::Relaxed)))
    }

    /// Raises what the metrics have said, and returns by how much each number grew. A sum that
    /// was read while a ledger went from one place to another may be too small: it never falls.
    pub fn tell(&self, tally: &Tally) -> Tally {
        let now = tally.words();
        let grown = std::array::from_fn(|word| {
            now[word].saturating_sub(self.told[word].fetch_max(now[word], Ordering::Relaxed))
        });
        Tally::from_words(grown)
    }

    /// Tells a reader in another process that a slot was written to.
    pub fn note_activity(&self, slot: usize) {
        self.activity[slot / 64].0.fetch_add(1, Ordering::Release);
    }

    /// Notes that the host was alive `nanos` after the anchor: the end of an operation that its
    /// death leaves open.
    pub fn note_alive(&self, nanos: u64) {
        self.last_seen.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Operations of this host that are lost so far, for whatever reason.
    pub fn lost(&self) -> u64 {
        self.counters.lost.iter().map(|lost| lost.load(Ordering::Relaxed)).sum()
    }
}
