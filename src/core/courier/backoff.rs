//! How long to wait before a request is repeated.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// A server may ask for more than [`LONGEST`], but for no more than this.
const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// Exponential backoff with jitter, without a limit in time.
///
/// Each wait is random, between zero and a ceiling that doubles from half a second to five minutes.
/// So the senders of a fleet that lost its collector do not all come back at the same moment. If a
/// server asks for a wait, up to half of that wait is added at random, for the same reason.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: never shorter than the server asked for in `Retry-After`.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        match asked {
            Some(asked) => asked.min(LONGEST_ASKED).mul_f64(1.0 + random() / 2.0),
            None => ceiling.mul_f64(random()),
        }
    }

    /// A request succeeded: the next failure waits as the first did.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1; 1 if the system has no randomness.
pub(super) fn random() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_of_the_waits_doubles_up_to_five_minutes() {
        let mut longest = [Duration::ZERO; 12];
        for _ in 0..200 {
            let mut backoff = Backoff::default();
            longest.iter_mut().for_each(|longest| *longest = backoff.next(None).max(*longest));
            backoff.reset();
            assert!(backoff.next(None) <= FIRST);
        }
        for (failures, longest) in longest.into_iter().enumerate() {
            let ceiling = (FIRST * (1 << failures)).min(LONGEST);
            assert!(longest <= ceiling && longest > ceiling / 2, "{longest:?} of {ceiling:?}");
        }
    }

    #[test]
    fn a_fleet_that_lost_its_collector_does_not_come_back_in_one_second() {
        let mut seconds = std::collections::HashMap::<u64, usize>::new();
        for _ in 0..200 {
            let mut backoff = Backoff { failures: 12 };
            *seconds.entry(backoff.next(None).as_secs()).or_default() += 1;
        }
        assert!(seconds.values().all(|requests| *requests <= 20), "{seconds:?}");
    }

    #[test]
    fn waits_are_random_and_so_are_those_that_a_server_asked_for() {
        for asked in [None, Some(Duration::from_secs(90)), Some(LONGEST_ASKED)] {
            let waits: std::collections::HashSet<_> =
                (0..32).map(|_| Backoff::default().next(asked)).collect();
            assert!(waits.len() > 16, "{asked:?}");
        }
    }

    #[test]
    fn the_server_is_never_asked_again_before_it_said() {
        let asked = Duration::from_secs(90);
        let wait = Backoff::default().next(Some(asked));
        assert!(wait >= asked && wait <= asked.mul_f64(1.5));
        let wait = Backoff::default().next(Some(Duration::MAX));
        assert!(wait >= LONGEST_ASKED && wait <= LONGEST_ASKED.mul_f64(1.5), "{wait:?}");
    }

    #[test]
    fn failures_without_end_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX - 1 };
        for _ in 0..4 {
            assert!(backoff.next(None) <= LONGEST);
        }
    }
}
