//! The processes: hosts that say what they do, and the agent.

use crate::chance::Chance;
use crate::script::{self, Life};
use mpr_otel_core::settings::{DELIVERY_AGENT, DELIVERY_IN_PROCESS};
use mpr_otel_lab::double::PlayReport;
use mpr_otel_lab::equipment::stage::Stage;
use mpr_otel_lab::equipment::{lab, library, program};

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A host process.
pub struct Host {
    child: Child,
    /// What it says goes here, so that it outlives it.
    said: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// We killed it.
    Killed,
    /// It came to its own end.
    Ended,
}

/// A command of the program `mpr-otel` that sends to `endpoint`.
pub fn command(stage: &Stage, endpoint: &str) -> Command {
    tortured(program(), stage, endpoint)
}

/// A command of `program` with the settings that all processes of the torture share.
fn tortured(program: PathBuf, stage: &Stage, endpoint: &str) -> Command {
    let mut command = stage.command(program);
    command
        .env("MPR_OTEL_ENDPOINT", endpoint)
        .env("MPR_OTEL_TIMEOUT_MS", "300")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "100");
    command
}

impl Host {
    /// Starts host `number`.
    pub fn start(stage: &Stage, endpoint: &str, number: usize, chance: &mut Chance) -> Self {
        let life = match chance.below(12) {
            0..4 => Life::Short,
            4..11 => Life::Long,
            _ => Life::Busy,
        };
        let part = script::part(number, life, chance);
        let said = stage.folder.path().join(format!("said-{number}.txt"));
        let file = File::create_new(&said).unwrap();
        let mut command = tortured(lab(), stage, endpoint);
        command
            .args(["play", "--aloud", "--library"])
            .arg(library())
            .env("MPR_OTEL_DELIVERY", chance.of(&[DELIVERY_IN_PROCESS, DELIVERY_AGENT]))
            .env("MPR_OTEL_BATCH_DELAY_MS", chance.of(&["0", "5", "20", "100"]))
            .env("MPR_OTEL_BATCH_MAX", chance.of(&["5", "64", "512"]))
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        if let Some((trace, span)) = script::parent(number) {
            command.env("TRACEPARENT", format!("00-{trace:032x}-{span:016x}-01"));
        }
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(format!("{}\n", serde_json::to_string(&part).unwrap()).as_bytes()).unwrap();
        if life != Life::Short {
            child.stdin = Some(input);
        }
        Self { child, said }
    }

    /// Lets it come to its end.
    pub fn end(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Kills it where it stands, unless it has ended. Returns how it died and what it said.
    pub fn kill(mut self) -> (Result<Death, String>, String) {
        self.child.kill().unwrap();
        self.wait_for_end()
    }

    /// Waits for its end. Returns how it died and what it said.
    pub fn wait_for_end(mut self) -> (Result<Death, String>, String) {
        self.end();
        let death = death(self.child.wait().unwrap());
        let said = fs::read_to_string(&self.said).unwrap();
        fs::remove_file(&self.said).unwrap();
        (death, said)
    }
}

/// What is wrong with what a host said besides its operations.
pub fn objection(death: Death, rest: &str) -> Option<String> {
    match serde_json::from_str::<PlayReport>(rest) {
        Ok(report) if report.breaches.is_empty() => None,
        // It did not come to its report, or not through it.
        Err(error) if death == Death::Killed && error.is_eof() => None,
        _ => Some(format!("a host said: {rest:?}")),
    }
}

/// The agent's process, which does not outlive the test.
pub struct AgentProcess(Child);

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl AgentProcess {
    pub fn start(stage: &Stage, endpoint: &str) -> Self {
        let mut command = self::command(stage, endpoint);
        command.arg("agent").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Asks it to end, which it must do well.
    pub fn interrupt(mut self) -> Result<(), String> {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        let status = self.0.wait().unwrap();
        if asked.success() && status.success() {
            return Ok(());
        }
        Err(format!("the last agent ended with {status}"))
    }

    /// Kills it where it stands; it must have lived.
    pub fn kill(mut self) -> Result<Death, String> {
        self.0.kill().unwrap();
        match death(self.0.wait().unwrap())? {
            Death::Killed => Ok(Death::Killed),
            Death::Ended => Err("an agent ended by itself".to_owned()),
        }
    }
}

fn death(status: ExitStatus) -> Result<Death, String> {
    const SIGKILL: i32 = 9;
    match (status.signal(), status.success()) {
        (Some(SIGKILL), _) => Ok(Death::Killed),
        (_, true) => Ok(Death::Ended),
        _ => Err(format!("a process ended with {status}")),
    }
}
