//! The ledger's first page: what it is, whose it is, and the counters that outlive the host.

use super::Seed;
use super::layout::{
    ERROR_BYTES, EXECUTABLE_UNITS, HEADER_SIZE, Header, LOSSES, MAGIC, NO_SESSION, SERVICE_UNITS,
    SLOT_COUNT, SLOT_SIZE, TALLY_WORDS, Tally, VERSION,
};
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who exports from a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Keeper {
    /// The host itself; after its death the agent.
    Host = 0,
    /// The agent, even while the host lives.
    Agent = 1,
}

impl Keeper {
    /// The keeper for a header's byte, which may come from a damaged file.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Host,
            1 => Self::Agent,
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
    /// The exporter could not be signalled; the operation stays in the ledger.
    ChannelFull = 1,
    /// There was no ledger yet, and no free place in the early table.
    LedgerUnavailable = 2,
    /// The collector refused the span for good.
    Rejected = 3,
    /// The operation is older than the agent keeps operations.
    Expired = 4,
    /// The record could not be read.
    Corrupt = 5,
}

impl Loss {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; LOSSES] = [
        Self::TableFull,
        Self::ChannelFull,
        Self::LedgerUnavailable,
        Self::Rejected,
        Self::Expired,
        Self::Corrupt,
    ];

    /// The place of the reason's number in a [`Tally`], in bytes.
    pub(crate) fn place(self) -> usize {
        offset_of!(Tally, lost) + size_of::<u64>() * self as usize
    }

    /// The reason's name in telemetry and reports.
    pub const fn name(self) -> &'static str {
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

impl Tally {
    /// Operations lost, for any reason.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Operations that were seen and never had a slot.
    pub(crate) fn unrecorded(&self) -> u64 {
        let lost = |loss: Loss| self.lost[loss as usize];
        lost(Loss::TableFull).saturating_add(lost(Loss::LedgerUnavailable))
    }

    /// Operations seen that are neither exported nor lost.
    pub fn pending(&self) -> u64 {
        self.seen.saturating_sub(self.exported.saturating_add(self.lost_in_all()))
    }
}

impl std::ops::AddAssign for Tally {
    /// Saturates, because numbers may come from a damaged file.
    fn add_assign(&mut self, other: Self) {
        let (mine, theirs) = (self.words(), other.words());
        let sum = std::array::from_fn(|word| mine[word].saturating_add(theirs[word]));
        *self = Self::from_words(sum);
    }
}

impl Header {
    /// The header of a new ledger, without the magic, which [`bear`](Self::bear) writes.
    pub fn new(seed: Seed<'_>) -> Self {
        let Seed { identity, parent, clock, id_seed, boot_id, keeper } = seed;
        let (executable, executable_units) = units::<EXECUTABLE_UNITS>(&identity.executable);
        let service = identity.service.as_deref().unwrap_or_default();
        let (service, service_units) = units::<SERVICE_UNITS>(service);
        Self {
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
            id_seed,
            anchor_monotonic: clock.anchor_monotonic(),
            keeper: keeper as u8,
            boot_id,
            service,
            service_units,
            ..Self::read(&[0; HEADER_SIZE])
        }
    }

    /// Writes the magic. From here on the file is a ledger, and all that was written before is in
    /// it.
    pub(super) fn bear(&self) {
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Notes why the exporter failed. A text that is too long is cut. For the exporter's thread
    /// alone.
    pub fn note_error(&self, text: &str) {
        let text = &text[..text.floor_char_boundary(ERROR_BYTES)];
        for (place, byte) in self.last_error.iter().zip(text.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        self.last_error_bytes.store(text.len() as u16, Ordering::Release);
    }

    /// The counter at this place of a [`Tally`].
    fn counter(&self, place: usize) -> &AtomicU64 {
        &self.counters[place / size_of::<u64>()]
    }

    /// Counts `count` operations as exported.
    pub fn count_exported(&self, count: u64) {
        self.counter(offset_of!(Tally, exported)).fetch_add(count, Ordering::Relaxed);
    }

    /// Counts `count` operations as lost.
    pub fn count_lost(&self, loss: Loss, count: u64) {
        self.counter(loss.place()).fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a POST that named no open operation.
    pub fn count_unmatched(&self) {
        self.counter(offset_of!(Tally, unmatched)).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that broke the contract.
    pub fn count_malformed(&self) {
        self.counter(offset_of!(Tally, malformed)).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts operations that were recorded in memory only.
    pub fn count_unprotected(&self, count: u64) {
        self.counter(offset_of!(Tally, unprotected)).fetch_add(count, Ordering::Relaxed);
    }

    /// Counts spans that are sent again.
    pub fn count_repeated(&self, count: u64) {
        self.counter(offset_of!(Tally, repeated)).fetch_add(count, Ordering::Relaxed);
    }

    /// Notes that a collector accepted a batch at this date, in nanoseconds since 1970.
    pub fn note_export(&self, unix_nanos: u64) {
        self.last_export_unix_nanos.fetch_max(unix_nanos, Ordering::Relaxed);
    }

    /// Losses already reported on a span.
    pub fn lost_told(&self) -> u64 {
        self.lost_told.load(Ordering::Relaxed)
    }

    /// Notes that spans have reported `lost` losses in all so far.
    pub fn tell_lost(&self, lost: u64) {
        self.lost_told.store(lost, Ordering::Relaxed);
    }

    /// Signals to a reader in another process that a slot was written to.
    pub fn note_activity(&self, slot: usize) {
        self.activity[slot / 64].writes.fetch_add(1, Ordering::Release);
    }

    /// Notes that the host was alive `nanos` nanoseconds after the anchor. If the host dies in an
    /// operation, the operation ends at this time.
    pub fn note_alive(&self, nanos: u64) {
        self.last_seen.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Operations of this host that are lost so far, for any reason.
    pub fn lost(&self) -> u64 {
        load(&self.counters).lost_in_all()
    }
}

/// A text as UTF-16, cut to what fits, and its length in units.
fn units<const ROOM: usize>(text: &str) -> ([u16; ROOM], u16) {
    let mut place = [0; ROOM];
    let mut count = 0;
    for (place, unit) in place.iter_mut().zip(text.encode_utf16()) {
        *place = unit;
        count += 1;
    }
    (place, count)
}

fn load(words: &[AtomicU64; TALLY_WORDS]) -> Tally {
    Tally::from_words(std::array::from_fn(|word| words[word].load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::super::{Ledger, read_last_error};
    use super::*;
    use crate::clock::Clock;
    use crate::process::Identity;

    #[test]
    fn a_new_error_replaces_the_one_before_and_is_cut_between_two_characters() {
        let folder = tempfile::tempdir().unwrap();
        let seed = Seed {
            identity: &Identity::current(),
            parent: None,
            clock: Clock::start(),
            id_seed: [1, 2, 3],
            boot_id: 0,
            keeper: Keeper::Host,
        };
        let ledger = Ledger::create(folder.path(), seed).unwrap();
        let read = || read_last_error(ledger.path().unwrap()).unwrap();
        assert_eq!(read(), "");
        ledger.header().note_error(&"é".repeat(ERROR_BYTES));
        assert_eq!(read(), "é".repeat(ERROR_BYTES / 2));
        ledger.header().note_error("status 503");
        assert_eq!(read(), "status 503");
    }
}
