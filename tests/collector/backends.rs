//! Backends that are not a Prometheus which is pushed to: deploy/backends, and what variables say.

use crate::events::console;
use crate::fleet::{AUTHORIZATION, Certificates, Operation, Prometheus, free_port, shipped, until};
use crate::{CALLS, DURATIONS, Gateway, arrived, counted, increased, now, operations, report};
use mpr_otel_lab::receiver::{Answer, Receiver, Request};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, metric::Data, number_data_point::Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

#[test]
fn a_prometheus_that_wants_a_certificate_and_a_password_gets_both() {
    let certificates = Certificates::new();
    let prometheus = Prometheus::guarded(&certificates);
    let headers = format!("[{{name: authorization, value: {AUTHORIZATION}}}]");
    let gateway = Gateway::new()
        .to(&prometheus)
        .with("MPR_PROMETHEUS_CA", certificates.file("ca.crt").display())
        .with("MPR_PROMETHEUS_CERT", certificates.file("client.crt").display())
        .with("MPR_PROMETHEUS_KEY", certificates.file("client.key").display())
        .with("MPR_PROMETHEUS_HEADERS", headers)
        .start();
    gateway.take("desk-17", &operations(5));
    gateway.take_metrics(&report("desk-17", now(), 7, 0));
    counted(&prometheus, CALLS, 5.0);
    counted(&prometheus, "mpr_operation_seen_total", 7.0);
    until("the gateway's own numbers", || {
        let accepted = prometheus.query("otelcol_receiver_accepted_spans_total");
        accepted.iter().any(|series| series.value == 5.0).then_some(())
    });
}

#[test]
fn a_prometheus_that_fetches_has_the_same_numbers_by_the_same_names() {
    let [fleet, own] = [free_port(), free_port()];
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yaml");
    let text = fs::read_to_string(shipped("deploy/backends/scrape-prometheus.yaml")).unwrap();
    let text = text
        .replace("127.0.0.1:9464", &format!("127.0.0.1:{fleet}"))
        .replace("127.0.0.1:8888", &format!("127.0.0.1:{own}"))
        .replace("scrape_interval: 15s", "scrape_interval: 1s");
    fs::write(&config, text).unwrap();
    let prometheus = Prometheus::of(config);
    let gateway = Gateway::of(&["collector-config/gateway.yaml", "deploy/backends/scrape.yaml"])
        .with("MPR_SCRAPE_LISTEN", format!("127.0.0.1:{fleet}"))
        .with("MPR_SCRAPE_OWN_PORT", own)
        // An exemplar is there from one flush to the next. It has to be fetched meanwhile.
        .with("MPR_METRICS_FLUSH_INTERVAL", "3s")
        .start();
    gateway.take("desk-17", &[Operation::failed("files01.corp.example")]);
    gateway.take_metrics(&report("desk-17", now(), 7, 0));
    let failures = format!(r#"{CALLS}{{job="mpr-otel", mpr_outcome="failure"}}"#);
    counted(&prometheus, &failures, 1.0);
    counted(&prometheus, &format!(r#"{DURATIONS}{{job="mpr-otel"}}"#), 1.0);
    increased(&prometheus, DURATIONS, 1.0);
    until("an exemplar", || prometheus.exemplars().contains("trace_id").then_some(()));
    counted(&prometheus, "mpr_fleet_calls_total", 1.0);
    let [series] = prometheus.query(&failures).try_into().unwrap();
    assert_eq!(series.label("otel_scope_name"), "");
    for (label, value) in [
        ("server_address", "files01.corp.example"),
        ("error_type", "ERROR_BAD_NETPATH"),
        ("collector_instance_id", "gateway-1"),
    ] {
        assert_eq!(series.label(label), value, "{label}");
    }
    let agent = r#"mpr_operation_seen_total{job="mpr-otel-agent", host_name="desk-17"}"#;
    counted(&prometheus, agent, 7.0);
    until("the gateway's own numbers", || {
        let accepted =
            prometheus.query(r#"otelcol_receiver_accepted_spans_total{job="otelcol-mpr"}"#);
        accepted.iter().any(|series| series.value == 1.0).then_some(())
    });
    for name in [
        "otelcol_exporter_queue_size",
        "otelcol_process_cpu_seconds_total",
        "otelcol_process_memory_rss_bytes",
        "otelcol_receiver_accepted_spans_total",
    ] {
        until(name, || (!prometheus.query(name).is_empty()).then_some(()));
    }
}

#[test]
fn a_backend_of_traces_and_logs_that_wants_a_certificate_and_a_token_gets_both() {
    let spans = Receiver::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (setup, events) = console();
    let shown = setup.start(folder.path());
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, "secret\n").unwrap();
    // The one door of this backend asks for what the two doors of a gateway ask for.
    let files = ["collector-config/gateway.yaml", "collector-config/gateway-token.yaml"];
    let mut backend = Gateway::of(&files)
        .onward(&spans)
        .with("MPR_LOGS_ENDPOINT", events)
        .with("MPR_TOKENS", tokens.display())
        .with("MPR_TOKEN_LISTEN", format!("127.0.0.1:{}", free_port()));
    let auth = "receivers::otlp::protocols::http::auth::authenticator: bearertokenauth";
    backend.setup = backend.setup.over(auth);
    let backend = backend.start();

    let mut gateway = Gateway::new();
    for signal in ["TRACES", "LOGS"] {
        let file = |name: &str| backend.certificates.file(name).display().to_string();
        gateway = gateway
            .with(&format!("MPR_{signal}_ENDPOINT"), backend.endpoint())
            .with(&format!("MPR_{signal}_CA"), file("ca.crt"))
            .with(&format!("MPR_{signal}_CERT"), file("client.crt"))
            .with(&format!("MPR_{signal}_KEY"), file("client.key"))
            .with(
                &format!("MPR_{signal}_HEADERS"),
                "[{name: authorization, value: Bearer secret}]",
            );
    }
    let gateway = gateway.start();
    arrived(&spans, gateway.take("desk-17", &operations(5)));
    gateway.take_event("desk-17", "the event", &[]);
    until("the event", || shown.said().contains("the event").then_some(()));
}

/// A shipped file, read.
fn yaml(file: &str) -> serde_json::Value {
    serde_saphyr::from_str(&fs::read_to_string(shipped(file)).unwrap()).unwrap()
}

#[test]
fn increases_go_where_totals_go() {
    let [gateway, delta] =
        ["collector-config/gateway.yaml", "deploy/backends/delta.yaml"].map(yaml);
    let own = "/service/telemetry/metrics/readers/0/periodic";
    let mut expected = gateway.pointer(own).unwrap().clone();
    expected["exporter"]["otlp"]["temporality_preference"] = "delta".into();
    assert_eq!(delta.pointer(own), Some(&expected));
    let agents = "/service/pipelines/metrics~1agents/processors";
    let mut expected = gateway.pointer(agents).unwrap().clone();
    expected.as_array_mut().unwrap().push("cumulative_to_delta".into());
    assert_eq!(delta.pointer(agents), Some(&expected));
}

#[test]
fn a_gateway_that_names_machines_does_all_else_that_a_gateway_does() {
    let [gateway, identity] =
        ["collector-config/gateway.yaml", "deploy/identity/identity.yaml"].map(yaml);
    for pipeline in ["traces", "metrics~1agents", "logs"] {
        let processors = format!("/service/pipelines/{pipeline}/processors");
        let mut expected = gateway.pointer(&processors).unwrap().clone();
        let added = ["filter/nameless", "transform/identity"].map(Into::into);
        expected.as_array_mut().unwrap().splice(1..1, added);
        assert_eq!(identity.pointer(&processors), Some(&expected), "{pipeline}");
    }
}

/// Names of totals: counters and histograms that are not increases.
fn totals(metrics: &ExportMetricsServiceRequest) -> Vec<String> {
    let cumulative = |metric: &&Metric| match &metric.data {
        Some(Data::Sum(sum)) => {
            sum.is_monotonic && sum.aggregation_temporality() != AggregationTemporality::Delta
        }
        Some(Data::Histogram(histogram)) => {
            histogram.aggregation_temporality() != AggregationTemporality::Delta
        }
        _ => false,
    };
    all(metrics).filter(cumulative).map(|metric| metric.name.clone()).collect()
}

fn all(metrics: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    let scopes = metrics.resource_metrics.iter().flat_map(|group| &group.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

/// Adds what arrived to the sums of increases, by metric.
fn add_up(sums: &mut BTreeMap<String, i64>, metrics: &ExportMetricsServiceRequest) {
    for metric in all(metrics) {
        let sum = sums.entry(metric.name.clone()).or_default();
        match metric.data.as_ref().unwrap() {
            Data::Sum(points) => {
                for point in &points.data_points {
                    if let Some(Value::AsInt(value)) = point.value {
                        *sum += value;
                    }
                }
            }
            Data::Histogram(points) => {
                *sum += points.data_points.iter().map(|point| point.count as i64).sum::<i64>();
            }
            _ => {}
        }
    }
}

#[test]
fn a_backend_that_refuses_totals_gets_increases() {
    let backend = Receiver::behaving(|request: &Request| {
        let known = request.header("authorization") == Some("Api-Token secret");
        Answer::status(match totals(&request.metrics).is_empty() {
            _ if !known => 401,
            true => 200,
            false => 400,
        })
    })
    .unwrap();
    let gateway = Gateway::of(&["collector-config/gateway.yaml", "deploy/backends/delta.yaml"])
        .with("MPR_PROMETHEUS_ENDPOINT", backend.endpoint())
        .with("MPR_PROMETHEUS_HEADERS", "[{name: authorization, value: Api-Token secret}]")
        .start();
    let mut sums = BTreeMap::new();
    let mut wait_for = |expected: [(&str, i64); 6]| {
        until("all increases", || {
            for request in backend.metrics().try_iter() {
                assert_eq!(totals(&request.metrics), [""; 0]);
                assert_eq!(request.header("authorization"), Some("Api-Token secret"));
                add_up(&mut sums, &request.metrics);
            }
            let arrived =
                |(name, count): (&str, i64)| sums.get(name).copied().unwrap_or_default() >= count;
            expected.into_iter().all(arrived).then_some(())
        });
        for (name, count) in expected {
            assert_eq!(sums[name], count, "{name}");
        }
    };
    let began = now();
    let mut ten = operations(10);
    ten[0].lost = Some(3);
    gateway.take("desk-17", &ten);
    gateway.take_metrics(&report("desk-17", began, 7, 0));
    let names = [
        "mpr.calls",
        "mpr.duration",
        "mpr.fleet.calls",
        "mpr.loss.calls",
        "mpr.program.calls",
        "mpr.operation.seen",
        "otelcol_receiver_accepted_spans",
    ];
    let expected = |counts: [i64; 7]| std::array::from_fn(|at| (names[at], counts[at]));
    wait_for(expected([10, 10, 10, 1, 10, 7, 10]));
    gateway.take("desk-17", &operations(5));
    gateway.take_metrics(&report("desk-17", began, 12, 0));
    wait_for(expected([15, 15, 15, 1, 15, 12, 15]));
}

#[test]
fn a_backend_that_wants_a_header_gets_traces_without_a_prometheus() {
    let backend = Receiver::behaving(|request: &Request| {
        let known = request.header("x-honeycomb-team") == Some("secret");
        Answer::status(if known { 200 } else { 401 })
    })
    .unwrap();
    let gateway = Gateway::of(&["deploy/backends/traces.yaml"])
        .onward(&backend)
        .with("MPR_TRACES_HEADERS", "[{name: x-honeycomb-team, value: secret}]")
        .start();
    let sent = gateway.take("desk-17", &operations(5));
    let mut headers = Vec::new();
    let mut missing: BTreeSet<Vec<u8>> = sent.into_iter().collect();
    until("all spans", || {
        for request in backend.requests().try_iter() {
            headers.push(request.header("x-honeycomb-team").map(str::to_owned));
            for id in crate::ids(&request.export) {
                missing.remove(&id);
            }
        }
        missing.is_empty().then_some(())
    });
    assert!(headers.iter().all(|header| header.as_deref() == Some("secret")), "{headers:?}");
    // Nothing else is taken.
    let metrics = report("desk-17", now(), 7, 0);
    let status = crate::send_metrics(&gateway.client, &gateway.endpoint(), &metrics);
    assert_eq!(status, 404);
    assert!(backend.metrics().try_iter().next().is_none());
}

#[test]
fn a_backend_with_a_path_of_its_own_gets_spans_there() {
    let backend = Receiver::start().unwrap();
    let mut gateway = Gateway::of(&["deploy/backends/traces.yaml"]).onward(&backend);
    let path = format!(
        "exporters::otlp_http/traces::traces_endpoint: {}/v2/trace/otlp",
        backend.endpoint()
    );
    gateway.setup = gateway.setup.over(&path);
    let gateway = gateway.start();
    gateway.take("desk-17", &operations(5));
    let request = backend.requests().recv().unwrap();
    assert_eq!(request.path, "/v2/trace/otlp");
}

#[test]
fn the_gateway_for_traces_alone_is_a_part_of_the_gateway() {
    let read = |file: &str| fs::read_to_string(shipped(file)).unwrap();
    let gateway = read("collector-config/gateway.yaml");
    let traces = read("deploy/backends/traces.yaml");
    let (_, parts) = traces.split_once("\nextensions:\n").unwrap();
    let (parts, _) = parts.split_once("\nservice:\n").unwrap();
    for part in parts.split("\nexporters:\n") {
        assert!(gateway.contains(part.trim_end()), "not in gateway.yaml: {part}");
    }
}
