//! Pairs each Before with its After, and finds operations that have been open for too long.

use mpr_otel_core::ledger::SLOT_COUNT;
use std::collections::VecDeque;

/// An operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub slot: usize,
    pub generation: u64,
    /// When it began, in nanoseconds after the anchor.
    pub started: u64,
}

/// The operations under way, as far as the exporter's thread knows them.
#[derive(Debug)]
pub struct Pairing {
    /// For each slot, the generation that is open there.
    open: Vec<Option<u64>>,
    /// In order of arrival. An entry whose operation has ended is dropped when it comes to the
    /// front.
    order: VecDeque<Open>,
    /// How many operations are open.
    count: usize,
}

impl Default for Pairing {
    fn default() -> Self {
        Self { open: vec![None; SLOT_COUNT], order: VecDeque::new(), count: 0 }
    }
}

impl Pairing {
    pub fn before(&mut self, open: Open) {
        if self.open[open.slot].replace(open.generation).is_none() {
            self.count += 1;
        }
        self.order.push_back(open);
        // Otherwise ended operations would gather behind one that stays open.
        if self.order.len() > 2 * SLOT_COUNT {
            let Self { open, order, .. } = self;
            order.retain(|entry| open[entry.slot] == Some(entry.generation));
        }
    }

    /// Notes that the operation in `slot` ended. Returns whether its Before had come.
    pub fn after(&mut self, slot: usize) -> bool {
        let came = self.open[slot].take().is_some();
        // Not `count -= usize::from(came)`: if this is inlined and the result is tested, rustc 1.95
        // at opt-level 2 and above subtracts nothing (rust-lang/rust issue 158206).
        if came {
            self.count -= 1;
        }
        came
    }

    /// How many operations are under way.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The operation that has been open longest.
    pub fn oldest(&mut self) -> Option<Open> {
        while let Some(entry) = self.order.front().copied() {
            if self.open[entry.slot] == Some(entry.generation) {
                return Some(entry);
            }
            self.order.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(slot: usize, generation: u64, started: u64) -> Open {
        Open { slot, generation, started }
    }

    #[test]
    fn an_after_ends_the_operation_of_its_before() {
        let mut pairing = Pairing::default();
        pairing.before(open(3, 7, 100));
        assert_eq!(pairing.oldest(), Some(open(3, 7, 100)));
        assert_eq!(pairing.count(), 1);
        assert!(pairing.after(3));
        assert_eq!(pairing.oldest(), None);
        assert_eq!(pairing.count(), 0);
    }

    #[test]
    fn an_after_without_a_before_is_reported() {
        let mut pairing = Pairing::default();
        assert!(!pairing.after(3));
        pairing.before(open(3, 7, 100));
        assert!(pairing.after(3));
        assert!(!pairing.after(3));
    }

    #[test]
    fn the_oldest_is_the_one_open_for_longest_whatever_ended_since() {
        let mut pairing = Pairing::default();
        pairing.before(open(0, 1, 10));
        pairing.before(open(1, 2, 20));
        pairing.before(open(2, 3, 30));
        assert!(pairing.after(1));
        assert_eq!(pairing.oldest(), Some(open(0, 1, 10)));
        assert!(pairing.after(0));
        assert_eq!(pairing.oldest(), Some(open(2, 3, 30)));
    }

    #[test]
    fn a_slot_that_is_used_again_counts_from_its_new_operation() {
        let mut pairing = Pairing::default();
        pairing.before(open(0, 1, 10));
        assert!(pairing.after(0));
        pairing.before(open(0, 2, 20));
        assert_eq!(pairing.oldest(), Some(open(0, 2, 20)));
    }

    #[test]
    fn memory_stays_bounded_behind_an_operation_that_never_ends() {
        let mut pairing = Pairing::default();
        pairing.before(open(0, 0, 0));
        for generation in 1..100_000 {
            pairing.before(open(1, generation, generation));
            assert!(pairing.after(1));
            assert!(pairing.order.len() <= 2 * SLOT_COUNT + 1);
        }
        assert_eq!(pairing.oldest(), Some(open(0, 0, 0)));
    }
}
