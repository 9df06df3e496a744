//! Those who send: a simulated fleet and the demo, and what they say really happened.

use mpr_otel_fleet::{Process, Result, Stack, Truth};
use mpr_otel_lab::equipment::{lab, library};
use serde_json::Value;
use std::process::Command;

/// Runs `mpr-otel-lab simulate` to its end against an endpoint.
pub fn simulate(stack: &Stack, endpoint: &str, arguments: &[&str]) -> Result<Truth> {
    let file = stack.folder().join("truth.json");
    let mut command = Command::new(lab());
    command
        .env_clear()
        .args(["simulate", "--endpoint", endpoint, "--truth"])
        .arg(&file)
        .args(arguments);
    let mut process = Process::start("simulate", command, stack.folder())?;
    if !process.end()? {
        return Err(format!("the simulation failed:\n{}", process.said()).into());
    }
    Truth::read(&file)
}

/// Runs `mpr-otel-lab demo`; returns what it said, if it was JSON.
pub fn demo(arguments: &[&str]) -> Result<Value> {
    let output = Command::new(lab())
        .env_clear()
        .args(["demo", "--library"])
        .arg(library())
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(format!("the demo failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}
