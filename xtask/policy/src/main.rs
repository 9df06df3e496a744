//! Writes the templates into the repository.
#![allow(clippy::print_stderr)] // A command-line tool says what is wrong.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mpr-otel-policy: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in mpr_otel_policy::files() {
        let path = root.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    Ok(())
}
