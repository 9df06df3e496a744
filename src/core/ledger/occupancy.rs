//! Which slots are taken: a bitmap in the host's memory, claimed without a lock.
//!
//! The bitmap is in the host's own memory and not in the file, because the state words hold
//! everything that must survive. A caller finds out with a few loads that the table is full. A
//! thread's low slots are reused first, so that a host with few operations touches few of the
//! ledger's pages.

use crate::sync::{AtomicU64, Ordering};

const WORD_BITS: usize = u64::BITS as usize;

/// A bitmap of the slots in `WORDS` words; a set bit is a taken slot.
#[derive(Debug)]
pub struct Occupancy<const WORDS: usize> {
    words: [Word; WORDS],
}

/// A word on a cache line of its own, so that threads that start at different words do not share a
/// line.
#[derive(Debug)]
#[repr(align(64))]
struct Word(AtomicU64);

impl<const WORDS: usize> Occupancy<WORDS> {
    /// A bitmap whose first `slots` slots are free and whose others are taken for ever.
    pub fn new(slots: usize) -> Self {
        Self {
            words: std::array::from_fn(|word| {
                let usable = slots.saturating_sub(word * WORD_BITS).min(WORD_BITS);
                Word(AtomicU64::new(if usable == WORD_BITS { 0 } else { u64::MAX << usable }))
            }),
        }
    }

    /// Takes a free slot. The search begins in the word that `start` points to.
    ///
    /// Returns `None` if every word was full when it was read. Never waits: a failed attempt means
    /// that another thread took the bit.
    pub fn claim(&self, start: usize) -> Option<usize> {
        for step in 0..WORDS {
            let word = start.wrapping_add(step) % WORDS;
            let mut seen = self.words[word].0.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = seen.trailing_ones() as usize;
                // Acquire pairs with `release`: the former owner is done with the slot.
                let before = self.words[word].0.fetch_or(1 << bit, Ordering::Acquire);
                if before & (1 << bit) == 0 {
                    return Some(word * WORD_BITS + bit);
                }
                seen = before;
            }
        }
        None
    }

    /// Gives a slot back.
    pub fn release(&self, slot: usize) {
        self.words[slot / WORD_BITS].0.fetch_and(!(1 << (slot % WORD_BITS)), Ordering::Release);
    }
}
