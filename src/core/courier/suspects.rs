//! Spans that a collector seems to fail at.

use super::{Cause, Courier, Verdict};

/// After so many failures of a span that is sent alone, the span is suspected and others are sent.
const FAILURES: u32 = 3;
/// The most spans that are suspected at a time. If the collector fails at more spans, the collector
/// is the reason.
const SUSPECTS: usize = 16;

/// Remembers which spans are passed over, and which are sent again alone.
///
/// If a collector fails (5xx) at one span, the other spans must not wait for that one. If it fails
/// at every span, no span may be lost. So a span is passed over if the collector fails at it again
/// and again but takes an empty batch. After the collector has taken other spans, the suspected
/// span is sent again alone. If the collector then fails, and still takes an empty batch, the span
/// is the reason, and it is refused.
#[derive(Debug)]
pub struct Suspects<Key> {
    /// The span that was sent alone last and failed, and how often it failed.
    failing: Option<(Key, u32)>,
    passed_over: Vec<Key>,
    /// The suspects that are to be sent again, because other spans were taken since.
    on_trial: Vec<Key>,
}

impl<Key> Default for Suspects<Key> {
    fn default() -> Self {
        Self { failing: None, passed_over: Vec::new(), on_trial: Vec::new() }
    }
}

impl<Key: Copy + PartialEq> Suspects<Key> {
    /// The span that is to be sent alone next. `None` if any span may be sent that is not
    /// [`passed_over`](Self::passed_over).
    pub fn on_trial(&self) -> Option<Key> {
        self.on_trial.last().copied()
    }

    /// The spans that are sent only if there are no others.
    pub fn passed_over(&self) -> &[Key] {
        &self.passed_over
    }

    /// Forgets these spans, because they are no longer in the store.
    pub fn forget(&mut self, keys: &[Key]) {
        self.passed_over.retain(|suspect| !keys.contains(suspect));
        self.on_trial.retain(|suspect| !keys.contains(suspect));
    }

    /// Decides what the courier's verdict on one batch means for its spans, `keys`.
    pub fn weigh(&mut self, courier: &mut Courier, keys: &[Key], verdict: Verdict) -> Verdict {
        self.conclude(keys, verdict, &mut || courier.takes_empty_batches())
    }

    fn conclude(
        &mut self,
        keys: &[Key],
        verdict: Verdict,
        takes_empty_batches: &mut dyn FnMut() -> bool,
    ) -> Verdict {
        let is_trial = keys.len() == 1 && self.on_trial.pop_if(|key| keys.contains(key)).is_some();
        match verdict {
            Verdict::Later { cause: Cause::Failing, reason, .. }
                if is_trial && takes_empty_batches() =>
            {
                tracing::warn!(
                    "the collector fails at one span and takes others; that span is refused"
                );
                self.forget(keys);
                Verdict::Refused { reason }
            }
            Verdict::Later { cause: Cause::Failing, .. } => {
                if let [key] = keys {
                    self.failed_alone(*key, takes_empty_batches);
                }
                verdict
            }
            Verdict::Accepted { rejected, .. } => {
                self.forget(keys);
                if !is_trial && rejected < keys.len() as u64 {
                    self.on_trial.clone_from(&self.passed_over);
                }
                verdict
            }
            Verdict::Refused { .. } => {
                self.forget(keys);
                verdict
            }
            Verdict::Divide { .. } | Verdict::Later { .. } => verdict,
        }
    }

    fn failed_alone(&mut self, key: Key, takes_empty_batches: &mut dyn FnMut() -> bool) {
        let failures = match self.failing {
            Some((failing, failures)) if failing == key => failures.saturating_add(1),
            _ => 1,
        };
        self.failing = Some((key, failures));
        let is_new = !self.passed_over.contains(&key) && self.passed_over.len() < SUSPECTS;
        if failures >= FAILURES && is_new && takes_empty_batches() {
            tracing::warn!("the collector fails at one span; others are sent before it");
            self.passed_over.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: Verdict = Verdict::Accepted { rejected: 0, message: String::new() };

    fn failing() -> Verdict {
        Verdict::Later { reason: "status 500".to_owned(), after: None, cause: Cause::Failing }
    }

    fn refused() -> Verdict {
        Verdict::Refused { reason: "status 500".to_owned() }
    }

    /// The verdict on `keys`, with `empty` for whether the collector takes empty batches.
    fn weigh(suspects: &mut Suspects<u8>, keys: &[u8], verdict: Verdict, empty: bool) -> Verdict {
        suspects.conclude(keys, verdict, &mut || empty)
    }

    /// Suspects that pass over these spans.
    fn suspecting(keys: &[u8]) -> Suspects<u8> {
        let mut suspects = Suspects::default();
        for key in keys {
            for _ in 0..FAILURES {
                assert_eq!(weigh(&mut suspects, &[*key], failing(), true), failing());
            }
        }
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (keys, None));
        suspects
    }

    #[test]
    fn a_span_that_fails_three_times_alone_is_passed_over() {
        let mut suspects = Suspects::default();
        weigh(&mut suspects, &[1, 2], failing(), true);
        for failures in 1..=FAILURES {
            assert_eq!(suspects.passed_over(), [], "{failures}");
            weigh(&mut suspects, &[1], failing(), true);
        }
        assert_eq!(suspects.passed_over(), [1]);
    }

    #[test]
    fn failures_of_different_spans_do_not_add_up() {
        let mut suspects = Suspects::default();
        for key in [1, 2, 1, 2, 1, 2] {
            weigh(&mut suspects, &[key], failing(), true);
        }
        assert_eq!(suspects.passed_over(), []);
    }

    #[test]
    fn no_span_is_suspected_while_the_collector_takes_not_even_an_empty_batch() {
        let mut suspects = Suspects::default();
        for _ in 0..10 {
            weigh(&mut suspects, &[1], failing(), false);
        }
        assert_eq!(suspects.passed_over(), []);
        weigh(&mut suspects, &[1], failing(), true);
        assert_eq!(suspects.passed_over(), [1]);
    }

    #[test]
    fn no_span_is_suspected_for_an_answer_that_is_no_failure() {
        let mut suspects = Suspects::default();
        for cause in [Cause::Silence, Cause::Busy, Cause::Setup, Cause::Withheld] {
            for _ in 0..FAILURES {
                let later = Verdict::Later { reason: String::new(), after: None, cause };
                weigh(&mut suspects, &[1], later, true);
            }
        }
        assert_eq!(suspects.passed_over(), []);
    }

    #[test]
    fn a_suspect_is_tried_again_once_others_were_taken_and_refused_if_it_fails_then() {
        let mut suspects = suspecting(&[1]);
        assert_eq!(weigh(&mut suspects, &[2, 3], TAKEN, true), TAKEN);
        assert_eq!(suspects.on_trial(), Some(1));
        assert_eq!(weigh(&mut suspects, &[1], failing(), true), refused());
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[][..], None));
    }

    #[test]
    fn a_suspect_that_is_taken_is_a_suspect_no_longer() {
        let mut suspects = suspecting(&[1]);
        weigh(&mut suspects, &[2], TAKEN, true);
        assert_eq!(weigh(&mut suspects, &[1], TAKEN, true), TAKEN);
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[][..], None));
    }

    #[test]
    fn a_span_on_trial_is_refused_only_while_empty_batches_are_taken() {
        let mut suspects = suspecting(&[1]);
        weigh(&mut suspects, &[2], TAKEN, true);
        // The collector went down in between.
        assert_eq!(weigh(&mut suspects, &[1], failing(), false), failing());
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[1][..], None));
        weigh(&mut suspects, &[3], TAKEN, true);
        assert_eq!(weigh(&mut suspects, &[1], failing(), true), refused());
    }

    #[test]
    fn no_span_is_lost_if_a_collector_fails_at_every_span() {
        let mut suspects = Suspects::default();
        for round in 0..100 {
            for key in 0..=u8::MAX {
                assert_eq!(weigh(&mut suspects, &[key], failing(), true), failing(), "{round}");
                assert_eq!(weigh(&mut suspects, &[key], failing(), true), failing(), "{round}");
                assert_eq!(weigh(&mut suspects, &[key], failing(), true), failing(), "{round}");
            }
        }
        assert_eq!((suspects.passed_over().len(), suspects.on_trial()), (SUSPECTS, None));
    }

    #[test]
    fn a_batch_that_was_refused_as_a_whole_puts_no_span_on_trial() {
        let mut suspects = suspecting(&[1]);
        let none_taken = Verdict::Accepted { rejected: 2, message: String::new() };
        weigh(&mut suspects, &[2, 3], none_taken, true);
        weigh(&mut suspects, &[4], refused(), true);
        weigh(&mut suspects, &[5, 6], Verdict::Divide { reason: String::new() }, true);
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[1][..], None));
    }

    #[test]
    fn a_suspect_that_is_taken_puts_no_other_on_trial_again() {
        let mut suspects = suspecting(&[1, 2]);
        weigh(&mut suspects, &[3], TAKEN, true);
        assert_eq!(suspects.on_trial(), Some(2));
        weigh(&mut suspects, &[2], failing(), false);
        assert_eq!(suspects.on_trial(), Some(1));
        weigh(&mut suspects, &[1], TAKEN, true);
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[2][..], None));
    }

    #[test]
    fn a_span_that_was_given_up_meanwhile_is_on_trial_no_longer() {
        let mut suspects = suspecting(&[1, 2]);
        weigh(&mut suspects, &[3], TAKEN, true);
        suspects.forget(&[2]);
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[1][..], Some(1)));
    }
}
