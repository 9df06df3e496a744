//! Builds the shared library as it ships.

use crate::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds it and tells where it is.
///
/// By a build of its own: what the peers ask of the crates that they share with the library
/// would change the library if both were built at once.
pub fn library() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--package", "mpr-otel"])
        .current_dir(root)
        .stdin(Stdio::null())
        // Our standard output is the report's.
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err("the shared library does not build".into());
    }
    // This program is target/measure/mpr-otel-bench.
    let target = std::env::current_exe()?
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .ok_or("this program is in no target folder")?;
    Ok(target.join("release").join(mpr_otel_lab::double::LIBRARY))
}
