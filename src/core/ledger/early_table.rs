//! Operations that begin before their host has a ledger: a small static table.
//!
//! The table allocates no memory and makes no system call. So the first notification of a process
//! is recorded while a thread of the library still makes the ledger. What is in the table is lost
//! with the process.
//!
//! An operation leaves the table in one of two ways. Either POST finishes the operation here. Then
//! POST's own thread, or the thread that made the ledger, takes it out once. Or the thread that
//! made the ledger moves the open operation into the ledger, and POST gets the handle there.

#![allow(unsafe_code)] // A static of zeros.

pub use super::handle::EARLY_SLOTS;

use super::handle::Handle;
use super::layout::{Body, SLOT_COUNT};
use super::slot::{Claim, Completion, Slot};
use super::state::Phase;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The table. A process has one, and it is static.
#[derive(Debug)]
pub struct EarlyTable {
    entries: [Entry; EARLY_SLOTS],
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    /// The handle in the ledger of an operation that was moved there; 0 until the move.
    moved_to: AtomicUsize,
}

impl Entry {
    fn free(&self) {
        self.moved_to.store(0, Ordering::Relaxed);
        self.slot.release();
    }
}

impl EarlyTable {
    /// An empty table.
    #[expect(clippy::new_without_default, reason = "it is made in a static")]
    pub const fn new() -> Self {
        // SAFETY: a table has integers only, in atomics and cells, and zeros are free slots.
        unsafe { std::mem::zeroed() }
    }

    /// Takes a place for a new operation; `None` if no place is free.
    pub fn claim(&self) -> Option<(usize, Claim<'_>)> {
        self.entries
            .iter()
            .enumerate()
            .find_map(|(index, entry)| Some((index, entry.slot.try_claim()?)))
    }

    /// Makes a claimed operation visible as open. Returns its handle for `lpContext`; no ledger
    /// gives out the same handle.
    pub fn publish(&self, index: usize, claim: Claim<'_>) -> Handle {
        Handle::new(self.tag(claim.publish()), SLOT_COUNT + index)
    }

    /// The place that a handle of this table names; `None` for any other value.
    pub fn index_of(context: usize) -> Option<usize> {
        let slot = Handle::from_context(context)?.slot();
        (SLOT_COUNT..SLOT_COUNT + EARLY_SLOTS).contains(&slot).then(|| slot - SLOT_COUNT)
    }

    /// Takes the open operation that `lpContext` names. `None` if it is not open here.
    pub fn complete(&self, context: usize) -> Option<(usize, Completion<'_>)> {
        let index = Self::index_of(context)?;
        let handle = Handle::from_context(context)?;
        let expected = |generation| handle.names(self.tag(generation));
        Some((index, self.entries[index].slot.complete(expected)?))
    }

    /// Takes a finished operation out. Only the first caller gets it.
    pub fn take_finished(&self, index: usize) -> Option<Body> {
        self.entries[index].slot.take()
    }

    /// Moves an open operation: `to` puts it into the ledger and returns its handle there. Only the
    /// thread that made the ledger calls this.
    pub fn move_open(&self, index: usize, to: impl FnOnce(Body) -> Option<Handle>) {
        let entry = &self.entries[index];
        let Some(generation) = entry.slot.open_generation() else { return };
        if !entry.slot.abandon(generation) {
            return; // POST was faster.
        }
        let Some((Phase::Unfinished, _, body)) = entry.slot.settled() else { return };
        match to(body) {
            Some(handle) => entry.moved_to.store(handle.to_context(), Ordering::Release),
            // The ledger had no room, which `to` has counted. POST finds nothing here.
            None => entry.free(),
        }
    }

    /// The handle in the ledger of an operation that was moved there from this table. The call
    /// frees the place, because POST comes only once.
    pub fn moved(&self, context: usize) -> Option<Handle> {
        let index = Self::index_of(context)?;
        let handle = Handle::from_context(context)?;
        let entry = &self.entries[index];
        let (Phase::Unfinished, generation, _) = entry.slot.settled()? else { return None };
        if !handle.names(self.tag(generation)) {
            return None;
        }
        // The other thread has abandoned the entry and has not yet written `moved_to`.
        let mut patience = 10_000;
        while entry.moved_to.load(Ordering::Acquire) == 0 && patience > 0 {
            patience -= 1;
            std::hint::spin_loop();
        }
        let moved = Handle::from_context(entry.moved_to.load(Ordering::Acquire))?;
        entry.free();
        Some(moved)
    }

    /// Marks handles of this table in this process.
    fn tag(&self, generation: u64) -> u64 {
        (std::ptr::from_ref(self) as u64 >> 4).wrapping_add(generation)
    }
}
