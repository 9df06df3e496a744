//! The ledger's first page: what it is, whose it is, and the counters that outlive the host.

use super::{HEADER_SIZE, SLOT_COUNT, SLOT_SIZE, Seed};
use std::sync::atomic::{AtomicU64, Ordering};

/// First bytes of every ledger.
pub const MAGIC: [u8; 8] = *b"MPROTEL\0";
/// Version of the format. A reader refuses any other.
pub const VERSION: u32 = 1;
/// Room for the host program's file name, in UTF-16 units.
pub const EXECUTABLE_UNITS: usize = 260;
/// `Header::session_id` where there are no sessions.
pub const NO_SESSION: u32 = u32::MAX;

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
}

impl Tally {
    /// Operations lost, for whatever reason.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Operations seen that are neither exported nor lost.
    pub fn pending(&self) -> u64 {
        self.seen.saturating_sub(self.exported.saturating_add(self.lost_in_all()))
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.seen += other.seen;
        self.exported += other.exported;
        for (mine, theirs) in self.lost.iter_mut().zip(other.lost) {
            *mine += theirs;
        }
        self.unmatched += other.unmatched;
        self.malformed += other.malformed;
        self.unprotected += other.unprotected;
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
    /// The counters have cache lines of their own.
    _to_counters: [u8; 408],
    counters: Counters,
    last_seen: AtomicU64,
    _rest: [u8; HEADER_SIZE - 1112],
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() == HEADER_SIZE);
    assert!(offset_of!(Header, anchor_unix_nanos) == 32);
    assert!(offset_of!(Header, executable) == 68);
    assert!(offset_of!(Header, id_seed) == 592);
    assert!(offset_of!(Header, counters) == 1024);
    assert!(offset_of!(Header, last_seen) == 1104);
};

impl Header {
    /// The header of a new ledger.
    pub fn new(seed: Seed<'_>) -> Self {
        let Seed { identity, parent, clock, id_seed } = seed;
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
            _to_counters: [0; 408],
            counters: Counters {
                exported: AtomicU64::new(0),
                lost: Default::default(),
                unmatched: AtomicU64::new(0),
                malformed: AtomicU64::new(0),
                unprotected: AtomicU64::new(0),
            },
            last_seen: AtomicU64::new(0),
            _rest: [0; HEADER_SIZE - 1112],
        }
    }

    /// Whether this is a ledger of the version and shape that this program reads.
    pub fn is_ours(&self) -> bool {
        self.magic == MAGIC
            && self.version == VERSION
            && self.header_size as usize == HEADER_SIZE
            && self.slot_size as usize == SLOT_SIZE
            && self.slot_count as usize == SLOT_COUNT
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

    /// Notes that the host was alive `nanos` after the anchor: the end of an operation that its
    /// death leaves open.
    pub fn note_alive(&self, nanos: u64) {
        self.last_seen.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Operations lost so far, for whatever reason.
    pub fn lost(&self) -> u64 {
        self.tally(0).lost_in_all()
    }

    /// Reads every counter, for a table that has had `recorded` operations.
    pub fn tally(&self, recorded: u64) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let lost: [u64; Loss::ALL.len()] =
            std::array::from_fn(|reason| read(&self.counters.lost[reason]));
        let unrecorded = lost[Loss::TableFull as usize];
        Tally {
            seen: recorded.saturating_add(unrecorded),
            exported: read(&self.counters.exported),
            lost,
            unmatched: read(&self.counters.unmatched),
            malformed: read(&self.counters.malformed),
            unprotected: read(&self.counters.unprotected),
        }
    }
}
