//! A request to stop, from a signal, the service manager or a test.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by the thread that asks for a stop and the threads that must stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Asks all threads to stop.
    pub fn ask(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether a stop was asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a stop is asked for, for `limit` at most.
    pub fn wait(&self, limit: Duration) {
        let asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A poisoned lock still holds a valid flag.
        drop(self.0.1.wait_timeout_while(asked, limit, |asked| !*asked));
    }

    /// Waits until a stop is asked for.
    pub fn wait_for_ever(&self) {
        let asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(asked, |asked| !*asked));
    }
}
