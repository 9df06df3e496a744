//! Ends the process if the agent makes no progress.
//!
//! A file that another user made, a file system or a driver can hold a thread for ever, whatever is
//! checked before. The service manager starts a new agent then, and what the old one had not sent is in
//! its store and in the ledgers.

use mpr_otel_core::platform;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long the agent may make no progress.
const LIMIT: Duration = Duration::from_secs(60);

/// Knows when the agent last made progress, or will: a time of the clock that does not count sleep.
#[derive(Clone, Debug)]
pub(super) struct Watchdog(Arc<AtomicU64>);

impl Watchdog {
    /// Starts watching, on a thread that wakes twice in `LIMIT`.
    pub(super) fn start() -> io::Result<Self> {
        let latest = Arc::new(AtomicU64::new(platform::awake_nanos()));
        let watched = Self(Arc::clone(&latest));
        thread::Builder::new().name("mpr-otel-watch".to_owned()).spawn(move || {
            while !is_late(latest.load(Ordering::Relaxed), platform::awake_nanos(), LIMIT) {
                thread::sleep(LIMIT / 2);
            }
            tracing::error!(
                seconds = LIMIT.as_secs(),
                "the agent hangs; its process ends, so that a new one is started"
            );
            process::exit(1);
        })?;
        Ok(watched)
    }

    /// The agent got on.
    pub(super) fn progress(&self) {
        self.0.store(platform::awake_nanos(), Ordering::Relaxed);
    }

    /// How long ago the agent got on; nothing while it rests.
    pub(super) fn since_progress(&self) -> Duration {
        let latest = self.0.load(Ordering::Relaxed);
        Duration::from_nanos(platform::awake_nanos().saturating_sub(latest))
    }

    /// The agent waits for so long, and gets on then.
    pub(super) fn rest(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(platform::awake_nanos().saturating_add(wait), Ordering::Relaxed);
    }
}

/// Whether there was no progress for longer than `limit`.
fn is_late(latest: u64, now: u64, limit: Duration) -> bool {
    u128::from(now.saturating_sub(latest)) > limit.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_late_if_it_made_no_progress_for_longer_than_the_limit() {
        let second = 1_000_000_000;
        let limit = Duration::from_secs(60);
        assert!(!is_late(5 * second, 65 * second, limit));
        assert!(is_late(5 * second, 65 * second + 1, limit));
        assert!(!is_late(600 * second, 65 * second, limit), "it rests");
    }
}
