//! The cargo that runs this program.

use std::env;
use std::ffi::OsString;
use std::process::Command;

/// Its path.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A command of it.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(program());
    cargo.args(arguments);
    cargo
}
