//! The program's commands, one file each.

mod agent;
mod demo;
#[cfg(any(windows, test))]
mod dll_file;
mod drain;
mod errors;
mod inflight;
mod install;
#[cfg(windows)]
mod machine;
mod play;
mod registration;
mod setting_flags;
mod simulate;
mod status;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Shows how long every drive and share mapping of a Windows machine takes and why it fails.
#[derive(Debug, Parser)]
#[command(name = "mpr-otel", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Install(Box<install::Install>),
    Uninstall(install::Uninstall),
    Status(status::Status),
    Agent(agent::AgentCommand),
    Inflight(inflight::InflightCommand),
    Drain(drain::Drain),
    Simulate(simulate::Simulate),
    Errors(errors::Errors),
    #[command(hide = true)]
    Play(play::Play),
}

/// Why a command failed, with what to do next.
type Failure = Box<dyn std::error::Error>;

/// Runs the command and turns its end into an exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let mut out = io::stdout().lock();
    let result = match &cli.command {
        Command::Demo(demo) => demo.run(&mut out),
        Command::Install(install) => install.run(&mut out),
        Command::Uninstall(uninstall) => uninstall.run(&mut out),
        Command::Status(status) => status.run(&mut out),
        Command::Agent(agent) => agent.run(),
        Command::Inflight(inflight) => inflight.run(&mut out),
        Command::Drain(drain) => drain.run(&mut out),
        Command::Simulate(simulate) => simulate.run(&mut out),
        Command::Errors(errors) => errors.run(&mut out),
        Command::Play(play) => play.run(&mut out),
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

/// Writes a value as indented JSON and a line end.
fn write_json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}
