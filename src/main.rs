//! The `mpr-otel` program: installs the notification DLL, shows its state, demonstrates it.

mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    command::run(command::Cli::parse())
}
