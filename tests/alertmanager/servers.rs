//! File servers of a branch, as the series that a gateway makes of the connects to them.

use mpr_otel_fleet::Prometheus;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value::StringValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric::Data, number_data_point::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::time::{Duration, Instant, SystemTime};

/// Connects of a server between two pushes.
const CONNECTS: i64 = 10;
/// The same where they find none: programs ask again and again. So many that the server is down as
/// soon as Prometheus knows of any, and not only failing before.
const RETRIES: i64 = 1_000;

/// What became of the connects to one server.
#[derive(Debug)]
struct Server {
    name: String,
    is_up: bool,
    succeeded: i64,
    failed: i64,
}

/// Servers that a Prometheus hears of.
#[derive(Debug)]
pub struct Servers {
    servers: Vec<Server>,
    began: u64,
    client: ureq::Agent,
    url: String,
    interval: Duration,
    pushed: Option<Instant>,
}

impl Servers {
    /// Servers of which `prometheus` hears once an interval. They are up.
    pub fn new(names: &[String], prometheus: &Prometheus, interval: Duration) -> Self {
        let servers = names.iter().map(|name| {
            let name = name.clone();
            Server { name, is_up: true, succeeded: 0, failed: 0 }
        });
        Self {
            servers: servers.collect(),
            began: now(),
            client: ureq::Agent::config_builder().proxy(None).build().into(),
            url: format!("{}/api/v1/otlp/v1/metrics", prometheus.url()),
            interval,
            pushed: None,
        }
    }

    /// From now on these servers cannot be reached.
    pub fn cut_off(&mut self, names: &[String]) {
        let cut = |server: &&mut Server| names.contains(&server.name);
        self.servers.iter_mut().filter(cut).for_each(|server| server.is_up = false);
    }

    /// Pushes what became of further connects to each server, if the interval is over. All of it is in
    /// one request, so Prometheus never knows of a part of it.
    pub fn push(&mut self) {
        if self.pushed.is_some_and(|pushed| pushed.elapsed() < self.interval) {
            return;
        }
        self.pushed = Some(Instant::now());
        for server in &mut self.servers {
            if server.is_up {
                server.succeeded += CONNECTS;
            } else {
                server.failed += RETRIES;
            }
        }
        let counted = now();
        let points = self.servers.iter().flat_map(|server| {
            let success = (server.succeeded, [("mpr.outcome", "success"), ("mpr.error.class", "")]);
            let unreachable = [("mpr.outcome", "failure"), ("mpr.error.class", "unreachable")];
            [success, (server.failed, unreachable)].map(|(count, labels)| {
                let server = [("mpr.operation.name", "add"), ("server.address", &server.name)];
                NumberDataPoint {
                    attributes: server.into_iter().chain(labels).map(text).collect(),
                    start_time_unix_nano: self.began,
                    time_unix_nano: counted,
                    value: Some(Value::AsInt(count)),
                    ..Default::default()
                }
            })
        });
        let calls = Metric {
            name: "mpr.calls".to_owned(),
            data: Some(Data::Sum(Sum {
                data_points: points.collect(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            })),
            ..Default::default()
        };
        let gateway =
            Resource { attributes: vec![text(("service.name", "mpr-otel"))], ..Default::default() };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(gateway),
                scope_metrics: vec![ScopeMetrics { metrics: vec![calls], ..Default::default() }],
                ..Default::default()
            }],
        };
        let push = self.client.post(&self.url).header("content-type", "application/x-protobuf");
        push.send(request.encode_to_vec()).unwrap();
    }
}

fn text((key, value): (&str, &str)) -> KeyValue {
    let value = Some(AnyValue { value: Some(StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}
