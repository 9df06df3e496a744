//! Development commands of mpr-otel, run as `cargo xtask <command>`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // A command-line tool talks on both.

mod cargo;
mod changelog;
mod checksums;
mod dashboards;
mod dist;
mod fleet;
mod folder;
mod fuzz;
mod go;
mod lab;
mod msi;
mod notices;
mod packages;
mod pe;
mod pip;
mod recorder;
mod release;
mod run;
mod sbom;
mod sign;
mod test;
mod torture;
mod under_test;
mod windows;
mod wine;
mod winget;
mod words;

use packages::INSTALL;
use std::env;
use std::process::{Command, ExitCode};

/// Why something failed, with what to do next.
type Failure = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Failure>;

/// The workspace's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const HELP: &str = "\
Development commands of mpr-otel.

Usage: cargo xtask <command>

Commands:
  test            Build everything, test everything: this system, the
                  library as it ships, valgrind, Windows by its tables and under Wine, the fleet's
                  side with a real Collector, Prometheus, Alertmanager and Jaeger
  test --native   Only format, lints and tests of this system; needs Rust and a C compiler
  test --windows  Only Windows: lints, builds, tables, and the tests under Wine
  test --fleet    Only the fleet's side: builds the Collector, Prometheus, Alertmanager and Jaeger
                  with Go, which it installs under target/fleet if there is none, and runs the
                  tests with them
  torture         Kill hosts and agents, as they ship, at random times, 2000 times, and check that
                  nothing is lost: [--kills <number>] [--seed <number>]
  lab <command>   Build the library and the lab, and run the lab: demo, simulate;
                  `cargo demo` and `cargo simulate` call this
  dist            Build the Windows release and put what ships under target/dist; signed:
                  --sign <certificate> <key> [--timestamp <url>] [--password-file <file>], where the
                  key is a file or, with --pkcs11-module <file>, the PKCS#11 URI of one in a token
  dist --llvm     Build a release for x64, x86 and arm64 with LLVM's tools and zig's C runtime, with
                  Control Flow Guard, and put it under target/dist-llvm; signed as above
  pe <target> <file>...
                  Check the tables of files built for a target: machine, imports, version, marks
  msi             Write target/mpr-otel-x64.msi from target/dist, which `dist` fills, and winget's
                  manifests under target/winget; for Arm, from target/dist-llvm: [--arm64]
  release         Put everything that is published for a version into target/publish: tests, builds twice,
                  compares, signs. [--rehearsal] leaves out the tests and uses the changelog's
                  Unreleased; [--tag <tag>] must be the version's tag; signed as `dist`
  policy          Make group policy's templates in deploy/windows from the table of settings
  recorder        Build the notification DLL that writes down every call of itself, and put it under
                  target/recorder with the script that runs it on Windows (docs/WINDOWS.md)
  bench [args]    Measure; the arguments go to the benchmark (`bench --help` lists them)
                  bench --fleet: the load of a fleet on its gateway and its Prometheus
  dashboards      Make dashboards, rules and their lists in docs/ from dashboards/source; with other
                  parameters into another folder: [--set <name>=<value>] [--to <folder>]
  picture         Draw docs/overview.svg: the overview dashboard of a simulated day
  fuzz            Fuzz the ledger's reader, each target for a minute; inputs that break it are
                  kept under target/fuzz/crashes: [header|slot|ledger] [--seconds <number>]
  servers         Build the fleet's servers into target/fleet/bin, and test nothing
  words           Find forms that a reader stumbles over in docs, comments, messages and names of tests, and
                  print what to write instead (xtask/src/words/list.txt): [folder]
  help            Print this

Missing programs are installed if you agree; --install, or CI in the environment, means yes.
Long output goes to target/xtask/<step>.log. Exit codes: 0 done, 1 failed, 2 wrong usage.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Read where it matters: packages.rs.
    let arguments = arguments.iter().map(String::as_str).filter(|word| *word != INSTALL);
    let arguments: Vec<&str> = arguments.collect();
    let result = match arguments.as_slice() {
        ["test"] => test::everything(),
        ["test", "--native"] => test::native(),
        ["test", "--windows"] => test::windows(),
        ["test", "--fleet"] => fleet::test(),
        ["servers"] => fleet::ensure().map(|()| ExitCode::SUCCESS),
        ["torture", rest @ ..] if !rest.contains(&"--help") => torture::run(rest),
        ["lab", rest @ ..] => lab::run(rest),
        ["dist", rest @ ..] if !rest.contains(&"--help") => dist::run(rest),
        ["link", target, arguments @ ..] => windows::llvm::link(target, arguments),
        ["pe", target, files @ ..] if !files.is_empty() => pe::run(target, files),
        ["msi", rest @ ..] if !rest.contains(&"--help") => msi::run(rest),
        ["release", rest @ ..] if !rest.contains(&"--help") => release::run(rest),
        ["policy"] => msi::policy(),
        ["recorder"] => recorder::run(),
        ["bench", rest @ ..] => bench(rest),
        ["picture"] => fleet::picture(),
        ["dashboards", rest @ ..] if !rest.contains(&"--help") => dashboards::run(rest),
        ["fuzz", rest @ ..] if !rest.contains(&"--help") => fuzz::run(rest),
        ["words", rest @ ..] if !rest.contains(&"--help") => words::run(rest),
        ["help" | "--help" | "-h"] | [_, "--help" | "-h"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        [] => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
        unknown => {
            eprintln!("xtask: unknown: `{}`; `cargo xtask help` lists all", unknown.join(" "));
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|failure| {
        eprintln!("xtask: {failure}");
        ExitCode::FAILURE
    })
}

/// Measures: the benchmark speaks for itself. `--fleet` is `--only fleet`, with the servers built.
fn bench(arguments: &[&str]) -> Result<ExitCode> {
    let mut command = Command::new(cargo::program());
    command.args(["run", "--profile", "measure", "--package", "mpr-otel-bench", "--"]);
    if arguments.contains(&"--fleet") {
        fleet::ensure()?;
        command.args(["--only", "fleet"]).env(fleet::TOOLS, fleet::tools());
    }
    let status = command
        .args(arguments.iter().filter(|argument| **argument != "--fleet"))
        .current_dir(folder::root())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
