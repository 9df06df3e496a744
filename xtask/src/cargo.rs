//! The cargo that runs this program.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The path of cargo.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The folder in which cargo keeps what it downloaded.
pub fn home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// A cargo command with these arguments.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(program());
    cargo.args(arguments);
    cargo
}
