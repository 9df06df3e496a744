//! What must be installed, and how it is on Debian and its kin.

use crate::folder::program;
use crate::run::Log;
use crate::windows::{Architecture, debian};
use crate::{Failure, Result};
use std::process::Command;

/// Something that must be there, and the Debian packages that bring it.
pub struct Need {
    /// What it is called.
    pub name: &'static str,
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

/// Rust's formatter and linter for the cargo that Debian brings.
pub const DEBIAN_LINTS: Need = Need {
    name: "rustfmt and clippy",
    packages: &["rustfmt-web", "rust-web-clippy"],
    is_there: || program("rustfmt").is_some() && program("cargo-clippy").is_some(),
};

/// Checks every memory access of a program.
pub const VALGRIND: Need = Need {
    name: "valgrind",
    packages: &["valgrind", "libc6-dbg", "gcc", "libc6-dev"],
    is_there: || program("valgrind").is_some() && program("gcc").is_some(),
};

/// Compiles the fuzzer, which is C++.
pub const CPP: Need =
    Need { name: "a C++ compiler", packages: &["g++"], is_there: || program("c++").is_some() };

/// The C compiler and linker for 64-bit Windows.
pub const MINGW_X64: Need = Need {
    name: "mingw-w64 for x86_64",
    packages: &["gcc-mingw-w64-x86-64"],
    is_there: || program(Architecture::X64.gcc()).is_some(),
};

/// The C compiler and linker for 32-bit Windows.
pub const MINGW_X86: Need = Need {
    name: "mingw-w64 for i686",
    packages: &["gcc-mingw-w64-i686"],
    is_there: || program(Architecture::X86.gcc()).is_some(),
};

/// A Rust that builds its own standard library for Windows.
pub const DEBIAN_RUST: Need = Need {
    name: "Debian's Rust with the standard library's source",
    packages: &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"],
    is_there: || debian::is_complete(),
};

/// Runs Windows programs.
pub const WINE: Need = Need {
    name: "Wine",
    packages: &["wine", "wine64"],
    // Debian's `wine` alone is there but finds nothing to run.
    is_there: || {
        Command::new("wine").arg("--version").output().is_ok_and(|output| output.status.success())
    },
};

/// Installs packages of Python's registry.
pub const PIP: Need = Need {
    name: "pip",
    packages: &["python3", "python3-pip"],
    is_there: || {
        let version = Command::new("python3").args(["-m", "pip", "--version"]).output();
        version.is_ok_and(|output| output.status.success())
    },
};

/// The load balancer of deploy/scaled.
pub const HAPROXY: Need =
    Need { name: "haproxy", packages: &["haproxy"], is_there: || program("haproxy").is_some() };

/// Installs those of `needs` that are missing.
pub fn ensure(needs: &[Need], log: &mut Log) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
    let names = names.join(", ");
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let by_hand = |reason: &str| -> Failure {
        format!("missing: {names}. {reason}: apt-get install {}", packages.join(" ")).into()
    };
    if program("apt-get").is_none() {
        return Err(by_hand("This is not Debian; install what corresponds to"));
    }
    if !is_root() {
        return Err(by_hand("Only root can install; run as root"));
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // A fresh machine has no package lists, an old one outdated lists.
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

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
