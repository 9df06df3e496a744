//! What every machine's agent reports about itself, once in a simulated minute.

use super::batch::Finished;
use super::fleet::Fleet;
use super::random::Rng;
use super::truth::{AgentsTruth, MachineKindTruth};
use mpr_otel_core::intake::POWER_LOSS;
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::operation::Outcome;
use mpr_otel_core::resource::agent_resource;
use mpr_otel_core::settings::Settings;
use mpr_otel_core::win32_error::Class;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The scope of tracing-opentelemetry, which makes the agent's metrics.
const SCOPE: &str = "tracing/tracing-opentelemetry";
const OPERATIONS: &str = "{operation}";
const LEDGERS: &str = "{ledger}";

/// Why agents lose operations, in the order of their report, and how often each is the reason if
/// the collector did not reject them: mostly a full table.
pub(super) const LOSSES: [(&str, f64); 8] = [
    (Loss::TableFull.name(), 10.0),
    (Loss::ChannelFull.name(), 1.0),
    (Loss::LedgerUnavailable.name(), 1.0),
    (Loss::Rejected.name(), 0.0),
    (Loss::Expired.name(), 1.0),
    (Loss::Corrupt.name(), 1.0),
    (POWER_LOSS, 1.0),
    ("store_full", 1.0),
];
/// Those of a host, whose spans report them. Of the others only its agent knows.
const OF_HOSTS: [&str; 3] =
    [Loss::TableFull.name(), Loss::ChannelFull.name(), Loss::LedgerUnavailable.name()];
/// Outcomes that have no class; the failures' classes follow them.
const OUTCOMES: [Outcome; 4] =
    [Outcome::Success, Outcome::Cancelled, Outcome::NothingToDo, Outcome::Unfinished];
/// Bytes of an operation that waits in the store.
const WAITING: u64 = 400;

/// Whether a host knows of what it lost for this reason of [`LOSSES`].
pub(super) fn is_of_hosts(reason: usize) -> bool {
    LOSSES.get(reason).is_some_and(|(name, _)| OF_HOSTS.contains(name))
}

/// What a machine's agent counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    exported: u32,
    /// Of those that were taken over.
    rejected: u32,
    /// Of those that were not, by reason.
    lost: [u32; LOSSES.len()],
    /// By outcome and class.
    ended: [u32; OUTCOMES.len() + Class::ALL.len()],
    repeated: u32,
    removed: u32,
}

impl Counts {
    /// Operations that were taken over, and losses.
    fn seen(&self) -> u32 {
        self.ended.iter().sum::<u32>() + self.lost.iter().sum::<u32>()
    }

    fn pending(&self) -> u32 {
        self.ended.iter().sum::<u32>().saturating_sub(self.exported + self.rejected)
    }

    /// Operations that ended, by outcome and class; those that did not happen are left out.
    fn ended(&self) -> impl Iterator<Item = (Outcome, u32)> {
        let classes = Class::ALL.into_iter().map(Outcome::Failure);
        let all = OUTCOMES.into_iter().chain(classes).zip(self.ended);
        all.filter(|(_, count)| *count > 0)
    }

    /// Operations that are lost, by reason.
    fn lost(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let count = |(reason, count)| match reason {
            reason if reason == Loss::Rejected.name() => (reason, self.rejected + count),
            reason => (reason, count),
        };
        LOSSES.into_iter().map(|(reason, _)| reason).zip(self.lost).map(count)
    }
}

/// What all machines' agents count, shared with the senders.
#[derive(Debug)]
pub(super) struct Meters(Vec<Mutex<Counts>>);

impl Meters {
    pub(super) fn new(machines: u32) -> Self {
        Self((0..machines).map(|_| Mutex::default()).collect())
    }

    /// The agent has an operation. `again`: it found it a second time.
    pub(super) fn took_over(&self, finished: &Finished, again: bool) {
        let outcome = finished.scripted.series.outcome();
        let place = match outcome.class() {
            Some(class) => OUTCOMES.len() + class as usize,
            None => OUTCOMES.iter().position(|known| *known == outcome).unwrap_or_default(),
        };
        self.count(finished.scripted.machine, |counts| {
            counts.ended[place] += 1;
            counts.repeated += u32::from(again);
            counts.removed += u32::from(finished.ends_process);
        });
    }

    /// A collector has an operation's span.
    pub(super) fn exported(&self, machine: u32) {
        self.count(machine, |counts| counts.exported += 1);
    }

    /// A collector refused it for good. It was taken over before, so it does not count as seen again.
    pub(super) fn rejected(&self, machine: u32) {
        self.count(machine, |counts| counts.rejected += 1);
    }

    /// An operation was lost before anybody took it over: for this reason of [`LOSSES`], or for any.
    pub(super) fn lost(&self, machine: u32, reason: Option<usize>, rng: &mut Rng) {
        let any = rng.weighted(LOSSES.iter().map(|(_, weight)| *weight));
        let reason = reason.unwrap_or(any);
        self.count(machine, |counts| counts.lost[reason] += 1);
    }

    fn count(&self, machine: u32, add: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.0.get(machine as usize) {
            add(&mut counts.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn read(&self, machine: u32) -> Counts {
        let counts = self.0.get(machine as usize);
        counts.map_or_else(Counts::default, |counts| {
            *counts.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}

/// One machine's report.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentReport {
    machine: u32,
    counts: Counts,
    /// Its date, in nanoseconds since 1970.
    at: u64,
}

/// Reads the meters when it is time to report, and knows what was reported.
#[derive(Debug)]
pub(super) struct Reporter {
    last: Vec<Counts>,
    /// A date that is later than every report of the minutes before.
    floor: u64,
    latest: u64,
    minute: u64,
}

impl Reporter {
    /// The agents started at `begun`, in nanoseconds since 1970.
    pub(super) fn new(machines: u32, begun: u64) -> Self {
        let last = vec![Counts::default(); machines as usize];
        Self { last, floor: begun + 1, latest: begun, minute: 0 }
    }

    /// A machine's report of a simulated minute, dated now.
    ///
    /// A machine's reports have different dates, to the millisecond, however fast simulated time
    /// goes: a store that gets two values for one date keeps one.
    pub(super) fn report(
        &mut self,
        machine: u32,
        minute: u64,
        now: u64,
        meters: &Meters,
    ) -> AgentReport {
        if minute != self.minute {
            self.minute = minute;
            self.floor = self.latest + 1_000_000;
        }
        let at = now.max(self.floor);
        self.latest = self.latest.max(at);
        let counts = meters.read(machine);
        self.last[machine as usize] = counts;
        AgentReport { machine, counts, at }
    }

    /// The sums of what was reported last. `is_absent`: whether a machine was off at the end.
    pub(super) fn truth(&self, fleet: &Fleet, is_absent: impl Fn(u32) -> bool) -> AgentsTruth {
        let mut truth = AgentsTruth::default();
        let mut kinds: BTreeMap<_, MachineKindTruth> = BTreeMap::new();
        for (machine, counts) in (0..).zip(&self.last) {
            let (agent, described) = (fleet.agent(machine), fleet.machine(machine));
            let reporting = !is_absent(machine);
            if reporting {
                truth.reporting += 1;
                truth.pending += u64::from(counts.pending());
                let store = WAITING * u64::from(counts.pending());
                truth.store_bytes += store;
                truth.largest_store = truth.largest_store.max(store);
                truth.deferred += u64::from(agent.deferred);
            } else {
                truth.add_absent(fleet.host_name(machine));
            }
            truth.seen += u64::from(counts.seen());
            truth.exported += u64::from(counts.exported);
            truth.repeated += u64::from(counts.repeated);
            truth.removed += u64::from(counts.removed);
            for (reason, count) in counts.lost().filter(|(_, count)| *count > 0) {
                *truth.lost.entry(reason.to_owned()).or_default() += u64::from(count);
            }
            let (version, slow) = (agent.version.to_owned(), u64::from(agent.last_round > 0));
            let os_build = described.os_build.unwrap_or_default();
            let site = described.site.unwrap_or_default();
            let kind = (version, os_build, site, reporting);
            let kind = kinds.entry(kind).or_insert_with_key(|(version, os_build, site, _)| {
                let (version, os_build, site) = (version.clone(), os_build.clone(), site.clone());
                MachineKindTruth {
                    version,
                    os_build,
                    site,
                    reporting,
                    ..MachineKindTruth::default()
                }
            });
            kind.machines += 1;
            kind.slow += slow;
            let classes: Vec<Class> =
                counts.ended().filter_map(|(outcome, _)| outcome.class()).collect();
            kind.failing += u64::from(!classes.is_empty());
            for class in classes {
                *kind.failing_by_class.entry(class.name().to_owned()).or_default() += 1;
            }
        }
        truth.kinds = kinds.into_values().collect();
        truth
    }
}

/// Several machines' reports in one request. The agents started at `begun`.
pub(super) fn request(
    reports: &[AgentReport],
    begun: u64,
    fleet: &Fleet,
    settings: &Settings,
) -> ExportMetricsServiceRequest {
    let of_machine = |report: &AgentReport| {
        let resource = agent_resource(settings, fleet.machine(report.machine));
        let attributes = ResourceAttributesWithSchema::from(&resource).attributes.0;
        ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: SCOPE.to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics: metrics(report, begun, fleet),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }
    };
    ExportMetricsServiceRequest { resource_metrics: reports.iter().map(of_machine).collect() }
}

fn metrics(report: &AgentReport, begun: u64, fleet: &Fleet) -> Vec<Metric> {
    let AgentReport { machine, counts, at } = report;
    let agent = fleet.agent(*machine);
    let dated = |value, attributes: Vec<KeyValue>| NumberDataPoint {
        attributes,
        start_time_unix_nano: begun,
        time_unix_nano: *at,
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let point =
        |value: u32, attributes| dated(number_data_point::Value::AsInt(value.into()), attributes);
    let counter = |name, unit, data_points| {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let sum = Sum { data_points, aggregation_temporality, is_monotonic: true };
        named(name, unit, metric::Data::Sum(sum))
    };
    let gauge = |name, unit, point| {
        named(name, unit, metric::Data::Gauge(Gauge { data_points: vec![point] }))
    };
    let lost =
        counts.lost().map(|(reason, count)| point(count, vec![text("mpr.loss.reason", reason)]));
    let ended = counts.ended().map(|(outcome, count)| {
        let class = outcome.class().map(|class| text("mpr.error.class", class.name()));
        let outcome = text("mpr.outcome", outcome.name());
        point(count, [outcome].into_iter().chain(class).collect())
    });
    let one = |count| vec![point(count, Vec::new())];
    let store = number_data_point::Value::AsInt((WAITING * u64::from(counts.pending())) as i64);
    let round = number_data_point::Value::AsDouble(agent.last_round.into());
    let build = fleet.machine(*machine).os_build.unwrap_or_default();
    let info = vec![text("service.version", agent.version), text("os.build_id", &build)];
    let all = vec![
        counter("mpr.operation.seen", OPERATIONS, one(counts.seen())),
        counter("mpr.operation.exported", OPERATIONS, one(counts.exported)),
        counter("mpr.operation.repeated", OPERATIONS, one(counts.repeated)),
        counter("mpr.operation.lost", OPERATIONS, lost.collect()),
        counter("mpr.operation.ended", OPERATIONS, ended.collect()),
        gauge("mpr.operation.pending", OPERATIONS, point(counts.pending(), Vec::new())),
        gauge("mpr.store.size", "By", dated(store, Vec::new())),
        counter("mpr.ledger.removed", LEDGERS, one(counts.removed)),
        counter("mpr.ledger.quarantined", LEDGERS, one(0)),
        gauge("mpr.owner.deferred", "", point(agent.deferred, Vec::new())),
        gauge("mpr.agent.last_round", "s", dated(round, Vec::new())),
        gauge("mpr.agent.info", "", point(1, info)),
    ];
    // Nothing has ended yet.
    let is_empty =
        |data: &metric::Data| matches!(data, metric::Data::Sum(sum) if sum.data_points.is_empty());
    all.into_iter().filter(|metric| !metric.data.as_ref().is_some_and(is_empty)).collect()
}

fn named(name: &str, unit: &str, data: metric::Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}
