//! The configurations of collector-config/ and deploy/, each as it ships, in the real Collector and
//! the real Prometheus: what they take and refuse, what they count, and what survives.

mod backends;
mod balancers;
mod events;
mod fleet;
mod hostile;
mod identity;
mod servers;
mod single;
mod sizing;
mod zeros;

use fleet::{
    Certificates, Kafka, Operation, Process, Prometheus, Setup, export, free_port, ids, now,
    plain_client, post, resource, send, send_metrics, shipped, text, tool, until,
};
use mpr_otel_lab::receiver::{Answer, Receiver, Request};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric::Data, number_data_point::Value,
};
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const CALLS: &str = "mpr_calls_total";
const DURATIONS: &str = "mpr_duration_seconds_count";

/// A gateway with all that is behind it.
struct Gateway {
    folder: TempDir,
    certificates: Certificates,
    setup: Setup,
    client: ureq::Agent,
    process: Option<Process>,
}

impl Gateway {
    /// A gateway as it ships, flushing often, and without a backend for traces or Prometheus.
    fn new() -> Self {
        Self::of(&["collector-config/gateway.yaml"])
    }

    fn of(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::new();
        let setup = certificates
            .serve(Setup::of(files))
            .with("MPR_STATE_DIR", folder.path().join("state").display())
            .with("MPR_GATEWAY_LISTEN", format!("127.0.0.1:{}", free_port()))
            .with("MPR_HEALTH_LISTEN", format!("127.0.0.1:{}", free_port()))
            .with("MPR_METRICS_FLUSH_INTERVAL", "200ms")
            .with("MPR_TELEMETRY_INTERVAL_MS", 200)
            // Nobody is there.
            .with("MPR_TRACES_ENDPOINT", format!("http://127.0.0.1:{}", free_port()))
            .with("MPR_PROMETHEUS_ENDPOINT", format!("http://127.0.0.1:{}", free_port()));
        let client = certificates.client(Some(&certificates));
        Self { folder, certificates, setup, client, process: None }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.setup = self.setup.with(name, value);
        self
    }

    /// With a Prometheus that it pushes to.
    fn to(self, prometheus: &Prometheus) -> Self {
        self.with("MPR_PROMETHEUS_ENDPOINT", prometheus.endpoint())
    }

    /// With a trace backend.
    fn onward(self, backend: &Receiver) -> Self {
        self.with("MPR_TRACES_ENDPOINT", backend.endpoint())
    }

    /// With Kafka on one side of it.
    fn beside(mut self, kafka: &Kafka) -> Self {
        self.setup = self.setup.with_kafka();
        self.with("MPR_KAFKA_BROKERS", kafka.broker()).with("MPR_KAFKA_INSECURE", true)
    }

    fn start(mut self) -> Self {
        self.resume();
        self
    }

    fn resume(&mut self) {
        self.process = Some(self.setup.start(self.folder.path()));
    }

    fn stop(&mut self) {
        self.process.take().unwrap().stop().unwrap();
    }

    fn kill(&mut self) {
        drop(self.process.take().unwrap());
    }

    fn endpoint(&self) -> String {
        format!("https://{}", self.setup.get("MPR_GATEWAY_LISTEN"))
    }

    fn take(&self, machine: &str, operations: &[Operation]) -> Vec<Vec<u8>> {
        let spans = export(machine, operations);
        assert_eq!(send(&self.client, &self.endpoint(), &spans), 200);
        ids(&spans)
    }

    /// Takes an event of a machine's channels, with these headers beside it.
    fn take_event(&self, machine: &str, what: &str, headers: &[(&str, &str)]) {
        let status =
            events::send(&self.client, &self.endpoint(), &events::event(machine, what), headers);
        assert_eq!(status, 200);
    }

    fn take_metrics(&self, metrics: &ExportMetricsServiceRequest) {
        assert_eq!(send_metrics(&self.client, &self.endpoint(), metrics), 200);
    }
}

/// All that was pushed for a job, without what rules make of it.
fn pushed(job: &str) -> String {
    format!(r#"{{job="{job}", __name__!~".*:.*|ALERTS.*"}}"#)
}

/// Waits until the sum of `metric`'s values, in all series, is `count`.
fn counted(prometheus: &Prometheus, metric: &str, count: f64) {
    until(&format!("{metric} = {count}"), || {
        let sum: f64 = prometheus.query(metric).iter().map(|series| series.value).sum();
        assert!(sum <= count, "{metric}: {sum} where {count} were sent");
        (sum == count).then_some(())
    });
}

/// Waits until the increase of `metric` over the test is `count`.
fn increased(prometheus: &Prometheus, metric: &str, count: f64) {
    until(&format!("increase({metric}) = {count}"), || {
        let increase = prometheus.increase(metric);
        assert!(increase < count + 0.001, "{metric}: {increase} where {count} were sent");
        ((increase - count).abs() < 0.001).then_some(())
    });
}

/// Waits until `backend` has all spans with these ids.
fn arrived(backend: &Receiver, sent: impl IntoIterator<Item = Vec<u8>>) {
    let mut missing: BTreeSet<Vec<u8>> = sent.into_iter().collect();
    until("all spans at the trace backend", || {
        for request in backend.requests().try_iter() {
            for id in ids(&request.export) {
                missing.remove(&id);
            }
        }
        missing.is_empty().then_some(())
    });
}

/// One success on each of so many servers.
fn operations(count: usize) -> Vec<Operation> {
    (0..count).map(|number| Operation::on(format!("files{number:02}.corp.example"))).collect()
}

// What ships

/// All files under `folder` that end in .yaml.
fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    files
}

/// What a shipped file is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// For the Collector's builder.
    Recipe,
    /// For Prometheus.
    Prometheus,
    /// For Alertmanager.
    Alertmanager,
    /// For the Collector, or the one with Kafka, with the files it is laid over.
    Collector { with_kafka: bool, files: Vec<String> },
}

fn kind(file: &Path) -> Kind {
    let source = fs::read_to_string(file).unwrap();
    let has = |key: &str| source.lines().any(|line| line.starts_with(key));
    if has("dist:") {
        return Kind::Recipe;
    }
    if has("service:") {
        // The first comment says how it is started, if that takes more than the file itself.
        let command = source
            .lines()
            .find_map(|line| line.trim_start_matches('#').trim().strip_prefix("otelcol-mpr"));
        let (program, files) = command
            .and_then(|line| line.split_once(" --config "))
            .unwrap_or(("", file.file_name().unwrap().to_str().unwrap()));
        let folder = file.parent().unwrap();
        let files = files.split(" --config ").map(|name| folder.join(name).display().to_string());
        return Kind::Collector { with_kafka: program == "-kafka", files: files.collect() };
    }
    if has("route:") {
        return Kind::Alertmanager;
    }
    assert!(has("global:"), "{} is of no known kind", file.display());
    Kind::Prometheus
}

fn all_shipped() -> Vec<(PathBuf, Kind)> {
    let folders = ["collector-config", "deploy"];
    let files = folders.iter().flat_map(|folder| yaml_files(&shipped(folder)));
    files.map(|file| (file.clone(), kind(&file))).collect()
}

/// With the files that configurations name.
fn with_files(with_kafka: bool, files: &[String], certificates: &Certificates) -> Setup {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let setup = Setup::of(&files);
    let setup = if with_kafka { setup.with_kafka() } else { setup };
    let tokens = certificates.file("tokens");
    fs::write(&tokens, "secret\n").unwrap();
    certificates
        .serve(setup)
        .with("MPR_STATE_DIR", certificates.file("state").display())
        .with("MPR_TOKENS", tokens.display())
}

/// What the Collector says on other systems where a configuration is right but for Windows.
const ONLY_ON_WINDOWS: &str = "windows eventlog receiver is only supported on Windows";

/// Takes away the receivers that start on Windows only.
const WITHOUT_WINDOWS: &str = "service::pipelines::logs::receivers: [otlp]";

#[test]
fn every_configuration_that_ships_is_valid() {
    let certificates = Certificates::new();
    let mut seen = Vec::new();
    for (file, kind) in all_shipped() {
        let name = file.display();
        match kind {
            Kind::Recipe => {}
            Kind::Prometheus => {
                let check = tool("promtool").args(["check", "config"]).arg(&file).output();
                let check = check.unwrap();
                assert!(check.status.success(), "{name}: {check:?}");
            }
            Kind::Alertmanager => {
                let check = tool("amtool").arg("check-config").arg(&file).output().unwrap();
                assert!(check.status.success(), "{name}: {check:?}");
            }
            Kind::Collector { with_kafka, files } => {
                let setup = with_files(with_kafka, &files, &certificates);
                let verdict = setup.validate();
                let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
                let for_windows = fs::read_to_string(&file).unwrap().contains("windows_event_log");
                if for_windows && cfg!(not(windows)) {
                    // The file has been read and understood; only Windows can go on from there.
                    assert!(said.contains(ONLY_ON_WINDOWS), "{name}: {said}");
                    let rest = setup.over(WITHOUT_WINDOWS).validate();
                    assert!(rest.status.success(), "{name}: {rest:?}");
                } else {
                    assert!(verdict.status.success(), "{name}: {said}");
                }
            }
        }
        seen.push(file.file_name().unwrap().to_string_lossy().into_owned());
    }
    for known in [
        "machine.yaml",
        "gateway-token.yaml",
        "single.yaml",
        "single-traces.yaml",
        "front.yaml",
        "counting.yaml",
        "delta.yaml",
        "identity.yaml",
        "alertmanager.yaml",
    ] {
        assert!(seen.iter().any(|name| name == known), "{known} was not found");
    }
}

#[test]
fn a_misspelt_option_is_not_valid_in_the_receivers_for_windows_either() {
    let certificates = Certificates::new();
    for (file, kind) in all_shipped() {
        let Kind::Collector { with_kafka, files } = kind else { continue };
        let setup = with_files(with_kafka, &files, &certificates);
        let misspelt = match fs::read_to_string(&file).unwrap() {
            text if text.contains("windows_event_log/group_policy:") => {
                "receivers::windows_event_log/group_policy::chanel: x"
            }
            _ => "service::telemetry::metrics::levle: x",
        };
        let verdict = setup.over(misspelt).validate();
        let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
        assert!(!verdict.status.success(), "{}", file.display());
        let word = if misspelt.contains("chanel") { "chanel" } else { "levle" };
        assert!(said.contains(word), "{}: {said}", file.display());
    }
}

#[test]
fn single_counts_as_the_gateway_does() {
    let part = |file: &str| {
        let source = fs::read_to_string(shipped("collector-config").join(file)).unwrap();
        let (_, rest) = source.split_once("\nprocessors:\n").unwrap();
        rest.split_once("\nexporters:\n").unwrap().0.to_owned()
    };
    assert_eq!(part("single.yaml"), part("gateway.yaml"));
}

// Who is let in

#[test]
fn a_machine_with_a_certificate_is_let_in_and_no_other() {
    let backend = Receiver::start().unwrap();
    let gateway = Gateway::new().onward(&backend).start();
    arrived(&backend, gateway.take("desk-17", &operations(1)));

    let url = format!("{}/v1/traces", gateway.endpoint());
    let stranger = Certificates::new();
    for client in [gateway.certificates.client(None), gateway.certificates.client(Some(&stranger))]
    {
        let answer = client.post(&url).send(&[][..]);
        assert!(answer.is_err(), "{answer:?}");
    }
    let plain = url.replace("https", "http");
    let answer = plain_client().post(&plain).send(&[][..]).unwrap();
    assert_eq!(answer.status(), 400, "a request without TLS");
}

#[test]
fn a_machine_without_a_certificate_needs_a_token() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    fs::write(&tokens, "old-token\nnew-token\n").unwrap();
    let backend = Receiver::start().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let files = ["collector-config/gateway.yaml", "collector-config/gateway-token.yaml"];
    let gateway = Gateway::of(&files)
        .onward(&backend)
        .with("MPR_TOKENS", tokens.path().display())
        .with("MPR_TOKEN_LISTEN", &address)
        .start();
    let client = gateway.certificates.client(None);
    let url = format!("https://{address}/v1/traces");
    let spans = export("desk-17", &operations(1));
    let body = prost::Message::encode_to_vec(&spans);
    assert_eq!(post(&client, &url, &body, &[]), 401);
    assert_eq!(post(&client, &url, &body, &[("authorization", "Bearer guessed")]), 401);
    assert_eq!(post(&client, &url, &body, &[("authorization", "Bearer new-token")]), 200);
    arrived(&backend, ids(&spans));
    // The other door is open as before, to others.
    arrived(&backend, gateway.take("desk-18", &operations(1)));
}

// What is counted

#[test]
fn the_first_failures_on_a_new_server_count() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    gateway.take("desk-17", &[Operation::failed("files01.corp.example")]);
    let failures = format!(r#"{CALLS}{{mpr_outcome="failure"}}"#);
    let durations = format!(r#"{DURATIONS}{{mpr_outcome="failure"}}"#);
    increased(&prometheus, &failures, 1.0);
    increased(&prometheus, &durations, 1.0);
    gateway.take("desk-18", &[Operation::failed("files01.corp.example")]);
    increased(&prometheus, &failures, 2.0);
    increased(&prometheus, &durations, 2.0);

    let [series] = prometheus.query(&failures).try_into().unwrap();
    for (label, value) in [
        ("job", "mpr-otel"),
        ("service_name", "mpr-otel"),
        ("span_name", "mpr.add_connection"),
        ("span_kind", "SPAN_KIND_CLIENT"),
        ("collector_instance_id", "gateway-1"),
        ("server_address", "files01.corp.example"),
        ("mpr_operation_name", "add"),
        ("mpr_error_class", "unreachable"),
        ("error_type", "ERROR_BAD_NETPATH"),
    ] {
        assert_eq!(series.label(label), value, "{label}");
    }
    let [series] = prometheus.query(&durations).try_into().unwrap();
    assert_eq!(series.label("error_type"), "", "an error type multiplies buckets");
}

#[test]
fn series_do_not_grow_with_machines() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let series = || prometheus.query(&format!("count({})", pushed("mpr-otel")))[0].value;
    for machine in 0..10 {
        gateway.take(&format!("desk-{machine}"), &operations(5));
    }
    counted(&prometheus, CALLS, 50.0);
    counted(&prometheus, DURATIONS, 50.0);
    let few = series();
    // 18 bounds and +Inf, sum, count and calls; one of the fleet, and one of programs.
    assert_eq!(few, 5.0 * 22.0 + 2.0);
    for machine in 10..500 {
        gateway.take(&format!("desk-{machine}"), &operations(5));
    }
    counted(&prometheus, CALLS, 2500.0);
    assert_eq!(series(), few);
    let information = prometheus.query(r#"target_info{job="mpr-otel"}"#);
    assert!(information.is_empty(), "{information:?}");
}

#[test]
fn beyond_the_limit_operations_are_counted_together() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).with("MPR_SERIES_LIMIT", 10).start();
    for _ in 0..3 {
        gateway.take("desk-17", &operations(50));
    }
    counted(&prometheus, CALLS, 150.0);
    counted(&prometheus, DURATIONS, 150.0);
    for metric in [CALLS, DURATIONS] {
        assert_eq!(prometheus.query(metric).len(), 11);
        let [overflow] = prometheus
            .query(&format!(r#"{metric}{{otel_metric_overflow="true"}}"#))
            .try_into()
            .unwrap();
        assert_eq!(overflow.value, 120.0);
        // Two gateways would write one series otherwise.
        assert_eq!(overflow.label("collector_instance_id"), "gateway-1");
    }
}

#[test]
fn two_gateways_count_as_one() {
    let prometheus = Prometheus::start();
    let gateways = ["gw-a", "gw-b"]
        .map(|id| Gateway::new().to(&prometheus).with("MPR_GATEWAY_ID", id).start());
    for turn in 0..20 {
        gateways[turn % 2].take(&format!("desk-{turn}"), &operations(5));
    }
    increased(&prometheus, CALLS, 100.0);
    increased(&prometheus, DURATIONS, 100.0);
    let servers = prometheus.query(&format!("sum without (collector_instance_id) ({CALLS})"));
    assert_eq!(servers.len(), 5);
    assert!(servers.iter().all(|server| server.value == 20.0), "{servers:?}");
}

#[test]
fn spans_that_report_losses_are_counted_on_their_own() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let lossy = Operation { lost: Some(3), ..Operation::on("files01.corp.example") };
    gateway.take("desk-17", &[Operation::on("files01.corp.example"), lossy]);
    counted(&prometheus, CALLS, 2.0);
    increased(&prometheus, "mpr_loss_calls_total", 1.0);
    let [series] = prometheus.query("mpr_loss_calls_total").try_into().unwrap();
    assert_eq!(series.label("job"), "mpr-otel");
}

#[test]
fn a_number_leads_to_an_operation() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let spans = export("desk-17", &operations(1));
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    let span = &spans.resource_spans[0].scope_spans[0].spans[0];
    let trace: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    until("an exemplar", || prometheus.exemplars().contains(&trace).then_some(()));
}

// What the agents report

/// What an agent reports of itself, as totals since `began`.
fn report(machine: &str, began: u64, seen: i64, lost: i64) -> ExportMetricsServiceRequest {
    let point = |value: i64, reason: Option<&str>| NumberDataPoint {
        attributes: reason.map(|reason| text("mpr.loss.reason", reason)).into_iter().collect(),
        start_time_unix_nano: began,
        time_unix_nano: now(),
        value: Some(Value::AsInt(value)),
        ..Default::default()
    };
    let counter = |name: &str, data_points: Vec<NumberDataPoint>| Metric {
        name: name.to_owned(),
        unit: "{operation}".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        })),
        ..Default::default()
    };
    let pending = Metric {
        name: "mpr.operation.pending".to_owned(),
        unit: "{operation}".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points: vec![point(0, None)] })),
        ..Default::default()
    };
    let losses = vec![point(lost, Some("table_full")), point(0, Some("expired"))];
    let metrics = vec![
        counter("mpr.operation.seen", vec![point(seen, None)]),
        counter("mpr.operation.exported", vec![point(seen - lost, None)]),
        counter("mpr.operation.lost", losses),
        counter("mpr.ledger.quarantined", vec![point(0, None)]),
        counter("mpr.ledger.removed", vec![point(1, None)]),
        counter("mpr.ledger.count", vec![point(1, None)]),
        pending,
    ];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(machine, "mpr-otel-agent")),
            scope_metrics: vec![ScopeMetrics { metrics, ..Default::default() }],
            ..Default::default()
        }],
    }
}

#[test]
fn an_agents_metrics_pass_with_the_name_of_its_machine() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    gateway.take_metrics(&report("desk-17", now(), 7, 0));
    gateway.take_metrics(&report("desk-18", now(), 9, 0));
    counted(&prometheus, "mpr_operation_seen_total", 16.0);
    let all = prometheus.query(&pushed("mpr-otel-agent"));
    let names: BTreeSet<&str> = all.iter().map(|series| series.label("__name__")).collect();
    let known = [
        "mpr_ledger_quarantined_total",
        "mpr_ledger_removed_total",
        "mpr_operation_exported_total",
        "mpr_operation_lost_total",
        "mpr_operation_pending",
        "mpr_operation_seen_total",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), known, "and no target_info");
    for series in &all {
        let machine = series.label("host_name");
        assert!(["desk-17", "desk-18"].contains(&machine), "{series:?}");
        assert_eq!(series.label("instance"), format!("id-of-{machine}"));
        assert_eq!(series.label("os_type"), "");
    }
}

#[test]
fn the_first_loss_of_an_agent_that_runs_for_days_counts() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let days_ago = now() - 3 * 24 * 3600 * 1_000_000_000;
    gateway.take_metrics(&report("desk-17", days_ago, 700, 0));
    counted(&prometheus, "mpr_operation_seen_total", 700.0);
    gateway.take_metrics(&report("desk-17", days_ago, 710, 3));
    increased(&prometheus, "mpr_operation_lost_total", 3.0);
}

// What survives

/// The Collector of a machine, which sends to a gateway.
struct Agent {
    folder: TempDir,
    setup: Setup,
}

impl Agent {
    /// One that sends to a gateway.
    fn of(gateway: &Gateway) -> Self {
        let certificates = &gateway.certificates;
        let mut agent = Self::before(&gateway.endpoint());
        agent.setup = agent
            .setup
            .with("MPR_TLS_CA", certificates.file("ca.crt").display())
            .with("MPR_TLS_CERT", certificates.file("client.crt").display())
            .with("MPR_TLS_KEY", certificates.file("client.key").display());
        agent
    }

    /// One that sends to this endpoint. Without the event channels, which are there on Windows only:
    /// events come by OTLP instead.
    fn before(endpoint: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::of(&["collector-config/machine.yaml"])
            .with("MPR_STATE_DIR", folder.path().join("state").display())
            .with("MPR_LISTEN", format!("127.0.0.1:{}", free_port()))
            .with("MPR_GATEWAY_ENDPOINT", endpoint)
            .with("MPR_BATCH_DELAY", "100ms")
            .with("MPR_RETRY_MAX_INTERVAL", "1s")
            .over("exporters::otlp_http/gateway::retry_on_failure::initial_interval: 100ms")
            // It says that it is ready where it says more than warnings.
            .over("service::telemetry::logs::level: info")
            .over(WITHOUT_WINDOWS);
        Self { folder, setup }
    }

    fn start(&self) -> Process {
        self.setup.start(self.folder.path())
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.setup.get("MPR_LISTEN"))
    }
}

#[test]
fn nothing_is_lost_between_a_machine_and_its_gateway() {
    let backend = Receiver::start().unwrap();
    let mut gateway = Gateway::new().onward(&backend).start();
    let agent = Agent::of(&gateway);
    let client = plain_client();
    let mut sent = Vec::new();
    let mut take = |count: usize| {
        let spans = export("desk-17", &operations(count));
        assert_eq!(send(&client, &agent.endpoint(), &spans), 200);
        sent.extend(ids(&spans));
    };

    let process = agent.start();
    take(20);
    gateway.kill();
    take(30);
    take(30);
    drop(process);
    let process = agent.start();
    take(40);
    gateway.resume();
    arrived(&backend, sent);
    process.stop().unwrap();
}

#[test]
fn what_does_not_fit_into_memory_is_refused_and_may_come_again() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    // Any Collector is larger than one MiB.
    let mut gateway = Gateway::new()
        .to(&prometheus)
        .onward(&backend)
        .with("MPR_MEMORY_LIMIT_MIB", 2)
        .with("MPR_MEMORY_SPIKE_MIB", 1)
        .start();
    let spans = export("desk-17", &operations(5));
    until("a refusal", || {
        let status = send(&gateway.client, &gateway.endpoint(), &spans);
        assert!([200, 503].contains(&status), "{status}");
        (status == 503).then_some(())
    });
    until("the gateway reports it", || {
        let refused = prometheus.query("otelcol_receiver_failed_spans_total");
        let refused = [refused, prometheus.query("otelcol_receiver_refused_spans_total")].concat();
        refused.iter().any(|series| series.value > 0.0).then_some(())
    });
    gateway.stop();
}

#[test]
fn an_outage_of_prometheus_leaves_no_gap() {
    let mut prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    gateway.take("desk-17", &operations(5));
    counted(&prometheus, CALLS, 5.0);
    prometheus.pause();
    let away = now();
    gateway.take("desk-17", &operations(5));
    // Ten flushes long.
    until("the outage is over", || (now() - away > 2_000_000_000).then_some(()));
    let back = now();
    prometheus.resume();
    gateway.take("desk-17", &operations(5));
    increased(&prometheus, CALLS, 15.0);
    increased(&prometheus, DURATIONS, 15.0);
    // Samples of the time in between are there too.
    let seconds = |nanoseconds: u64| format!("{:.3}", nanoseconds as f64 / 1e9);
    let window = (back - away) / 1_000_000;
    let samples = format!("count_over_time({CALLS}[{window}ms])");
    let data = prometheus.ask("query", &[("query", &samples), ("time", &seconds(back))]);
    assert_eq!(data["result"].as_array().unwrap().len(), 5, "{data}");
}

#[test]
fn a_gateway_that_is_drained_loses_nothing() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let mut gateway = Gateway::new().to(&prometheus).onward(&backend).start();
    let mut sent = gateway.take("desk-17", &operations(10));
    // Drained: no machine sends, and what was counted has been pushed.
    increased(&prometheus, CALLS, 10.0);
    increased(&prometheus, DURATIONS, 10.0);
    gateway.stop();
    gateway.resume();
    sent.extend(gateway.take("desk-17", &operations(10)));
    increased(&prometheus, CALLS, 20.0);
    increased(&prometheus, DURATIONS, 20.0);
    arrived(&backend, sent);
    // The same series go on.
    assert_eq!(prometheus.query(CALLS).len(), 10);
}

#[test]
fn a_killed_gateway_takes_only_counts_with_it_that_were_not_flushed() {
    let prometheus = Prometheus::start();
    let open = Arc::new(AtomicBool::new(false));
    let answer = Arc::clone(&open);
    let backend = Receiver::behaving(move |_: &Request| {
        Answer::status(if answer.load(Ordering::Relaxed) { 200 } else { 503 })
    })
    .unwrap();
    let mut gateway = Gateway::new().to(&prometheus).onward(&backend).start();
    let mut sent = gateway.take("desk-17", &operations(10));
    increased(&prometheus, CALLS, 10.0);
    increased(&prometheus, DURATIONS, 10.0);
    sent.extend(gateway.take("desk-17", &operations(10)));
    gateway.kill();
    // No trace had been delivered, and those of the last moment were accepted.
    while backend.requests().try_recv().is_ok() {}
    open.store(true, Ordering::Relaxed);
    gateway.resume();
    arrived(&backend, sent);
    gateway.take("desk-17", &operations(10));
    let total = until("the counts go on", || {
        let total = prometheus.increase(CALLS);
        (total > 19.999).then_some(total)
    });
    assert!(total < 30.001, "{total}");
}

#[test]
fn a_full_queue_of_traces_refuses_and_what_comes_again_is_counted_again() {
    let prometheus = Prometheus::start();
    // Accepts connections, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gateway = Gateway::new()
        .to(&prometheus)
        .with("MPR_TRACES_ENDPOINT", format!("http://{}", silent.local_addr().unwrap()))
        .with("MPR_TRACES_QUEUE_BYTES", 20_000)
        .start();
    let spans = export("desk-17", &operations(20));
    let mut requests = 0.0;
    until("a refusal", || {
        requests += 1.0;
        let status = send(&gateway.client, &gateway.endpoint(), &spans);
        assert!([200, 503].contains(&status), "{status}");
        (status == 503).then_some(())
    });
    increased(&prometheus, CALLS, requests * 20.0);
}

// The scaled layout

#[test]
fn of_two_prometheus_servers_each_has_all_though_one_was_away() {
    let first = Prometheus::start();
    let mut second = Prometheus::start();
    let files = ["collector-config/gateway.yaml", "deploy/scaled/two-prometheus.yaml"];
    let gateway =
        Gateway::of(&files).to(&first).with("MPR_PROMETHEUS_B_ENDPOINT", second.endpoint()).start();
    second.pause();
    gateway.take("desk-17", &operations(10));
    increased(&first, CALLS, 10.0);
    second.resume();
    for prometheus in [&first, &second] {
        increased(prometheus, CALLS, 10.0);
        increased(prometheus, DURATIONS, 10.0);
        until("the gateway's own numbers", || {
            let accepted = prometheus.query("otelcol_receiver_accepted_spans_total");
            accepted.iter().any(|series| series.value == 10.0).then_some(())
        });
    }
}

#[test]
fn front_doors_keep_what_kafka_cannot_take_and_it_is_counted_and_stored_once_it_can() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let mut kafka = Kafka::away();
    let fronts = ["front-a", "front-b"].map(|id| {
        let front = Gateway::of(&["deploy/scaled/front.yaml"]).beside(&kafka);
        front.to(&prometheus).with("MPR_GATEWAY_ID", id).start()
    });
    let mut sent = Vec::new();
    for turn in 0..10 {
        sent.extend(fronts[turn % 2].take(&format!("desk-{turn}"), &operations(10)));
    }
    fronts[0].take_metrics(&report("desk-17", now(), 7, 0));
    kafka.start();
    let files = ["collector-config/gateway.yaml", "deploy/scaled/counting.yaml"];
    let _counting = Gateway::of(&files).beside(&kafka).to(&prometheus).onward(&backend).start();
    arrived(&backend, sent);
    increased(&prometheus, CALLS, 100.0);
    increased(&prometheus, DURATIONS, 100.0);
    counted(&prometheus, "mpr_operation_seen_total", 7.0);
}
