//! Ends the process if the agent makes no progress.
//!
//! A file that another user made, a file system or a driver can block a thread for ever, whatever
//! was checked before. If the process ends, the service manager starts a new agent. What the old
//! agent had not sent is in its store and in the ledgers.

use super::events::{Event, Events};
use mpr_otel_core::platform;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long the agent may make no progress.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the process waits for the event log before it ends.
const REPORT_WITHIN: Duration = Duration::from_secs(5);

/// When the agent last made progress or will make it, by the clock that does not count sleep.
#[derive(Clone, Debug)]
pub(super) struct Watchdog(Arc<AtomicU64>);

impl Watchdog {
    /// Starts to watch, on another thread. If the agent is late, that thread writes to the event
    /// log and then ends the process.
    pub(super) fn start(events: Arc<Events>) -> io::Result<Self> {
        let latest = Arc::new(AtomicU64::new(platform::awake_nanos()));
        let watched = Self(Arc::clone(&latest));
        thread::Builder::new().name("mpr-otel-watch".to_owned()).spawn(move || {
            while let Some(left) = left(latest.load(Ordering::Relaxed), platform::awake_nanos()) {
                thread::sleep(left);
            }
            tracing::error!(
                seconds = LIMIT.as_secs(),
                "the agent hangs; its process ends, so that a new agent is started"
            );
            // The event log may be what hangs.
            events.report_within(REPORT_WITHIN, Event::Hangs { limit: LIMIT });
            process::exit(1);
        })?;
        Ok(watched)
    }

    /// Notes that the agent made progress.
    pub(super) fn progress(&self) {
        self.0.store(platform::awake_nanos(), Ordering::Relaxed);
    }

    /// How long ago the agent made progress; zero while it rests.
    pub(super) fn since_progress(&self) -> Duration {
        let latest = self.0.load(Ordering::Relaxed);
        Duration::from_nanos(platform::awake_nanos().saturating_sub(latest))
    }

    /// Notes that the agent waits for so long and will then make progress.
    pub(super) fn rest(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(platform::awake_nanos().saturating_add(wait), Ordering::Relaxed);
    }
}

/// How long the agent may still make no progress. `None` if it made none for too long.
fn left(latest: u64, now: u64) -> Option<Duration> {
    let limit = u64::try_from(LIMIT.as_nanos()).unwrap_or(u64::MAX);
    let end = latest.saturating_add(limit);
    // One nanosecond more, because it is late only after the limit.
    (now <= end).then(|| Duration::from_nanos(end - now + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_late_if_it_made_no_progress_for_longer_than_the_limit() {
        let second = 1_000_000_000;
        assert_eq!(left(5 * second, 65 * second), Some(Duration::from_nanos(1)));
        assert_eq!(left(5 * second, 65 * second + 1), None);
        assert_eq!(left(5 * second, 35 * second), Some(Duration::from_nanos(30 * second + 1)));
        let resting = left(600 * second, 65 * second);
        assert_eq!(resting, Some(Duration::from_nanos(595 * second + 1)));
    }
}
