//! The `mpr-otel` program: installs the notification DLL, shows its state, and runs as the agent.

mod agent;
mod answer;
mod architecture;
#[cfg(any(windows, test))]
mod dll_file;
mod drain;
mod errors;
mod guard;
mod inflight;
mod install;
#[cfg(any(windows, test))]
mod listener;
#[cfg(windows)]
mod machine;
mod printable;
mod probe;
#[cfg(windows)]
mod probe_caller;
#[cfg(any(windows, test))]
mod rights;
mod rounded;
mod secret_file;
mod setting_flags;
mod status;
mod store;
#[cfg(windows)]
mod superseded;
#[cfg(windows)]
mod windows;

use answer::{Failure, WrongUsage, write_error};
use clap::{Parser, Subcommand};
use printable::Printable;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of a command line that cannot be carried out. clap uses the same.
const WRONG_USAGE: u8 = 2;

/// Records how long every drive and share mapping of a Windows machine takes and why it fails.
#[derive(Debug, Parser)]
#[command(name = "mpr-otel", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage; `status` and `probe` have their own."
)]
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
    #[cfg(windows)]
    #[command(hide = true)]
    TryLoad(status::TryLoad),
}

impl Command {
    /// Whether the command prints JSON, for another program.
    fn prints_json(&self) -> bool {
        match self {
            Self::Install(install) => install.json,
            Self::Uninstall(uninstall) => uninstall.json,
            Self::Status(status) => status.json,
            Self::Probe(probe) => probe.json,
            Self::Inflight(inflight) => inflight.json,
            Self::Drain(drain) => drain.json,
            Self::Errors(errors) => errors.json,
            Self::Agent(_) => false,
            #[cfg(windows)]
            Self::ProbeCaller(_) | Self::TryLoad(_) => false,
        }
    }
}

/// Runs the command and turns its result into an exit code.
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
        #[cfg(windows)]
        Command::TryLoad(trial) => trial.run(&mut out),
    };
    let flushed = out.flush().map_err(Failure::from);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(failure) if is_closed_pipe(failure.as_ref()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = if failure.is::<WrongUsage>() { WRONG_USAGE } else { FAILED };
            let failure = Printable::from(failure.to_string());
            let is_written = cli.command.prints_json() && write_error(&mut out, &failure).is_ok();
            if !is_written {
                // If this fails, too, nothing more can be done.
                let _ = writeln!(io::stderr(), "mpr-otel: {failure}");
            }
            ExitCode::from(code)
        }
    }
}

/// Whether the reader of the output (`head`, for example) has closed it.
fn is_closed_pipe(failure: &(dyn std::error::Error + 'static)) -> bool {
    failure
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
