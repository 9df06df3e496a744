//! From the callers to the exporter: signals without a lock.
//!
//! The exporter never waits inside the channel: a receiver parked in `recv` makes every sender
//! take a mutex. It sleeps beside it, at the [doorbell](crate::doorbell).
//!
//! The capacity exceeds what can ever be in the channel: a slot sends at most two signals before
//! the exporter frees it. So a send always finds room, and never laps a position that
//! a killed thread left half written, which is where a caller would spin.

use crate::doorbell::{Doorbell, Sleep};
use crossbeam_channel::{Receiver, Sender, bounded};
use mpr_otel_core::ledger::SLOT_COUNT;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a caller tells the exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// PRE: an operation is open.
    Before {
        slot: usize,
        generation: u64,
        /// When it began, in nanoseconds after the anchor.
        started: u64,
    },
    /// POST: the operation in this slot is done.
    After {
        slot: usize,
        /// When it ended, in nanoseconds after the anchor.
        ended: u64,
    },
}

/// Two signals for each slot, and one to spare.
const CAPACITY: usize = 2 * SLOT_COUNT + 1;

/// The callers' end and the exporter's end in one.
#[derive(Debug)]
pub struct Channel {
    sender: Sender<Signal>,
    receiver: Receiver<Signal>,
    doorbell: Doorbell,
    /// Signals in the channel at which even a collecting exporter wants to be woken.
    enough: AtomicUsize,
}

impl Default for Channel {
    fn default() -> Self {
        let (sender, receiver) = bounded(CAPACITY);
        let enough = AtomicUsize::new(usize::MAX);
        Self { sender, receiver, doorbell: Doorbell::default(), enough }
    }
}

impl Channel {
    /// Sends a signal, and wakes the exporter if an operation ended and it wants to be woken. Returns
    /// whether there was room.
    pub fn send(&self, signal: Signal) -> bool {
        let sent = self.sender.try_send(signal).is_ok();
        // A Before makes no wake-up call: real operations come alone, and each would pay for it.
        if matches!(signal, Signal::After { .. }) {
            self.doorbell.ring(|| self.sender.len() >= self.enough.load(Ordering::Relaxed));
        }
        sent
    }

    /// Wakes the exporter, or keeps it from its next sleep.
    pub fn wake_surely(&self) {
        self.doorbell.wake_surely();
    }

    /// Makes the calling thread the one to wake.
    pub fn register_waiter(&self) {
        self.doorbell.register_waiter();
    }

    /// How many signals wait.
    pub fn waiting(&self) -> usize {
        self.receiver.len()
    }

    /// The next signal, if there is one.
    pub fn receive(&self) -> Option<Signal> {
        self.receiver.try_recv().ok()
    }

    /// Sleeps until a signal comes that `depth` wants, or for `limit`; may return early. A
    /// collecting exporter wants to be woken when `enough` signals wait.
    pub fn sleep(&self, depth: Sleep, enough: usize, limit: Option<Duration>) {
        self.enough.store(enough, Ordering::Relaxed);
        self.doorbell.sleep(depth, limit, || {
            self.receiver.len() >= if depth == Sleep::Collecting { enough } else { 1 }
        });
    }
}
