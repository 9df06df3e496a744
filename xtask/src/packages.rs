//! The programs that must be installed, and how to install them on Debian and similar systems.

use crate::folder::program;
use crate::run::{Log, shown};
use crate::{Failure, Result};
use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::Command;

/// On the command line: install what is missing without asking.
pub const INSTALL: &str = "--install";

/// A program or file that must be there.
pub struct Need {
    /// Its name.
    pub name: &'static str,
    /// The Debian packages that contain it.
    pub packages: &'static [&'static str],
    /// Whether it is there.
    pub is_there: fn() -> bool,
}

/// Installs those of `needs` that are missing.
pub fn ensure(needs: &[Need], log: &mut Log) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
    let names = names.join(", ");
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let by_hand = |reason: &str| -> Failure {
        format!("missing: {names}. {reason}: {}", shown(&install())).into()
    };
    if program("apt-get").is_none() {
        return Err(by_hand("This is not Debian; install what corresponds to"));
    }
    if !is_root() {
        return Err(by_hand("Only root can install; run as root"));
    }
    ask(&install(), &names)?;
    // A fresh machine has no package lists, and an old machine has outdated ones.
    if !log.run_to_status(&mut install())? {
        log.run(Command::new("apt-get").arg("update"))?;
        if !log.run_to_status(&mut install())? {
            return Err(by_hand("It could not be installed; try by hand"));
        }
    }
    log.note(format!("installed {}", packages.join(" ")));
    match missing.iter().find(|need| !(need.is_there)()) {
        None => Ok(()),
        Some(need) => Err(format!(
            "{} is still missing after apt-get install {}; does this system's package have another name?",
            need.name,
            need.packages.join(" ")
        )
        .into()),
    }
}

/// Whether packages may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    Given,
    /// The user has to be asked.
    Open,
    /// Nobody can be asked.
    Missing,
}

impl Consent {
    fn of(flag: bool, ci: bool, terminal: bool) -> Self {
        match (flag || ci, terminal) {
            (true, _) => Self::Given,
            (false, true) => Self::Open,
            (false, false) => Self::Missing,
        }
    }

    fn here() -> Self {
        Self::of(
            env::args().any(|word| word == INSTALL),
            env::var_os("CI").is_some_and(|value| !value.is_empty()),
            io::stdin().is_terminal() && io::stderr().is_terminal(),
        )
    }
}

/// Asks whether `command`, which installs `what`, may run. An error if it may not.
pub fn ask(command: &Command, what: &str) -> Result<()> {
    let command = shown(command);
    let refused = |why: &str| -> Failure {
        format!("missing: {what}. {why}. Type `{command}`, or add {INSTALL}").into()
    };
    match Consent::here() {
        Consent::Given => Ok(()),
        Consent::Missing => Err(refused("Nobody can be asked whether it may be installed")),
        Consent::Open => {
            write!(io::stderr(), "\nmissing: {what}. Run `{command}` now? [y/N] ")?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            if matches!(answer.trim(), "y" | "Y" | "yes") {
                Ok(())
            } else {
                Err(refused("Not installed"))
            }
        }
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_installed_without_consent() {
        for (ci, terminal) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(Consent::of(true, ci, terminal), Consent::Given);
        }
        for terminal in [false, true] {
            assert_eq!(Consent::of(false, true, terminal), Consent::Given);
        }
        assert_eq!(Consent::of(false, false, true), Consent::Open);
        assert_eq!(Consent::of(false, false, false), Consent::Missing);
    }
}
