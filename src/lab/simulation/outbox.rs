//! What waits to be handed to the senders: spans, and agents' reports.

use super::agent_report::AgentReport;
use super::batch::Finished;
use super::sender::{Gone, Senders};
use mpr_otel_core::stop::Stop;
use std::time::{Duration, Instant};

/// A paced run hands over what there is as often as this.
const PATIENCE: Duration = Duration::from_millis(100);
/// Hosts whose reports share a request.
const REPORTS: usize = 500;

/// Collects, and hands over in batches.
pub(super) struct Outbox<'run> {
    spans: &'run Senders<Vec<Finished>>,
    metrics: Option<&'run Senders<Vec<AgentReport>>>,
    batch_max: usize,
    finished: Vec<Finished>,
    reports: Vec<AgentReport>,
    /// When the first of what is collected came.
    since: Option<Instant>,
    /// Spans that were not handed over because the run was stopped.
    pub(super) dropped: u64,
}

impl<'run> Outbox<'run> {
    pub(super) fn new(
        spans: &'run Senders<Vec<Finished>>,
        metrics: Option<&'run Senders<Vec<AgentReport>>>,
        batch_max: usize,
    ) -> Self {
        Self {
            spans,
            metrics,
            batch_max,
            finished: Vec::new(),
            reports: Vec::new(),
            since: None,
            dropped: 0,
        }
    }

    /// A finished operation.
    pub(super) fn add(&mut self, finished: Finished) {
        self.since.get_or_insert_with(Instant::now);
        self.finished.push(finished);
    }

    /// An agent's report.
    pub(super) fn add_report(&mut self, report: AgentReport) {
        self.since.get_or_insert_with(Instant::now);
        self.reports.push(report);
    }

    /// Whether a batch is full.
    pub(super) fn is_full(&self) -> bool {
        self.finished.len() >= self.batch_max || self.reports.len() >= REPORTS
    }

    /// Until when a paced run may collect; `None` if nothing is collected.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// Hands over all that is collected. Waits while the senders have enough, calling `waiting`;
    /// that is what bounds memory. What is not taken when the run is stopped is dropped.
    pub(super) fn flush(&mut self, stop: &Stop, waiting: &mut dyn FnMut()) -> Result<(), Gone> {
        self.since = None;
        while !self.finished.is_empty() {
            let rest = self.finished.split_off(self.finished.len().min(self.batch_max));
            let batch = std::mem::replace(&mut self.finished, rest);
            let left = self.spans.hand_over(batch, stop, waiting)?;
            self.dropped += left.map_or(0, |batch| batch.len() as u64);
        }
        let Some(metrics) = self.metrics else { return Ok(()) };
        while !self.reports.is_empty() {
            let rest = self.reports.split_off(self.reports.len().min(REPORTS));
            let reports = std::mem::replace(&mut self.reports, rest);
            metrics.hand_over(reports, stop, waiting)?;
        }
        Ok(())
    }

    /// Waits until the spans that were handed over have met their fate, calling `waiting`.
    pub(super) fn settle(&self, waiting: &mut dyn FnMut()) -> Result<(), Gone> {
        self.spans.settle(waiting)
    }
}
