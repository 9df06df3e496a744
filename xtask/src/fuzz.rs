//! `cargo xtask fuzz`: fuzzes the ledger's reader, guided by the code that each input reaches.

use crate::cargo::cargo;
use crate::packages::Need;
use crate::run::{Log, Run};
use crate::{Result, folder, packages};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGETS: [&str; 3] = ["header", "slot", "ledger"];
const SECONDS: u64 = 60;
/// A step that takes longer, in seconds, counts as hanging.
const MOST_SECONDS: u64 = 2400;

/// What the fuzzer needs to know about the code: which edges were taken, and which values were
/// compared. These are options of the stable compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Compiles the fuzzer, which is C++.
const CPP: Need = Need {
    name: "a C++ compiler",
    packages: &["g++"],
    is_there: || folder::program("c++").is_some(),
};

/// What the command line asks for.
struct Plan<'a> {
    targets: Vec<&'a str>,
    seconds: u64,
}

/// Builds the targets and runs them, one after the other.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Some(plan) = Plan::read(arguments) else {
        let targets = TARGETS.join("|");
        eprintln!("xtask: usage: cargo xtask fuzz [{targets}] [--seconds 1..{MOST_SECONDS}]");
        return Ok(ExitCode::from(2));
    };
    let mut run = Run::new()?;
    let mut programs = None;
    run.step("build fuzz", |log| {
        packages::ensure(&[CPP], log)?;
        programs = Some(build(log)?);
        Ok(())
    });
    if let Some(programs) = programs {
        for target in plan.targets {
            run.step(&format!("fuzz {target}"), |log| feed(&programs, target, plan.seconds, log));
        }
    }
    Ok(run.finish())
}

impl<'a> Plan<'a> {
    /// `None` if the command line is not understood.
    fn read(arguments: &[&'a str]) -> Option<Self> {
        let (targets, rest) = match arguments {
            [target, rest @ ..] if TARGETS.contains(target) => (vec![*target], rest),
            rest => (TARGETS.to_vec(), rest),
        };
        let seconds = match rest {
            [] => SECONDS,
            ["--seconds", number] => number.parse().ok()?,
            _ => return None,
        };
        (1..=MOST_SECONDS).contains(&seconds).then_some(Self { targets, seconds })
    }
}

/// Builds the targets and returns their folder.
fn build(log: &mut Log) -> Result<PathBuf> {
    let manifest = folder::root().join("fuzz/Cargo.toml");
    log.run(cargo(&["fmt", "--check", "--manifest-path"]).arg(&manifest))?;
    // The target is named, so that build scripts do not get the fuzzer's flags.
    let host = host()?;
    log.run(
        cargo(&["build", "--release", "--target", &host, "--manifest-path"])
            .arg(&manifest)
            .env("CARGO_TARGET_DIR", ours())
            .env("RUSTFLAGS", FLAGS),
    )?;
    Ok(ours().join(host).join("release"))
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("`rustc -vV` names no host")?.to_owned())
}

/// Runs one target, beginning with the inputs in its corpus.
fn feed(programs: &Path, target: &str, seconds: u64, log: &mut Log) -> Result<()> {
    let found = made(ours().join("corpus").join(target))?;
    let crashes = made(ours().join("crashes").join(target))?;
    let program = programs.join(target);
    let fed = log.run(
        Command::new(&program)
            .arg(format!("-max_total_time={seconds}"))
            .args(["-timeout=10", "-print_final_stats=1"])
            // Without the slash it would be the beginning of a file name.
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .args([&found, &folder::root().join("fuzz/corpus").join(target)]),
    );
    let text = log.text()?;
    let last = |what: &str| text.lines().rfind(|line| line.contains(what)).map(str::trim);
    for what in ["stat::number_of_executed_units", "DONE", "Test unit written to"] {
        if let Some(line) = last(what) {
            log.note(line);
        }
    }
    fed.map_err(|failure| format!("{failure}; to see it again: {} <file>", program.display()))?;
    Ok(())
}

fn made(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    Ok(path)
}

/// The folder of all the fuzzer's files, except the inputs that are kept.
fn ours() -> PathBuf {
    folder::target().join("fuzz")
}
