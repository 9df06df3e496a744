//! Trouble that lasts: when it and its end are reported.

use crate::agent::trouble::Trouble;
use std::time::{Duration, SystemTime};

/// Trouble that ends sooner is not reported.
const LASTS: Duration = Duration::from_secs(60);

/// Something that may not work for a while.
#[derive(Debug, Default)]
pub(in crate::agent) struct Outage {
    /// The trouble that was seen last, with the reason that was reported. `None` if it was not
    /// reported.
    reported: Option<Trouble>,
}

/// What is to be reported of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum News<'a> {
    /// The outage lasts, or its reason has changed.
    Lasts {
        /// How long it has lasted.
        lasted: Duration,
        /// Why.
        reason: &'a str,
    },
    /// It is over.
    Over {
        /// How long it had lasted.
        lasted: Duration,
    },
}

impl Outage {
    /// Notes the trouble that there is now, or that there is none. Calls `report` if something is
    /// to be reported; it returns whether it reported that.
    pub(in crate::agent) fn see(
        &mut self,
        trouble: Option<&Trouble>,
        now: SystemTime,
        report: impl FnOnce(News<'_>) -> bool,
    ) {
        let lasted = |trouble: &Trouble| now.duration_since(trouble.since).unwrap_or_default();
        match (trouble, &mut self.reported) {
            (None, None) => {}
            (None, Some(reported)) => {
                let lasted = lasted(reported);
                self.reported = None;
                report(News::Over { lasted });
            }
            (Some(trouble), Some(reported)) if reported.reason == trouble.reason => {
                reported.since = trouble.since;
            }
            (Some(trouble), _) => {
                let lasted = lasted(trouble);
                let reason = &trouble.reason;
                if lasted >= LASTS && report(News::Lasts { lasted, reason }) {
                    self.reported = Some(trouble.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outage, and what was reported: for each report, after how many seconds and with which
    /// reason.
    #[derive(Default)]
    struct Seen {
        outage: Outage,
        reported: Vec<(u64, String)>,
        /// Whether the log takes nothing more within the hour.
        refuses: bool,
    }

    impl Seen {
        /// Looks at second `at`, with trouble that began at the given second.
        fn look(&mut self, at: u64, trouble: Option<(u64, &str)>) {
            let date = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
            let trouble = trouble
                .map(|(since, reason)| Trouble { since: date(since), reason: reason.to_owned() });
            self.outage.see(trouble.as_ref(), date(at), |news| {
                if self.refuses {
                    return false;
                }
                self.reported.push(match news {
                    News::Lasts { lasted, reason } => (lasted.as_secs(), reason.to_owned()),
                    News::Over { lasted } => (lasted.as_secs(), "over".to_owned()),
                });
                true
            });
        }

        /// The reports since the last call.
        fn reported(&mut self) -> Vec<(u64, String)> {
            std::mem::take(&mut self.reported)
        }
    }

    #[test]
    fn trouble_that_lasts_is_reported_once_and_so_is_its_end() {
        let mut seen = Seen::default();
        for at in (0..7 * 24 * 3600).step_by(60) {
            seen.look(at, Some((0, "status 401")));
        }
        assert_eq!(seen.reported(), [(60, "status 401".to_owned())]);
        seen.look(604_800, None);
        assert_eq!(seen.reported(), [(604_800, "over".to_owned())]);
        seen.look(604_860, None);
        assert_eq!(seen.reported(), []);
    }

    #[test]
    fn trouble_that_is_over_within_a_minute_is_not_reported() {
        let mut seen = Seen::default();
        for begin in [0, 100, 200] {
            seen.look(begin, Some((begin, "status 503")));
            seen.look(begin + 59, Some((begin, "status 503")));
            seen.look(begin + 61, None);
        }
        assert_eq!(seen.reported(), []);
    }

    #[test]
    fn another_reason_is_reported_as_soon_as_the_log_takes_it() {
        let mut seen = Seen::default();
        seen.look(60, Some((0, "status 401")));
        seen.refuses = true;
        seen.look(120, Some((0, "status 503")));
        seen.look(180, Some((0, "status 503")));
        seen.refuses = false;
        seen.look(240, Some((0, "status 503")));
        seen.look(300, Some((0, "status 503")));
        let expected = [(60, "status 401".to_owned()), (240, "status 503".to_owned())];
        assert_eq!(seen.reported(), expected);
    }

    #[test]
    fn the_end_of_an_outage_that_the_log_did_not_take_is_not_reported() {
        let mut seen = Seen { refuses: true, ..Seen::default() };
        seen.look(60, Some((0, "status 401")));
        seen.refuses = false;
        seen.look(120, None);
        assert_eq!(seen.reported(), []);
    }

    #[test]
    fn an_outage_counts_from_when_the_collector_last_took_something() {
        let mut seen = Seen::default();
        seen.look(60, Some((0, "status 401")));
        seen.look(500, Some((400, "status 401")));
        seen.look(560, None);
        let expected = [(60, "status 401".to_owned()), (160, "over".to_owned())];
        assert_eq!(seen.reported(), expected);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_outage_shorter_than_zero() {
        let mut seen = Seen::default();
        seen.look(60, Some((0, "status 401")));
        seen.look(0, Some((3600, "status 401")));
        seen.look(0, None);
        let expected = [(60, "status 401".to_owned()), (0, "over".to_owned())];
        assert_eq!(seen.reported(), expected);
    }
}
