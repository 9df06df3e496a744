//! One operation's place in the ledger, and the guards that own its body.

#![allow(unsafe_code)] // This file meets shared memory.

use super::state::{Phase, State};
use crate::sync::UnsafeCell;
use crate::wide::WideStr;
use std::ops::{Deref, DerefMut};

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
/// In [`Body::sent`]: a collector has a span that says that the operation did not end.
pub const SENT_UNFINISHED: u8 = 2;

/// What is known of one operation. Plain integers only: any bytes are a valid value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Nanoseconds from the header's anchor to PRE.
    pub started: u64,
    /// Nanoseconds from the header's anchor to POST, or to when the operation was given up.
    pub ended: u64,
    /// The calling thread's id.
    pub thread_id: u32,
    /// `dwAddFlags` or `dwFlags`.
    pub flags: u32,
    /// `dwType` of an add.
    pub resource_type: u32,
    /// `dwOperationStatus` of POST.
    pub status: u32,
    /// [`KIND_ADD`] or [`KIND_CANCEL`].
    pub kind: u8,
    /// 1 if a cancel was forced.
    pub force: u8,
    /// 1 if a name did not fit and was cut.
    pub truncated: u8,
    /// What has been sent of this operation: [`SENT`] and [`SENT_UNFINISHED`].
    pub sent: u8,
    /// Units of the remote name.
    pub remote_units: u16,
    /// Units of the local name.
    pub local_units: u16,
    /// Units of the provider's name.
    pub provider_units: u16,
    /// Not used by this version; aligns the text, so that no store of four units is split.
    pub reserved_text: [u8; 6],
    /// The names one behind the other, so that few cache lines are touched: `lpRemoteName` of an
    /// add or `lpName` of a cancel, `lpLocalName` of an add, `lpProvider` of a success.
    pub text: [u16; TEXT_UNITS],
    /// Not used by this version.
    pub rest: [u8; 24],
}

impl Body {
    /// Copies the names that PRE is given, within the call.
    pub fn set_names(&mut self, remote: WideStr<'_>, local: WideStr<'_>) {
        let remote = remote.copy_to(&mut self.text[..REMOTE_UNITS]);
        let start = usize::from(remote.units);
        let local = local.copy_to(&mut self.text[start..start + LOCAL_UNITS]);
        self.remote_units = remote.units;
        self.local_units = local.units;
        self.provider_units = 0;
        self.truncated = u8::from(remote.truncated || local.truncated);
    }

    /// Copies the provider's name, within the call.
    pub fn set_provider(&mut self, provider: WideStr<'_>) {
        let start = usize::from(self.remote_units) + usize::from(self.local_units);
        // `set_names` wrote lengths that leave room. If another process has overwritten them,
        // the provider's name is left out.
        let room = self.text.get_mut(start..start + PROVIDER_UNITS).unwrap_or_default();
        let copied = provider.copy_to(room);
        self.provider_units = copied.units;
        self.truncated |= u8::from(copied.truncated);
    }

    /// Remote name, local name and provider; `None` if their lengths do not fit.
    pub fn names(&self) -> Option<[&[u16]; 3]> {
        let (remote, rest) = self.text.split_at_checked(self.remote_units.into())?;
        let (local, rest) = rest.split_at_checked(self.local_units.into())?;
        let provider = rest.get(..self.provider_units.into())?;
        Some([remote, local, provider])
    }
}

/// A state word and the body it guards: 768 bytes, the same in 32- and 64-bit hosts.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct Slot {
    state: State,
    body: UnsafeCell<Body>,
}

const _: () = assert!(core::mem::offset_of!(Body, text) == 48);

// SAFETY: the body is only reached through the guards below, and the state word gives each guard
// to one thread at a time (state.rs has the table, tests/model.rs checks it).
unsafe impl Sync for Slot {}

/// A free slot: in a mapped file, zeros.
impl Default for Slot {
    fn default() -> Self {
        // SAFETY: a body has integers only, and zero is a value of every integer.
        let body = unsafe { std::mem::zeroed() };
        Self { state: State::default(), body: UnsafeCell::new(body) }
    }
}

impl Slot {
    /// Starts writing the slot's next operation. The caller owns the slot, because it took the
    /// slot's bit in the occupancy bitmap.
    pub(super) fn claim(&self) -> Claim<'_> {
        Claim { slot: self, generation: self.state.claim() }
    }

    /// The same in a ledger without a bitmap; `None` if the slot is not free.
    pub(super) fn try_claim(&self) -> Option<Claim<'_>> {
        Some(Claim { slot: self, generation: self.state.try_claim()? })
    }

    /// Starts completing the slot's operation. `None` if it is not open, or its generation does
    /// not satisfy `expected`.
    pub(super) fn complete(&self, expected: impl Fn(u64) -> bool) -> Option<Completion<'_>> {
        let generation = self.state.begin_completion(expected)?;
        Some(Completion { slot: self, generation, finished: false })
    }

    /// Gives up the operation of `generation` if it is still open.
    pub(super) fn abandon(&self, generation: u64) -> bool {
        self.state.abandon(generation)
    }

    /// A copy of the body of a finished or abandoned operation, with its phase and generation.
    ///
    /// Only the exporter calls this. No other thread takes a slot out of these phases.
    pub(super) fn settled(&self) -> Option<(Phase, u64, Body)> {
        let (Some(phase @ (Phase::Done | Phase::Unfinished)), generation) = self.state.load()
        else {
            return None;
        };
        // SAFETY: the load was Acquire and saw Done or Unfinished, so everything that was written
        // to the body happened before. Nobody writes it again before the exporter, which is the
        // only caller, releases the slot.
        Some((phase, generation, self.body.with(|body| unsafe { *body })))
    }

    /// Writes when an abandoned operation was given up.
    pub(super) fn set_abandoned_at(&self, ended: u64) {
        if let (Some(Phase::Unfinished), _) = self.state.load() {
            // SAFETY: in phase Unfinished only the exporter touches the body, and it is the only
            // caller.
            let body = self.body.with_mut(|body| unsafe { &mut *body });
            body.ended = ended;
        }
    }

    /// Notes that a request with this operation's span is made. Returns whether an earlier request
    /// had it. Only the exporter calls this, for a slot that it has read as settled.
    pub(super) fn note_sent(&self) -> bool {
        if !matches!(self.state.load(), (Some(Phase::Done | Phase::Unfinished), _)) {
            return false;
        }
        // SAFETY: in these phases only the exporter touches the body, and it is the only caller.
        let body = self.body.with_mut(|body| unsafe { &mut *body });
        let before = body.sent;
        body.sent |= SENT;
        before & SENT != 0
    }

    /// Frees the slot. Only the exporter calls this, for a slot that it has read as settled.
    pub(super) fn release(&self) {
        self.state.release();
    }
}

/// Exclusive access to the body of an operation that is being begun.
///
/// If it is dropped without [`Claim::publish`], the slot stays claimed. Nothing that PRE does in
/// between can fail.
#[derive(Debug)]
pub struct Claim<'ledger> {
    slot: &'ledger Slot,
    generation: u64,
}

impl Claim<'_> {
    /// Makes the operation visible as open and gives its generation.
    pub(super) fn publish(self) -> u64 {
        self.slot.state.publish(self.generation);
        self.generation
    }
}

impl Deref for Claim<'_> {
    type Target = Body;
    fn deref(&self) -> &Body {
        // SAFETY: the slot is Claimed, so this guard is the only access to the body, and the
        // reference borrows the guard.
        self.slot.body.with(|body| unsafe { &*body })
    }
}

impl DerefMut for Claim<'_> {
    fn deref_mut(&mut self) -> &mut Body {
        // SAFETY: the slot is Claimed, so this guard is the only access to the body, and the
        // reference borrows the guard.
        self.slot.body.with_mut(|body| unsafe { &mut *body })
    }
}

/// Exclusive access to the body of an operation that is being completed.
///
/// If it is dropped without [`Completion::finish`], the operation is open again.
#[derive(Debug)]
pub struct Completion<'ledger> {
    slot: &'ledger Slot,
    generation: u64,
    finished: bool,
}

impl Completion<'_> {
    /// Makes the operation visible as done. From here on it survives the host process.
    pub fn finish(mut self) {
        self.finished = true;
        self.slot.state.finish(self.generation);
    }
}

impl Drop for Completion<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.slot.state.reopen(self.generation);
        }
    }
}

impl Deref for Completion<'_> {
    type Target = Body;
    fn deref(&self) -> &Body {
        // SAFETY: the slot is Completing, so this guard is the only access to the body, and the
        // reference borrows the guard.
        self.slot.body.with(|body| unsafe { &*body })
    }
}

impl DerefMut for Completion<'_> {
    fn deref_mut(&mut self) -> &mut Body {
        // SAFETY: the slot is Completing, so this guard is the only access to the body, and the
        // reference borrows the guard.
        self.slot.body.with_mut(|body| unsafe { &mut *body })
    }
}
