//! The fleet's side of the tests: real Collectors and a real Prometheus as processes, certificates
//! for them, and what machines would send.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub use mpr_otel_fleet::Process;
use mpr_otel_fleet::Tools;
use mpr_otel_lab::equipment::{Authority, repository};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// Nothing that is asked for takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// A command of one of the programs that `cargo xtask test --fleet` builds, with nothing in its
/// environment.
pub fn tool(name: &str) -> Command {
    Tools::find().unwrap().command(name)
}

/// A file of the repository.
pub fn shipped(path: &str) -> PathBuf {
    repository().join(path)
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    mpr_otel_fleet::free_port().unwrap()
}

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    mpr_otel_fleet::until(what, || Ok(look())).unwrap()
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
    pub fn start(&self, folder: &Path) -> Process {
        let mut command = self.command();
        command.args(self.layers());
        let process = Process::start("collector", command, folder).unwrap();
        process.says("Everything is ready.").unwrap()
    }

    /// What the Collector thinks of it.
    pub fn validate(&self) -> Output {
        self.command().arg("validate").args(self.layers()).output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = tool(self.program);
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
    authority: Authority,
}

impl Certificates {
    /// An authority of our own, and a certificate for servers on loopback.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
        let certificates = Self { folder, authority };
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
        self.client_with(shows.map(|shown| (shown.file("client.crt"), shown.file("client.key"))))
    }

    fn client_with(&self, shown: Option<(PathBuf, PathBuf)>) -> ureq::Agent {
        let roots = Certificate::from_pem(&fs::read(self.file("ca.crt")).unwrap()).unwrap();
        let shown = shown.map(|(certificate, key)| {
            let chain = [Certificate::from_pem(&fs::read(certificate).unwrap()).unwrap()];
            let key = PrivateKey::from_pem(&fs::read(key).unwrap()).unwrap();
            ClientCert::new_with_certs(&chain, key)
        });
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(vec![roots])))
            .client_cert(shown)
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            // Connections stay, however long it takes until they are used again.
            .max_idle_age(Duration::MAX)
            .proxy(None)
            .build()
            .into()
    }

    /// A client that trusts this authority, and shows its certificate for `machine`.
    pub fn client_of(&self, machine: &str) -> ureq::Agent {
        self.issue(machine, machine);
        self.client_with(Some((
            self.file(&format!("{machine}.crt")),
            self.file(&format!("{machine}.key")),
        )))
    }

    /// A certificate and its key in one file.
    pub fn both(&self, name: &str) -> PathBuf {
        let [certificate, key] = ["crt", "key"]
            .map(|part| fs::read_to_string(self.file(&format!("{name}.{part}"))).unwrap());
        let both = self.file(&format!("{name}.pem"));
        fs::write(&both, certificate + &key).unwrap();
        both
    }

    fn issue(&self, name: &str, subject: &str) {
        let (certificate, key) = self.authority.issue(subject);
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
        let mut command = tool("kafka");
        command.arg(self.port.to_string());
        let process = Process::start("kafka", command, self.folder.path()).unwrap();
        self.process = Some(process.says("ready").unwrap());
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

/// A Prometheus with a store of its own, started as the head of its configuration says.
#[derive(Debug)]
pub struct Prometheus {
    folder: TempDir,
    config: PathBuf,
    /// What it asks of those who come, if anything.
    guard: Option<PathBuf>,
    port: u16,
    process: Option<Process>,
    client: ureq::Agent,
}

/// Who a guarded Prometheus lets in, gateway with the password `secret`.
pub const AUTHORIZATION: &str = "Basic Z2F0ZXdheTpzZWNyZXQ=";
/// That password's bcrypt.
const SECRET: &str = "$2b$04$Ztt3tTPAxxzlinFIR3YraeS9p8dIBCay9H5qh8BMuLt5aGAMQMhpq";

impl Prometheus {
    /// One that gateways push to, as in deploy/prometheus.
    pub fn start() -> Self {
        Self::of(shipped("deploy/prometheus/prometheus.yaml"))
    }

    /// One of this configuration.
    pub fn of(config: PathBuf) -> Self {
        Self::guarded_by(config, None, plain_client())
    }

    /// One that lets in who has a certificate of this authority, and a password.
    pub fn guarded(certificates: &Certificates) -> Self {
        let config = shipped("deploy/prometheus/prometheus.yaml");
        let guard = certificates.file("web.yaml");
        let [certificate, key, authority] =
            ["server.crt", "server.key", "ca.crt"].map(|name| certificates.file(name));
        let text = format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_ca_file: {}\n  \
             client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  gateway: {SECRET}\n",
            certificate.display(),
            key.display(),
            authority.display()
        );
        fs::write(&guard, text).unwrap();
        Self::guarded_by(config, Some(guard), certificates.client(Some(certificates)))
    }

    fn guarded_by(config: PathBuf, guard: Option<PathBuf>, client: ureq::Agent) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut prometheus =
            Self { folder, config, guard, port: free_port(), process: None, client };
        prometheus.resume();
        prometheus
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    fn url(&self) -> String {
        let scheme = if self.guard.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Where Collectors push to.
    pub fn endpoint(&self) -> String {
        format!("{}/api/v1/otlp", self.url())
    }

    /// Ends it; its store stays.
    pub fn pause(&mut self) {
        self.process.take().unwrap().stop().unwrap();
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        let mut command = tool("prometheus");
        command
            .arg(format!("--config.file={}", self.config.display()))
            .arg(format!("--storage.tsdb.path={}", self.folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .args(self.guard.iter().map(|guard| format!("--web.config.file={}", guard.display())))
            .args(advised_flags(&self.config));
        let process = Process::start("prometheus", command, self.folder.path()).unwrap();
        self.process = Some(process.says("Server is ready to receive web requests.").unwrap());
    }

    /// The answer's `data`, of a path such as `query`.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let mut request = self.client.get(format!("{}/api/v1/{path}", self.url()));
        if self.guard.is_some() {
            request = request.header("authorization", AUTHORIZATION);
        }
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

    /// What is kept of single operations beside the buckets of durations.
    pub fn exemplars(&self) -> String {
        let (start, end) = ((now() / 1_000_000_000 - 600).to_string(), u64::MAX.to_string());
        let range = [("start", start.as_str()), ("end", &end[..10])];
        let query = [("query", "mpr_duration_seconds_bucket")];
        self.ask("query_exemplars", &[&query[..], &range].concat()).to_string()
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
            text("mpr.operation.name", "add"),
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

/// What a machine sends of its operations.
pub fn export(machine: &str, operations: &[Operation]) -> ExportTraceServiceRequest {
    let spans = operations.iter().map(Operation::span).collect();
    let scope = InstrumentationScope {
        name: "mpr-otel".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(machine, "mpr-otel")),
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

/// The resource of a machine.
pub fn resource(machine: &str, service: &str) -> Resource {
    let attributes = vec![
        text("service.name", service),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &format!("id-of-{machine}")),
        text("host.name", machine),
        text("host.id", &format!("id-of-{machine}")),
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
    let mut answer = request.send(body).unwrap();
    // Until it is read, nothing else is sent over its connection.
    answer.body_mut().read_to_vec().unwrap();
    answer.status().as_u16()
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
