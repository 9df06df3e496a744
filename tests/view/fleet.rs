//! A simulated fleet that sends, and what it says really happened.

use mpr_otel_fleet::{Process, Result, Stack, Truth};
use std::process::Command;

/// Runs `mpr-otel simulate` to its end against an endpoint.
pub fn simulate(stack: &Stack, endpoint: &str, arguments: &[&str]) -> Result<Truth> {
    let file = stack.folder().join("truth.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpr-otel"));
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
