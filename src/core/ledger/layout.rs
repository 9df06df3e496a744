//! The format of a ledger file, version 2. It is defined here and nowhere else.
//!
//! A file is a [`Header`], then [`SLOT_COUNT`] times a [`StoredSlot`], then zeros up to
//! [`FILE_SIZE`]. The host maps these structs (mapping.rs). A reader copies them out of the file
//! (image.rs). A process that writes single fields of another process' ledger takes their places
//! from [`offset`] and [`Geometry`].
//!
//! Version 1 had other slots ([`v1`]). Its header is this one without the fields whose comment says
//! "Version 2".
//!
//! All numbers are little endian, as on every Windows. Every field is an integer or an array of
//! integers. Padding is only in fields that are named or described as not used, and it is zeros. So
//! 32- and 64-bit hosts write the same bytes. A change of any place, size or meaning is a new
//! version; tests/data keeps a file of each version.

#![allow(unsafe_code)] // This file gives shared memory its types.

pub(super) mod v1;

use std::mem::{offset_of, size_of, transmute};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64};

/// First bytes of every ledger: `MPROTEL` and a NUL. Zeros in their place mean that the ledger is
/// not finished.
pub const MAGIC: u64 = u64::from_le_bytes(*b"MPROTEL\0");
/// Version of the format.
pub const VERSION: u32 = 2;
/// Bytes of the header.
pub const HEADER_SIZE: usize = size_of::<Header>();
/// Bytes of a slot.
pub const SLOT_SIZE: usize = size_of::<StoredSlot>();
/// Slots of a ledger: how many operations of one host can be under way or not yet exported at a
/// time.
pub const SLOT_COUNT: usize = 160;
/// How many words of 64 bits have a bit for each slot.
pub const SLOT_WORDS: usize = SLOT_COUNT.div_ceil(64);
/// An operation's number is its slot's generation times this, plus its slot. It is the same in each
/// version, so that the ids that are made from the number stay the same.
pub const NUMBER_STRIDE: u64 = 1024;
/// Bytes of a ledger file.
pub const FILE_SIZE: usize = 128 * 1024;
/// Bytes of the largest file that any version makes.
pub const LARGEST_FILE: usize = v1::FILE_SIZE;
/// Room for the name of the host's service, in UTF-16 units.
pub const SERVICE_UNITS: usize = 64;
/// Room for the exporter's last error, in bytes of UTF-8.
pub const ERROR_BYTES: usize = 256;
/// Room for a SID, in bytes: nine sub-authorities. A domain user's SID has five.
pub const SID_BYTES: usize = 44;
/// Room for the host program's file name, in UTF-16 units.
pub const EXECUTABLE_UNITS: usize = 260;
/// The value of `Header::session_id` and `Body::session_id` if there are no sessions, or the
/// session is not known.
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
/// An add has a remote and a local name; a cancel has one name and a provider.
const TEXT_UNITS: usize = REMOTE_UNITS + PROVIDER_UNITS;

/// `Body::kind` of an add-connection.
pub const KIND_ADD: u8 = 1;
/// `Body::kind` of a cancel-connection.
pub const KIND_CANCEL: u8 = 2;

/// `Body::elevation`: the values of Windows' TOKEN_ELEVATION_TYPE (winnt.h); 0 is not known.
pub const ELEVATION_DEFAULT: u8 = 1;
/// `Body::elevation` of an elevated token.
pub const ELEVATION_FULL: u8 = 2;
/// `Body::elevation` of an administrator's token that is not elevated.
pub const ELEVATION_LIMITED: u8 = 3;

/// In [`Body::sent`]: a request with this operation's span was made.
pub const SENT: u8 = 1;
/// In [`Body::sent`]: a collector has the operation's span as an unfinished one.
pub const SENT_UNFINISHED: u8 = 2;

/// What a ledger is, whose it is, and the counters that outlive its host.
///
/// The host writes all fields that are not atomic once, and then the magic.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    /// [`MAGIC`].
    pub(super) magic: AtomicU64,
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
    /// The anchor, in nanoseconds since 1970: the date of the monotonic clock's zero, as the host
    /// saw it when it started. In version 1 it is the date of the start itself. All other times of
    /// the file are nanoseconds after the anchor, unless their comment says otherwise.
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
    /// A [`Tally`] of this host. `seen` stays 0, because it is computed from the slots. The other
    /// counters begin on a cache line of their own.
    pub(super) counters: [AtomicU64; TALLY_WORDS],
    /// When the exporter was last alive, in nanoseconds after the anchor.
    pub(super) last_seen: AtomicU64,
    /// When a collector last accepted a batch, in nanoseconds since 1970; 0 for never.
    pub(super) last_export_unix_nanos: AtomicU64,
    /// Losses already reported on a span.
    pub(super) lost_told: AtomicU64,
    pub(super) _to_activity: [u8; 912],
    /// How often each group of 64 slots was written to. Only counted if the agent exports.
    pub(super) activity: [Activity; SLOT_WORDS],
    pub(super) _to_boot_id: [u8; 832],
    /// Version 2: the boot of the machine that the host belongs to; 0 if it is not known.
    pub(super) boot_id: u64,
    /// Version 2: the name of the service that the host is, if its command line names one.
    pub(super) service: [u16; SERVICE_UNITS],
    /// Version 2: units of that name.
    pub(super) service_units: u16,
    /// Version 2: bytes of `last_error`.
    pub(super) last_error_bytes: AtomicU16,
    pub(super) _to_last_error: [u8; 4],
    /// Version 2: why the exporter failed last. Only the exporter writes it, one byte after the
    /// other, so a reader may find two texts mixed.
    pub(super) last_error: [AtomicU8; ERROR_BYTES],
    pub(super) _rest: [u8; 624],
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
    /// POST calls whose handle named no open operation. The product does not trust them, so they
    /// are never spans.
    pub unmatched: u64,
    /// Calls that broke the contract: a NULL structure or an unknown `dwNotifyStatus`.
    pub malformed: u64,
    /// Operations recorded in memory only, because no file could be made. If the host dies, they
    /// are lost.
    pub unprotected: u64,
    /// Spans that were sent again because it was not known whether they had arrived.
    pub repeated: u64,
}

/// A slot as it is in the file. slot.rs has the same layout with an atomic and a cell.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredSlot {
    /// `generation << 8 | phase`: see state.rs. The file is little endian, so the first byte of a
    /// slot is its phase.
    pub(super) state: u64,
    pub(super) body: Body,
}

/// What is known of one operation. PRE writes all fields; POST writes those whose comment says so.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// [`Body::sum`] of the finished operation. POST writes it last; it is never 0.
    pub checksum: u64,
    /// What has been sent of this operation: [`SENT`] and [`SENT_UNFINISHED`].
    pub sent: u8,
    /// [`KIND_ADD`] or [`KIND_CANCEL`].
    pub kind: u8,
    /// 1 if a cancel was forced.
    pub force: u8,
    /// 1 if a string was cut. POST may set it.
    pub truncated: u8,
    /// The effective token's elevation: [`ELEVATION_DEFAULT`], [`ELEVATION_FULL`] or
    /// [`ELEVATION_LIMITED`].
    pub elevation: u8,
    /// 1 if the thread impersonated.
    pub impersonated: u8,
    /// Not used by this version.
    pub reserved_kind: [u8; 2],
    /// Nanoseconds from the header's anchor to PRE, by the clock that does not count sleep.
    pub started: u64,
    /// Nanoseconds from the header's anchor to POST, or to when the operation was given up, by the
    /// same clock. POST writes it.
    pub ended: u64,
    /// The wall clock at PRE, in nanoseconds since 1970; 0 if it is not known.
    pub started_unix_nanos: u64,
    /// How many nanoseconds the machine had slept since its boot, at PRE.
    pub asleep_before: u64,
    /// The same at POST. POST writes it.
    pub asleep_after: u64,
    /// The LUID of the effective token's logon; 0 if it is not known.
    pub logon_id: u64,
    /// The calling thread's id.
    pub thread_id: u32,
    /// The effective token's session, or [`NO_SESSION`].
    pub session_id: u32,
    /// `dwAddFlags` or `dwFlags`: `CONNECT_*`.
    pub flags: u32,
    /// `dwType` of an add: `RESOURCETYPE_*`.
    pub resource_type: u32,
    /// `dwOperationStatus` of POST: a Win32 code. POST writes it.
    pub status: u32,
    /// Units of the remote name.
    pub remote_units: u16,
    /// Units of the local name.
    pub local_units: u16,
    /// Units of the provider's name. POST writes it.
    pub provider_units: u16,
    /// Bytes of `user_sid`; 0 if there is none.
    pub user_sid_bytes: u8,
    /// Not used by this version; aligns the text to eight bytes.
    pub reserved_text: [u8; 5],
    /// The names, one after the other, so that few cache lines are touched. An add has
    /// `lpRemoteName` and `lpLocalName`. A cancel has `lpName`, and `lpProvider` if it succeeded.
    pub text: [u16; TEXT_UNITS],
    /// The SID of the effective token's user.
    pub user_sid: [u8; SID_BYTES],
    /// Not used by this version.
    pub rest: [u8; 4],
}

/// Where the slots are in a file of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The version.
    pub version: u32,
    /// Slots of a file.
    pub slot_count: usize,
    /// Bytes of a slot.
    pub slot_size: usize,
    /// Bytes of a file.
    pub file_size: usize,
    /// [`Body::sent`] in a slot.
    sent: usize,
}

impl Geometry {
    /// The places in version 2, which is this one.
    pub const V2: Self = Self {
        version: VERSION,
        slot_count: SLOT_COUNT,
        slot_size: SLOT_SIZE,
        file_size: FILE_SIZE,
        sent: offset_of!(StoredSlot, body) + offset_of!(Body, sent),
    };
    /// The places in version 1.
    pub const V1: Self = Self {
        version: 1,
        slot_count: v1::SLOT_COUNT,
        slot_size: v1::SLOT_SIZE,
        file_size: v1::FILE_SIZE,
        sent: v1::SENT,
    };

    /// The offset of a slot in bytes. A slot begins with its state, and the state's first byte is
    /// the phase.
    pub(crate) fn slot(&self, index: usize) -> usize {
        HEADER_SIZE + index * self.slot_size
    }

    /// The offset of a slot's [`Body::sent`], in bytes.
    pub(crate) fn sent(&self, index: usize) -> usize {
        self.slot(index) + self.sent
    }
}

/// Offsets, in bytes from the file's beginning, at which a process writes into another process'
/// ledger.
pub(crate) mod offset {
    use super::{Header, offset_of};

    /// Losses already reported on a span.
    pub const LOST_TOLD: usize = offset_of!(Header, lost_told);
}

// The sizes of the fields add up to these numbers, so no target adds padding between them.
const _: () = assert!(HEADER_SIZE == 4096 && SLOT_SIZE == 792 && size_of::<Body>() == 784);
const _: () = assert!(HEADER_SIZE + SLOT_COUNT * SLOT_SIZE <= FILE_SIZE);
const _: () = assert!(SLOT_COUNT as u64 <= NUMBER_STRIDE && v1::SLOT_COUNT as u64 <= NUMBER_STRIDE);

/// Asserts the places of fields, because the files in tests/data do not fix all of them.
macro_rules! places {
    ($($type:ident: $($field:ident $place:literal),+;)+) => {
        $($(const _: () = assert!(offset_of!($type, $field) == $place);)+)+
    };
}

places! {
    Header: magic 0, version 8, header_size 12, slot_size 16, slot_count 20, pid 24, session_id 28,
        anchor_unix_nanos 32, parent_trace_id 40, parent_span_id 56, has_parent 64,
        pointer_bytes 65, executable_units 66, executable 68, id_seed 592, anchor_monotonic 616,
        keeper 624, counters 1016, last_seen 1112, last_export_unix_nanos 1120, lost_told 1128,
        activity 2048, boot_id 3072, service 3080,
        service_units 3208, last_error_bytes 3210, last_error 3216;
    StoredSlot: state 0, body 8;
    Body: checksum 0, sent 8, kind 9, force 10, truncated 11, elevation 12, impersonated 13,
        started 16, ended 24, started_unix_nanos 32, asleep_before 40, asleep_after 48,
        logon_id 56, thread_id 64, session_id 68, flags 72, resource_type 76, status 80,
        remote_units 84, local_units 86, provider_units 88, user_sid_bytes 90, text 96,
        user_sid 736;
}

impl Body {
    /// A body of zeros, and without a session.
    pub fn empty() -> Self {
        // SAFETY: a body has integers and arrays of them only, and zero is a value of each.
        let zeros: Self = unsafe { std::mem::zeroed() };
        Self { session_id: NO_SESSION, ..zeros }
    }

    /// The checksum of what is in it: FNV-1a over its words of 64 bits, in their order.
    ///
    /// The sum leaves out the checksum itself; `sent`, which is written after POST; units of text
    /// behind the last name, which an earlier operation may have left; and a SID that is not there.
    /// If one of these shares a word with something else, it counts as zeros. Every change of one
    /// word changes the sum.
    pub fn sum(&self) -> u64 {
        const TEXT: usize = offset_of!(Body, text) / 8;
        const SID: usize = offset_of!(Body, user_sid) / 8;
        const SENT_WORD: usize = offset_of!(Body, sent) / 8;
        // SAFETY: a body has 784 bytes, is aligned to eight and has no padding, which the
        // assertions above check. Its fields are integers, so it is an array of words.
        let words = unsafe { &*std::ptr::from_ref(self).cast::<[u64; size_of::<Body>() / 8]>() };
        let units = [self.remote_units, self.local_units, self.provider_units];
        let units = units.iter().map(|units| usize::from(*units)).sum::<usize>().min(TEXT_UNITS);
        let (whole, rest) = (units / 4, units % 4);
        let sid = usize::from(self.user_sid_bytes).min(SID_BYTES).div_ceil(8);

        let add = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        let mut sum = add(0xCBF2_9CE4_8422_2325, words[SENT_WORD] & !0xFF);
        for word in words[SENT_WORD + 1..TEXT + whole].iter().chain(&words[SID..SID + sid]) {
            sum = add(sum, *word);
        }
        if rest > 0 {
            sum = add(sum, words[TEXT + whole] & !(u64::MAX << (rest * 16)));
        }
        // A checksum of 0 means a slot that was never finished.
        sum.max(1)
    }
}

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
