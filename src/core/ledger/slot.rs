//! One operation's place in the ledger, and the guards that own its body.

#![allow(unsafe_code)] // This file meets shared memory.

use super::layout::{Body, SENT};
use super::state::{Phase, State};
use crate::sync::UnsafeCell;
use std::mem::offset_of;
use std::ops::{Deref, DerefMut};

/// A state word and the body it guards: a `StoredSlot` (layout.rs) that threads share.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct Slot {
    state: State,
    body: UnsafeCell<Body>,
}

// SAFETY: the body is only reached through the guards below, and the state word gives each guard
// to one thread at a time (state.rs has the table, tests/model.rs checks it).
unsafe impl Sync for Slot {}

/// A free slot. In a mapped file it is zeros.
impl Default for Slot {
    fn default() -> Self {
        Self { state: State::default(), body: UnsafeCell::new(Body::empty()) }
    }
}

impl Slot {
    /// Where the body is; mapping.rs compares it with the format.
    pub(super) const BODY: usize = offset_of!(Self, body);

    /// Starts writing the slot's next operation. The caller owns the slot, because it took the
    /// slot's bit in the occupancy bitmap.
    pub(super) fn claim(&self) -> Claim<'_> {
        Claim { slot: self, generation: self.state.claim() }
    }

    /// As `claim`, in a ledger without a bitmap. `None` if the slot is not free.
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

    /// The generation of the operation that is open in this slot.
    pub(super) fn open_generation(&self) -> Option<u64> {
        match self.state.load() {
            (Some(Phase::Open), generation) => Some(generation),
            _ => None,
        }
    }

    /// Takes a finished operation out of a slot that has no exporter. Only the first caller gets
    /// it.
    pub(super) fn take(&self) -> Option<Body> {
        self.state.take().then(|| {
            // SAFETY: the slot is Completing by this thread's exchange, so nobody else touches the
            // body, and the exchange was Acquire and saw Done.
            let body = self.body.with(|body| unsafe { *body });
            self.state.release();
            body
        })
    }

    /// Writes the time at which an abandoned operation was given up, in nanoseconds after the
    /// anchor.
    pub(super) fn set_abandoned_at(&self, ended: u64) {
        if let (Some(Phase::Unfinished), _) = self.state.load() {
            // SAFETY: in phase Unfinished only the exporter touches the body, and it is the only
            // caller.
            let body = self.body.with_mut(|body| unsafe { &mut *body });
            body.ended = ended;
        }
    }

    /// Notes that a request with this operation's span is made. Returns whether an earlier request
    /// had the span. Only the exporter calls this, for a slot that it has read as settled.
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

/// Exclusive access to the body of an operation that is beginning.
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
        self.checksum = self.sum();
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
