//! Those who send: a simulated fleet and the demo, and what they say really happened.

use mpr_otel_fleet::{Process, Result, Stack, Truth};
use serde_json::Value;
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The program that `MPR_OTEL_TEST_PROGRAM` names, such as the one that ships and is several times
/// as fast, or the one of the tests' own build.
fn program() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_mpr-otel").into();
    env::var_os("MPR_OTEL_TEST_PROGRAM").map_or_else(built, PathBuf::from)
}

/// Runs `mpr-otel simulate` to its end against an endpoint.
pub fn simulate(stack: &Stack, endpoint: &str, arguments: &[&str]) -> Result<Truth> {
    let file = stack.folder().join("truth.json");
    let mut command = Command::new(program());
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

/// Runs `mpr-otel demo` with the library that cargo built; returns what it said, if it was JSON.
pub fn demo(arguments: &[&str]) -> Result<Value> {
    let library = mpr_otel::double::find_library().ok_or("cargo builds the library")?;
    let output = Command::new(program())
        .env_clear()
        .args(["demo", "--library"])
        .arg(library)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(format!("the demo failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}
