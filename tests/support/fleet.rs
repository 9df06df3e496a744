//! The fleet's side of the tests: real Collectors and a real Prometheus as processes, certificates
//! for them, and what hosts would send.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Each test program uses its own part of this.
#![allow(dead_code)]

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// Nothing in these tests takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What Prometheus is asked between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// One of the programs that `cargo xtask test --fleet` builds.
pub fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("MPR_OTEL_TEST_FLEET").expect(
        "MPR_OTEL_TEST_FLEET names the folder of the Collector, Prometheus and Jaeger; \
         `cargo xtask test --fleet` builds them and runs this test",
    );
    let program = Path::new(&folder).join(name);
    assert!(program.is_file(), "{} is missing; run `cargo xtask test --fleet`", program.display());
    program
}

/// A file of the repository.
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A port for a server that cannot choose one itself. Never given twice, and below those that the
/// system gives to whoever wants any, so that it stays free until the server takes it.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Other test programs begin elsewhere.
    let first = std::process::id().wrapping_mul(577);
    loop {
        let number = first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: waited for nothing");
        std::thread::sleep(PAUSE);
    }
}

/// A program that runs until it is told otherwise, and writes to a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` and waits until its log says `ready`.
    pub fn start(mut command: Command, log: PathBuf, ready: &str) -> Self {
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut process = Self { child: command.spawn().unwrap(), log };
        until(&format!("{command:?}"), || {
            let logged = process.logged();
            if logged.contains(ready) {
                return Some(());
            }
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("{command:?} ended with {status}:\n{logged}");
            }
            None
        });
        process
    }

    /// All it said.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Ends it where it stands.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn stop(mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.logged());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Collector's configurations and settings: what it takes to start it, and to start it again.
#[derive(Clone, Debug)]
pub struct Setup {
    program: &'static str,
    configs: Vec<String>,
    settings: BTreeMap<String, String>,
}

impl Setup {
    /// Of shipped files, such as `collector-config/gateway.yaml`. The later ones are laid over the
    /// first.
    pub fn of(files: &[&str]) -> Self {
        let configs = files.iter().map(|file| shipped(file).display().to_string()).collect();
        Self { program: "otelcol-mpr", configs, settings: BTreeMap::new() }
    }

    /// For the Collector of the scaled layout.
    pub fn with_kafka(mut self) -> Self {
        self.program = "otelcol-mpr-kafka";
        self
    }

    /// With an environment variable.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// With one more layer, `some::key: value`.
    pub fn over(mut self, layer: &str) -> Self {
        self.configs.push(format!("yaml:{layer}"));
        self
    }

    /// What a setting is.
    pub fn get(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// Starts it, and waits until it receives.
    pub fn start(&self, log: PathBuf) -> Process {
        let mut command = self.command();
        command.args(self.layers());
        Process::start(command, log, "Everything is ready.")
    }

    /// What the Collector thinks of it.
    pub fn validate(&self) -> Output {
        self.command().arg("validate").args(self.layers()).output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(tool(self.program));
        for (name, _) in std::env::vars() {
            if name.starts_with("OTEL_") || name.starts_with("MPR_") {
                command.env_remove(name);
            }
        }
        command.envs(&self.settings);
        command
    }

    fn layers(&self) -> impl Iterator<Item = &str> {
        self.configs.iter().flat_map(|config| ["--config", config])
    }
}

/// An authority and certificates of it, as files and for the tests' own requests.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Certificates {
    /// An authority of our own, and a certificate for servers on loopback.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&key).unwrap().pem();
        fs::write(folder.path().join("ca.crt"), pem).unwrap();
        let certificates = Self { folder, issuer: rcgen::Issuer::new(authority, key) };
        certificates.issue("server", "127.0.0.1");
        certificates.issue("client", "desk-17.corp.example");
        certificates
    }

    /// A file: `ca.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings of a gateway that has these.
    pub fn serve(&self, setup: Setup) -> Setup {
        setup
            .with("MPR_TLS_CERT", self.file("server.crt").display())
            .with("MPR_TLS_KEY", self.file("server.key").display())
            .with("MPR_TLS_CLIENT_CA", self.file("ca.crt").display())
    }

    /// A client that trusts this authority, and shows `shows`'s certificate, if any.
    pub fn client(&self, shows: Option<&Self>) -> ureq::Agent {
        let roots = Certificate::from_pem(&fs::read(self.file("ca.crt")).unwrap()).unwrap();
        let shown = shows.map(|shown| {
            let chain = fs::read(shown.file("client.crt")).unwrap();
            let key = fs::read(shown.file("client.key")).unwrap();
            let chain = [Certificate::from_pem(&chain).unwrap()];
            ClientCert::new_with_certs(&chain, PrivateKey::from_pem(&key).unwrap())
        });
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(vec![roots])))
            .client_cert(shown)
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .into()
    }

    fn issue(&self, name: &str, subject: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![subject.to_owned()])
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        fs::write(self.file(&format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A Kafka in memory, with the topics of deploy/scaled.
#[derive(Debug)]
pub struct Kafka {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Kafka {
    /// One that has a port, and is not there yet.
    pub fn away() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), port: free_port(), process: None }
    }

    /// Where it is.
    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it.
    pub fn start(&mut self) {
        let mut command = Command::new(tool("kafka"));
        command.arg(self.port.to_string());
        self.process = Some(Process::start(command, self.folder.path().join("log.txt"), "ready"));
    }
}

/// A client for what needs no TLS.
pub fn plain_client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .into()
}

/// A Prometheus with a store of its own, started as deploy/prometheus/prometheus.yaml says.
#[derive(Debug)]
pub struct Prometheus {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    client: ureq::Agent,
}

impl Prometheus {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut prometheus =
            Self { folder, port: free_port(), process: None, client: plain_client() };
        prometheus.resume();
        prometheus
    }

    /// Where Collectors push to.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/otlp", self.port)
    }

    /// Ends it; its store stays.
    pub fn pause(&mut self) {
        self.process.take().unwrap().stop();
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        let config = shipped("deploy/prometheus/prometheus.yaml");
        let mut command = Command::new(tool("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", self.folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .args(advised_flags(&config));
        let log = self.folder.path().join("log.txt");
        self.process =
            Some(Process::start(command, log, "Server is ready to receive web requests."));
    }

    /// The answer's `data`, of a path such as `query`.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let mut request = self.client.get(format!("http://127.0.0.1:{}/api/v1/{path}", self.port));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        let text = request.call().unwrap().body_mut().read_to_string().unwrap();
        let mut answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {text}");
        answer["data"].take()
    }

    /// Series and their values.
    pub fn query(&self, expression: &str) -> Vec<Series> {
        self.query_at(expression, None)
    }

    fn query_at(&self, expression: &str, time: Option<&str>) -> Vec<Series> {
        let mut parameters = vec![("query", expression)];
        parameters.extend(time.map(|time| ("time", time)));
        let data = self.ask("query", &parameters);
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|series| Series {
                labels: serde_json::from_value(series["metric"].clone()).unwrap(),
                value: series["value"][1].as_str().unwrap().parse().unwrap(),
            })
            .collect()
    }

    /// The increase of a counter over the whole test, summed over its series. Each series is asked
    /// at the moment of its last sample: later, Prometheus would extrapolate.
    pub fn increase(&self, selector: &str) -> f64 {
        let moments: BTreeSet<String> = self
            .query(&format!("timestamp({selector})"))
            .iter()
            .map(|series| format!("{:.3}", series.value))
            .collect();
        let mut sum = 0.0;
        for moment in &moments {
            let those = format!("increase({selector}[1h]) and timestamp({selector}) == {moment}");
            sum += self.query_at(&those, Some(moment)).iter().map(|one| one.value).sum::<f64>();
        }
        sum
    }
}

/// The flags in the comment at the head of the configuration, but the address and the retention.
fn advised_flags(config: &Path) -> Vec<String> {
    let text = fs::read_to_string(config).unwrap();
    text.lines()
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("#         "))
        .map(|flag| flag.trim_end_matches('\\').trim().to_owned())
        .filter(|flag| flag.starts_with("--web.enable") || flag.starts_with("--enable-feature"))
        .collect()
}

/// A series of Prometheus at one moment.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Series {
    /// A label's value; empty if there is none, as Prometheus sees it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// An operation as its span tells it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub server: String,
    pub error: Option<&'static str>,
    pub lost: Option<i64>,
}

impl Operation {
    /// A success.
    pub fn on(server: impl Into<String>) -> Self {
        Self { server: server.into(), error: None, lost: None }
    }

    /// A failure.
    pub fn failed(server: impl Into<String>) -> Self {
        Self { error: Some("ERROR_BAD_NETPATH"), ..Self::on(server) }
    }

    fn span(&self) -> Span {
        let outcome = if self.error.is_some() { "failure" } else { "success" };
        let mut attributes = vec![
            text("mpr.operation", "add"),
            text("mpr.outcome", outcome),
            text("server.address", &self.server),
        ];
        if let Some(error) = self.error {
            attributes.push(text("error.type", error));
            attributes.push(text("mpr.error.class", "unreachable"));
        }
        attributes.extend(self.lost.map(|lost| key_value("mpr.lost", Value::IntValue(lost))));
        let now = now();
        Span {
            trace_id: fresh_id(16),
            span_id: fresh_id(8),
            name: "mpr.add_connection".to_owned(),
            kind: 3,
            start_time_unix_nano: now - 1_000_000,
            end_time_unix_nano: now,
            attributes,
            ..Default::default()
        }
    }
}

/// What a host sends of its operations.
pub fn export(host: &str, operations: &[Operation]) -> ExportTraceServiceRequest {
    let spans = operations.iter().map(Operation::span).collect();
    let scope = InstrumentationScope {
        name: "mpr-otel".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(host, "mpr-otel")),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

/// The spans' ids.
pub fn ids(export: &ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    let scopes = export.resource_spans.iter().flat_map(|group| &group.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.clone()).collect()
}

/// The resource of a host.
pub fn resource(host: &str, service: &str) -> Resource {
    let attributes = vec![
        text("service.name", service),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &format!("id-of-{host}")),
        text("host.name", host),
        text("host.id", &format!("id-of-{host}")),
        text("os.type", "windows"),
    ];
    Resource { attributes, ..Default::default() }
}

/// Sends spans and returns the status of the answer.
pub fn send(client: &ureq::Agent, endpoint: &str, export: &ExportTraceServiceRequest) -> u16 {
    post(client, &format!("{endpoint}/v1/traces"), &export.encode_to_vec(), &[])
}

/// Sends metrics and returns the status of the answer.
pub fn send_metrics(
    client: &ureq::Agent,
    endpoint: &str,
    export: &ExportMetricsServiceRequest,
) -> u16 {
    post(client, &format!("{endpoint}/v1/metrics"), &export.encode_to_vec(), &[])
}

/// Posts protobuf and returns the status of the answer.
pub fn post(client: &ureq::Agent, url: &str, body: &[u8], headers: &[(&str, &str)]) -> u16 {
    let mut request = client.post(url).header("content-type", "application/x-protobuf");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send(body).unwrap().status().as_u16()
}

/// A text attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Value::StringValue(value.to_owned()))
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

/// Nanoseconds since the epoch.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

fn fresh_id(bytes: usize) -> Vec<u8> {
    let mut id = vec![0; bytes];
    getrandom::fill(&mut id).unwrap();
    id
}
