//! Everything on one machine: single.yaml, with and without a place for traces.

use crate::fleet::{
    Operation, Process, Prometheus, Setup, export, free_port, ids, plain_client, send,
};
use crate::{CALLS, arrived, counted};
use mpr_otel_lab::receiver::Receiver;
use tempfile::TempDir;

/// A Collector that listens on a free port.
struct Single {
    endpoint: String,
    client: ureq::Agent,
    _folder: TempDir,
    _process: Process,
}

impl Single {
    fn start(files: &[&str], prometheus: &Prometheus, traces: &str) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let folder = tempfile::tempdir().unwrap();
        let process = Setup::of(files)
            .with("MPR_LISTEN", &listen)
            .with("MPR_METRICS_FLUSH_INTERVAL", "200ms")
            .with("MPR_PROMETHEUS_ENDPOINT", prometheus.endpoint())
            .with("MPR_TRACES_ENDPOINT", traces)
            .start(folder.path());
        let endpoint = format!("http://{listen}");
        Self { endpoint, client: plain_client(), _folder: folder, _process: process }
    }

    fn take(&self, operations: &[Operation]) -> Vec<Vec<u8>> {
        let spans = export("desk-17", operations);
        assert_eq!(send(&self.client, &self.endpoint, &spans), 200);
        ids(&spans)
    }
}

#[test]
fn without_a_place_for_traces_it_counts_each_once_and_refuses_none() {
    /// More than a queue of requests holds.
    const REQUESTS: u32 = 1500;
    let prometheus = Prometheus::start();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let single = Single::start(&["collector-config/single.yaml"], &prometheus, &nobody);
    for _ in 0..REQUESTS {
        single.take(&[Operation::on("files01")]);
    }
    counted(&prometheus, CALLS, f64::from(REQUESTS));
}

#[test]
fn with_a_place_for_traces_it_counts_and_keeps_them() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let files = ["collector-config/single.yaml", "collector-config/single-traces.yaml"];
    let single = Single::start(&files, &prometheus, &backend.endpoint());
    let sent = single.take(&[Operation::on("files01"), Operation::on("files02")]);
    arrived(&backend, sent);
    counted(&prometheus, CALLS, 2.0);
}
