//! loom tries every interleaving of the lock-free parts.
//!
//! The same source files as in the library are compiled here against loom's atomics: inside them
//! `crate::sync` is the module below.
//!
//! In each model the main thread writes and then hands over; the other thread, which may find the
//! result, is spawned. loom runs the main thread first, and when it looks for an untried order it
//! considers only the last access to an atomic. With the roles changed, a load before the store
//! would hide the other thread's load, and loom would never try the order in which the load sees
//! the store.

// Parts of these files that the library uses and the model does not.
#![allow(dead_code)]

/// loom's versions of what `src/core/sync.rs` exports.
mod sync {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
    pub use loom::thread::{Thread, current, park};
    use std::time::Duration;

    /// loom has no time: the models sleep without a limit.
    pub fn park_timeout(_limit: Duration) {
        unreachable!("no model sleeps with a limit");
    }

    /// A cell that is filled before the threads start.
    #[derive(Debug)]
    pub struct OnceLock<T>(std::sync::OnceLock<T>);

    impl<T> OnceLock<T> {
        pub fn new() -> Self {
            Self(std::sync::OnceLock::new())
        }
        pub fn set(&self, value: T) -> Result<(), T> {
            self.0.set(value)
        }
        pub fn get(&self) -> Option<&T> {
            self.0.get()
        }
    }
}

#[path = "../src/dll/doorbell.rs"]
mod doorbell;
#[path = "../src/core/ledger/occupancy.rs"]
mod occupancy;
#[path = "../src/core/ledger/slot.rs"]
mod slot;
#[path = "../src/core/ledger/state.rs"]
mod state;

/// The parts of the ledger's format that slot.rs names.
mod layout {
    pub use mpr_otel_core::ledger::{Body, SENT};
}

use doorbell::{Doorbell, Sleep};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use occupancy::Occupancy;
use slot::{Claim, Slot};
use state::Phase;

/// PRE, as notify.rs does it. Every field that the models read is `caller`'s number, so that a body
/// written by two callers is noticed.
fn pre(mut claim: Claim<'_>, caller: u64) -> u64 {
    claim.started = caller;
    claim.ended = caller;
    claim.sent = 0;
    claim.publish()
}

/// POST, as notify.rs does it. Returns whether it completed the operation of `generation`.
fn post(slot: &Slot, generation: u64) -> bool {
    let Some(mut completion) = slot.complete(|found| found == generation) else { return false };
    completion.ended = completion.started + 1;
    completion.finish();
    true
}

/// Gives an operation up, as `Ledger::abandon` does it.
fn give_up(slot: &Slot, generation: u64, at: u64) -> bool {
    let given_up = slot.abandon(generation);
    if given_up {
        slot.set_abandoned_at(at);
    }
    given_up
}

/// The parts of a settled slot that the exporter reads: phase, generation, start and end.
fn settled(slot: &Slot) -> Option<(Phase, u64, u64, u64)> {
    let (phase, generation, body) = slot.settled()?;
    Some((phase, generation, body.started, body.ended))
}

/// An exporter that sends caller 10's operation twice and then frees its slot.
fn export(slot: &Slot) {
    assert_eq!(settled(slot), Some((Phase::Done, 1, 10, 11)));
    assert!(!slot.note_sent());
    assert!(slot.note_sent());
    slot.release();
}

#[test]
fn callers_that_claim_at_once_get_different_slots_and_no_more_than_there_are() {
    loom::model(|| {
        let occupancy = Arc::new(Occupancy::<1>::new(2));
        let claims: Vec<_> = (0..3)
            .map(|_| {
                let occupancy = Arc::clone(&occupancy);
                thread::spawn(move || occupancy.claim(0))
            })
            .collect();
        let mut got: Vec<_> =
            claims.into_iter().filter_map(|claim| claim.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
    });
}

#[test]
fn a_slot_given_back_is_claimed_again_only_after_its_last_reader_has_finished() {
    loom::model(|| {
        let shared = Arc::new((Occupancy::<1>::new(1), Slot::default()));
        assert_eq!(shared.0.claim(0), Some(0));
        assert_eq!(pre(shared.1.claim(), 10), 1);
        assert!(post(&shared.1, 1));
        let caller = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                if shared.0.claim(0).is_some() {
                    assert_eq!(pre(shared.1.claim(), 20), 2);
                }
            })
        };
        export(&shared.1);
        shared.0.release(0);
        caller.join().unwrap();
    });
}

#[test]
fn without_a_bitmap_too_a_freed_slot_is_claimed_only_after_its_last_reader_has_finished() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        assert_eq!(pre(slot.try_claim().unwrap(), 10), 1);
        assert!(post(&slot, 1));
        let caller = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                if let Some(claim) = slot.try_claim() {
                    assert_eq!(pre(claim, 20), 2);
                }
            })
        };
        export(&slot);
        caller.join().unwrap();
    });
}

#[test]
fn exactly_one_of_two_callers_that_try_to_claim_one_slot_gets_it() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        let claim = |caller| {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                let claim = slot.try_claim()?;
                assert_eq!(pre(claim, caller), 1);
                Some(caller)
            })
        };
        let (first, second) = (claim(10), claim(20));
        let winner = match (first.join().unwrap(), second.join().unwrap()) {
            (Some(winner), None) | (None, Some(winner)) => winner,
            both => panic!("{both:?}"),
        };
        assert!(slot.try_claim().is_none());
        assert!(post(&slot, 1));
        assert_eq!(settled(&slot), Some((Phase::Done, 1, winner, winner + 1)));
    });
}

#[test]
fn a_body_is_complete_when_the_exporter_sees_it_done() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        let exporter = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                if let Some(settled) = settled(&slot) {
                    assert_eq!(settled, (Phase::Done, 1, 10, 11));
                }
            })
        };
        assert_eq!(pre(slot.claim(), 10), 1);
        assert!(post(&slot, 1));
        exporter.join().unwrap();
        assert_eq!(settled(&slot), Some((Phase::Done, 1, 10, 11)));
    });
}

#[test]
fn post_and_giving_up_never_both_get_the_operation() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        let exporter = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                let given_up = give_up(&slot, 1, 15);
                if given_up {
                    assert_eq!(settled(&slot), Some((Phase::Unfinished, 1, 10, 15)));
                }
                given_up
            })
        };
        assert_eq!(pre(slot.claim(), 10), 1);
        let completed = post(&slot, 1);
        assert!(exporter.join().unwrap() != completed);
        let expected =
            if completed { (Phase::Done, 1, 10, 11) } else { (Phase::Unfinished, 1, 10, 15) };
        assert_eq!(settled(&slot), Some(expected));
    });
}

#[test]
fn exactly_one_of_two_posts_with_one_handle_completes() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        assert_eq!(pre(slot.claim(), 10), 1);
        let posting = |slot: &Arc<Slot>| {
            let slot = Arc::clone(slot);
            thread::spawn(move || post(&slot, 1))
        };
        let (first, second) = (posting(&slot), posting(&slot));
        assert!(first.join().unwrap() != second.join().unwrap());
        assert_eq!(settled(&slot), Some((Phase::Done, 1, 10, 11)));
    });
}

#[test]
fn an_operation_whose_completion_is_dropped_is_open_for_its_own_post() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        assert_eq!(pre(slot.claim(), 10), 1);
        // A POST of the wrong kind reads the body and drops the completion.
        let wrong = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                if let Some(completion) = slot.complete(|found| found == 1) {
                    assert_eq!(completion.started, 10);
                }
            })
        };
        let completed = post(&slot, 1);
        wrong.join().unwrap();
        assert!(completed != post(&slot, 1));
        assert_eq!(settled(&slot), Some((Phase::Done, 1, 10, 11)));
    });
}

#[test]
fn an_old_handle_never_completes_the_slots_next_operation() {
    loom::model(|| {
        let shared = Arc::new((Occupancy::<1>::new(1), Slot::default()));
        assert_eq!(shared.0.claim(0), Some(0));
        assert_eq!(pre(shared.1.claim(), 10), 1);
        assert!(post(&shared.1, 1));
        let late = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || post(&shared.1, 1))
        };
        export(&shared.1);
        shared.0.release(0);
        assert_eq!(shared.0.claim(0), Some(0));
        assert_eq!(pre(shared.1.claim(), 20), 2);
        assert!(!late.join().unwrap());
        assert!(post(&shared.1, 2));
    });
}

/// An exporter that sleeps at `depth` until every one of `callers` has sent a signal. If a
/// wake-up could be lost, loom would find the exporter asleep for ever.
fn nobody_oversleeps(depth: Sleep, callers: usize) {
    let mut model = loom::model::Builder::new();
    // Two callers and the exporter have too many interleavings to try all. Three switches at places
    // where a thread did not have to stop are enough to find every lost wake-up of two flags.
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Arc::new((Doorbell::default(), AtomicUsize::new(0)));
        shared.0.register_waiter();
        let senders: Vec<_> = (0..callers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.0.ring(|| shared.1.load(Ordering::Relaxed) >= callers);
                })
            })
            .collect();
        while shared.1.load(Ordering::Relaxed) < callers {
            shared.0.sleep(depth, None, || shared.1.load(Ordering::Relaxed) >= callers);
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn an_idle_exporter_wakes_at_the_end_of_an_operation() {
    nobody_oversleeps(Sleep::Idle, 1);
}

#[test]
fn a_collecting_exporter_wakes_at_the_signal_that_fills_its_batch() {
    nobody_oversleeps(Sleep::Collecting, 2);
}
