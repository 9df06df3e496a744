//! Wakes the exporter, but only when it sleeps and only for what it wants to be woken for.
//!
//! The exporter stores how deep it sleeps and then looks for work; a caller leaves work and then
//! loads how deep the exporter sleeps. With a sequentially consistent fence between the two steps
//! on both sides, at least one of them sees the other: no wake-up is lost, and no caller ever
//! takes a lock.

use crate::sync::{AtomicU8, OnceLock, Ordering, Thread, current, fence, park, park_timeout};
use std::time::Duration;

/// How deep the exporter sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sleep {
    /// Not at all: it looks for work before it sleeps again.
    Awake = 0,
    /// Collecting a batch: wake it only when much is waiting.
    Collecting = 1,
    /// Watching open operations: wake it for one that is done.
    Watching = 2,
    /// Nothing to do: wake it for anything.
    Idle = 3,
}

/// The exporter's bell.
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
    /// Says which thread to wake: the calling one. The exporter calls this once, before it first
    /// sleeps.
    pub fn register_waiter(&self) {
        // There is one exporter, so the cell is empty.
        let _ = self.exporter.set(current());
    }

    /// Called right after a send into the exporter's channel: wakes the exporter if it wants to be
    /// woken for that signal.
    ///
    /// `done`: the signal ends an operation. `pressing` is called only if needed, and says whether
    /// many signals are queued.
    pub fn ring(&self, done: bool, pressing: impl FnOnce() -> bool) {
        fence(Ordering::SeqCst);
        let sleep = self.sleep.load(Ordering::Relaxed);
        if sleep == Sleep::Awake as u8 {
            return;
        }
        let wanted = if sleep == Sleep::Collecting as u8 {
            pressing()
        } else {
            done || sleep == Sleep::Idle as u8
        };
        if wanted {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        // One of several callers is enough.
        if self.sleep.swap(Sleep::Awake as u8, Ordering::Relaxed) != Sleep::Awake as u8
            && let Some(exporter) = self.exporter.get()
        {
            exporter.unpark();
        }
    }

    /// Sleeps until somebody rings, or for `limit` (`None`: for ever), unless `work` is there.
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
