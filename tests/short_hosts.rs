//! Hosts that map one drive and end at once, as a logon script does. None of their operations is
//! lost, and their ledgers do not fill the disk.

// The figures are for the person who runs it.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

use mpr_otel_core::folder::{Census, LedgerFolder};
use mpr_otel_core::settings::{DELIVERY_AGENT, DELIVERY_IN_PROCESS};
use mpr_otel_lab::equipment::stage::{Received, Running, Stage, received, spawn};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Each test runs alone on the machine, because it depends on how fast hosts start and end.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An agent that does not outlive the test.
struct Agent(Option<Running>);

impl Agent {
    fn start(stage: &Stage, settings: &[(&str, &str)]) -> Self {
        let mut command = stage.agent();
        command.envs(settings.iter().copied());
        Self(Some(spawn(&mut command)))
    }

    fn stop(mut self) {
        self.0.take().unwrap().interrupt();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.kill();
        }
    }
}

/// Runs a host that maps one drive and returns from main, whatever its exporter is doing.
fn short_host(stage: &Stage, settings: &[(&str, &str)]) {
    let mut command = stage.c("exit");
    command.envs(settings.iter().copied());
    let (status, output, errors) = spawn(&mut command).end();
    assert!(status.success(), "{status}");
    assert_eq!((output.as_str(), errors.as_str()), ("", ""));
}

/// Ledgers in the stage's folder.
fn files(stage: &Stage) -> usize {
    LedgerFolder::new(stage.ledgers()).list().unwrap().len()
}

/// A thousand short hosts beside an agent.
fn a_thousand_beside_an_agent(delivery: &str) {
    const HOSTS: usize = 1000;
    /// Names at which hosts without an agent make no more ledgers.
    const BOUND: usize = 500;
    let _alone = alone();
    let stage = Stage::new();
    let settings = [("MPR_OTEL_DELIVERY", delivery)];
    let agent = Agent::start(&stage, &settings);
    let mut peak = 0;
    for _ in 0..HOSTS {
        short_host(&stage, &settings);
        peak = peak.max(files(&stage));
    }
    println!("{delivery}: {peak} ledgers at most");
    assert!(peak <= BOUND, "{peak} ledgers");

    let (mut ids, mut traces) = (HashSet::new(), HashSet::new());
    let mut note = |span: Received| {
        assert_eq!(span.get("mpr.outcome").as_deref(), Some("success"));
        ids.insert(span.span.span_id);
        traces.insert(span.span.trace_id);
        ids.len()
    };
    while received(stage.request()).into_iter().map(&mut note).max() < Some(HOSTS) {}
    stage.until(|| files(&stage) == 0);
    // The agent takes over only what hosts that send by themselves did not send.
    let exported = &stage.report()["exported"];
    if delivery == DELIVERY_AGENT {
        stage.report_when(HOSTS as u64, HOSTS as u64, 0);
    } else {
        assert!(exported.as_u64() <= Some(HOSTS as u64), "{exported}");
    }
    agent.stop();
    // Spans that came a second time.
    stage.receiver.requests().try_iter().flat_map(received).for_each(|span| {
        note(span);
    });
    assert_eq!((ids.len(), traces.len()), (HOSTS, HOSTS));
    let lost = stage.report()["lost"].clone();
    assert_eq!(lost.as_object().map(|reasons| reasons.len()), Some(0), "{lost}");
}

#[test]
fn a_thousand_short_hosts_beside_an_agent_are_a_thousand_spans() {
    a_thousand_beside_an_agent(DELIVERY_IN_PROCESS);
}

#[test]
fn a_thousand_short_hosts_that_leave_delivery_to_the_agent_are_a_thousand_spans() {
    a_thousand_beside_an_agent(DELIVERY_AGENT);
}

#[test]
fn an_agent_sends_the_operations_of_a_hundred_short_hosts() {
    let _alone = alone();
    let stage = Stage::new();
    for left in 1..=100 {
        // These hosts end before they can send anything.
        short_host(&stage, &[("MPR_OTEL_BATCH_DELAY_MS", "60000")]);
        assert_eq!(files(&stage), left);
    }
    let agent = Agent::start(&stage, &[]);
    let left = stage.spans(100);
    assert!(left.iter().all(|span| span.get("mpr.recovered").as_deref() == Some("true")));
    assert!(left.iter().all(|span| span.get("mpr.outcome").as_deref() == Some("success")));
    stage.until(|| files(&stage) == 0);
    stage.report_when(100, 100, 0);
    agent.stop();
}

/// More short hosts than a folder without an agent takes: all of them succeed.
fn more_than_the_folder_takes(delivery: &str) {
    const HOSTS: usize = 503;
    const BOUND: usize = 500;
    let _alone = alone();
    let stage = Stage::new();
    for host in 1..=HOSTS {
        // They cannot send anything.
        let settings = [("MPR_OTEL_DELIVERY", delivery), ("MPR_OTEL_BATCH_DELAY_MS", "60000")];
        short_host(&stage, &settings);
        assert_eq!(files(&stage), host.min(BOUND));
    }
    let tally = Census::take(&LedgerFolder::new(stage.ledgers())).unwrap().tally;
    assert_eq!((tally.seen, tally.pending()), (BOUND as u64, BOUND as u64), "{tally:?}");
}

#[test]
fn short_hosts_without_an_agent_fill_the_folder_to_its_limit_and_no_further() {
    more_than_the_folder_takes(DELIVERY_IN_PROCESS);
}

#[test]
fn short_hosts_with_delivery_agent_and_no_agent_fill_the_folder_to_its_limit_and_no_further() {
    more_than_the_folder_takes(DELIVERY_AGENT);
}
