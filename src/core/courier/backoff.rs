//! How long to wait before a request is repeated.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A server may ask for more than [`LONGEST`], but not for the rest of time.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 60 * 60);

/// Exponential backoff with jitter, without a limit in time.
///
/// Each wait is random, between half of a ceiling and the ceiling, which doubles from
/// half a second to thirty. A fleet that lost its collector together does not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: never shorter than what the server asked for in `Retry-After`.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let jitter = ceiling.mul_f64(random() / 2.0);
        match asked {
            Some(asked) => asked.min(LONGEST_ASKED) + jitter,
            None => ceiling / 2 + jitter,
        }
    }

    /// A request went through.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1; 1 if the system has no randomness.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_ceiling_and_keep_within_half_of_it() {
        let mut backoff = Backoff::default();
        for ceiling in [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000] {
            let ceiling = Duration::from_millis(ceiling);
            let wait = backoff.next(None);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn waits_are_random() {
        let waits: std::collections::HashSet<_> =
            (0..32).map(|_| Backoff::default().next(None)).collect();
        assert!(waits.len() > 16);
    }

    #[test]
    fn the_server_is_never_asked_again_before_it_said() {
        let asked = Duration::from_secs(90);
        let wait = Backoff::default().next(Some(asked));
        assert!(wait >= asked && wait <= asked + FIRST);
        let wait = Backoff::default().next(Some(Duration::MAX));
        assert!(wait <= LONGEST_ASKED + FIRST);
    }

    #[test]
    fn failures_without_end_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX - 1 };
        for _ in 0..4 {
            assert!(backoff.next(None) <= LONGEST);
        }
    }
}
