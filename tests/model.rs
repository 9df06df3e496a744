//! Every interleaving of the lock-free parts, tried by loom.
//!
//! The same source files as in the library are compiled here against loom's atomics: inside them
//! `crate::sync` is the module below.

// What the library uses of these files and the model does not.
#![allow(dead_code)]
#![allow(unsafe_code)]

/// loom's versions of what `src/core/sync.rs` exports.
mod sync {
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
#[path = "../src/core/ledger/state.rs"]
mod state;

use doorbell::{Doorbell, Sleep};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use occupancy::Occupancy;
use state::{Phase, State};

/// A slot as the ledger has it. loom's cell fails the model if two threads touch it at once, or
/// one reads what another wrote without being ordered behind it.
#[derive(Default)]
struct Slot {
    state: State,
    body: UnsafeCell<u64>,
}

impl Slot {
    fn write(&self, value: u64) {
        // SAFETY: the model checks that no other access is concurrent.
        self.body.with_mut(|body| unsafe { *body = value });
    }

    fn read(&self) -> u64 {
        // SAFETY: the model checks that no write is concurrent.
        self.body.with(|body| unsafe { *body })
    }

    /// PRE, as `Ledger::claim` and `Claim::publish` do it.
    fn before(&self) -> u64 {
        let generation = self.state.claim();
        self.write(generation * 10);
        self.state.publish(generation);
        generation
    }

    /// POST, as `Ledger::complete` and `Completion::finish` do it.
    fn after(&self, generation: u64) -> bool {
        let open = self.state.begin_completion(|found| found == generation).is_some();
        if open {
            self.write(generation * 10 + 1);
            self.state.finish(generation);
        }
        open
    }

    /// The exporter's look at a settled slot.
    fn settled(&self) -> Option<(Phase, u64)> {
        match self.state.load() {
            (Some(phase @ (Phase::Done | Phase::Unfinished)), _) => Some((phase, self.read())),
            _ => None,
        }
    }
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
fn a_slot_given_back_is_claimed_again_only_after_its_last_reader_is_through() {
    loom::model(|| {
        let shared = Arc::new((Occupancy::<1>::new(1), Slot::default()));
        assert_eq!(shared.0.claim(0), Some(0));
        assert_eq!(shared.1.before(), 1);
        assert!(shared.1.after(1));
        let exporter = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                assert_eq!(shared.1.settled(), Some((Phase::Done, 11)));
                shared.1.state.release();
                shared.0.release(0);
            })
        };
        if shared.0.claim(0).is_some() {
            assert_eq!(shared.1.before(), 2);
            assert_eq!(shared.1.state.load(), (Some(Phase::Open), 2));
        }
        exporter.join().unwrap();
    });
}

#[test]
fn what_post_wrote_is_whole_when_the_exporter_sees_it_done() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        let caller = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                assert_eq!(slot.before(), 1);
                assert!(slot.after(1));
            })
        };
        if let Some(settled) = slot.settled() {
            assert_eq!(settled, (Phase::Done, 11));
        }
        caller.join().unwrap();
        assert_eq!(slot.settled(), Some((Phase::Done, 11)));
    });
}

#[test]
fn post_and_giving_up_never_both_get_the_operation() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        assert_eq!(slot.before(), 1);
        let caller = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.after(1))
        };
        let given_up = slot.state.abandon(1);
        if given_up {
            assert_eq!(slot.settled(), Some((Phase::Unfinished, 10)));
        }
        let completed = caller.join().unwrap();
        assert!(given_up != completed);
        let expected = if completed { (Phase::Done, 11) } else { (Phase::Unfinished, 10) };
        assert_eq!(slot.settled(), Some(expected));
    });
}

#[test]
fn of_two_posts_with_one_handle_exactly_one_completes() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        assert_eq!(slot.before(), 1);
        let post = |slot: &Arc<Slot>| {
            let slot = Arc::clone(slot);
            thread::spawn(move || slot.after(1))
        };
        let (first, second) = (post(&slot), post(&slot));
        assert!(first.join().unwrap() != second.join().unwrap());
        assert_eq!(slot.settled(), Some((Phase::Done, 11)));
    });
}

#[test]
fn an_old_handle_never_completes_the_slots_next_operation() {
    loom::model(|| {
        let shared = Arc::new((Occupancy::<1>::new(1), Slot::default()));
        assert_eq!(shared.0.claim(0), Some(0));
        assert_eq!(shared.1.before(), 1);
        assert!(shared.1.after(1));
        let late = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.1.after(1))
        };
        assert_eq!(shared.1.settled(), Some((Phase::Done, 11)));
        shared.1.state.release();
        shared.0.release(0);
        assert_eq!(shared.0.claim(0), Some(0));
        assert_eq!(shared.1.before(), 2);
        assert!(!late.join().unwrap());
        assert_eq!(shared.1.state.load(), (Some(Phase::Open), 2));
    });
}

/// An exporter that sleeps at `depth` until every one of `callers` has sent a signal. If a
/// wake-up could be lost, loom would find the exporter asleep for ever.
fn nobody_oversleeps(depth: Sleep, done: bool, callers: usize) {
    let mut model = loom::model::Builder::new();
    // Two callers and the exporter have too many interleavings to try all; three switches where a
    // thread need not have stopped find every lost wake-up of two flags.
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Arc::new((Doorbell::default(), AtomicUsize::new(0)));
        shared.0.register_waiter();
        let senders: Vec<_> = (0..callers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.0.ring(done, || shared.1.load(Ordering::Relaxed) >= callers);
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
fn an_idle_exporter_hears_the_first_signal() {
    nobody_oversleeps(Sleep::Idle, false, 1);
}

#[test]
fn a_watching_exporter_hears_the_end_of_an_operation() {
    nobody_oversleeps(Sleep::Watching, true, 1);
}

#[test]
fn a_collecting_exporter_hears_the_signal_that_fills_its_batch() {
    nobody_oversleeps(Sleep::Collecting, true, 2);
}
