//! The agents' metrics: which pass, and what they are called.

use super::otlp::get;
use super::{Tracks, series};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    NumberDataPoint, ResourceMetrics, metric, number_data_point,
};
use std::collections::HashMap;

/// A metric that passes.
#[derive(Debug)]
struct Passing {
    /// As the agent calls it.
    name: &'static str,
    /// As Prometheus does.
    series: &'static str,
    is_counter: bool,
    /// The attributes that stay, with their labels.
    kept: &'static [(&'static str, &'static str)],
}

/// The one that says which site a machine is of.
const INFO: &str = "mpr.agent.info";

#[rustfmt::skip] // A table.
const PASSING: &[Passing] = &[
    counter("mpr.operation.seen", "mpr_operation_seen_total", &[]),
    counter("mpr.operation.exported", "mpr_operation_exported_total", &[]),
    counter("mpr.operation.repeated", "mpr_operation_repeated_total", &[]),
    counter("mpr.operation.lost", "mpr_operation_lost_total", &[("mpr.loss.reason", "mpr_loss_reason")]),
    counter("mpr.operation.ended", "mpr_operation_ended_total", &[("mpr.outcome", "mpr_outcome"), ("mpr.error.class", "mpr_error_class")]),
    counter("mpr.ledger.removed", "mpr_ledger_removed_total", &[]),
    counter("mpr.ledger.quarantined", "mpr_ledger_quarantined_total", &[]),
    gauge("mpr.operation.pending", "mpr_operation_pending", &[]),
    gauge("mpr.store.size", "mpr_store_size_bytes", &[]),
    gauge("mpr.owner.deferred", "mpr_owner_deferred", &[]),
    gauge(INFO, "mpr_agent_info", &[("service.version", "service_version"), ("os.build_id", "os_build_id")]),
    gauge("mpr.agent.last_round", "mpr_agent_last_round_seconds", &[]),
];

const fn counter(
    name: &'static str,
    series: &'static str,
    kept: &'static [(&'static str, &'static str)],
) -> Passing {
    Passing { name, series, is_counter: true, kept }
}

const fn gauge(
    name: &'static str,
    series: &'static str,
    kept: &'static [(&'static str, &'static str)],
) -> Passing {
    Passing { name, series, is_counter: false, kept }
}

/// What each agent reported last.
#[derive(Debug, Default)]
pub(super) struct Agents(HashMap<String, Agent>);

#[derive(Debug, Default)]
struct Agent {
    /// The minute of the last report.
    last: u32,
    points: Vec<Point>,
}

/// A data point and its series.
#[derive(Debug)]
struct Point {
    metric: &'static str,
    attributes: Vec<KeyValue>,
    track: usize,
    value: f64,
}

impl Agents {
    /// Keeps what the agents report in a minute.
    pub(super) fn take(
        &mut self,
        request: &ExportMetricsServiceRequest,
        minute: u32,
        tracks: &mut Tracks,
    ) {
        for resource in &request.resource_metrics {
            let attributes =
                resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            let (Some(host_name), Some(instance)) =
                (get(attributes, "host.name"), get(attributes, "service.instance.id"))
            else {
                continue;
            };
            let site = get(attributes, "mpr.site");
            let agent = self.0.entry(instance.clone()).or_default();
            agent.last = minute;
            let mut before = std::mem::take(&mut agent.points).into_iter();
            for (passing, point) in points(resource) {
                // A report has the same points in the same order as the one before.
                let same = before.next().filter(|before| {
                    before.metric == passing.name && before.attributes == point.attributes
                });
                let track = same.map_or_else(
                    || {
                        let mut labels = vec![
                            ("job", "mpr-otel-agent".to_owned()),
                            ("instance", instance.clone()),
                            ("host_name", host_name.clone()),
                        ];
                        let kept = passing.kept.iter();
                        labels.extend(kept.filter_map(|(key, label)| {
                            Some((*label, get(&point.attributes, key)?))
                        }));
                        let site = site.clone().filter(|_| passing.name == INFO);
                        labels.extend(site.map(|site| ("mpr_site", site)));
                        labels.sort_unstable();
                        let number = tracks.number(series(passing.series, &labels));
                        if passing.is_counter {
                            tracks.begin(number, minute);
                        }
                        number
                    },
                    |same| same.track,
                );
                agent.points.push(Point {
                    metric: passing.name,
                    attributes: point.attributes.clone(),
                    track,
                    value: number(point),
                });
            }
        }
    }

    /// The sample of a minute, of every series whose agent reported in it.
    pub(super) fn sample(&self, minute: u32, tracks: &mut Tracks) {
        for agent in self.0.values().filter(|agent| agent.last == minute) {
            for point in &agent.points {
                tracks.put(point.track, minute, point.value);
            }
        }
    }
}

/// The points of the metrics that pass.
fn points(
    resource: &ResourceMetrics,
) -> impl Iterator<Item = (&'static Passing, &NumberDataPoint)> {
    let metrics = resource.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    metrics.flat_map(|metric| {
        let passing = PASSING.iter().find(|passing| passing.name == metric.name);
        let points = match &metric.data {
            Some(metric::Data::Sum(sum)) => &sum.data_points[..],
            Some(metric::Data::Gauge(gauge)) => &gauge.data_points[..],
            _ => &[],
        };
        points.iter().filter_map(move |point| Some((passing?, point)))
    })
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsInt(number)) => number as f64,
        Some(number_data_point::Value::AsDouble(number)) => number,
        None => 0.0,
    }
}
