//! From the callers to the exporter: signals without a lock.
//!
//! The exporter never waits inside the channel: a receiver parked in `recv` makes every sender
//! take a mutex. It sleeps beside it, at the [doorbell](crate::doorbell).
//!
//! There is a lane for each word of the table's bitmap, as threads start in different words
//! (ledger/occupancy.rs): they do not take each other's cache lines here either. The signals of a
//! slot share a lane, so they arrive in their order.
//!
//! A lane's capacity exceeds what can ever be in it: a slot sends at most two signals before the
//! exporter frees it. So a send never fails for want of room, and never laps a position that a
//! killed thread left half written, which is where a caller would spin.

use crate::doorbell::{Doorbell, Sleep};
use crate::ledger::SLOT_COUNT;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a caller tells the exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// PRE: an operation is open.
    Before {
        /// Its slot.
        slot: usize,
        /// The slot's generation.
        generation: u64,
        /// When it began, in nanoseconds after the anchor.
        started: u64,
    },
    /// POST: the operation in this slot is done.
    After {
        /// Its slot.
        slot: usize,
        /// When it ended, in nanoseconds after the anchor.
        ended: u64,
    },
}

impl Signal {
    fn slot(self) -> usize {
        match self {
            Self::Before { slot, .. } | Self::After { slot, .. } => slot,
        }
    }
}

/// Slots whose signals share a lane.
const LANE_SLOTS: usize = 64;
const LANES: usize = SLOT_COUNT / LANE_SLOTS;
/// Two signals for each slot, and one to spare.
const CAPACITY: usize = 2 * LANE_SLOTS + 1;
/// A caller counts the signals of all lanes each time its own has so many more.
const COUNT_EVERY: usize = 16;

/// The callers' end and the exporter's end in one.
#[derive(Debug)]
pub struct Channel {
    lanes: [Lane; LANES],
    doorbell: Doorbell,
    /// Signals in the channel at which even a collecting exporter wants to be woken.
    enough: AtomicUsize,
}

#[derive(Debug)]
struct Lane {
    sender: Sender<Signal>,
    receiver: Receiver<Signal>,
}

impl Default for Channel {
    fn default() -> Self {
        let lanes = std::array::from_fn(|_| {
            let (sender, receiver) = bounded(CAPACITY);
            Lane { sender, receiver }
        });
        Self { lanes, doorbell: Doorbell::default(), enough: AtomicUsize::new(usize::MAX) }
    }
}

impl Channel {
    /// Sends a signal and wakes the exporter if it wants to be. Returns whether there was room.
    pub fn send(&self, signal: Signal) -> bool {
        let lane = &self.lanes[signal.slot() / LANE_SLOTS];
        let sent = lane.sender.try_send(signal).is_ok();
        let done = matches!(signal, Signal::After { .. });
        self.doorbell.ring(done, || self.is_pressing(lane));
        sent
    }

    /// Whether a collecting exporter wants to be woken. Counts all lanes only now and then: one
    /// that wakes a little late has its time-out still.
    fn is_pressing(&self, lane: &Lane) -> bool {
        let enough = self.enough.load(Ordering::Relaxed);
        enough != usize::MAX
            && (lane.sender.len().is_multiple_of(COUNT_EVERY.min(enough)))
            && self.waiting() >= enough
    }

    /// Makes the calling thread the one to wake.
    pub fn attend(&self) {
        self.doorbell.attend();
    }

    /// How many signals wait.
    fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.receiver.len()).sum()
    }

    /// Takes the signals that are there now, and tells whether there were any. Those of a slot
    /// come in their order.
    ///
    /// Those that arrive meanwhile are for the next time: under a steady stream this would have
    /// no end.
    pub fn drain(&self, mut take: impl FnMut(Signal)) -> bool {
        let mut any = false;
        for lane in &self.lanes {
            for _ in 0..lane.receiver.len() {
                let Ok(signal) = lane.receiver.try_recv() else { break };
                take(signal);
                any = true;
            }
        }
        any
    }

    /// Sleeps until a signal comes that `depth` wants, or for `limit`; may return early. A
    /// collecting exporter wants to be woken when `enough` signals wait.
    pub fn sleep(&self, depth: Sleep, enough: usize, limit: Option<Duration>) {
        self.enough.store(enough, Ordering::Relaxed);
        self.doorbell.sleep(depth, limit, || {
            self.waiting() >= if depth == Sleep::Collecting { enough } else { 1 }
        });
    }
}
