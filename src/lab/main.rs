//! The `mpr-otel-lab` program: shows the main job, simulates a fleet, plays hosts for tests.

mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    command::run(command::Cli::parse())
}
