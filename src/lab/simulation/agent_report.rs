//! What every host's agent reports about itself, once in a simulated minute.

use super::fleet::Fleet;
use super::truth::AgentsTruth;
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::resource::agent_resource;
use mpr_otel_core::settings::Settings;
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
use std::sync::atomic::{AtomicU32, Ordering};

/// The scope of tracing-opentelemetry, which makes the agent's metrics.
const SCOPE: &str = "tracing/tracing-opentelemetry";
const OPERATIONS: &str = "{operation}";
const LEDGERS: &str = "{ledger}";

/// What one host's ledgers count.
#[derive(Debug, Default)]
struct Meter {
    seen: AtomicU32,
    exported: AtomicU32,
    table_full: AtomicU32,
    rejected: AtomicU32,
}

/// What all hosts' ledgers count, shared with the senders.
#[derive(Debug)]
pub(super) struct Meters(Vec<Meter>);

impl Meters {
    pub(super) fn new(hosts: u32) -> Self {
        Self((0..hosts).map(|_| Meter::default()).collect())
    }

    /// An operation began.
    pub(super) fn seen(&self, host: u32) {
        self.add(host, |meter| &meter.seen);
    }

    /// A collector has an operation's span.
    pub(super) fn exported(&self, host: u32) {
        self.add(host, |meter| &meter.exported);
    }

    /// A collector refused it for good.
    pub(super) fn rejected(&self, host: u32) {
        self.add(host, |meter| &meter.rejected);
    }

    /// There was no room for it.
    pub(super) fn table_full(&self, host: u32) {
        self.add(host, |meter| &meter.table_full);
    }

    fn add(&self, host: u32, which: impl Fn(&Meter) -> &AtomicU32) {
        if let Some(meter) = self.0.get(host as usize) {
            which(meter).fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self, host: u32) -> Reading {
        let Some(meter) = self.0.get(host as usize) else {
            return Reading::default();
        };
        // `seen` last: a reading may count an operation as pending that is exported by now, and
        // never one as exported that was not seen.
        let read = |counter: &AtomicU32| counter.load(Ordering::Acquire);
        let (exported, table_full) = (read(&meter.exported), read(&meter.table_full));
        let rejected = read(&meter.rejected);
        Reading { exported, table_full, rejected, seen: read(&meter.seen) }
    }
}

/// What a host's agent last reported.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    seen: u32,
    exported: u32,
    table_full: u32,
    rejected: u32,
}

impl Reading {
    fn pending(self) -> u32 {
        self.seen.saturating_sub(self.exported + self.table_full + self.rejected)
    }
}

/// One host's report.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentReport {
    host: u32,
    reading: Reading,
    /// Its date, in nanoseconds since 1970.
    at: u64,
}

/// Reads the meters when it is time to report, and knows what was reported.
#[derive(Debug)]
pub(super) struct Reporter {
    last: Vec<Reading>,
    /// A date that is later than every report of the minutes before.
    floor: u64,
    latest: u64,
    minute: u64,
}

impl Reporter {
    /// The agents started at `begun`, in nanoseconds since 1970.
    pub(super) fn new(hosts: u32, begun: u64) -> Self {
        let last = vec![Reading::default(); hosts as usize];
        Self { last, floor: begun + 1, latest: begun, minute: 0 }
    }

    /// A host's report of a simulated minute, dated now.
    ///
    /// A host's reports have different dates, to the millisecond, however fast simulated time
    /// goes: a store that gets two values for one date keeps one.
    pub(super) fn report(
        &mut self,
        host: u32,
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
        let reading = meters.read(host);
        self.last[host as usize] = reading;
        AgentReport { host, reading, at }
    }

    /// The sums of what was reported last. `is_absent`: whether a host was off at the end.
    pub(super) fn truth(&self, fleet: &Fleet, is_absent: impl Fn(u32) -> bool) -> AgentsTruth {
        let mut truth = AgentsTruth::default();
        for (host, reading) in (0..).zip(&self.last) {
            if is_absent(host) {
                truth.add_absent(fleet.host_name(host));
            } else {
                truth.reporting += 1;
                truth.pending += u64::from(reading.pending());
            }
            truth.seen += u64::from(reading.seen);
            truth.exported += u64::from(reading.exported);
            for (reason, count) in
                [(Loss::TableFull, reading.table_full), (Loss::Rejected, reading.rejected)]
            {
                if count > 0 {
                    *truth.lost.entry(reason.name().to_owned()).or_default() += u64::from(count);
                }
            }
        }
        truth
    }
}

/// Several hosts' reports in one request. The agents started at `begun`.
pub(super) fn request(
    reports: &[AgentReport],
    begun: u64,
    fleet: &Fleet,
    settings: &Settings,
) -> ExportMetricsServiceRequest {
    let of_host = |report: &AgentReport| {
        let resource = agent_resource(settings, fleet.machine(report.host));
        let attributes = ResourceAttributesWithSchema::from(&resource).attributes.0;
        ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: SCOPE.to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics: metrics(report.reading, report.at, begun),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }
    };
    ExportMetricsServiceRequest { resource_metrics: reports.iter().map(of_host).collect() }
}

fn metrics(reading: Reading, at: u64, begun: u64) -> Vec<Metric> {
    let point = |value: u32, attributes: Vec<KeyValue>| NumberDataPoint {
        attributes,
        start_time_unix_nano: begun,
        time_unix_nano: at,
        value: Some(number_data_point::Value::AsInt(value.into())),
        ..NumberDataPoint::default()
    };
    let counter = |name, unit, data_points| {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let sum = Sum { data_points, aggregation_temporality, is_monotonic: true };
        named(name, unit, metric::Data::Sum(sum))
    };
    let lost = Loss::ALL.iter().map(|reason| {
        let count = match reason {
            Loss::TableFull => reading.table_full,
            Loss::Rejected => reading.rejected,
            _ => 0,
        };
        point(count, vec![text("mpr.loss.reason", reason.name())])
    });
    let pending = Gauge { data_points: vec![point(reading.pending(), Vec::new())] };
    vec![
        counter("mpr.operation.seen", OPERATIONS, vec![point(reading.seen, Vec::new())]),
        counter("mpr.operation.exported", OPERATIONS, vec![point(reading.exported, Vec::new())]),
        counter("mpr.operation.lost", OPERATIONS, lost.collect()),
        named("mpr.operation.pending", OPERATIONS, metric::Data::Gauge(pending)),
        counter("mpr.ledger.quarantined", LEDGERS, vec![point(0, Vec::new())]),
    ]
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
