//! Spans at which a collector fails.

use super::{Cause, Courier, Verdict};

/// After so many failures of a span that is sent alone it is suspected, and others are sent.
const FAILURES: u32 = 3;
/// Spans that are suspected at a time: if there are more of them, the collector is the reason.
const SUSPECTS: usize = 16;

/// Which spans are passed over, and which are sent again alone.
///
/// A collector that fails (5xx) at one span must not keep all others waiting, and one that fails at
/// every span must cost none. So a span that fails again and again is passed over, if the collector
/// takes an empty batch. Once others were taken it is sent again alone, and if the collector fails
/// then, and still takes an empty batch, the span is the reason: it is refused.
#[derive(Debug)]
pub struct Suspects<Key> {
    /// The span that was sent alone last and failed, and how often.
    failing: Option<(Key, u32)>,
    passed_over: Vec<Key>,
    /// Of these, what is to be sent again because others were taken since.
    on_trial: Vec<Key>,
}

impl<Key> Default for Suspects<Key> {
    fn default() -> Self {
        Self { failing: None, passed_over: Vec::new(), on_trial: Vec::new() }
    }
}

impl<Key: Copy + PartialEq> Suspects<Key> {
    /// What is to be sent alone next; `None` if anything that is not [`passed_over`](Self::passed_over)
    /// may be.
    pub fn on_trial(&self) -> Option<Key> {
        self.on_trial.last().copied()
    }

    /// What is sent only if there is nothing else.
    pub fn passed_over(&self) -> &[Key] {
        &self.passed_over
    }

    /// These are not there any more.
    pub fn forget(&mut self, keys: &[Key]) {
        self.passed_over.retain(|suspect| !keys.contains(suspect));
        self.on_trial.retain(|suspect| !keys.contains(suspect));
    }

    /// What the courier's verdict on these, which were sent as one batch, means for them.
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
                tracing::warn!("the collector fails at one span and takes others: it is refused");
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

    /// What the verdict on `keys` means to spans whose collector takes empty batches or does not.
    fn weigh(suspects: &mut Suspects<u8>, keys: &[u8], verdict: Verdict, empty: bool) -> Verdict {
        suspects.conclude(keys, verdict, &mut || empty)
    }

    /// With these passed over.
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
    fn a_suspect_that_is_taken_is_not_one_any_more() {
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
    fn a_collector_that_fails_at_every_span_costs_none() {
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
    fn a_batch_of_which_everything_was_refused_puts_nothing_on_trial() {
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
    fn what_was_given_up_meanwhile_is_on_trial_no_more() {
        let mut suspects = suspecting(&[1, 2]);
        weigh(&mut suspects, &[3], TAKEN, true);
        suspects.forget(&[2]);
        assert_eq!((suspects.passed_over(), suspects.on_trial()), (&[1][..], Some(1)));
    }
}
