//! The agent, and what hosts and agents do for hosts that have died.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

mod support;

use mpr_otel::double::Step;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::{Received, Running, Stage, add, lane, spawn, start};

/// An agent of the stage's folder, ready when it has said so.
fn agent(stage: &Stage) -> Running {
    start_agent(stage.agent())
}

fn start_agent(mut command: Command) -> Running {
    let agent = spawn(&mut command);
    agent
}

/// Files of the folder that are ledgers.
fn ledgers(stage: &Stage) -> Vec<PathBuf> {
    let files = fs::read_dir(stage.ledgers()).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "ledger")).collect()
}

/// A host that ends before it has sent anything. Returns how many operations it left.
fn short_host(stage: &Stage) {
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (status, output, errors) = spawn(&mut command).end();
    assert!(status.success(), "{status}");
    assert_eq!((output.as_str(), errors.as_str()), ("", ""));
}

#[test]
fn the_agent_exports_what_a_host_left_as_if_nothing_had_happened() {
    let stage = Stage::new();
    short_host(&stage);
    let before = stage.tally();
    let running = agent(&stage);
    let spans = stage.spans(1);
    assert_eq!(spans[0].get("mpr.recovered").as_deref(), Some("true"));
    assert_eq!(spans[0].get("mpr.outcome").as_deref(), Some("success"));
    assert_eq!(before.pending(), 1);
    stage.until(|| ledgers(&stage).is_empty());
    running.interrupt();
}
