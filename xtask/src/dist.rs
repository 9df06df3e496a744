//! `cargo xtask dist`: everything that ships, in one folder.

mod llvm;

use crate::run::{Log, Run};
use crate::sign::Signer;
use crate::windows::{Architecture, Target, Toolchain};
use crate::{Result, folder, notices, pe};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Files and folders of the repository that ship with the program: its pages, and what they link to
/// (tests/links.rs).
const PAPERS: [&str; 14] = [
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Containerfile",
    "RELEASING.md",
    "SECURITY.md",
    "benches/README.md",
    "benches/results",
    "collector-config",
    "dashboards",
    "deploy",
    "docs",
];

/// The files for Windows.
pub struct Built {
    /// The program, 64-bit.
    pub program: PathBuf,
    /// The lab, 64-bit. In the zip, never installed.
    pub lab: PathBuf,
    /// The notification DLL for 64-bit hosts.
    pub dll_x64: PathBuf,
    /// The notification DLL for 32-bit hosts.
    pub dll_x86: PathBuf,
}

impl Built {
    /// Builds and checks all of these files.
    pub fn new(x64: &Toolchain, x86: &Toolchain, run: &mut Run) -> Option<Self> {
        let (mut programs, mut dll_x64, mut dll_x86) = <(PathBuf, PathBuf, PathBuf)>::default();
        let built = run.step("build windows dll x64", |log| {
            dll_x64 = x64.build_dll(log)?;
            Ok(())
        }) & run.step("build windows dll x86", |log| {
            dll_x86 = x86.build_dll(log)?;
            Ok(())
        }) & run.step("build windows programs", |log| {
            programs = x64.build_programs(&["mpr-otel", "mpr-otel-lab"], log)?;
            Ok(())
        });
        let (program, lab) = (programs.join("mpr-otel.exe"), programs.join("mpr-otel-lab.exe"));
        let checked = built
            && run.step("check windows tables", |log| {
                log.note(pe::check_dll(&dll_x64, x64.target)?);
                log.note(pe::check_dll(&dll_x86, x86.target)?);
                log.note(pe::check_program(&program, x64.target)?);
                log.note(pe::check_program(&lab, x64.target)?);
                Ok(())
            });
        checked.then_some(Self { program, lab, dll_x64, dll_x86 })
    }

    /// All of these files.
    pub fn files(&self) -> [&Path; 4] {
        [&self.program, &self.lab, &self.dll_x64, &self.dll_x86]
    }

    /// Copies the files to `folder` in the layout that `mpr-otel install` needs.
    pub fn copy_to(&self, folder: &Path) -> Result<()> {
        let x86 = folder.join("x86");
        fs::create_dir_all(&x86)
            .map_err(|error| format!("cannot make {}: {error}", x86.display()))?;
        copy(&self.program, &folder.join("mpr-otel.exe"))?;
        copy(&self.lab, &folder.join("mpr-otel-lab.exe"))?;
        copy(&self.dll_x64, &folder.join("mpr_otel.dll"))?;
        copy(&self.dll_x86, &x86.join("mpr_otel.dll"))
    }
}

/// The toolchains for both architectures, as a step.
pub fn toolchains(run: &mut Run) -> Option<(Toolchain, Toolchain)> {
    let mut both = None;
    run.step("prepare windows", |log| {
        let x64 = Toolchain::ensure(Architecture::X64, log)?;
        both = Some((x64, Toolchain::ensure(Architecture::X86, log)?));
        Ok(())
    });
    both
}

/// Fills `target/dist`, or with `--llvm` `target/dist-llvm`.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    if let ["--llvm", rest @ ..] = arguments {
        return llvm::run(Signer::parse(rest)?.as_ref());
    }
    let signer = Signer::parse(arguments)?;
    let mut run = Run::new()?;
    if steps(&mut run)
        && let Some(signer) = signer
    {
        run.step("sign", |log| sign_all(&signer, log));
    }
    Ok(run.finish())
}

/// Fills `target/dist` with unsigned files. Returns whether it could.
pub fn steps(run: &mut Run) -> bool {
    let Some((x64, x86)) = toolchains(run) else { return false };
    let Some(built) = Built::new(&x64, &x86, run) else { return false };
    run.step("collect", |log| collect(&built, &[&x64, &x86], log))
}

/// Signs what is in `target/dist`.
pub fn sign_all(signer: &Signer, log: &mut Log) -> Result<()> {
    sign(signer, &BINARIES.map(|name| folder::target().join("dist").join(name)), log)
}

/// The files in `target/dist` that run on Windows.
const BINARIES: [&str; 4] =
    ["mpr-otel.exe", "mpr-otel-lab.exe", "mpr_otel.dll", "x86/mpr_otel.dll"];

fn collect(built: &Built, toolchains: &[&Toolchain], log: &mut Log) -> Result<()> {
    let dist = folder::target().join("dist");
    empty(&dist)?;
    built.copy_to(&dist)?;
    copy_papers(&dist, log)?;
    write_notices(toolchains, &dist)?;
    write_toolchains(toolchains, &dist, log)?;
    refuse_recorder(&dist)?;
    log.note(format!("in {}:", dist.display()));
    for name in BINARIES {
        let size = fs::metadata(dist.join(name))?.len();
        log.note(format!("{name:<18} {size:>9} bytes"));
    }
    Ok(())
}

/// Removes the files of an earlier run.
fn empty(dist: &Path) -> Result<()> {
    if dist.exists() {
        fs::remove_dir_all(dist)
            .map_err(|error| format!("cannot empty {}: {error}", dist.display()))?;
    }
    Ok(())
}

fn copy_papers(dist: &Path, log: &mut Log) -> Result<()> {
    for paper in PAPERS {
        let from = folder::root().join(paper);
        if from.exists() {
            let to = dist.join(paper);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)
                    .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
            }
            copy(&from, &to)?;
        } else {
            log.note(format!("{paper} is not in the repository and so does not ship"));
        }
    }
    Ok(())
}

/// Writes who made the linked code, and under which licences.
fn write_notices(toolchains: &[&Toolchain], dist: &Path) -> Result<()> {
    let targets: Vec<Target> = toolchains.iter().map(|toolchain| toolchain.target).collect();
    fs::write(dist.join("THIRD-PARTY-NOTICES.txt"), notices::text(&targets)?)?;
    let folder = dist.join("third-party");
    fs::create_dir_all(&folder)?;
    for toolchain in toolchains {
        for (name, file) in toolchain.notices()? {
            copy(&file, &folder.join(name))?;
        }
    }
    Ok(())
}

/// Writes which toolchain made the files for each target.
fn write_toolchains(toolchains: &[&Toolchain], dist: &Path, log: &mut Log) -> Result<()> {
    let mut text = String::new();
    for toolchain in toolchains {
        let line = format!("{}: {}", toolchain.target.triple(), toolchain.versions()?);
        text.push_str(&line);
        text.push('\n');
        log.note(line);
    }
    Ok(fs::write(dist.join("TOOLCHAIN.txt"), text)?)
}

fn sign(signer: &Signer, binaries: &[PathBuf], log: &mut Log) -> Result<()> {
    signer.ensure(log)?;
    for binary in binaries {
        signer.sign(binary, log)?;
    }
    log.note(format!("{} files signed", binaries.len()));
    Ok(())
}

/// Copies a file, or a folder with everything in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    if !from.is_dir() {
        fs::copy(from, to).map_err(failed)?;
        return Ok(());
    }
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// An error if the recorder is among the files that ship.
fn refuse_recorder(shipped: &Path) -> Result<()> {
    let folder = |error| format!("cannot read {}: {error}", shipped.display());
    for entry in fs::read_dir(shipped).map_err(folder)? {
        let path = entry.map_err(folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if path.is_dir() {
            refuse_recorder(&path)?;
        } else if name.contains("recorder") {
            return Err(format!("{} is an experiment and must not ship", path.display()).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::RECORDER;

    #[test]
    fn a_recorder_does_not_ship() {
        let shipped = std::env::temp_dir().join(format!("recorder-{}", std::process::id()));
        let x86 = shipped.join("x86");
        fs::create_dir_all(&x86).unwrap();
        fs::write(x86.join("mpr_otel.dll"), "").unwrap();
        assert!(refuse_recorder(&shipped).is_ok());
        fs::write(x86.join(RECORDER), "").unwrap();
        let refused = refuse_recorder(&shipped).unwrap_err().to_string();
        fs::remove_dir_all(&shipped).unwrap();
        assert!(refused.ends_with("is an experiment and must not ship"), "{refused}");
    }
}
