//! SHA-256 of files, by a program that people who download them have, too.

use crate::Result;
use std::path::Path;
use std::process::Command;

/// The SHA-256 of one file, in hexadecimal digits.
pub fn sha256(file: &Path) -> Result<String> {
    let line = lines(Command::new("sha256sum").arg("--").arg(file))?;
    let digits = line.trim_start_matches('\\').split(' ').next().unwrap_or_default();
    Ok(digits.to_owned())
}

/// The SHA-256 of files in a folder, in the form that `sha256sum --check` reads.
pub fn sums(folder: &Path, names: &[String]) -> Result<String> {
    lines(Command::new("sha256sum").current_dir(folder).arg("--").args(names))
}

fn lines(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("cannot start sha256sum: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
