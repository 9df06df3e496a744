//! A slot's state word: the one place where threads agree on who owns a slot.
//!
//! ```text
//!            claim          publish         begin              finish
//!   Free ───────────> Claimed ──────> Open ───────> Completing ──────> Done ─┐
//!    ^                                 │ abandon                             │
//!    │                                 └────────────> Unfinished ───────────┤
//!    └──────────────────────────────── release ─────────────────────────────┘
//! ```
//!
//! | phase | who may touch the slot's body |
//! |---|---|
//! | Claimed | the thread in PRE, alone |
//! | Open | nobody writes |
//! | Completing | the thread in POST, alone |
//! | Done, Unfinished | the exporter, alone |
//!
//! The early table (early_table.rs) has no exporter. There one thread takes a finished operation by
//! `Done -> Completing` and frees the slot.
//!
//! The word is `generation << 8 | phase`. `generation` (56 bits) counts the slot's operations, the
//! current one included; freeing the slot does not reset it.
//!
//! Two steps are contended: leaving `Open`, which POST and the exporter both try, and leaving
//! `Free` in a ledger without an occupancy bitmap. Each is one compare-and-exchange, so exactly one
//! thread succeeds.

use crate::sync::{AtomicU64, Ordering};

/// Bits of a phase; the generation is above them.
pub const PHASE_BITS: u32 = 8;

/// The phase of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Holds nothing.
    Free = 0,
    /// PRE is writing the slot. If the host dies here, the operation is lost. It was not promised,
    /// because PRE has not returned.
    Claimed = 1,
    /// PRE returned; the operation is under way.
    Open = 2,
    /// POST is writing it.
    Completing = 3,
    /// POST has written everything: the operation is complete and waits for its export.
    Done = 4,
    /// The operation was given up as unfinished and waits for its export.
    Unfinished = 5,
}

impl Phase {
    /// The phase for the low byte of a state word. `None` for any other byte: the word may come
    /// from a damaged file.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Free,
            1 => Self::Claimed,
            2 => Self::Open,
            3 => Self::Completing,
            4 => Self::Done,
            5 => Self::Unfinished,
            _ => return None,
        })
    }
}

/// A slot's state word. See the [module](self) for the transitions.
#[derive(Debug)]
#[repr(transparent)]
pub struct State(AtomicU64);

fn word(generation: u64, phase: Phase) -> u64 {
    generation << 8 | phase as u64
}

/// A free slot's state. In a mapped file it is zeros.
impl Default for State {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl State {
    /// Free -> Claimed, with the next generation, which is returned. The caller owns the slot
    /// through [`Occupancy`](super::occupancy::Occupancy).
    pub fn claim(&self) -> u64 {
        let generation = ((self.0.load(Ordering::Relaxed) >> 8) + 1) & (u64::MAX >> 8);
        self.0.store(word(generation, Phase::Claimed), Ordering::Relaxed);
        generation
    }

    /// Free -> Claimed in a ledger without a bitmap. Returns the generation, or `None` if the slot
    /// is not free or another thread takes it at this moment.
    pub fn try_claim(&self) -> Option<u64> {
        let found = self.0.load(Ordering::Relaxed);
        if found as u8 != Phase::Free as u8 {
            return None;
        }
        let generation = ((found >> 8) + 1) & (u64::MAX >> 8);
        // Acquire pairs with `release`, and with the fence before the agent's write that frees a
        // slot (`Access::write_at`): what the exporter did with the body happened before.
        self.0
            .compare_exchange(
                found,
                word(generation, Phase::Claimed),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .ok()
            .map(|_| generation)
    }

    /// Claimed -> Open: everything written to the body becomes visible with it.
    pub fn publish(&self, generation: u64) {
        self.0.store(word(generation, Phase::Open), Ordering::Release);
    }

    /// Open -> Completing, if the slot is open in a generation that satisfies `expected`.
    ///
    /// Returns that generation. `None` if the handle is old, already used or another process's, or
    /// if the exporter has given the operation up. The slot then stays as it was.
    pub fn begin_completion(&self, expected: impl Fn(u64) -> bool) -> Option<u64> {
        let found = self.0.load(Ordering::Relaxed);
        let generation = found >> 8;
        if found != word(generation, Phase::Open) || !expected(generation) {
            return None;
        }
        self.0
            .compare_exchange(
                found,
                word(generation, Phase::Completing),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .ok()
            .map(|_| generation)
    }

    /// Completing -> Open, because the caller found that the operation is another one. What this
    /// caller read and wrote happened before the next completion.
    pub fn reopen(&self, generation: u64) {
        self.0.store(word(generation, Phase::Open), Ordering::Release);
    }

    /// Completing -> Done: everything written to the body becomes visible with it.
    pub fn finish(&self, generation: u64) {
        self.0.store(word(generation, Phase::Done), Ordering::Release);
    }

    /// Open -> Unfinished. Returns whether the slot was still open in `generation`.
    pub fn abandon(&self, generation: u64) -> bool {
        self.0
            .compare_exchange(
                word(generation, Phase::Open),
                word(generation, Phase::Unfinished),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Done -> Completing, in a table without an exporter. Only the thread that succeeds frees the
    /// slot.
    pub fn take(&self) -> bool {
        let found = self.0.load(Ordering::Relaxed);
        found == word(found >> PHASE_BITS, Phase::Done)
            && self
                .0
                .compare_exchange(
                    found,
                    word(found >> PHASE_BITS, Phase::Completing),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Done or Unfinished -> Free. Only the exporter calls this. If there is a bitmap, the exporter
    /// clears the slot's bit afterwards.
    pub fn release(&self) {
        let generation = self.0.load(Ordering::Relaxed) >> 8;
        self.0.store(word(generation, Phase::Free), Ordering::Release);
    }

    /// The phase and the generation; `None` for a byte that is not a phase.
    pub fn load(&self) -> (Option<Phase>, u64) {
        let found = self.0.load(Ordering::Acquire);
        (Phase::from_byte(found as u8), found >> 8)
    }
}
