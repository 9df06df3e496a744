//! The format of a ledger file, version 1. It is defined here and nowhere else.
//!
//! A file is a [`Header`] and behind it [`SLOT_COUNT`] times a [`StoredSlot`]. The host maps
//! these structs (mapping.rs), a reader copies them out of the file (image.rs), and a process
//! that writes single fields of another's ledger takes their places from [`offset`].
//!
//! Little endian, as every Windows is. Every field is an integer or an array of integers, and
//! there is no padding but the fields named so, which are zeros: 32- and 64-bit hosts write the
//! same. A change of any place, size or meaning is a new version; tests/data keeps a file of each.

#![allow(unsafe_code)] // This file gives shared memory its types.

use std::mem::{offset_of, size_of, transmute};
use std::sync::atomic::{AtomicU8, AtomicU64};

/// First bytes of every ledger.
pub const MAGIC: [u8; 8] = *b"MPROTEL\0";
/// Version of the format. A reader refuses any other.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_SIZE: usize = size_of::<Header>();
/// Bytes of a slot.
pub const SLOT_SIZE: usize = size_of::<StoredSlot>();
/// Slots of a ledger: operations that one host can have under way and unexported at a time.
pub const SLOT_COUNT: usize = 1024;
/// Bytes of a ledger file.
pub const FILE_SIZE: usize = HEADER_SIZE + SLOT_SIZE * SLOT_COUNT;
/// Room for the host program's file name, in UTF-16 units.
pub const EXECUTABLE_UNITS: usize = 260;
/// `Header::session_id` where there are no sessions.
pub const NO_SESSION: u32 = u32::MAX;
/// Reasons why an operation is lost: see [`Loss`](super::Loss).
pub const LOSSES: usize = 6;
/// Numbers in a [`Tally`].
pub const TALLY_WORDS: usize = size_of::<Tally>() / size_of::<u64>();

/// The most that is kept of a remote name, in UTF-16 units.
pub const REMOTE_UNITS: usize = 256;
/// The most that is kept of a local name, in UTF-16 units.
pub const LOCAL_UNITS: usize = 24;
/// The most that is kept of a provider's name, in UTF-16 units.
pub const PROVIDER_UNITS: usize = 64;
const TEXT_UNITS: usize = REMOTE_UNITS + LOCAL_UNITS + PROVIDER_UNITS;

/// `Body::kind` of an add-connection.
pub const KIND_ADD: u8 = 1;
/// `Body::kind` of a cancel-connection.
pub const KIND_CANCEL: u8 = 2;

/// In [`Body::sent`]: a request with this operation's span was made.
pub const SENT: u8 = 1;
/// In [`Body::sent`]: a collector has the operation's span, as one that did not end.
pub const SENT_UNFINISHED: u8 = 2;

/// What a ledger is, whose it is, and the counters that outlive its host.
///
/// The host writes all but the atomic fields once, before the file has its name.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    /// [`MAGIC`].
    pub(super) magic: [u8; 8],
    /// [`VERSION`].
    pub(super) version: u32,
    /// [`HEADER_SIZE`].
    pub(super) header_size: u32,
    /// [`SLOT_SIZE`].
    pub(super) slot_size: u32,
    /// [`SLOT_COUNT`].
    pub(super) slot_count: u32,
    /// The host's process id.
    pub(super) pid: u32,
    /// The host's Windows session, or [`NO_SESSION`].
    pub(super) session_id: u32,
    /// The anchor: a moment of the host's start, in nanoseconds since 1970. All other times of
    /// the file are nanoseconds after it, unless they say otherwise.
    pub(super) anchor_unix_nanos: u64,
    /// Trace of the parent of every span of this host.
    pub(super) parent_trace_id: [u8; 16],
    /// Span id of that parent.
    pub(super) parent_span_id: [u8; 8],
    /// 1 if there is such a parent.
    pub(super) has_parent: u8,
    /// Bytes of the host's pointers: 4 or 8.
    pub(super) pointer_bytes: u8,
    /// Units of the host program's file name.
    pub(super) executable_units: u16,
    /// The host program's file name.
    pub(super) executable: [u16; EXECUTABLE_UNITS],
    pub(super) _to_id_seed: [u8; 4],
    /// Random; trace and span ids are made from it and the operation's number.
    pub(super) id_seed: [u64; 3],
    /// The anchor by the machine's monotonic clock, in nanoseconds.
    pub(super) anchor_monotonic: u64,
    /// Who exports: a [`Keeper`](super::Keeper).
    pub(super) keeper: u8,
    pub(super) _to_counters: [u8; 391],
    /// A [`Tally`] of this host. `seen` stays 0, because it is computed from the slots; the others
    /// begin at a cache line of their own.
    pub(super) counters: [AtomicU64; TALLY_WORDS],
    /// When the exporter was last alive.
    pub(super) last_seen: AtomicU64,
    /// When a collector last accepted a batch, in nanoseconds since 1970; 0 for never.
    pub(super) last_export_unix_nanos: AtomicU64,
    /// Losses already reported on a span.
    pub(super) lost_told: AtomicU64,
    /// 1 if another ledger has inherited the counters.
    pub(super) counters_moved: AtomicU8,
    pub(super) _to_inherited: [u8; 15],
    /// A [`Tally`] of the ledgers that this one's exporter has removed.
    pub(super) inherited: [AtomicU64; TALLY_WORDS],
    pub(super) _to_told: [u8; 32],
    /// The [`Tally`] that the agent has already reported as metrics; in its own ledger only.
    pub(super) told: [AtomicU64; TALLY_WORDS],
    pub(super) _to_activity: [u8; 672],
    /// How often each 64 slots were written to, where the agent exports.
    pub(super) activity: [Activity; SLOT_COUNT / 64],
    pub(super) _rest: [u8; 1024],
}

/// Counts the writes to 64 slots, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) writes: AtomicU64,
    _rest: [u8; 56],
}

/// What happened to operations. `seen = exported + pending + lost` holds between operations.
///
/// The order of the fields is the order of the numbers in a file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations whose PRE arrived.
    pub seen: u64,
    /// Operations whose span a collector accepted.
    pub exported: u64,
    /// Operations lost, by reason, in the order of [`Loss::ALL`](super::Loss::ALL).
    pub lost: [u64; LOSSES],
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

/// A slot as it is in the file: slot.rs has the same with an atomic and a cell.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredSlot {
    /// `generation << 8 | phase`: see state.rs. So the first byte of a slot is its phase.
    pub(super) state: u64,
    pub(super) body: Body,
}

/// What is known of one operation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Nanoseconds from the header's anchor to PRE.
    pub started: u64,
    /// Nanoseconds from the header's anchor to POST, or to when the operation was given up.
    pub ended: u64,
    /// The calling thread's id.
    pub thread_id: u32,
    /// `dwAddFlags` or `dwFlags`: `CONNECT_*`.
    pub flags: u32,
    /// `dwType` of an add: `RESOURCETYPE_*`.
    pub resource_type: u32,
    /// `dwOperationStatus` of POST: a Win32 code.
    pub status: u32,
    /// [`KIND_ADD`] or [`KIND_CANCEL`].
    pub kind: u8,
    /// 1 if a cancel was forced.
    pub force: u8,
    /// 1 if a string was cut.
    pub truncated: u8,
    /// What has been sent of it: [`SENT`] and [`SENT_UNFINISHED`].
    pub sent: u8,
    /// Units of the remote name.
    pub remote_units: u16,
    /// Units of the local name.
    pub local_units: u16,
    /// Units of the provider's name.
    pub provider_units: u16,
    /// Not used by this version; aligns the text to eight bytes.
    pub reserved_text: [u8; 6],
    /// The names one behind the other, so that few cache lines are touched: `lpRemoteName` of an
    /// add or `lpName` of a cancel, `lpLocalName` of an add, `lpProvider` of a cancel that
    /// succeeded; version 0.1 wrote that of adds too.
    pub text: [u16; TEXT_UNITS],
    /// Not used by this version.
    pub rest: [u8; 24],
}

/// Where a process writes into the ledger of another one, in bytes from the file's beginning.
pub(crate) mod offset {
    use super::{Body, HEADER_SIZE, Header, SLOT_SIZE, StoredSlot, offset_of};

    /// The host's [`Tally`](super::Tally).
    pub const COUNTERS: usize = offset_of!(Header, counters);
    /// Losses already reported on a span.
    pub const LOST_TOLD: usize = offset_of!(Header, lost_told);
    /// Whether another ledger has inherited the counters.
    pub const COUNTERS_MOVED: usize = offset_of!(Header, counters_moved);

    /// A slot, which begins with its state, whose first byte is the phase.
    pub const fn slot(index: usize) -> usize {
        HEADER_SIZE + index * SLOT_SIZE
    }

    /// What has been sent of the slot's operation: [`Body::sent`].
    pub const fn sent(index: usize) -> usize {
        slot(index) + offset_of!(StoredSlot, body) + offset_of!(Body, sent)
    }
}

// The fields' own sizes add up to these, so no target has padding between them.
const _: () = assert!(HEADER_SIZE == 4096 && SLOT_SIZE == 768);
// Only the agent writes these two, so the file in tests/data does not hold their places.
const _: () = assert!(offset_of!(Header, told) == 1280 && offset_of!(Header, activity) == 2048);

impl Header {
    /// Copies a header out of a file.
    pub(super) fn read(bytes: &[u8; HEADER_SIZE]) -> Self {
        // SAFETY: the array has a header's size. All of its fields are integers, atomic or not,
        // and arrays of them, so any bytes are a valid value; the read needs no alignment.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }
}

impl StoredSlot {
    /// Copies a slot out of a file.
    pub(super) fn read(bytes: &[u8; SLOT_SIZE]) -> Self {
        // SAFETY: the array has a slot's size. All of its fields are integers and arrays of them,
        // so any bytes are a valid value; the read needs no alignment.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }
}

impl Tally {
    /// Every number, in the order of the fields.
    pub fn words(&self) -> [u64; TALLY_WORDS] {
        // SAFETY: a tally is `repr(C)` and has only `u64` in it, so it is an array of them.
        unsafe { transmute::<Self, [u64; TALLY_WORDS]>(*self) }
    }

    /// The tally of these numbers.
    pub fn from_words(words: [u64; TALLY_WORDS]) -> Self {
        // SAFETY: as in `words`.
        unsafe { transmute::<[u64; TALLY_WORDS], Self>(words) }
    }
}
