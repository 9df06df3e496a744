//! Which alerts see what happens for the first time: with a Prometheus that writes zeros where series
//! begin, and with one that does not. In time-lapse.

use crate::fleet::{Operation, Prometheus, export, send, shipped, until};
use crate::{CALLS, DURATIONS, Gateway, counted, now, report};
use mpr_otel_fleet::Lapse;
use mpr_otel_lab::receiver::{Answer, Receiver, Request};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rules are evaluated once a second.
const LAPSE: Lapse = Lapse(60);
/// What Prometheus is asked to do, by a flag.
const ZEROS: &str = "created-timestamp-zero-ingestion,";
/// The alerts that count something that a test can make happen. The others ask who is there, or count
/// what these count: docs/OPERATE.md.
const ALERTS: [&str; 13] = [
    "MprAuthenticationFailures",
    "MprClientNetwork",
    "MprFleetFailing",
    "MprGatewayDropping",
    "MprLedgersQuarantined",
    "MprMappingMistakes",
    "MprOperationsLost",
    "MprOperationsUnfinished",
    "MprSeriesOverflow",
    "MprServerFailing",
    "MprServerSlow",
    "MprServerUnreachable",
    "MprUnknownServer",
];
/// Those that do not see what a series began with, where nothing writes zeros.
const BLIND: [&str; 2] = ["MprLedgersQuarantined", "MprServerSlow"];
/// Enough of anything for an alert.
const COUNT: usize = 30;
/// Servers that somebody connected to before.
const KNOWN: [&str; 4] = ["down", "failing", "stranger", "well"];
/// Machines that find damaged ledgers.
const MACHINES: usize = 5;

/// A Prometheus with the rules that ship.
fn prometheus(folder: &Path, zeros: bool) -> Prometheus {
    let rules = fs::read_to_string(shipped("dashboards/rules/mpr-otel.yaml")).unwrap();
    let lapsed = folder.join("rules.yaml");
    // JSON is YAML.
    fs::write(&lapsed, LAPSE.file(&rules).unwrap().to_string()).unwrap();
    let text = fs::read_to_string(shipped("deploy/prometheus/prometheus.yaml")).unwrap();
    assert!(text.contains(ZEROS));
    let text = text.replace("../../dashboards/rules/*.yaml", &lapsed.display().to_string());
    let text = if zeros { text } else { text.replace(ZEROS, "") };
    let config = folder.join("prometheus.yaml");
    fs::write(&config, text).unwrap();
    Prometheus::of(config)
}

fn set(span: &mut Span, key: &str, value: &str) {
    span.attributes.retain(|attribute| attribute.key != key);
    span.attributes.push(crate::text(key, value));
}

/// Connects to a server, each changed like this.
fn connect(gateway: &Gateway, server: &str, count: usize, change: impl Fn(&mut Span)) -> usize {
    let operations = vec![Operation::on(format!("{server}.corp.example")); count];
    let mut spans = export("desk-17", &operations);
    spans.resource_spans[0].scope_spans[0].spans.iter_mut().for_each(change);
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    count
}

fn failed(class: &'static str, error: &'static str) -> impl Fn(&mut Span) {
    move |span| {
        set(span, "mpr.outcome", "failure");
        set(span, "mpr.error.class", class);
        set(span, "error.type", error);
    }
}

/// Everything that an alert is of. No series of it was there before.
fn happen(gateway: &Gateway) -> usize {
    let unreachable = || failed("unreachable", "ERROR_BAD_NETPATH");
    let mut all = connect(gateway, "down", COUNT, unreachable());
    all += connect(gateway, "failing", COUNT, failed("authorization", "ERROR_ACCESS_DENIED"));
    // So that the users of one server are few of all.
    all += connect(gateway, "well", 24 * COUNT, |_| {});
    all += connect(gateway, "stranger", COUNT, failed("authentication", "ERROR_LOGON_FAILURE"));
    all += connect(gateway, "misspelt", COUNT, unreachable());
    all += connect(gateway, "failing", 100, failed("conflict", "ERROR_ALREADY_ASSIGNED"));
    all += connect(gateway, "failing", 100, failed("client_network", "ERROR_NO_NETWORK"));
    all += connect(gateway, "hanging", COUNT, |span| set(span, "mpr.outcome", "unfinished"));
    all += connect(gateway, "slow", COUNT, |span| span.start_time_unix_nano -= 8_000_000_000);
    // More servers than there may be.
    for number in 0..COUNT {
        all += connect(gateway, &format!("other{number}"), 1, |_| {});
    }
    for number in 0..MACHINES {
        // Each agent's first report.
        let mut metrics = report(&format!("desk-{number}"), now() - 1_000_000_000, 7, 0);
        for metric in &mut metrics.resource_metrics[0].scope_metrics[0].metrics {
            if let ("mpr.ledger.quarantined", Some(Data::Sum(sum))) =
                (&*metric.name, &mut metric.data)
            {
                sum.data_points[0].value = Some(Value::AsInt(1));
            }
        }
        gateway.take_metrics(&metrics);
    }
    let lost = Operation { lost: Some(3), ..Operation::on("well.corp.example") };
    gateway.take("desk-18", &vec![lost; 100]);
    all + 100
}

/// The alerts that waited for their time to pass, or fired.
fn seen(prometheus: &Prometheus) -> BTreeSet<String> {
    let alerts = prometheus.query("count by (alertname) (count_over_time(ALERTS[10m]))");
    alerts.iter().map(|series| series.label("alertname").to_owned()).collect()
}

/// Which alerts see all that happens at once, `wanted` among them.
fn first_events(zeros: bool, wanted: &[&str]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let prometheus = prometheus(folder.path(), zeros);
    let backend = Receiver::behaving(|_: &Request| Answer::status(400)).unwrap();
    let gateway =
        Gateway::new().to(&prometheus).onward(&backend).with("MPR_SERIES_LIMIT", COUNT).start();
    let before: usize = KNOWN.iter().map(|server| connect(&gateway, server, 1, |_| {})).sum();
    until("the servers are known", || {
        let known = prometheus.query("server_address:mpr_server_known:bool");
        (known.len() == KNOWN.len()).then_some(())
    });
    let all = before + happen(&gateway);
    for metric in [CALLS, DURATIONS] {
        counted(&prometheus, metric, all as f64);
    }
    until("the alerts", || {
        let seen = seen(&prometheus);
        wanted.iter().all(|name| seen.contains(*name)).then_some(())
    });
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
    assert_eq!(first_events(true, &ALERTS), ALERTS.map(str::to_owned).into());
}

#[test]
fn without_zeros_what_a_series_began_with_is_missed_in_slow_servers_damaged_ledgers_and_gateways() {
    // It depends on whether the gateway sends what is dropped at once or in parts.
    const DROPPING: &str = "MprGatewayDropping";
    let sees = |name: &&str| *name != DROPPING && !BLIND.contains(name);
    let wanted: Vec<&str> = ALERTS.into_iter().filter(sees).collect();
    let mut seen = first_events(false, &wanted);
    seen.remove(DROPPING);
    assert_eq!(seen, wanted.iter().map(|name| (*name).to_owned()).collect());
}
