//! Building for Windows.
//!
//! The cargo that runs xtask does it, if it has the target's standard library or can fetch it
//! through rustup. Otherwise Debian's Rust does it: it has the standard library's source and
//! compiles that, too. In both cases LLVM's linker links, with mingw-w64's libraries.

pub mod arm64x;
pub mod debian;
pub mod llvm;
mod mingw;
mod target;

pub use target::{Abi, Architecture, Target};

use crate::run::{Log, shown};
use crate::{Result, cargo, folder, packages};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The packages with Windows code, and the tests, which start them.
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

/// The DLL that writes down every call of itself (tests/recorder).
pub const RECORDER: &str = "mpr_otel_recorder.dll";

/// Makes windows-result leave out COM's errors, which would need oleaut32.dll. The project does not
/// use COM.
const WITHOUT_COM: &str = "--cfg=windows_slim_errors";

/// The tools that build for one target.
pub struct Toolchain {
    /// The target.
    pub target: Target,
    rust: Rust,
    /// Flags for rustc.
    flags: Vec<OsString>,
    /// Variables for build scripts.
    environment: Vec<(&'static str, OsString)>,
}

enum Rust {
    /// The cargo that runs xtask.
    Ours,
    /// Debian's.
    Debian,
}

impl Toolchain {
    /// Finds the tools for `architecture`, and installs what is missing.
    pub fn ensure(architecture: Architecture, log: &mut Log) -> Result<Self> {
        let target = Target { architecture, abi: Abi::Gnu };
        packages::ensure(&mingw::needs(architecture)?, log)?;
        let mut flags = mingw::flags(target)?;
        flags.push(WITHOUT_COM.into());
        flags.extend(remapped_paths());
        let rust = if has_target(target)? || add_target(target, log)? {
            Rust::Ours
        } else {
            packages::ensure(&[debian::RUST], log)?;
            flags.extend(debian::flags(target, log)?);
            Rust::Debian
        };
        log.note(match rust {
            Rust::Ours => format!("{}: cargo's own target", target.triple()),
            Rust::Debian => format!("{}: Debian's Rust", target.triple()),
        });
        Ok(Self { target, rust, flags, environment: Vec::new() })
    }

    /// The same as [`ensure`](Self::ensure), but only with LLVM's tools.
    pub fn ensure_llvm(architecture: Architecture, log: &mut Log) -> Result<Self> {
        let target = Target { architecture, abi: Abi::Llvm };
        llvm::ensure(log)?;
        let mut flags = llvm::flags(target)?;
        flags.push(WITHOUT_COM.into());
        flags.extend(remapped_paths());
        let environment = llvm::environment(target)?.into();
        Ok(Self { target, rust: Rust::Debian, flags, environment })
    }

    /// Builds the notification DLL as it ships.
    pub fn build_dll(&self, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.args(["--release", "--package", "mpr-otel-dll"]);
        log.run(&mut cargo)?;
        Ok(self.output("release").join("mpr_otel.dll"))
    }

    /// Builds the programs of these packages as they ship. Returns their folder.
    pub fn build_programs(&self, packages: &[&str], log: &mut Log) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "release");
        cargo.arg("--release");
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
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

    /// Builds the program that the Windows Installer package runs.
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

    /// A command that runs the unit tests of the shipped packages, with `runner`.
    pub fn unit_tests(&self, runner: &str) -> Command {
        let mut test = self.cargo("test", "unit");
        let packages = ["mpr-otel-core", "mpr-otel"];
        test.args(packages.iter().flat_map(|package| ["--package", package]))
            .args(["--lib", "--bins", "--no-fail-fast"])
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", runner);
        test
    }

    /// The notices of everything that is linked besides the crates: for each file, a name for it
    /// and its path.
    pub fn notices(&self) -> Result<Vec<(&'static str, PathBuf)>> {
        let rust = match self.rust {
            Rust::Ours => {
                let file = "share/doc/rust/COPYRIGHT-library.html";
                ("rust-standard-library.html", rustc_folder(&["sysroot"])?.join(file))
            }
            Rust::Debian => ("rust-standard-library.txt", debian::NOTICES.into()),
        };
        let mut notices = vec![rust];
        match self.target.abi {
            Abi::Llvm => notices.extend(llvm::notices()),
            _ => notices.push(("mingw-w64.txt", mingw::NOTICES.into())),
        }
        Ok(notices)
    }

    /// The compiler and the linker, each with its version.
    pub fn versions(&self) -> Result<String> {
        let mut rustc = match self.rust {
            Rust::Ours => Command::new(beside_cargo("rustc")),
            Rust::Debian => debian::rustc(),
        };
        let rustc = first_line(rustc.arg("--version"))?;
        Ok(match self.target.abi {
            Abi::Llvm => {
                let [mut linker, mut zig] = llvm::tools();
                let (linker, zig) = (first_line(&mut linker)?, first_line(&mut zig)?);
                format!("{rustc}, {linker}, libraries of zig {zig}")
            }
            _ => {
                let linker = first_line(Command::new(mingw::LINKER).arg("--version"))?;
                let gcc = first_line(self.gcc().arg("--version"))?;
                format!("{rustc}, {linker}, libraries of {gcc}")
            }
        })
    }

    /// The C compiler.
    pub fn gcc(&self) -> Command {
        Command::new(mingw::gcc(self.target.architecture))
    }

    fn cargo(&self, subcommand: &str, folder: &str) -> Command {
        let mut cargo = match &self.rust {
            Rust::Ours => cargo::cargo(&[subcommand]),
            Rust::Debian => debian::cargo(subcommand),
        };
        cargo
            .args(["--target", self.target.triple(), "--target-dir"])
            .arg(self.folder(folder))
            .envs(self.environment.iter().cloned())
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags.join("\u{1f}".as_ref()));
        cargo
    }

    fn folder(&self, folder: &str) -> PathBuf {
        // Two compilers in one folder would overwrite each other's files.
        let name = match (self.target.abi, &self.rust) {
            (Abi::Llvm, _) => "windows-llvm",
            (_, Rust::Ours) => "windows",
            (_, Rust::Debian) => "windows-debian",
        };
        folder::target().join(name).join(folder)
    }

    fn output(&self, folder: &str) -> PathBuf {
        self.folder(folder).join(self.target.triple()).join("release")
    }
}

/// Whether the cargo that runs xtask has the standard library of `target`.
fn has_target(target: Target) -> Result<bool> {
    let folder = rustc_folder(&["target-libdir", "--target", target.triple()])?;
    // rustc prints the folder even if it does not exist.
    Ok(folder.read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// A program in the same folder as cargo.
fn beside_cargo(name: &str) -> PathBuf {
    PathBuf::from(cargo::program()).with_file_name(name)
}

/// The first line that a program prints.
fn first_line(program: &mut Command) -> Result<String> {
    let output =
        program.output().map_err(|error| format!("cannot start {}: {error}", shown(program)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// A folder that the rustc beside cargo prints. An empty path if it prints none.
fn rustc_folder(arguments: &[&str]) -> Result<PathBuf> {
    let rustc = beside_cargo("rustc");
    let output = Command::new(&rustc)
        .arg("--print")
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot start {}: {error}", rustc.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Lets rustup fetch the target, if cargo is rustup's. It is not an error if rustup's server cannot
/// be reached.
fn add_target(target: Target, log: &mut Log) -> Result<bool> {
    if env::var_os("RUSTUP_TOOLCHAIN").is_none() || folder::program("rustup").is_none() {
        return Ok(false);
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target.triple()]);
    packages::ask(&rustup, "Rust's standard library for Windows")?;
    Ok(log.run_to_status(&mut rustup)? && has_target(target)?)
}

/// Flags that keep the building machine's folders out of the files that ship.
fn remapped_paths() -> Vec<OsString> {
    let mut flags = Vec::new();
    for (folder, alias) in builder_folders_and_aliases() {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(folder);
        flag.push("=");
        flag.push(alias);
        flags.push(flag);
    }
    flags
}

/// The building machine's folders with source, and the names that replace them in the files that
/// ship.
pub fn builder_folders_and_aliases() -> Vec<(PathBuf, &'static str)> {
    let mut folders = vec![(folder::root(), "/mpr-otel")];
    folders.extend(cargo::home().map(|home| (home, "/cargo")));
    folders
}
