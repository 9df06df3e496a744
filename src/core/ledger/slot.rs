//! One operation's place in the ledger, and the guards that own its body.

#![allow(unsafe_code)] // This file meets shared memory.

use super::layout::{Body, LOCAL_UNITS, PROVIDER_UNITS, REMOTE_UNITS, SENT, SLOT_SIZE, StoredSlot};
use super::state::{Phase, State};
use crate::wide::WideStr;
use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::ops::{Deref, DerefMut};

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
        // The lengths are ours and fit; if somebody wrote into our ledger, there is no room.
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

/// A state word and the body it guards: a [`StoredSlot`] that threads share.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct Slot {
    state: State,
    body: UnsafeCell<Body>,
}

const _: () = assert!(size_of::<Slot>() == SLOT_SIZE);
const _: () = assert!(offset_of!(Slot, body) == offset_of!(StoredSlot, body));

// SAFETY: the body is only reached through the guards below, and the state word gives each guard
// to one thread at a time (state.rs has the table, tests/model.rs checks it).
unsafe impl Sync for Slot {}

impl Slot {
    /// Starts writing the slot's next operation; the caller got this slot from the occupancy
    /// bitmap.
    pub(super) fn claim(&self) -> Claim<'_> {
        Claim { slot: self, generation: self.state.claim() }
    }

    /// The same where no bitmap says who owns the slot; `None` if it is not free.
    pub(super) fn try_claim(&self) -> Option<Claim<'_>> {
        Some(Claim { slot: self, generation: self.state.try_claim()? })
    }

    /// Starts completing the operation that is open in a generation that satisfies `expected`;
    /// `None` if there is none.
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
    /// Only the exporter calls this, the one thread that takes a slot out of these phases.
    pub(super) fn settled(&self) -> Option<(Phase, u64, Body)> {
        let (Some(phase @ (Phase::Done | Phase::Unfinished)), generation) = self.state.load()
        else {
            return None;
        };
        // SAFETY: the load was Acquire and saw Done or Unfinished: the writer is through, and
        // no thread writes the body before the exporter, our only caller, releases the slot.
        Some((phase, generation, unsafe { *self.body.get() }))
    }

    /// Writes when an abandoned operation was given up.
    pub(super) fn set_abandoned_at(&self, ended: u64) {
        if let (Some(Phase::Unfinished), _) = self.state.load() {
            // SAFETY: in phase Unfinished the body belongs to the exporter, our only caller.
            let body = unsafe { &mut *self.body.get() };
            body.ended = ended;
        }
    }

    /// Notes that a request with this operation's span is made. Returns whether there was one
    /// before. Only the exporter calls this, for a slot it has settled.
    pub(super) fn note_sent(&self) -> bool {
        if !matches!(self.state.load(), (Some(Phase::Done | Phase::Unfinished), _)) {
            return false;
        }
        // SAFETY: in these phases the body belongs to the exporter, our only caller.
        let body = unsafe { &mut *self.body.get() };
        let before = body.sent;
        body.sent |= SENT;
        before & SENT != 0
    }

    /// Frees the slot. Only the exporter calls this, for a slot it has settled.
    pub(super) fn release(&self) {
        self.state.release();
    }
}

/// Exclusive access to the body of an operation that is being begun.
///
/// Dropped without being published, the slot stays claimed; nothing between the two can fail.
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
        // SAFETY: phase Claimed: this guard is the only access to the body.
        unsafe { &*self.slot.body.get() }
    }
}

impl DerefMut for Claim<'_> {
    fn deref_mut(&mut self) -> &mut Body {
        // SAFETY: phase Claimed: this guard is the only access to the body.
        unsafe { &mut *self.slot.body.get() }
    }
}

/// Exclusive access to the body of an operation that is being completed.
///
/// Dropped without [`Completion::finish`], the operation is open again.
#[derive(Debug)]
pub struct Completion<'ledger> {
    slot: &'ledger Slot,
    generation: u64,
    finished: bool,
}

impl Completion<'_> {
    /// Makes the operation visible as done. From here on it survives the host.
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
        // SAFETY: phase Completing: this guard is the only access to the body.
        unsafe { &*self.slot.body.get() }
    }
}

impl DerefMut for Completion<'_> {
    fn deref_mut(&mut self) -> &mut Body {
        // SAFETY: phase Completing: this guard is the only access to the body.
        unsafe { &mut *self.slot.body.get() }
    }
}
