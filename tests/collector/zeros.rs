//! Which alerts see what happens for the first time: with a Prometheus that writes zeros where series
//! begin, and with one that does not.

use crate::fleet::{Operation, Prometheus, export, send, shipped, until};
use crate::{CALLS, DURATIONS, Gateway, counted, now, report};
use mpr_otel_lab::receiver::{Answer, Receiver, Request};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What Prometheus is asked to do, by a flag.
const ZEROS: &str = "created-timestamp-zero-ingestion,";
/// The alerts that count something. The others, MprHostsAbsent and MprNoData, ask who is there.
const ALERTS: [&str; 10] = [
    "MprAuthenticationFailures",
    "MprGatewayDropping",
    "MprLedgersQuarantined",
    "MprOperationsLost",
    "MprOperationsUnfinished",
    "MprSeriesOverflow",
    "MprServerErrorBudget",
    "MprServerFailing",
    "MprServerSlow",
    "MprServerUnreachable",
];
/// Fewer operations than this make no alert of a server.
const COUNT: usize = 20;

/// A Prometheus with the rules that ship, which looks at them each second.
fn prometheus(folder: &Path, zeros: bool) -> Prometheus {
    let shipped_text = fs::read_to_string(shipped("deploy/prometheus/prometheus.yaml")).unwrap();
    assert!(shipped_text.contains(ZEROS));
    let rules = shipped("dashboards/rules/mpr-otel.yaml").display().to_string();
    let text = shipped_text
        .replace("../../dashboards/rules/*.yaml", &rules)
        .replace("evaluation_interval: 15s", "evaluation_interval: 1s");
    let text = if zeros { text } else { text.replace(ZEROS, "") };
    let config = folder.join("prometheus.yaml");
    fs::write(&config, text).unwrap();
    Prometheus::of(config)
}

fn set(span: &mut Span, key: &str, value: &str) {
    span.attributes.retain(|attribute| attribute.key != key);
    span.attributes.push(crate::text(key, value));
}

/// Everything that an alert is of, in one request each: no series was there before.
fn happen(gateway: &Gateway) -> usize {
    let mut all = 0;
    let mut take = |server: &str, count: usize, change: &dyn Fn(&mut Span)| {
        let operations = vec![Operation::on(format!("{server}.corp.example")); count];
        let mut spans = export("desk-17", &operations);
        spans.resource_spans[0].scope_spans[0].spans.iter_mut().for_each(change);
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
        all += count;
    };
    let failed = |class: &'static str, error: &'static str| {
        move |span: &mut Span| {
            set(span, "mpr.outcome", "failure");
            set(span, "mpr.error.class", class);
            set(span, "error.type", error);
        }
    };
    take("down", COUNT, &failed("unreachable", "ERROR_BAD_NETPATH"));
    take("failing", COUNT, &failed("authorization", "ERROR_ACCESS_DENIED"));
    take("spending", 10 * COUNT, &|_| {});
    take("spending", COUNT, &failed("authorization", "ERROR_ACCESS_DENIED"));
    take("stranger", COUNT, &failed("authentication", "ERROR_LOGON_FAILURE"));
    take("hanging", COUNT, &|span| set(span, "mpr.outcome", "unfinished"));
    take("slow", COUNT, &|span| span.start_time_unix_nano -= 8_000_000_000);
    // More servers than there may be.
    for number in 0..COUNT {
        take(&format!("other{number}"), 1, &|_| {});
    }
    let mut metrics = report("desk-17", now(), 7, 0);
    for metric in &mut metrics.resource_metrics[0].scope_metrics[0].metrics {
        if let ("mpr.ledger.quarantined", Some(Data::Sum(sum))) = (&*metric.name, &mut metric.data)
        {
            sum.data_points[0].value = Some(Value::AsInt(1));
        }
    }
    gateway.take_metrics(&metrics);
    gateway
        .take("desk-18", &[Operation { lost: Some(3), ..Operation::on("files01.corp.example") }]);
    all + 1
}

/// The alerts that wait for their time to pass, or fire.
fn seen(prometheus: &Prometheus) -> BTreeSet<String> {
    let alerts = prometheus.query("ALERTS");
    alerts.iter().map(|series| series.label("alertname").to_owned()).collect()
}

/// Which alerts see all that happens at once after a gateway's start.
fn first_events(zeros: bool) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let prometheus = prometheus(folder.path(), zeros);
    let backend = Receiver::behaving(|_: &Request| Answer::status(400)).unwrap();
    let gateway =
        Gateway::new().to(&prometheus).onward(&backend).with("MPR_SERIES_LIMIT", COUNT).start();
    let all = happen(&gateway);
    for metric in [CALLS, DURATIONS] {
        counted(&prometheus, metric, all as f64);
    }
    counted(&prometheus, "otelcol_exporter_send_failed_spans_total", all as f64);
    counted(&prometheus, "mpr_loss_calls_total", 1.0);
    counted(&prometheus, "mpr_ledger_quarantined_total", 1.0);
    let rounds = |prometheus: &Prometheus| {
        let data = prometheus.ask("rules", &[("type", "alert")]);
        let groups = data["groups"].as_array().unwrap();
        let times = groups.iter().map(|group| group["lastEvaluation"].to_string());
        times.collect::<Vec<_>>()
    };
    // Each group has looked three times more: at what is there, at what was recorded, and at that.
    for _ in 0..4 {
        let before = rounds(&prometheus);
        until("the rules have been looked at", || {
            let after = rounds(&prometheus);
            after.iter().zip(&before).all(|(after, before)| after != before).then_some(())
        });
    }
    seen(&prometheus)
}

#[test]
fn with_zeros_every_alert_sees_what_happens_for_the_first_time() {
    assert_eq!(first_events(true), ALERTS.map(str::to_owned).into());
}

#[test]
fn without_zeros_a_slow_server_and_what_a_gateway_drops_may_be_seen_late_and_all_else_is_not() {
    let mut seen = first_events(false);
    assert!(!seen.contains("MprServerSlow"), "{seen:?}");
    // It depends on whether the gateway sends what is dropped at once or in parts.
    seen.insert("MprGatewayDropping".to_owned());
    seen.insert("MprServerSlow".to_owned());
    assert_eq!(seen, ALERTS.map(str::to_owned).into());
}
