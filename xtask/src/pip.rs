//! Tools that come as packages of Python's registry.

use crate::Result;
use crate::packages::{self, Need};
use crate::run::Log;
use std::path::Path;
use std::process::Command;

/// Installs them.
const PIP: Need = Need {
    name: "pip",
    packages: &["python3", "python3-pip"],
    is_there: || {
        let version = Command::new("python3").args(["-m", "pip", "--version"]).output();
        version.is_ok_and(|output| output.status.success())
    },
};

/// Installs `package`, which has its version with it, into `folder`; `what` is what it is.
pub fn install(package: &str, folder: &Path, what: &str, log: &mut Log) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--no-deps", "--upgrade", package, "--target"]).arg(folder);
    packages::ask(&pip, what)?;
    packages::ensure(&[PIP], log)?;
    log.run(&mut pip)?;
    log.note(format!("installed {package}"));
    Ok(())
}
