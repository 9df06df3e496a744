//! The servers of a fleet's view: Prometheus with the rules that ship, and gateways with the
//! configuration that ships.

use crate::{Jaeger, Lapse, Process, Prometheus, Result, Tools, free_port};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How often a gateway sends its metrics (collector-config/gateway.yaml).
const FLUSH: Duration = Duration::from_secs(15);
/// How far Prometheus looks back for a sample, unless a flag says otherwise.
pub const LOOKBACK: Duration = Duration::from_secs(300);

/// Where the servers keep what they keep, and how fast time passes for them.
#[derive(Debug)]
pub struct Stack {
    tools: Tools,
    root: PathBuf,
    folder: TempDir,
    lapse: Lapse,
    /// Where Prometheus sends alerts to: host and port.
    alertmanager: Option<String>,
}

impl Stack {
    /// A stack of the repository at `root`.
    pub fn new(root: &Path, lapse: Lapse) -> Result<Self> {
        Ok(Self {
            tools: Tools::find()?,
            root: root.to_owned(),
            folder: tempfile::tempdir()?,
            lapse,
            alertmanager: None,
        })
    }

    /// With a Prometheus that sends its alerts to the Alertmanager at this host and port.
    pub fn alerting(self, address: &str) -> Self {
        Self { alertmanager: Some(address.to_owned()), ..self }
    }

    /// A folder that goes with the stack.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts Prometheus with the configuration and the rules that ship, in time-lapse. A sample
    /// counts as a series' present value for `lookback`, as it is in the time-lapse.
    pub fn prometheus(&self, lookback: Duration) -> Result<Store> {
        let shipped = self.root.join("dashboards/rules/mpr-otel.yaml");
        let rules = self.folder().join("rules.yaml");
        // JSON is YAML.
        fs::write(&rules, self.lapse.file(&fs::read_to_string(shipped)?)?.to_string())?;
        let shipped = fs::read_to_string(self.root.join("deploy/prometheus/prometheus.yaml"))?;
        let mut lapsed = self.lapse.file(&shipped)?;
        lapsed["rule_files"] = json!([rules]);
        if let Some(address) = &self.alertmanager {
            let targets = json!([{ "static_configs": [{ "targets": [address] }] }]);
            lapsed["alerting"] = json!({ "alertmanagers": targets });
        }
        let config = self.folder().join("prometheus.yaml");
        fs::write(&config, lapsed.to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let folder = self.folder().join("prometheus");
        let mut command = self.tools.command("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--query.lookback-delta={}ms", lookback.as_millis()))
            .args(["--web.enable-otlp-receiver", "--web.enable-admin-api", "--log.level=warn"])
            .arg("--enable-feature=created-timestamp-zero-ingestion,exemplar-storage");
        let url = format!("http://{address}");
        let process = Process::start("prometheus", command, self.folder())?
            .answers(&format!("{url}/-/ready"))?;
        Ok(Store { process, prometheus: Prometheus::at(&url), folder })
    }

    /// Starts Jaeger, which keeps traces in memory.
    pub fn traces(&self) -> Result<Traces> {
        let ports: Vec<String> = [(); 7]
            .map(|()| free_port().map(|port| format!("127.0.0.1:{port}")))
            .into_iter()
            .collect::<Result<_>>()?;
        let mut command = self.tools.command("jaeger");
        command.env("SPAN_STORAGE_TYPE", "memory").arg("--log-level=warn");
        for (name, place) in [
            "query.http-server",
            "collector.otlp.http",
            "admin.http",
            "query.grpc-server",
            "collector.otlp.grpc",
            "collector.grpc-server",
            "collector.http-server",
        ]
        .iter()
        .zip(&ports)
        {
            command.arg(format!("--{name}.host-port={place}"));
        }
        let process = Process::start("jaeger", command, self.folder())?
            .answers(&format!("http://{}/", ports[2]))?;
        let jaeger = Jaeger::at(&format!("http://{}", ports[0]));
        Ok(Traces { process, jaeger, endpoint: format!("http://{}", ports[1]) })
    }

    /// Starts a gateway of this name that listens on a free port, without TLS: who may send is
    /// tested elsewhere.
    pub fn gateway(&self, name: &str, store: &Prometheus, traces: &str) -> Result<Gateway> {
        let (listen, health) =
            (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let flush = self.lapse.of(FLUSH).as_millis();
        let mut command = self.tools.command("otelcol-mpr");
        command
            .arg("--config")
            .arg(self.root.join("collector-config/gateway.yaml"))
            .args(["--config", "yaml:receivers::otlp::protocols::http::tls: null"])
            .env("MPR_GATEWAY_ID", name)
            .env("MPR_GATEWAY_LISTEN", &listen)
            .env("MPR_HEALTH_LISTEN", &health)
            .env("MPR_STATE_DIR", self.folder().join(name))
            .env("MPR_PROMETHEUS_ENDPOINT", format!("{}/api/v1/otlp", store.url()))
            .env("MPR_TRACES_ENDPOINT", traces)
            .env("MPR_METRICS_FLUSH_INTERVAL", format!("{flush}ms"))
            .env("MPR_TELEMETRY_INTERVAL_MS", flush.to_string());
        let process =
            Process::start(name, command, self.folder())?.answers(&format!("http://{health}/"))?;
        Ok(Gateway { process, endpoint: format!("http://{listen}") })
    }
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Store {
    /// Its process.
    pub process: Process,
    /// Itself.
    pub prometheus: Prometheus,
    /// Where it keeps its samples. Goes with the stack.
    pub folder: PathBuf,
}

/// A running Jaeger.
#[derive(Debug)]
pub struct Traces {
    /// Its process.
    pub process: Process,
    /// Its API.
    pub jaeger: Jaeger,
    /// The base URL for OTLP.
    pub endpoint: String,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub process: Process,
    /// The base URL for OTLP.
    pub endpoint: String,
}
