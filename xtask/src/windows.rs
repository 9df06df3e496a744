//! Building for Windows.
//!
//! The cargo that runs us does it if it has the target's standard library, or can fetch it
//! through rustup. Otherwise Debian's Rust does it, which brings the standard library's source
//! and compiles that as well. Either way mingw-w64 links.

pub mod debian;

use crate::packages::Need;
use crate::run::Log;
use crate::{Result, cargo, folder, packages};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Packages with Windows code of their own, and the tests, which start them.
const PACKAGES: [&str; 16] = [
    "--package",
    "mpr-otel-core",
    "--package",
    "mpr-otel-dll",
    "--package",
    "mpr-otel",
    "--package",
    "mpr-otel-lab",
    "--package",
    "mpr-otel-tests",
    "--package",
    "mpr-otel-wine-provider",
    "--package",
    "mpr-otel-recorder",
    "--package",
    "mpr-otel-msi-action",
];

/// The DLL that writes down every call of it (tests/recorder).
pub const RECORDER: &str = "mpr_otel_recorder.dll";

/// The C compiler and linker for 64-bit Windows.
const MINGW_X64: Need = Need {
    name: "mingw-w64 for x86_64",
    packages: &["gcc-mingw-w64-x86-64"],
    is_there: || folder::program(Architecture::X64.gcc()).is_some(),
};

/// The C compiler and linker for 32-bit Windows.
const MINGW_X86: Need = Need {
    name: "mingw-w64 for i686",
    packages: &["gcc-mingw-w64-i686"],
    is_there: || folder::program(Architecture::X86.gcc()).is_some(),
};

/// Notices of what mingw-w64 links into every DLL and program, where Debian has them.
const MINGW_NOTICES: &str = "/usr/share/doc/mingw-w64-common/copyright";

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

    fn mingw(self) -> Need {
        match self {
            Self::X64 => MINGW_X64,
            Self::X86 => MINGW_X86,
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
            packages::ensure(&[debian::RUST], log)?;
            Rust::Debian(debian::flags(architecture, log)?)
        };
        log.note(match rust {
            Rust::Ours => format!("{}: cargo's own target", architecture.triple()),
            Rust::Debian(_) => format!("{}: Debian's Rust", architecture.triple()),
        });
        Ok(Self { architecture, rust })
    }

    /// Builds the notification DLL as it ships.
    pub fn build_dll(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.args(["--release", "--package", "mpr-otel-dll"]);
        log.run(&mut cargo)?;
        Ok(self.output("release").join("mpr_otel.dll"))
    }

    /// Builds the program and the lab as they ship: the folder that they are in.
    pub fn build_programs(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.args(["--release", "--package", "mpr-otel", "--package", "mpr-otel-lab"]);
        log.run(&mut cargo)?;
        Ok(self.output("release"))
    }

    /// Builds the network provider that plays MPR's part under Wine.
    pub fn build_wine_provider(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.args(["--release", "--package", "mpr-otel-wine-provider"]);
        log.run(&mut cargo)?;
        Ok(self.output("release").join("mpr_otel_wine_provider.dll"))
    }

    /// Builds the notification DLL that writes down every call of it.
    pub fn build_recorder(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.args(["--release", "--package", "mpr-otel-recorder"]);
        log.run(&mut cargo)?;
        Ok(self.output("release").join(RECORDER))
    }

    /// Builds what the Windows Installer package runs.
    pub fn build_msi_action(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.args(["--release", "--package", "mpr-otel-msi-action"]);
        log.run(&mut cargo)?;
        Ok(self.output("release").join("mpr_otel_msi_action.dll"))
    }

    /// Lints the Windows code.
    pub fn lint(&self, log: &mut Log) -> Result<()> {
        let mut clippy = self.cargo("clippy", "lint");
        clippy.args(PACKAGES).args(["--all-targets", "--", "-D", "warnings"]);
        log.run(&mut clippy)
    }

    /// What runs the unit tests of what ships on Windows with `runner`, for the caller to run.
    pub fn unit_tests(&self, runner: &str) -> Command {
        let mut test = self.cargo("test", "unit");
        let packages = ["mpr-otel-core", "mpr-otel"];
        test.args(packages.iter().flat_map(|package| ["--package", package]))
            .args(["--lib", "--bins", "--no-fail-fast"])
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", runner);
        test
    }

    /// What it links beside the crates, as files with the notices of that: names to give them, and
    /// where they are.
    pub fn notices(&self) -> Result<[(&'static str, PathBuf); 2]> {
        let rust = match self.rust {
            Rust::Ours => {
                let file = "share/doc/rust/COPYRIGHT-library.html";
                ("rust-standard-library.html", rustc_folder(&["sysroot"])?.join(file))
            }
            Rust::Debian(_) => ("rust-standard-library.txt", debian::NOTICES.into()),
        };
        Ok([rust, ("mingw-w64.txt", MINGW_NOTICES.into())])
    }

    /// The C compiler.
    pub fn gcc(&self) -> Command {
        Command::new(self.architecture.gcc())
    }

    fn cargo(&self, subcommand: &str, folder: &str) -> Command {
        let (mut cargo, mut flags) = match &self.rust {
            Rust::Ours => {
                let mut cargo = Command::new(cargo::program());
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
    let folder = rustc_folder(&["target-libdir", "--target", architecture.triple()])?;
    // rustc prints the folder whether it is there or not.
    Ok(folder.read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// A folder that the rustc beside our cargo prints. An empty path if it knows none.
fn rustc_folder(arguments: &[&str]) -> Result<PathBuf> {
    let rustc = PathBuf::from(cargo::program()).with_file_name("rustc");
    let output = Command::new(&rustc)
        .arg("--print")
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot start {}: {error}", rustc.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Has rustup fetch the target, if it is rustup's cargo that runs us. A network without rustup's
/// server is no failure.
fn add_target(architecture: Architecture, log: &mut Log) -> Result<bool> {
    if env::var_os("RUSTUP_TOOLCHAIN").is_none() || folder::program("rustup").is_none() {
        return Ok(false);
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", architecture.triple()]);
    packages::ask(&rustup, "Rust's standard library for Windows")?;
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
