//! Debian's Rust. It has no Windows targets, but the source to build them.
//!
//! Only nightly compilers take `-Zbuild-std`; with `RUSTC_BOOTSTRAP` this one takes it, too.

use super::{Architecture, Target};
use crate::packages::Need;
use crate::run::Log;
use crate::{Result, folder};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CARGO: &str = "/usr/bin/cargo";
const CLIPPY: &str = "/usr/bin/cargo-clippy";
const RUSTC: &str = "/usr/bin/rustc";
/// Source of the objects that begin and end a 32-bit program.
const STARTUP: &str = "/usr/lib/rustlib/src/rust/library/rtstartup";

/// Notices of the standard library.
pub const NOTICES: &str = "/usr/share/doc/libstd-rust-web-dev/copyright";

/// A Rust that builds its own standard library for Windows.
pub const RUST: Need = Need {
    name: "Debian's Rust with the standard library's source",
    packages: &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"],
    is_there: || [CARGO, CLIPPY, RUSTC, STARTUP].iter().all(|path| Path::new(path).exists()),
};

/// A Cargo subcommand that compiles the standard library first.
pub fn cargo(subcommand: &str) -> Command {
    // `cargo clippy` would first look for cargo-clippy in ~/.cargo/bin and would find rustup's.
    let mut cargo = Command::new(if subcommand == "clippy" { CLIPPY } else { CARGO });
    cargo
        .args([subcommand, "-Zbuild-std=std,panic_unwind"])
        .env("CARGO", CARGO)
        .env("RUSTC", RUSTC);
    lenient(&mut cargo);
    cargo
}

/// The compiler.
pub fn rustc() -> Command {
    let mut rustc = Command::new(RUSTC);
    lenient(&mut rustc);
    rustc
}

fn lenient(command: &mut Command) {
    command
        .env("RUSTC_BOOTSTRAP", "1")
        // A variable that rustup sets for its own programs.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("LD_LIBRARY_PATH");
}

/// Flags for rustc, and the files that they name.
pub fn flags(target: Target, log: &mut Log) -> Result<Vec<OsString>> {
    match target.architecture {
        Architecture::X64 | Architecture::Arm64 => Ok(Vec::new()),
        Architecture::X86 => {
            let objects = startup_objects(target, log)?;
            let mut link = OsString::from("-Clink-arg=-L");
            link.push(&objects);
            Ok(vec!["-L".into(), objects.into(), link])
        }
    }
}

/// Compiles `rsbegin.o` and `rsend.o`, which `-Zbuild-std` leaves out. They register the unwind
/// tables of a 32-bit program.
fn startup_objects(target: Target, log: &mut Log) -> Result<PathBuf> {
    let objects = folder::target().join("windows-debian").join("rtstartup");
    fs::create_dir_all(&objects)?;
    for name in ["rsbegin", "rsend"] {
        let mut rustc = rustc();
        rustc
            .args(["--crate-type=lib", "--emit=obj", "-Cpanic=abort"])
            .args(["--target", target.triple(), "-o"])
            .arg(objects.join(name).with_extension("o"))
            .arg(Path::new(STARTUP).join(name).with_extension("rs"));
        log.run(&mut rustc)?;
    }
    Ok(objects)
}
