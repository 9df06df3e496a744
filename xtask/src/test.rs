//! `cargo xtask test`: everything that can be tested on this machine.

use crate::cargo::cargo;
use crate::dist::{self, Built};
use crate::packages::Need;
use crate::recorder::Recorder;
use crate::run::Run;
use crate::under_test::{LIBRARY, PACKAGES, under_test};
use crate::{Result, fleet, folder, lab, packages, sign, wine};
use std::process::{Command, ExitCode};

/// Rust's formatter and linter for the cargo that Debian brings.
const DEBIAN_LINTS: Need = Need {
    name: "rustfmt and clippy",
    packages: &["rustfmt-web", "rust-web-clippy"],
    is_there: || folder::program("rustfmt").is_some() && folder::program("cargo-clippy").is_some(),
};

/// Checks every memory access of a program.
const VALGRIND: Need = Need {
    name: "valgrind",
    packages: &["valgrind", "libc6-dbg", "gcc", "libc6-dev"],
    is_there: || folder::program("valgrind").is_some() && folder::program("gcc").is_some(),
};

/// Reads Windows Installer packages. It is independent of the code that writes them.
const MSITOOLS: Need = Need {
    name: "msiinfo",
    packages: &["msitools"],
    is_there: || folder::program("msiinfo").is_some(),
};

/// Formats, lints and tests the code for this system.
pub fn native() -> Result<ExitCode> {
    let mut run = Run::new()?;
    native_steps(&mut run);
    Ok(run.finish())
}

/// Tests what is built for Windows.
pub fn windows() -> Result<ExitCode> {
    let mut run = Run::new()?;
    windows_steps(&mut run);
    Ok(run.finish())
}

/// Runs all of [`native`], [`windows`] and [`fleet::test`], and everything else that needs more
/// than Rust.
pub fn everything() -> Result<ExitCode> {
    let mut run = Run::new()?;
    steps(&mut run);
    Ok(run.finish())
}

/// Runs these steps. Returns whether all passed.
pub fn steps(run: &mut Run) -> bool {
    run.step("prepare", |log| packages::ensure(&[DEBIAN_LINTS, VALGRIND, MSITOOLS], log));
    native_steps(run);
    shipped_steps(run);
    windows_steps(run);
    fleet::steps(run);
    run.is_well()
}

fn native_steps(run: &mut Run) {
    run.step("format", |log| log.run(&mut cargo(&["fmt", "--all", "--check"])));
    run.step("words", |log| log.run(&mut cargo(&["xtask", "words"])));
    run.step("lint", |log| {
        log.run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
        // `--all-targets` leaves this test out, and so does `cargo test`. The fleet's tests have
        // their own step.
        let wine = ["clippy", "--package", "mpr-otel-tests", "--test", "wine"];
        log.run(cargo(&wine).args(["--", "-D", "warnings"]))
    });
    run.step("test", |log| {
        log.run(cargo(&["build"]).args(PACKAGES))?;
        log.run(under_test(&mut cargo(&["test", "--workspace"]), "debug"))?;
        log.note_results()
    });
}

/// Tests the optimised library, because `cargo test` builds other code than what ships.
fn shipped_steps(run: &mut Run) {
    // README's first command runs before any other step has built the library.
    run.step("demo", |log| {
        log.run(&mut lab::build())?;
        log.run(Command::new(lab::program()).arg("demo"))?;
        let text = log.text()?;
        let accounting = text.lines().rfind(|line| line.contains(" operations = "));
        log.note(accounting.ok_or("the demo did not say that it adds up")?);
        Ok(())
    });
    // Built alone, as it ships: the lab's features are not in it.
    run.step("build release", |log| {
        log.run(&mut cargo(&["build", "--release", "--package", "mpr-otel-dll"]))
    });
    let library = folder::target().join("release").join("libmpr_otel.so");
    run.step("test release", |log| {
        let mut tests = cargo(&["test", "--package", "mpr-otel-tests"]);
        for name in ["host", "hostile", "delivery", "telemetry", "agent"] {
            tests.args(["--test", name]);
        }
        log.run(under_test(&mut tests, "debug").env(LIBRARY, &library))?;
        let units = ["--package", "mpr-otel-core", "--package", "mpr-otel-dll", "--lib"];
        log.run(cargo(&["test", "--release"]).args(units))?;
        log.note_results()
    });
    run.step("valgrind", |log| {
        let mut hostile = cargo(&["test", "--package", "mpr-otel-tests", "--test", "hostile"]);
        log.run(
            under_test(&mut hostile, "debug")
                .env(LIBRARY, &library)
                .env("MPR_OTEL_TEST_VALGRIND", "1"),
        )?;
        log.note_results()
    });
}

fn windows_steps(run: &mut Run) {
    if let Some((x64, x86)) = dist::toolchains(run) {
        run.step("lint windows", |log| x64.lint(log));
        let recorder = Recorder::new(&x64, &x86, run);
        if let Some(built) = Built::new(&x64, &x86, run)
            && let Some(recorder) = recorder
        {
            run.step("sign windows", |log| sign::test(&built.files(), log));
            wine::steps(run, &x64, &built, &recorder);
        }
    }
}
