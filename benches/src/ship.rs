//! Builds what is measured as it ships.

use crate::Result;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds the shared library and tells where it is.
///
/// By a build of its own: what the peers ask of the crates that they share with the library
/// would change the library if both were built at once.
pub fn library() -> Result<PathBuf> {
    let cargo = cargo(&root(), &["build", "--release", "--quiet", "--package", "mpr-otel-dll"]);
    run(cargo)?;
    Ok(target()?.join("release").join(mpr_otel_lab::double::LIBRARY))
}

/// Builds a program of the workspace. To be called before a clock starts.
pub fn build_program(package: &str) -> Result<()> {
    run(cargo(&root(), &["build", "--release", "--quiet", "--package", package]))
}

/// Where a program is that was built.
pub fn built(program: &str) -> Result<PathBuf> {
    Ok(target()?.join("release").join(program))
}

/// The repository.
pub fn root() -> PathBuf {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    benches.parent().unwrap_or(benches).to_path_buf()
}

/// Cargo's folder: this program is target/measure/mpr-otel-bench.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or("this program is in no target folder")?;
    Ok(target.to_path_buf())
}

/// A command of Cargo in `folder`, without what Cargo set for this program's own package.
pub fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(folder);
    command
}

/// Runs a command to its end, which must be a good one. Standard output belongs to the report.
pub fn run(mut command: Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}").into()),
        Err(error) => Err(format!("cannot start {command:?}: {error}").into()),
    }
}
