//! How a command answers: text or JSON on standard output, or a failure.

use crate::printable::Printable;
use serde::Serialize;
use std::io::{self, Write};

/// Why a command failed, with what to do next.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// A command line that cannot be followed: the command ends with exit code 2, and has changed nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// Writes a value as indented JSON and a line end.
pub(crate) fn write_json(
    out: &mut dyn Write,
    value: &impl serde::Serialize,
) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// What a command that failed prints if a program reads it.
#[derive(Serialize)]
struct Error<'a> {
    error: &'a Printable,
}

/// Writes a failure as one line of JSON.
pub(crate) fn write_error(out: &mut dyn Write, failure: &Printable) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Error { error: failure })?;
    writeln!(out)?;
    out.flush()
}
