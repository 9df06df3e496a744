//! What waits to be handed over: spans, and agents' reports.

use super::agent_report::AgentReport;
use super::batch::Finished;
use super::destination::Destination;
use super::sender::Gone;
use mpr_otel_core::stop::Stop;
use std::time::{Duration, Instant};

/// A paced run hands over what there is as often as this.
const PATIENCE: Duration = Duration::from_millis(100);
/// Collects, and hands over in batches.
pub(super) struct Outbox<'run> {
    destination: &'run dyn Destination,
    finished: Vec<Finished>,
    reports: Vec<AgentReport>,
    /// When the first of what is collected came.
    since: Option<Instant>,
    /// Spans that were not handed over because the run was stopped.
    pub(super) dropped: u64,
}

impl<'run> Outbox<'run> {
    pub(super) fn new(destination: &'run dyn Destination) -> Self {
        Self { destination, finished: Vec::new(), reports: Vec::new(), since: None, dropped: 0 }
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
        let (spans, reports) = self.destination.most();
        self.finished.len() >= spans || self.reports.len() >= reports
    }

    /// Until when a paced run may collect; `None` if nothing is collected.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// Hands over all that is collected. Waits while the senders have enough, calling `waiting`;
    /// that is what bounds memory. What is not taken when the run is stopped is dropped.
    pub(super) fn flush(&mut self, stop: &Stop, waiting: &mut dyn FnMut()) -> Result<(), Gone> {
        self.since = None;
        let (spans, reports) = self.destination.most();
        while !self.finished.is_empty() {
            let rest = self.finished.split_off(self.finished.len().min(spans));
            let batch = std::mem::replace(&mut self.finished, rest);
            let left = self.destination.spans(batch, stop, waiting)?;
            self.dropped += left.map_or(0, |batch| batch.len() as u64);
        }
        while !self.reports.is_empty() {
            let rest = self.reports.split_off(self.reports.len().min(reports));
            let batch = std::mem::replace(&mut self.reports, rest);
            self.destination.reports(batch, stop, waiting)?;
        }
        Ok(())
    }

    /// Waits until the spans that were handed over have met their fate, calling `waiting`.
    pub(super) fn settle(&self, waiting: &mut dyn FnMut()) -> Result<(), Gone> {
        self.destination.settle(waiting)
    }

    /// Whether the destination wants to know of minutes.
    pub(super) fn counts_minutes(&self) -> bool {
        self.destination.counts_minutes()
    }

    /// Tells the destination that the simulated minute with this number is over.
    pub(super) fn minute_is_over(&self, minute: u32) {
        self.destination.minute_is_over(minute);
    }
}
