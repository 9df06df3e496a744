//! The `mpr-otel` program: installs the notification DLL, shows its state, and is the agent.

mod agent;
mod answer;
#[cfg(any(windows, test))]
mod architecture;
#[cfg(any(windows, test))]
mod dll_file;
mod drain;
mod errors;
mod inflight;
mod install;
#[cfg(windows)]
mod machine;
mod probe;
#[cfg(windows)]
mod probe_caller;
mod registration;
#[cfg(any(windows, test))]
mod rights;
mod setting_flags;
mod status;
#[cfg(windows)]
mod windows;

use answer::Failure;
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Shows how long every drive and share mapping of a Windows machine takes and why it fails.
#[derive(Debug, Parser)]
#[command(name = "mpr-otel", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Install(Box<install::Install>),
    Uninstall(install::Uninstall),
    Status(status::Status),
    Probe(probe::Probe),
    #[cfg(windows)]
    #[command(hide = true)]
    ProbeCaller(probe_caller::ProbeCaller),
    Agent(agent::command::AgentCommand),
    Inflight(inflight::InflightCommand),
    Drain(drain::Drain),
    Errors(errors::Errors),
}

/// Runs the command and turns its end into an exit code.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let result = match &cli.command {
        Command::Install(install) => install.run(&mut out),
        Command::Uninstall(uninstall) => uninstall.run(&mut out),
        Command::Status(status) => status.run(&mut out),
        Command::Probe(probe) => probe.run(&mut out),
        #[cfg(windows)]
        Command::ProbeCaller(caller) => caller.run(&mut out),
        Command::Agent(agent) => agent.run(),
        Command::Inflight(inflight) => inflight.run(&mut out),
        Command::Drain(drain) => drain.run(&mut out),
        Command::Errors(errors) => errors.run(&mut out),
    };
    let flushed = out.flush().map_err(Failure::from);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(failure) if is_closed_pipe(failure.as_ref()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell if stderr is closed as well.
            let _ = writeln!(io::stderr(), "mpr-otel: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether our reader (`head`, say) has seen enough.
fn is_closed_pipe(failure: &(dyn std::error::Error + 'static)) -> bool {
    failure
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
