//! An Alertmanager of the configuration that ships, in time-lapse, whose receivers are the test's.

use crate::webhook::Webhook;
use mpr_otel_fleet::{Lapse, Process, Tools, free_port};
use mpr_otel_lab::equipment::repository;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The configuration that ships.
pub fn configuration() -> PathBuf {
    repository().join("deploy/alertmanager/alertmanager.yaml")
}

/// A running Alertmanager; it is killed with this value.
#[derive(Debug)]
pub struct Alertmanager {
    address: String,
    client: ureq::Agent,
    _process: Process,
    _folder: TempDir,
}

impl Alertmanager {
    pub fn start(lapse: Lapse, webhook: &Webhook) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = configuration();
        let mut configuration = lapse.file(&fs::read_to_string(&shipped).unwrap()).unwrap();
        for template in configuration["templates"].as_array_mut().unwrap() {
            *template = json!(shipped.with_file_name(template.as_str().unwrap()));
        }
        for receiver in configuration["receivers"].as_array_mut().unwrap() {
            let url = webhook.url(receiver["name"].as_str().unwrap());
            let hooks = receiver.get_mut("webhook_configs").and_then(Value::as_array_mut);
            for hook in hooks.into_iter().flatten() {
                let hook = hook.as_object_mut().unwrap();
                hook.remove("url_file").unwrap();
                hook.insert("url".to_owned(), json!(url));
            }
        }
        // JSON is YAML.
        let file = folder.path().join("alertmanager.yaml");
        fs::write(&file, configuration.to_string()).unwrap();
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = Tools::find().unwrap().command("alertmanager");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            // It has no peers.
            .arg("--cluster.listen-address=");
        let process = Process::start("alertmanager", command, folder.path())
            .unwrap()
            .answers(&format!("http://{address}/-/ready"))
            .unwrap();
        let client = ureq::Agent::config_builder()
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        Self { address, client, _process: process, _folder: folder }
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends alerts in one request, as Prometheus does.
    pub fn send(&self, alerts: &[Value]) {
        let request = self.client.post(format!("http://{}/api/v2/alerts", self.address));
        let body = Value::from(alerts).to_string();
        request.header("content-type", "application/json").send(body).unwrap();
    }

    /// The alerts that it has.
    pub fn alerts(&self) -> Vec<Alert> {
        let url = format!("http://{}/api/v2/alerts", self.address);
        let text = self.client.get(url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// How many notifications it has tried to send.
    pub fn notifications(&self) -> f64 {
        let url = format!("http://{}/metrics", self.address);
        let text = self.client.get(url).call().unwrap().body_mut().read_to_string().unwrap();
        text.lines()
            .filter(|line| line.starts_with("alertmanager_notifications_total{"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

/// An alert as Alertmanager shows it.
#[derive(Debug, serde::Deserialize)]
pub struct Alert {
    pub labels: BTreeMap<String, String>,
    pub status: Status,
    pub receivers: Vec<Receiver>,
}

#[derive(Debug, serde::Deserialize)]
pub struct Status {
    /// `unprocessed`, `active` or `suppressed`.
    pub state: String,
}

#[derive(Debug, serde::Deserialize)]
pub struct Receiver {
    pub name: String,
}
