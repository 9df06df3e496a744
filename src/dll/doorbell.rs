//! Wakes the exporter, but only while it sleeps, and only for operations that ended.
//!
//! The exporter stores how deep it sleeps and then looks for work. A caller sends a signal and then
//! loads how deep the exporter sleeps. Both have a sequentially consistent fence between their two
//! steps, so at least one of them sees what the other did. So no wake-up is lost, and no caller
//! takes a lock.

use crate::sync::{AtomicU8, OnceLock, Ordering, Thread, current, fence, park, park_timeout};
use std::time::Duration;

/// How deep the exporter sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sleep {
    /// It is awake, and looks for work before it sleeps.
    Awake = 0,
    /// It collects a batch: wake it only if many signals wait.
    Collecting = 1,
    /// It has nothing to send: wake it for an operation that ended. It wakes by itself to find
    /// operations that have been open for too long.
    Idle = 2,
}

/// How a caller wakes the exporter.
#[derive(Debug)]
pub struct Doorbell {
    sleep: AtomicU8,
    exporter: OnceLock<Thread>,
}

impl Default for Doorbell {
    fn default() -> Self {
        Self { sleep: AtomicU8::new(Sleep::Awake as u8), exporter: OnceLock::new() }
    }
}

impl Doorbell {
    /// Makes the calling thread the one that is woken. The exporter calls this once, before it
    /// first sleeps.
    pub fn register_waiter(&self) {
        // There is only one exporter, so the cell is empty.
        let _ = self.exporter.set(current());
    }

    /// Wakes the exporter if it sleeps for this. Call this right after the signal that an operation
    /// ended was sent into the exporter's channel.
    ///
    /// `pressing` is called only if needed, and says whether many signals are queued.
    pub fn ring(&self, pressing: impl FnOnce() -> bool) {
        fence(Ordering::SeqCst);
        let sleep = self.sleep.load(Ordering::Relaxed);
        if sleep == Sleep::Idle as u8 || (sleep == Sleep::Collecting as u8 && pressing()) {
            self.wake();
        }
    }

    /// Wakes the exporter. If it is awake, it does not sleep the next time. For changes that the
    /// exporter checks only before it begins to sleep.
    pub fn wake_surely(&self) {
        if let Some(exporter) = self.exporter.get() {
            exporter.unpark();
        }
    }

    #[cold]
    fn wake(&self) {
        // If several callers find the exporter asleep, only one of them wakes it.
        if self.sleep.swap(Sleep::Awake as u8, Ordering::Relaxed) != Sleep::Awake as u8
            && let Some(exporter) = self.exporter.get()
        {
            exporter.unpark();
        }
    }

    /// Sleeps until a caller rings, or until `limit` is over if there is one. Does not sleep if
    /// `work` returns true.
    ///
    /// May return early.
    pub fn sleep(&self, depth: Sleep, limit: Option<Duration>, work: impl FnOnce() -> bool) {
        self.sleep.store(depth as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !work() {
            match limit {
                Some(limit) => park_timeout(limit),
                None => park(),
            }
        }
        self.sleep.store(Sleep::Awake as u8, Ordering::Relaxed);
    }
}
