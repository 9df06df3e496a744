//! Carries signals from the callers to the exporter, without a lock.
//!
//! The exporter never waits inside the channel, because a receiver that waits in `recv` makes every
//! sender take a mutex. It sleeps at the [doorbell](crate::doorbell) instead.
//!
//! The capacity is larger than the number of signals that can be in the channel: a slot sends at
//! most two signals before the exporter frees it. So a send always finds room. It also never comes
//! again to a position that a killed thread left half written, where a caller would spin.

use crate::doorbell::{Doorbell, Sleep};
use crossbeam_channel::{Receiver, Sender, bounded};
use mpr_otel_core::ledger::SLOT_COUNT;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a caller reports to the exporter.
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

/// Two signals for each slot, and one more.
const CAPACITY: usize = 2 * SLOT_COUNT + 1;

/// Both ends of the channel: the callers' and the exporter's.
#[derive(Debug)]
pub struct Channel {
    sender: Sender<Signal>,
    receiver: Receiver<Signal>,
    doorbell: Doorbell,
    /// How many signals must wait before an exporter that collects a batch is woken.
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
    /// Sends a signal. If it says that an operation ended, wakes the exporter if the exporter
    /// sleeps for that. Returns whether there was room.
    pub fn send(&self, signal: Signal) -> bool {
        let sent = self.sender.try_send(signal).is_ok();
        // A Before wakes nobody: operations usually come alone, and each would need a second
        // wake-up.
        if matches!(signal, Signal::After { .. }) {
            self.doorbell.ring(|| self.sender.len() >= self.enough.load(Ordering::Relaxed));
        }
        sent
    }

    /// Wakes the exporter. If it is awake, it does not sleep the next time.
    pub fn wake_surely(&self) {
        self.doorbell.wake_surely();
    }

    /// Makes the calling thread the one that is woken.
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

    /// Sleeps until a signal comes that `depth` asks for, for `limit` at most. May return early. An
    /// exporter that collects a batch is woken when `enough` signals wait.
    pub fn sleep(&self, depth: Sleep, enough: usize, limit: Option<Duration>) {
        self.enough.store(enough, Ordering::Relaxed);
        self.doorbell.sleep(depth, limit, || {
            self.receiver.len() >= if depth == Sleep::Collecting { enough } else { 1 }
        });
    }
}
