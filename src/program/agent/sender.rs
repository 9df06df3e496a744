//! Sends what is in the store.

use super::telemetry::Export;
use crate::listener::may_have_secrets;
use crate::store::{Key, Store, StoreError, Stored};
use mpr_otel_core::clock;
use mpr_otel_core::courier::{Cause, Courier, Verdict};
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::Settings;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// After so many failures of a span that is sent alone it is suspected, and others are sent.
const FAILURES: u32 = 3;
/// Spans that are suspected at a time: if there are more of them, the collector is the reason.
const SUSPECTS: usize = 16;

/// The way from the store to the collector.
///
/// A collector that fails (5xx) at one span must not keep all others waiting, and one that fails at
/// every span must cost none. So a span that fails again and again is passed over, if the collector
/// takes an empty batch. Once others were taken it is sent again alone, and if the collector fails
/// then, the span is the reason: it is refused.
#[derive(Debug)]
pub(crate) struct Sender {
    store: Arc<Store>,
    courier: Courier,
    privacy: Privacy,
    batch_max: usize,
    /// What was sent, and nobody knows whether it arrived.
    unanswered: HashSet<Key>,
    /// The span that was sent alone last and failed, and how often.
    failing: Option<(Key, u32)>,
    /// What is passed over.
    suspects: Vec<Key>,
    /// Of these, what is to be sent again because others were taken since.
    on_trial: Vec<Key>,
}

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There is nothing to send.
    Nothing,
    /// A batch, but for so many spans that were refused for good: the next may follow at once.
    Batch {
        /// Spans that were taken.
        exported: u64,
        /// Spans that were refused for good.
        rejected: u64,
    },
    /// The collector did not take it: try again after this.
    Later(Duration),
}

impl Sender {
    pub(crate) fn new(store: Arc<Store>, settings: &Settings) -> Self {
        Self {
            store,
            courier: Courier::new(settings.clone()).guarded(may_have_secrets),
            privacy: Privacy::of(settings),
            batch_max: settings.batch_max,
            unanswered: HashSet::new(),
            failing: None,
            suspects: Vec::new(),
            on_trial: Vec::new(),
        }
    }

    /// Why the collector did not take the last batch; `None` if it did.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.courier.trouble()
    }

    /// Sends one batch, if it is time for that. Takes no longer than a request may.
    pub(crate) fn send(&mut self) -> Result<Sent, StoreError> {
        let wait = self.courier.wait();
        if !wait.is_zero() {
            return Ok(Sent::Later(wait));
        }
        let trial = self.on_trial.pop();
        let batch = self.next(trial)?;
        let (mut keys, mut spans, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (key, stored) in batch {
            match stored.span(&self.privacy) {
                Some(span) => {
                    keys.push(key);
                    spans.push(span);
                }
                None => unreadable.push(key),
            }
        }
        if !unreadable.is_empty() {
            self.store.give_up(&unreadable, Loss::Corrupt.name())?;
        }
        let count = spans.len() as u64;
        if count == 0 {
            // It was given up meanwhile.
            self.suspects.retain(|suspect| Some(*suspect) != trial);
            return Ok(match (trial, unreadable.len()) {
                (None, 0) => Sent::Nothing,
                _ => Sent::Batch { exported: 0, rejected: 0 },
            });
        }
        let export = Export::begin(count);
        let verdict = self.courier.send(spans);
        export.end(&verdict);
        let rejected = match verdict {
            Verdict::Accepted { rejected, .. } => rejected,
            Verdict::Refused { .. } => count,
            Verdict::Divide { .. } => return Ok(Sent::Batch { exported: 0, rejected: 0 }),
            Verdict::Later { cause: Cause::Failing, .. }
                if trial.is_some() && self.takes_empty_batches() =>
            {
                tracing::warn!("the collector fails at one span and takes others: it is refused");
                count
            }
            Verdict::Later { cause, .. } => {
                match (cause, &*keys) {
                    (Cause::Silence, _) => self.unanswered.extend(keys),
                    (Cause::Failing, [key]) => self.suspect(*key),
                    _ => {}
                }
                return Ok(Sent::Later(self.courier.wait()));
            }
        };
        self.suspects.retain(|suspect| !keys.contains(suspect));
        if trial.is_none() && rejected < count {
            self.on_trial.clone_from(&self.suspects);
        }
        let repeated = keys.iter().filter(|key| self.unanswered.remove(*key)).count() as u64;
        let now = clock::unix_nanos(SystemTime::now());
        self.store.settle(&keys, (rejected, repeated), now)?;
        Ok(Sent::Batch { exported: count - rejected, rejected })
    }

    /// What to send: a span that is on trial, or the next ones that are not suspected, or, if there are
    /// none, those that are.
    fn next(&mut self, trial: Option<Key>) -> Result<Vec<(Key, Stored)>, StoreError> {
        if let Some(key) = trial {
            return Ok(self.store.get(key)?.into_iter().collect());
        }
        let limit = self.batch_max.min(self.courier.at_most());
        let batch = self.store.batch(limit, &self.suspects)?;
        if batch.is_empty() && !self.suspects.is_empty() {
            return self.store.batch(1, &[]);
        }
        Ok(batch)
    }

    /// Counts a failure of a span that was sent alone.
    fn suspect(&mut self, key: Key) {
        let failures = match self.failing {
            Some((failing, failures)) if failing == key => failures + 1,
            _ => 1,
        };
        self.failing = Some((key, failures));
        let is_new = !self.suspects.contains(&key) && self.suspects.len() < SUSPECTS;
        if failures >= FAILURES && is_new && self.takes_empty_batches() {
            tracing::warn!("the collector fails at one span; others are sent before it");
            self.suspects.push(key);
        }
    }

    /// Whether the collector is there, and fails at what is in a batch.
    fn takes_empty_batches(&mut self) -> bool {
        matches!(self.courier.probe(), Verdict::Accepted { rejected: 0, .. })
    }
}
