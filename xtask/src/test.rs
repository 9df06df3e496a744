//! `cargo xtask test`: everything that can be tested on this machine.

use crate::dist::{self, Built};
use crate::run::{Log, Run};
use crate::{Result, fleet, folder, packages, wine};
use std::process::{Command, ExitCode};

/// Names the shared library that the tests load.
pub const LIBRARY: &str = "MPR_OTEL_TEST_LIBRARY";

/// Formats, lints and tests of this system.
pub fn native() -> Result<ExitCode> {
    let mut run = Run::new()?;
    native_steps(&mut run);
    Ok(run.finish())
}

/// What is built for Windows.
pub fn windows() -> Result<ExitCode> {
    let mut run = Run::new()?;
    windows_steps(&mut run);
    Ok(run.finish())
}

/// All of [`native`], [`windows`] and [`fleet::test`], and what else needs more than Rust.
pub fn everything() -> Result<ExitCode> {
    let mut run = Run::new()?;
    run.step("prepare", |log| packages::ensure(&[packages::DEBIAN_LINTS, packages::VALGRIND], log));
    native_steps(&mut run);
    shipped_steps(&mut run);
    windows_steps(&mut run);
    fleet::steps(&mut run);
    Ok(run.finish())
}

fn native_steps(run: &mut Run) {
    run.step("format", |log| log.run(&mut cargo(&["fmt", "--all", "--check"])));
    run.step("lint", |log| {
        log.run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
        // `--all-targets` leaves it out, as `cargo test` does; the fleet's have a step of their own.
        log.run(&mut cargo(&["clippy", "--test", "wine", "--", "-D", "warnings"]))
    });
    run.step("test", |log| {
        log.run(&mut cargo(&["test", "--workspace"]))?;
        note_results(log)
    });
}

/// The optimised library: the code that ships is not the code that `cargo test` builds.
fn shipped_steps(run: &mut Run) {
    // README's first command, before anything else has built the library that it needs.
    run.step("demo", |log| {
        log.run(&mut cargo(&["run", "--release", "--package", "mpr-otel", "--", "demo"]))?;
        let text = log.text()?;
        let accounting = text.lines().rfind(|line| line.contains(" operations = "));
        log.note(accounting.ok_or("the demo did not say that it adds up")?);
        Ok(())
    });
    let library = folder::target().join("release").join("libmpr_otel.so");
    run.step("build release", |log| {
        log.run(&mut cargo(&["build", "--release", "--package", "mpr-otel"]))
    });
    run.step("test release", |log| {
        let mut tests = cargo(&["test", "--package", "mpr-otel"]);
        for name in ["host", "hostile", "delivery", "telemetry", "agent"] {
            tests.args(["--test", name]);
        }
        log.run(tests.env(LIBRARY, &library))?;
        log.run(&mut cargo(&["test", "--release", "--package", "mpr-otel", "--lib"]))?;
        note_results(log)
    });
    run.step("valgrind", |log| {
        let mut hostile = cargo(&["test", "--package", "mpr-otel", "--test", "hostile"]);
        log.run(hostile.env(LIBRARY, &library).env("MPR_OTEL_TEST_VALGRIND", "1"))?;
        note_results(log)
    });
}

fn windows_steps(run: &mut Run) {
    if let Some((x64, x86)) = dist::toolchains(run) {
        run.step("lint windows", |log| x64.lint(log));
        if let Some(built) = Built::new(&x64, &x86, run) {
            wine::steps(run, &x64, &built);
        }
    }
}

/// A command of the cargo that runs us.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(folder::cargo());
    cargo.args(arguments);
    cargo
}

/// Puts the test runners' closing lines on the console.
pub fn note_results(log: &mut Log) -> Result<()> {
    for line in log.text()?.lines().filter(|line| line.starts_with("test result:")) {
        log.note(line);
    }
    Ok(())
}
