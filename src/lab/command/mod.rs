//! The commands of `mpr-otel-lab`, one file or folder each.

mod answer;
mod demo;
mod play;
mod progress_line;
mod simulate;

use answer::Failure;
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Shows mpr-otel at work without Windows: one machine in real processes, or a simulated fleet.
#[derive(Debug, Parser)]
#[command(name = "mpr-otel-lab", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Simulate(simulate::Simulate),
    #[command(hide = true)]
    Play(play::Play),
}

/// Runs the command and turns its end into an exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let mut out = io::stdout().lock();
    let result = match &cli.command {
        Command::Demo(demo) => demo.run(&mut out),
        Command::Simulate(simulate) => simulate.run(&mut out),
        Command::Play(play) => play.run(&mut out),
    };
    let flushed = out.flush().map_err(Failure::from);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(failure) if is_closed_pipe(failure.as_ref()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell if stderr is closed as well.
            let _ = writeln!(io::stderr(), "mpr-otel-lab: {failure}");
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
