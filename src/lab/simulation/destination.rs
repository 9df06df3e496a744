//! Where finished operations and agents' reports go.

use super::agent_report::AgentReport;
use super::batch::Finished;
use super::sender::{Gone, Senders};
use mpr_otel_core::stop::Stop;

/// Takes what the fleet sends.
pub(super) trait Destination {
    /// The most operations and the most reports that it takes at a time.
    fn most(&self) -> (usize, usize);

    /// Takes operations. Waits while it has enough, calling `waiting`. Returns them if it did not take
    /// them before the run was stopped.
    fn spans(
        &self,
        batch: Vec<Finished>,
        stop: &Stop,
        waiting: &mut dyn FnMut(),
    ) -> Result<Option<Vec<Finished>>, Gone>;

    /// Takes reports in the same way; those that it does not take are dropped.
    fn reports(
        &self,
        reports: Vec<AgentReport>,
        stop: &Stop,
        waiting: &mut dyn FnMut(),
    ) -> Result<(), Gone>;

    /// Waits until the spans that it took have met their fate, calling `waiting`.
    fn settle(&self, waiting: &mut dyn FnMut()) -> Result<(), Gone>;

    /// Whether it wants to know when a simulated minute is over.
    fn counts_minutes(&self) -> bool {
        false
    }

    /// The simulated minute with this number is over.
    fn minute_is_over(&self, _minute: u32) {}
}

/// Machines whose reports share a request.
const REPORTS: usize = 500;

/// A real collector, behind threads that send.
pub(super) struct Collector {
    pub(super) spans: Senders<Vec<Finished>>,
    pub(super) reports: Option<Senders<Vec<AgentReport>>>,
    /// Spans of a request.
    pub(super) batch_max: usize,
}

impl Destination for Collector {
    fn most(&self) -> (usize, usize) {
        (self.batch_max, REPORTS)
    }

    fn spans(
        &self,
        batch: Vec<Finished>,
        stop: &Stop,
        waiting: &mut dyn FnMut(),
    ) -> Result<Option<Vec<Finished>>, Gone> {
        self.spans.hand_over(batch, stop, waiting)
    }

    fn reports(
        &self,
        reports: Vec<AgentReport>,
        stop: &Stop,
        waiting: &mut dyn FnMut(),
    ) -> Result<(), Gone> {
        let Some(senders) = &self.reports else { return Ok(()) };
        senders.hand_over(reports, stop, waiting).map(drop)
    }

    fn settle(&self, waiting: &mut dyn FnMut()) -> Result<(), Gone> {
        self.spans.settle(waiting)
    }
}

impl Collector {
    /// Waits until everything is sent. False if a thread ended badly.
    pub(super) fn finish(self) -> bool {
        let well = self.reports.is_none_or(Senders::finish);
        self.spans.finish() && well
    }
}
