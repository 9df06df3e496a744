//! The demo's host processes, and what becomes of their operations.

use super::{Failure, ProgressLine};
use mpr_otel_core::ledger::{self, Tally};
use mpr_otel_lab::double::{Host, PlayReport, Script};
use mpr_otel_lab::receiver::Receiver;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Operations open for longer than this are reported as unfinished; the slowest takes 1.2 s.
const UNFINISHED_AFTER: Duration = Duration::from_millis(2500);
const BATCH_DELAY: Duration = Duration::from_millis(200);
/// How often the ledgers' counters are looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Running hosts, their ledgers and their log, in a folder that goes with them.
pub(super) struct Stage {
    folder: TempDir,
    hosts: Vec<Child>,
    operations: usize,
}

impl Stage {
    /// Starts one process for each host of the script. `isolated` hosts take no settings from
    /// our own environment.
    pub(super) fn set(
        script: &Script,
        library: &Path,
        endpoint: &str,
        isolated: bool,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("mpr-otel-demo-").tempdir()?;
        let mut stage = Self { folder, hosts: Vec::new(), operations: script.operations() };
        for host in &script.hosts {
            let child = stage.start(host, library, endpoint, isolated)?;
            stage.hosts.push(child);
        }
        Ok(stage)
    }

    fn start(
        &self,
        host: &Host,
        library: &Path,
        endpoint: &str,
        isolated: bool,
    ) -> Result<Child, Failure> {
        // Under the host's own name, as its spans are to show it.
        let program = self.folder.path().join(&host.executable);
        let ourselves = std::env::current_exe()?;
        std::fs::hard_link(&ourselves, &program)
            .or_else(|_| std::fs::copy(&ourselves, &program).map(|_| ()))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let setting = text.starts_with("MPR_OTEL_");
            if text.starts_with("OTEL_") || text == "TRACEPARENT" || (isolated && setting) {
                command.env_remove(&name);
            }
        }
        let mut child = command
            .arg("play")
            .arg("--library")
            .arg(library)
            .env("MPR_OTEL_ENDPOINT", endpoint)
            .env("MPR_OTEL_LEDGER_DIR", self.ledgers())
            .env("MPR_OTEL_BATCH_DELAY_MS", BATCH_DELAY.as_millis().to_string())
            .env("MPR_OTEL_UNFINISHED_AFTER_MS", UNFINISHED_AFTER.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut part = serde_json::to_vec(host)?;
        part.push(b'\n');
        child.stdin.as_mut().ok_or("a host without standard input")?.write_all(&part)?;
        Ok(child)
    }

    fn ledgers(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    /// Collects spans until there are as many as operations, or `patience` ends without one.
    pub(super) fn collect(
        &self,
        receiver: &Receiver,
        patience: Duration,
        line: &ProgressLine,
    ) -> Result<Vec<Span>, Failure> {
        let mut spans = Vec::new();
        while spans.len() < self.operations {
            line.show(&format!("{} of {} spans received", spans.len(), self.operations));
            match receiver.requests().recv_timeout(patience) {
                Ok(request) => {
                    for resource in request.export.resource_spans {
                        spans
                            .extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err("the receiver is gone".into()),
            }
        }
        Ok(spans)
    }

    /// Waits until every host has played its part and its ledger has nothing pending, but not
    /// longer than `patience`, and gives the sum of their counters.
    pub(super) fn settle(
        &mut self,
        patience: Duration,
        line: &ProgressLine,
    ) -> Result<Tally, Failure> {
        for host in &mut self.hosts {
            let answers = host.stdout.take().ok_or("a host without standard output")?;
            let report = serde_json::Deserializer::from_reader(BufReader::new(answers))
                .into_iter::<PlayReport>()
                .next()
                .ok_or("a host ended before it had played its part")??;
            if let Some(breach) = report.breaches.first() {
                return Err(format!("the library broke the contract: {breach}").into());
            }
        }
        let deadline = Instant::now() + patience;
        loop {
            let tally = self.tally()?;
            line.show(&format!("{} of {} spans accepted", tally.exported, self.operations));
            let settled = tally.seen == self.operations as u64 && tally.pending() == 0;
            if settled || Instant::now() >= deadline {
                return Ok(tally);
            }
            thread::sleep(GLANCE);
        }
    }

    /// The sum of all ledgers' counters.
    fn tally(&self) -> Result<Tally, Failure> {
        let mut sum = Tally::default();
        for entry in std::fs::read_dir(self.ledgers())? {
            sum += ledger::read_tally(&entry?.path())?;
        }
        Ok(sum)
    }

    /// Why an exporter of the hosts failed last.
    pub(super) fn last_error(&self) -> Result<String, Failure> {
        for entry in std::fs::read_dir(self.ledgers())? {
            let error = ledger::read_last_error(&entry?.path()).unwrap_or_default();
            if !error.is_empty() {
                return Ok(error);
            }
        }
        Ok("no exporter has failed".to_owned())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            // A host ends when its standard input is closed; one that is stuck is ended.
            drop(host.stdin.take());
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}
