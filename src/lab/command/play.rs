//! `mpr-otel-lab play`: a host program of the MPR double, one process. The demo and the tests start
//! it under the names of other programs.

use super::answer::{Failure, write_json};
use clap::Args;
use mpr_otel_core::ledger::early_table::EarlyTable;
use mpr_otel_lab::double::{Host, Moment, Step, play};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Plays one host's part of a script against the shared library.
///
/// Reads the part (JSON) from a line of standard input, prints a report when it is played, and waits
/// for the next, until standard input is closed.
#[derive(Debug, Args)]
pub(super) struct Play {
    #[arg(long)]
    library: PathBuf,
    /// Say on standard error, a line each: `b NAME` before PRE; after it `o NAME`, or `u NAME` if the
    /// library wants no POST; `a NAME STATUS` after POST.
    #[arg(long)]
    aloud: bool,
}

impl Play {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        for part in io::stdin().lock().lines() {
            let host: Host = serde_json::from_str(&part?)?;
            let report = play(&self.library, &host, |moment| {
                if self.aloud {
                    say(moment);
                }
            })?;
            write_json(out, &report)?;
            out.flush()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says a line with one system call, so that it is out even if the process ends right after.
fn say(moment: Moment<'_>) {
    let line = match moment {
        Moment::Begins(step) => format!("b {}\n", name(step)),
        // Until there is a ledger, what is recorded dies with this process.
        Moment::Open { step, context } if EarlyTable::index_of(context).is_some() => {
            format!("e {}\n", name(step))
        }
        Moment::Open { step, .. } => format!("o {}\n", name(step)),
        Moment::Untracked(step) => format!("u {}\n", name(step)),
        Moment::Ended(step) => format!("a {} {}\n", name(step), step.status),
    };
    // If nobody listens, there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// What a step's operation is called.
fn name(step: &Step) -> &str {
    step.request.name().unwrap_or_default()
}
