//! A fleet in one process: machines that map drives all day, in simulated time, and the truth about
//! it.
//!
//! What is sent is made by the product's own code. An operation fills a ledger's record as PRE
//! and POST do, is decoded, becomes a span and goes out with the courier. Data flows one way:
//!
//! ```text
//! plan ─> script (record) ─> engine ─> outbox ─> batch (operation, span) ─> sender ─> OTLP
//!           │                                      └─> gateway ─> series, without a collector
//!           └─ what was scripted, once a collector has its span ─> truth
//! ```
//!
//! Memory is bounded by a few words for each machine, the operations under way and the senders'
//! short queues: a collector that is slow slows simulated time.

mod agent_report;
mod batch;
mod curve;
mod destination;
mod engine;
mod failure_rates;
mod fleet;
mod gateway;
mod incident;
mod incidents;
mod latency;
mod outbox;
mod pace;
mod place;
mod plan;
mod random;
mod record;
mod routine;
mod script;
mod sender;
mod track;
mod truth;
mod working_day;

pub use gateway::{InputSeries, SeriesFile};
pub use incident::{Incident, IncidentError, Kind};
pub use pace::Pace;
pub use sender::SenderError;
pub use truth::{AgentsTruth, IncidentTruth, MachineKindTruth, MachineTruth, SeriesTruth, Truth};

use agent_report::Meters;
use destination::{Collector, Destination};
use engine::Engine;
use fleet::Fleet;
use gateway::Gateway;
use http::Uri;
use incidents::Incidents;
use mpr_otel_core::courier::{Cause, Courier, Verdict, metrics_endpoint};
use mpr_otel_core::settings::Settings;
use mpr_otel_core::stop::Stop;
use outbox::Outbox;
use pace::Timeline;
use routine::Routine;
use sender::{Gone, SenderShared};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Machines.
    pub machines: u32,
    /// Servers, at least one.
    pub servers: usize,
    /// Further servers, each in a branch.
    pub branches: usize,
    /// How long, in simulated time.
    pub length: Duration,
    /// The time of day at the beginning, after midnight.
    pub from: Duration,
    /// What the random numbers are made from.
    pub seed: u64,
    /// How fast.
    pub pace: Pace,
    /// Whether the machines have agents, which report.
    pub agents: bool,
    /// Whether each machine sends requests of its own.
    pub direct: bool,
    /// Threads that send.
    pub senders: usize,
    /// The most series of a metric that a gateway counts, where gateways are simulated, too.
    pub series_limit: usize,
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
    /// An incident strikes what is not simulated.
    #[error("{0} happens to gateways, which are simulated only with --series")]
    Gateways(&'static str),
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
    if let Some(incident) = scenario.incidents.iter().find(|one| one.kind.is_of_gateways()) {
        return Err(SimulationError::Gateways(incident.kind.name()));
    }
    let play = Play::new(scenario, settings, stop)?;
    let endpoint = settings.endpoint.as_ref().ok_or(SimulationError::NoEndpoint)?;
    let reports_endpoint = match (scenario.agents, metrics_endpoint(endpoint)) {
        (false, _) => None,
        (true, Some(reports)) => Some(reports),
        (true, None) => return Err(SimulationError::NoMetrics(endpoint.to_string())),
    };
    check_collector(settings, endpoint)?;
    let spans = sender::spans(&play.shared, endpoint, scenario.senders.max(1))?;
    let timeline = Timeline::begin(scenario.pace);
    let begun = timeline.begun_unix_nanos();
    let reports = reports_endpoint
        .map(|endpoint| sender::reports(&play.shared, &endpoint, begun))
        .transpose()?;
    let collector = Collector { spans, reports, batch_max: settings.batch_max };
    let played = play.until_end(timeline, &collector, report)?;
    if !collector.finish() {
        return Err(SimulationError::Fault);
    }
    Ok(play.outcome(timeline, played))
}

/// Simulates a fleet without a collector, and says which series a gateway would have made of what it
/// sent, with a sample a minute. The same scenario gives the same series.
pub fn series(
    scenario: &Scenario,
    settings: &Settings,
    stop: &Stop,
    report: &mut dyn FnMut(&RunProgress),
) -> Result<(Outcome, SeriesFile), SimulationError> {
    let play = Play::new(scenario, settings, stop)?;
    let timeline = Timeline::simulated(nanos(scenario.from));
    let gateway = Gateway::new(&play.shared, &play.incidents, timeline, scenario.series_limit);
    let played = play.until_end(timeline, &gateway, report)?;
    let file = gateway.file();
    Ok((play.outcome(timeline, played), file))
}

/// A scenario, ready to be played.
struct Play<'run> {
    scenario: &'run Scenario,
    shared: Arc<SenderShared>,
    incidents: Incidents,
    routines: Vec<Routine>,
}

/// What the engine says at the end.
struct Played {
    elapsed: Duration,
    agents: Option<AgentsTruth>,
    lost: u64,
    dropped: u64,
    most_open: usize,
}

impl<'run> Play<'run> {
    fn new(
        scenario: &'run Scenario,
        settings: &Settings,
        stop: &Stop,
    ) -> Result<Self, SimulationError> {
        let fleet = Fleet::new(scenario.seed, scenario.machines, scenario.servers.max(1));
        let mut fleet = fleet.with_branches(scenario.branches);
        let length = nanos(scenario.length);
        if let Some(late) = scenario.incidents.iter().find(|incident| incident.from >= length) {
            let name = late.kind.name();
            return Err(SimulationError::Incident(format!(
                "{name} begins when the run is over; make the run longer, or begin earlier"
            )));
        }
        let incidents = Incidents::new(&fleet, &scenario.incidents, nanos(scenario.from))
            .map_err(SimulationError::Incident)?;
        let routines = Routine::all(&mut fleet, &incidents);
        let shared = Arc::new(SenderShared::new(
            fleet,
            settings.clone(),
            scenario.direct,
            stop.clone(),
            scenario.agents.then(|| Meters::new(scenario.machines)),
        ));
        Ok(Self { scenario, shared, incidents, routines })
    }

    fn until_end(
        &self,
        timeline: Timeline,
        destination: &dyn Destination,
        report: &mut dyn FnMut(&RunProgress),
    ) -> Result<Played, SimulationError> {
        let times = (nanos(self.scenario.from), nanos(self.scenario.length));
        let outbox = Outbox::new(destination);
        let what = (&self.incidents, &self.routines[..]);
        let mut engine = Engine::new(&self.shared, what, timeline, outbox, times, report);
        engine.run()?;
        let elapsed = timeline.elapsed();
        let agents = engine.close()?;
        let (lost, dropped, most_open) = (engine.lost(), engine.dropped(), engine.most_open());
        Ok(Played { elapsed, agents, lost, dropped, most_open })
    }

    fn outcome(&self, timeline: Timeline, played: Played) -> Outcome {
        let Self { scenario, shared, incidents, .. } = self;
        let (fleet, end) = (&shared.fleet, nanos(scenario.length));
        let count = shared.count();
        let (failures, unfinished) = count.failures();
        let truth = Truth {
            seed: scenario.seed,
            machines: scenario.machines,
            speed: scenario.pace.to_string(),
            begun_unix_ms: timeline.begun_unix_nanos() / 1_000_000,
            ended_unix_ms: timeline.now_unix_nanos(end) / 1_000_000,
            simulated_seconds: scenario.length.as_secs_f64(),
            operations: count.operations,
            refused: count.refused,
            unsent: count.unsent + played.dropped,
            repeated: count.repeated,
            put_off: count.put_off,
            exact: !count.inexact && count.repeated + count.put_off == 0,
            failures,
            unfinished,
            series: count.series(fleet),
            machines_sample: count.machines_sample(fleet),
            agents: played.agents,
            spans_with_loss: count.spans_with_loss(),
            lost: played.lost,
            incidents: truth::incidents(fleet, incidents, end),
        };
        drop(count);
        Outcome {
            truth,
            elapsed: played.elapsed,
            stopped: shared.stop.is_asked(),
            most_open: played.most_open,
            reports_refused: shared.reports_refused.load(Ordering::Relaxed),
            refusal: shared.refusal(),
        }
    }
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
