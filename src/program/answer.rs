//! How a command reports its result: text or JSON on standard output, or a failure.

use crate::printable::Printable;
use serde::Serialize;
use std::io::{self, Write};

/// Why a command failed, and what to do next.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// A command line that cannot be carried out. The command ends with exit code 2 and has changed
/// nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// Writes a value as indented JSON with a line end.
pub(crate) fn write_json(
    out: &mut dyn Write,
    value: &impl serde::Serialize,
) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// The JSON that a failed command prints.
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
