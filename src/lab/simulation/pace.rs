//! How simulated time and real time go together.

use mpr_otel_core::clock;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

/// How fast simulated time goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the collector takes what is sent.
    Max,
    /// So many simulated seconds in a real one.
    Factor(f64),
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.parse()
            .ok()
            .filter(|factor| (0.01..=1e6).contains(factor))
            .map(Self::Factor)
            .ok_or_else(|| {
                format!(
                    "`{text}` is no speed; write max, or how many simulated seconds a real one \
                     has, such as 60"
                )
            })
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => out.write_str("max"),
            Self::Factor(factor) => factor.fmt(out),
        }
    }
}

/// The dates of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    /// `None`: simulated time is all there is, and nothing waits for it.
    pace: Option<Pace>,
    begun: Instant,
    begun_unix_nanos: u64,
}

/// 2026-01-05, a Monday, 00:00 UTC, in nanoseconds since 1970.
const MONDAY: u64 = 1_767_571_200 * 1_000_000_000;

impl Timeline {
    /// Begins now.
    pub(super) fn begin(pace: Pace) -> Self {
        let begun_unix_nanos = clock::unix_nanos(SystemTime::now());
        Self { pace: Some(pace), begun: Instant::now(), begun_unix_nanos }
    }

    /// Dates by simulated time alone: the same in every run. Begins on a Monday, `from` nanoseconds
    /// after midnight.
    pub(super) fn simulated(from: u64) -> Self {
        Self { pace: None, begun: Instant::now(), begun_unix_nanos: MONDAY + from }
    }

    /// When it began, in nanoseconds since 1970.
    pub(super) fn begun_unix_nanos(&self) -> u64 {
        self.begun_unix_nanos
    }

    /// The date now, at the simulated time `at`, in nanoseconds since 1970: real time, by the
    /// monotonic clock, if there is any.
    pub(super) fn now_unix_nanos(&self, at: u64) -> u64 {
        let elapsed = self.pace.map_or(at, |_| self.begun.elapsed().as_nanos() as u64);
        self.begun_unix_nanos + elapsed
    }

    /// Real time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// When the simulated time `at` comes; `None`: at once.
    pub(super) fn due(&self, at: u64) -> Option<Instant> {
        match self.pace {
            None | Some(Pace::Max) => None,
            Some(Pace::Factor(factor)) => {
                Some(self.begun + Duration::from_nanos((at as f64 / factor) as u64))
            }
        }
    }

    /// The date of simulated time 0 for an operation whose span is sent at the simulated time `sent`.
    ///
    /// An operation lasts as long as it was simulated, and ended as long before its span is sent: at
    /// any pace. So each has a date of its own for the beginning.
    pub(super) fn anchor(&self, sent: u64) -> u64 {
        let date = match self.pace {
            None | Some(Pace::Max) => self.now_unix_nanos(sent),
            Some(Pace::Factor(factor)) => self.begun_unix_nanos + (sent as f64 / factor) as u64,
        };
        date.saturating_sub(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_max_or_a_factor() {
        assert_eq!("max".parse(), Ok(Pace::Max));
        assert_eq!("60".parse(), Ok(Pace::Factor(60.0)));
        assert_eq!("0.5".parse(), Ok(Pace::Factor(0.5)));
        assert_eq!(Pace::Factor(60.0).to_string(), "60");
        for wrong in ["", "fast", "0", "-1", "NaN", "inf"] {
            let said = wrong.parse::<Pace>().unwrap_err();
            assert!(said.contains("such as 60"), "{said}");
        }
    }

    #[test]
    fn an_operation_ends_when_it_is_sent() {
        let second = 1_000_000_000;
        let paced = Timeline::begin(Pace::Factor(100.0));
        let ended = 500 * second;
        assert_eq!(paced.anchor(ended) + ended, paced.begun_unix_nanos + 5 * second);
        assert!(paced.due(ended).is_some());
        let max = Timeline::begin(Pace::Max);
        assert!(max.anchor(ended) + ended >= max.begun_unix_nanos);
        assert!(max.anchor(ended) + ended <= max.now_unix_nanos(ended));
        assert_eq!(max.due(ended), None);
        let simulated = Timeline::simulated(second);
        assert_eq!(simulated.anchor(ended), MONDAY + second);
        assert_eq!(simulated.now_unix_nanos(ended), MONDAY + second + ended);
        assert_eq!(simulated.due(ended), None);
    }
}
