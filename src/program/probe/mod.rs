//! `mpr-otel probe`: whether each way of mapping a share is notified, recorded and delivered.
//!
//! ```text
//! way ─> session ─> Caller, or net     the operation, in another program
//!           └─> Watch (core) ─> verdict ─> table
//! ```
//!
//! The calling program lives until its ledger has been read. An operation was notified if a slot's
//! generation grew. It was delivered if that slot was freed within ten seconds. The names in the
//! slot are not read, because the agent may have freed the slot by then.

#[cfg(windows)]
mod session;
#[cfg(any(windows, test))]
mod table;
#[cfg(test)]
mod tests;
#[cfg(any(windows, test))]
mod verdict;
#[cfg(windows)]
mod way;

use crate::answer::{Failure, write_error};
use crate::printable::Printable;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Map and cancel a share in each way that this machine has, and show which ways are recorded.
///
/// The calls are made by mpr-otel, net, PowerShell and cscript, 64- and 32-bit. Needs no
/// administrator. Leaves nothing mapped: if you have a connection to the target without a drive
/// letter, it ends, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel probe\n  mpr-otel probe --json --target \
    \\\\files01\\projects\n  mpr-otel probe --only WNetAddConnection2W --only \"net use\"\n\n\
    Exit codes: 0 every way that this machine has is notified and delivered, 1 not every way, \
    2 the ways could not be tried.")]
pub(super) struct Probe {
    /// The share that is mapped.
    #[arg(long, value_name = r"\\SERVER\SHARE", default_value = r"\\localhost\IPC$")]
    target: String,
    /// Try only this way, named as in the table. Can be repeated.
    #[arg(long, value_name = "WAY")]
    only: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Probe {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        self.report(out).or_else(|failure| {
            let failure = Printable::from(failure.to_string());
            match self.json {
                true => write_error(out, &failure)?,
                false => writeln!(std::io::stderr(), "mpr-otel: {failure}")?,
            }
            Ok(ExitCode::from(2))
        })
    }

    #[cfg(windows)]
    fn report(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let report = session::Session::new(&self.target)?.run(&self.only)?;
        if self.json {
            crate::answer::write_json(out, &report)?;
        } else {
            report.write(out)?;
        }
        Ok(ExitCode::from(report.exit_code))
    }

    #[cfg(not(windows))]
    fn report(&self, _out: &mut dyn Write) -> Result<ExitCode, Failure> {
        Err("probe needs Windows, because it tries Windows' MPR".into())
    }
}
