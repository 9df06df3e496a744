//! `mpr-otel play`: a host program of the MPR double, one process. The demo and the tests start
//! it under the names of other programs.

use super::{Failure, write_json};
use clap::Args;
use mpr_otel::double::{Host, play};
use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Plays one host's part of a script against the shared library.
///
/// Reads the part (JSON) from the first line of standard input, prints a report when it is
/// played, and lives on until standard input is closed.
#[derive(Debug, Args)]
pub(super) struct Play {
    /// The shared library.
    #[arg(long)]
    library: PathBuf,
}

impl Play {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut input = io::stdin().lock();
        let mut part = String::new();
        input.read_line(&mut part)?;
        let host: Host = serde_json::from_str(&part)?;
        let report = play(&self.library, &host)?;
        write_json(out, &report)?;
        out.flush()?;
        io::copy(&mut input.by_ref(), &mut io::sink())?;
        Ok(ExitCode::SUCCESS)
    }
}
