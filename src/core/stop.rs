//! A request to stop, from a signal, the service manager or a test.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by the thread that asks and those that are asked.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Asks to stop.
    pub fn ask(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody asks, for `limit` at most.
    pub fn wait(&self, limit: Duration) {
        let asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A poisoned flag is still a flag.
        drop(self.0.1.wait_timeout_while(asked, limit, |asked| !*asked));
    }

    /// Waits until somebody asks.
    pub fn wait_for_ever(&self) {
        let asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(asked, |asked| !*asked));
    }
}
