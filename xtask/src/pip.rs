//! Tools from Python's registry.

use crate::Result;
use crate::packages::{self, Need};
use crate::run::Log;
use std::path::Path;
use std::process::Command;

/// pip, which installs the tools.
const PIP: Need = Need {
    name: "pip",
    packages: &["python3", "python3-pip"],
    is_there: || {
        let version = Command::new("python3").args(["-m", "pip", "--version"]).output();
        version.is_ok_and(|output| output.status.success())
    },
};

/// Installs `package` into `folder`. The name includes the version; `what` describes the package.
pub fn install(package: &str, folder: &Path, what: &str, log: &mut Log) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--no-deps", "--upgrade", package, "--target"]).arg(folder);
    packages::ask(&pip, what)?;
    packages::ensure(&[PIP], log)?;
    log.run(&mut pip)?;
    log.note(format!("installed {package}"));
    Ok(())
}
