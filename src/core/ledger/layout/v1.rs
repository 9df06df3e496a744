//! The slots of version 1, so that ledgers of that version can be read.

use super::{Body, HEADER_SIZE, LOCAL_UNITS, PROVIDER_UNITS, REMOTE_UNITS, TEXT_UNITS};
use std::mem::{offset_of, size_of};

/// Slots of a ledger.
pub const SLOT_COUNT: usize = 1024;
/// Bytes of a slot.
pub const SLOT_SIZE: usize = size_of::<StoredSlot>();
/// Bytes of a ledger file.
pub const FILE_SIZE: usize = HEADER_SIZE + SLOT_SIZE * SLOT_COUNT;
/// What has been sent of an operation, in its slot.
pub const SENT: usize = offset_of!(StoredSlot, sent);

/// A slot. The fields mean what those of the same name mean in [`Body`]; the clock counted sleep
/// on Windows.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct StoredSlot {
    pub state: u64,
    started: u64,
    ended: u64,
    thread_id: u32,
    flags: u32,
    resource_type: u32,
    status: u32,
    kind: u8,
    force: u8,
    truncated: u8,
    sent: u8,
    remote_units: u16,
    local_units: u16,
    provider_units: u16,
    reserved_text: [u8; 6],
    /// Remote name, local name, provider: version 0.1 wrote the provider of adds, too.
    text: [u16; REMOTE_UNITS + LOCAL_UNITS + PROVIDER_UNITS],
    rest: [u8; 24],
}

const _: () = assert!(SLOT_SIZE == 768 && SENT == 43 && offset_of!(StoredSlot, text) == 56);

impl StoredSlot {
    /// Copies a slot out of a file.
    pub fn read(bytes: &[u8; SLOT_SIZE]) -> Self {
        // SAFETY: the array has a slot's size. All of its fields are integers and arrays of them,
        // so any bytes are a valid value; the read needs no alignment.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }

    /// The slot's operation as version 2 records it. The anchor and the session are the header's.
    pub fn body(&self, anchor_unix_nanos: u64, session_id: u32) -> Body {
        let mut body = Body {
            sent: self.sent,
            kind: self.kind,
            force: self.force,
            truncated: self.truncated,
            started: self.started,
            ended: self.ended,
            started_unix_nanos: anchor_unix_nanos.saturating_add(self.started),
            thread_id: self.thread_id,
            session_id,
            flags: self.flags,
            resource_type: self.resource_type,
            status: self.status,
            remote_units: self.remote_units,
            local_units: self.local_units,
            ..Body::empty()
        };
        let (kept, _) = self.text.split_at(TEXT_UNITS);
        body.text.copy_from_slice(kept);
        let names = usize::from(self.remote_units) + usize::from(self.local_units);
        let room = TEXT_UNITS.saturating_sub(names);
        // A provider's length that cannot be right stays wrong, so that the reader finds the damage.
        body.provider_units = match usize::from(self.provider_units) {
            units @ 0..=PROVIDER_UNITS => units.min(room) as u16,
            _ => u16::MAX,
        };
        body.checksum = body.sum();
        body
    }
}
