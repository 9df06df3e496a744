//! `cargo demo` and `cargo simulate`: the lab's program, with the library that it loads.

use crate::cargo::cargo;
use crate::{Result, folder};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Builds the library and the lab by one call of Cargo, so that neither is older than its source.
pub fn build() -> Command {
    cargo(&["build", "--release", "--package", "mpr-otel-dll", "--package", "mpr-otel-lab"])
}

/// The lab's program, once it is built.
pub fn program() -> PathBuf {
    folder::target().join("release").join(format!("mpr-otel-lab{}", std::env::consts::EXE_SUFFIX))
}

/// Runs the lab, which speaks for itself.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let started = |program, error| format!("cannot start {program}: {error}");
    // Cargo says on standard error what it builds: nobody waits for minutes without a word.
    let built =
        build().current_dir(folder::root()).status().map_err(|error| started("cargo", error))?;
    if !built.success() {
        return Err("the library and the lab do not build; see above".into());
    }
    // Where the caller stands: files that it names are its own.
    let status = Command::new(program())
        .args(arguments)
        .status()
        .map_err(|error| started("mpr-otel-lab", error))?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
