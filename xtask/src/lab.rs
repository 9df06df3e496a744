//! `cargo demo` and `cargo simulate`: the lab's program, with the library that it loads.

use crate::cargo::cargo;
use crate::{Result, folder};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Builds the library and the lab in one call of Cargo, so that neither is older than its source.
pub fn build() -> Command {
    cargo(&["build", "--release", "--package", "mpr-otel-dll", "--package", "mpr-otel-lab"])
}

/// The path of the lab's program after it was built.
pub fn program() -> PathBuf {
    folder::target().join("release").join(format!("mpr-otel-lab{}", std::env::consts::EXE_SUFFIX))
}

/// Runs the lab. It prints its own messages.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let started = |program, error| format!("cannot start {program}: {error}");
    // Cargo prints on standard error what it builds, so that the user sees progress.
    let built =
        build().current_dir(folder::root()).status().map_err(|error| started("cargo", error))?;
    if !built.success() {
        return Err("the library and the lab do not build; see above".into());
    }
    // The working folder stays the caller's, because the caller names files there.
    let status = Command::new(program())
        .args(arguments)
        .status()
        .map_err(|error| started("mpr-otel-lab", error))?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
