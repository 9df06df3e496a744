//! Building for Windows.
//!
//! The cargo that runs us does it if it has the target's standard library, or can fetch it
//! through rustup. Otherwise Debian's Rust does it, which brings the standard library's source
//! and compiles that as well. Either way mingw-w64 links.

pub mod debian;

use crate::run::Log;
use crate::{Result, folder, packages};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Packages with Windows code of their own.
const PACKAGES: [&str; 4] = ["--package", "mpr-otel", "--package", "mpr-otel-wine-provider"];

/// How wide pointers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64 bits.
    X64,
    /// 32 bits.
    X86,
}

impl Architecture {
    /// Rust's name of the target.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-pc-windows-gnu",
            Self::X86 => "i686-pc-windows-gnu",
        }
    }

    /// mingw's C compiler.
    pub fn gcc(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-w64-mingw32-gcc",
            Self::X86 => "i686-w64-mingw32-gcc",
        }
    }

    fn mingw(self) -> packages::Need {
        match self {
            Self::X64 => packages::MINGW_X64,
            Self::X86 => packages::MINGW_X86,
        }
    }
}

/// What builds for one architecture.
pub struct Toolchain {
    architecture: Architecture,
    rust: Rust,
}

enum Rust {
    /// The cargo that runs us.
    Ours,
    /// Debian's, with these flags for its rustc.
    Debian(Vec<OsString>),
}

impl Toolchain {
    /// Finds what builds for `architecture`, and installs what it lacks.
    pub fn ensure(architecture: Architecture, log: &mut Log) -> Result<Self> {
        packages::ensure(&[architecture.mingw()], log)?;
        let rust = if has_target(architecture)? || add_target(architecture, log)? {
            Rust::Ours
        } else {
            packages::ensure(&[packages::DEBIAN_RUST], log)?;
            Rust::Debian(debian::flags(architecture, log)?)
        };
        log.note(match rust {
            Rust::Ours => format!("{}: cargo's own target", architecture.triple()),
            Rust::Debian(_) => format!("{}: Debian's Rust", architecture.triple()),
        });
        Ok(Self { architecture, rust })
    }

    /// Builds the notification DLL as it ships.
    ///
    /// As a cdylib alone: with an rlib beside it, Cargo optimises the DLL's dependencies apart,
    /// and it is three times as large.
    pub fn build_dll(&self, log: &mut Log) -> Result<PathBuf> {
        // A folder of its own: Cargo gives both kinds of DLL the same file name.
        let mut cargo = self.cargo("rustc", "dll");
        cargo.args(["--release", "--package", "mpr-otel", "--lib", "--crate-type", "cdylib"]);
        log.run(&mut cargo)?;
        Ok(self.output("dll").join("mpr_otel.dll"))
    }

    /// Builds the program as it ships.
    pub fn build_program(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "programs");
        cargo.args(["--release", "--package", "mpr-otel", "--bin", "mpr-otel"]);
        log.run(&mut cargo)?;
        Ok(self.output("programs").join("mpr-otel.exe"))
    }

    /// Builds the network provider that plays MPR's part under Wine.
    pub fn build_wine_provider(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "programs");
        cargo.args(["--release", "--package", "mpr-otel-wine-provider"]);
        log.run(&mut cargo)?;
        Ok(self.output("programs").join("mpr_otel_wine_provider.dll"))
    }

    /// Lints the Windows code.
    pub fn lint(&self, log: &mut Log) -> Result<()> {
        let mut clippy = self.cargo("clippy", "lint");
        clippy.args(PACKAGES).args(["--all-targets", "--", "-D", "warnings"]);
        log.run(&mut clippy)
    }

    /// The C compiler.
    pub fn gcc(&self) -> Command {
        Command::new(self.architecture.gcc())
    }

    fn cargo(&self, subcommand: &str, folder: &str) -> Command {
        let (mut cargo, mut flags) = match &self.rust {
            Rust::Ours => {
                let mut cargo = Command::new(folder::cargo());
                cargo.arg(subcommand);
                (cargo, Vec::new())
            }
            Rust::Debian(flags) => (debian::cargo(subcommand), flags.clone()),
        };
        flags.extend(remapped_paths());
        cargo
            .args(["--target", self.architecture.triple(), "--target-dir"])
            .arg(self.folder(folder))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}".as_ref()));
        cargo
    }

    fn folder(&self, folder: &str) -> PathBuf {
        // Two compilers in one folder would undo each other's work.
        let name = match self.rust {
            Rust::Ours => "windows",
            Rust::Debian(_) => "windows-debian",
        };
        folder::target().join(name).join(folder)
    }

    fn output(&self, folder: &str) -> PathBuf {
        self.folder(folder).join(self.architecture.triple()).join("release")
    }
}

/// Whether the cargo that runs us has the standard library of `architecture`.
fn has_target(architecture: Architecture) -> Result<bool> {
    let rustc = PathBuf::from(folder::cargo()).with_file_name("rustc");
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", architecture.triple()])
        .output()
        .map_err(|error| format!("cannot start {}: {error}", rustc.display()))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    // rustc prints the folder whether it is there or not.
    Ok(output.status.success() && folder.read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// Has rustup fetch the target, if it is rustup's cargo that runs us. A network without rustup's
/// server is no failure.
fn add_target(architecture: Architecture, log: &mut Log) -> Result<bool> {
    if env::var_os("RUSTUP_TOOLCHAIN").is_none() || folder::program("rustup").is_none() {
        return Ok(false);
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", architecture.triple()]);
    Ok(log.run_to_status(&mut rustup)? && has_target(architecture)?)
}

/// Flags that keep the builder's folders out of what ships.
fn remapped_paths() -> Vec<OsString> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let mut flags = Vec::new();
    for (from, to) in [(home, "/cargo"), (Some(folder::root()), "/mpr-otel")] {
        if let Some(from) = from {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push("=");
            flag.push(to);
            flags.push(flag);
        }
    }
    flags
}
