//! How a command answers: text or JSON on standard output, or a failure.

use std::io::Write;

/// Why a command failed, with what to do next.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Writes a value as indented JSON and a line end.
pub(crate) fn write_json(
    out: &mut dyn Write,
    value: &impl serde::Serialize,
) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}
