//! A fleet in one process: hosts that map drives all day, in simulated time, and the truth about
//! it.
//!
//! What is sent is made by the product's own code. An operation fills a ledger's record as PRE
//! and POST do, is decoded, becomes a span and goes out with the courier. Data flows one way:
//!
//! ```text
//! plan ─> script (record) ─> engine ─> outbox ─> batch (operation, span) ─> sender ─> OTLP
//!           └─ what was scripted, once a collector has its span ─> truth
//! ```
//!
//! Memory is bounded by a few words for each host, the operations under way and the senders'
//! short queues: a collector that is slow slows simulated time.

mod agent_report;
mod batch;
mod curve;
mod engine;
mod failure_rates;
mod fleet;
mod incident;
mod latency;
mod outbox;
mod pace;
mod place;
mod plan;
mod random;
mod record;
mod script;
mod sender;
mod truth;

pub use incident::{Incident, IncidentError, Kind};
pub use pace::Pace;
pub use sender::SenderError;
pub use truth::{AgentsTruth, HostKindTruth, HostTruth, IncidentTruth, SeriesTruth, Truth};

use agent_report::Meters;
use engine::Engine;
use fleet::Fleet;
use http::Uri;
use incident::Incidents;
use mpr_otel_core::courier::{Cause, Courier, Verdict, metrics_endpoint};
use mpr_otel_core::settings::Settings;
use mpr_otel_core::stop::Stop;
use outbox::Outbox;
use pace::Timeline;
use sender::{Gone, SenderShared, Senders};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Hosts.
    pub hosts: u32,
    /// Servers, at least one.
    pub servers: usize,
    /// How long, in simulated time.
    pub length: Duration,
    /// The time of day at the beginning, after midnight.
    pub from: Duration,
    /// What the random numbers are made from.
    pub seed: u64,
    /// How fast.
    pub pace: Pace,
    /// Whether the hosts have agents, which report.
    pub agents: bool,
    /// Whether each host sends requests of its own.
    pub direct: bool,
    /// Threads that send.
    pub senders: usize,
    /// What happens.
    pub incidents: Vec<Incident>,
}

/// How far a run is.
#[derive(Clone, Debug)]
pub struct RunProgress {
    /// Simulated time since the beginning.
    pub simulated: Duration,
    /// How long the run is to be.
    pub length: Duration,
    /// Spans that a collector accepted.
    pub accepted: u64,
    /// Spans that it refused for good.
    pub refused: u64,
    /// Spans that it did not take yet and was sent again.
    pub put_off: u64,
    /// Why it does not take what is sent; `None` if it does.
    pub trouble: Option<String>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What really happened.
    pub truth: Truth,
    /// Real time until the last span was accepted.
    pub elapsed: Duration,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// The most operations that were under way at a time.
    pub most_open: usize,
    /// Requests of agents that were refused for good.
    pub reports_refused: u64,
    /// What the collector said when it refused something.
    pub refusal: Option<String>,
}

impl Outcome {
    /// Accepted spans in a second of real time.
    pub fn spans_per_second(&self) -> f64 {
        self.truth.operations as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }
}

/// Why a fleet cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// An incident strikes nobody.
    #[error("{0}")]
    Incident(String),
    /// No collector is named.
    #[error("no collector is named; say with --endpoint where the simulated spans are to be sent")]
    NoEndpoint,
    /// No collector takes spans.
    #[error(
        "no collector takes spans at {endpoint}: {reason}; start one, or name another with \
         --endpoint"
    )]
    NoCollector {
        /// Where spans were to be sent.
        endpoint: String,
        /// What was tried.
        reason: String,
    },
    /// `--agents` needs a metrics endpoint, and none can be derived from the traces endpoint.
    #[error(
        "--agents needs an endpoint for metrics, and {0} does not end in /v1/traces; set \
         MPR_OTEL_ENDPOINT, or --endpoint, to the collector's base URL"
    )]
    NoMetrics(String),
    /// There are no senders.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// A thread ended badly.
    #[error("a sender ended badly; that is a fault of mpr-otel: please report it")]
    Fault,
}

impl From<Gone> for SimulationError {
    fn from(_: Gone) -> Self {
        Self::Fault
    }
}

/// Simulates a fleet until its end, or until `stop` is asked, and calls `report` with how far it is.
/// Returns when everything is accepted or refused.
pub fn run(
    scenario: &Scenario,
    settings: &Settings,
    stop: &Stop,
    report: &mut dyn FnMut(&RunProgress),
) -> Result<Outcome, SimulationError> {
    let fleet = Fleet::new(scenario.seed, scenario.hosts, scenario.servers.max(1));
    let incidents =
        Incidents::new(&fleet, &scenario.incidents).map_err(SimulationError::Incident)?;
    let collector = settings.endpoint.as_ref().ok_or(SimulationError::NoEndpoint)?;
    let endpoint = match (scenario.agents, metrics_endpoint(collector)) {
        (false, _) => None,
        (true, Some(endpoint)) => Some(endpoint),
        (true, None) => return Err(SimulationError::NoMetrics(collector.to_string())),
    };
    check_collector(settings, collector)?;
    let shared = Arc::new(SenderShared::new(
        fleet.clone(),
        settings.clone(),
        scenario.direct,
        stop.clone(),
        scenario.agents.then(|| Meters::new(scenario.hosts)),
    ));
    let spans = sender::spans(&shared, collector, scenario.senders.max(1))?;
    let (from, end) = (nanos(scenario.from), nanos(scenario.length));
    let timeline = Timeline::begin(scenario.pace);
    let begun = timeline.begun_unix_nanos();
    let reports =
        endpoint.map(|endpoint| sender::reports(&shared, &endpoint, begun)).transpose()?;
    let (lost, dropped, most_open, agents, elapsed);
    {
        let outbox = Outbox::new(&spans, reports.as_ref(), settings.batch_max);
        let mut engine = Engine::new(&shared, &incidents, timeline, outbox, (from, end), report);
        engine.run()?;
        elapsed = timeline.elapsed();
        agents = engine.close()?;
        (lost, dropped, most_open) = (engine.lost(), engine.dropped(), engine.most_open());
    }
    let well = reports.is_none_or(Senders::finish);
    if !(spans.finish() && well) {
        return Err(SimulationError::Fault);
    }
    let count = shared.count();
    let (failures, unfinished) = count.failures();
    let truth = Truth {
        seed: scenario.seed,
        hosts: scenario.hosts,
        speed: scenario.pace.to_string(),
        begun_unix_ms: begun / 1_000_000,
        ended_unix_ms: timeline.now_unix_nanos() / 1_000_000,
        simulated_seconds: scenario.length.as_secs_f64(),
        operations: count.operations,
        refused: count.refused,
        unsent: count.unsent + dropped,
        repeated: count.repeated,
        put_off: count.put_off,
        exact: !count.inexact && count.repeated + count.put_off == 0,
        failures,
        unfinished,
        series: count.series(&fleet),
        hosts_sample: count.hosts_sample(&fleet),
        agents,
        spans_with_loss: count.spans_with_loss(),
        lost,
        incidents: truth::incidents(&fleet, &incidents, end),
    };
    Ok(Outcome {
        truth,
        elapsed,
        stopped: stop.is_asked(),
        most_open,
        reports_refused: shared.reports_refused.load(Ordering::Relaxed),
        refusal: shared.refusal(),
    })
}

/// Checks first that a collector answers, so that a day is not simulated for nothing. One that is
/// busy or restarting passes: the senders wait for it.
fn check_collector(settings: &Settings, collector: &Uri) -> Result<(), SimulationError> {
    let error = |reason| SimulationError::NoCollector { endpoint: collector.to_string(), reason };
    match Courier::new(settings.clone()).probe() {
        Verdict::Accepted { .. } | Verdict::Later { cause: Cause::Busy | Cause::Failing, .. } => {
            Ok(())
        }
        Verdict::Later { reason, .. }
        | Verdict::Refused { reason }
        | Verdict::Divide { reason } => Err(error(reason)),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
