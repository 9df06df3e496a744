//! `cargo xtask dist --llvm`: the release for three architectures, with Control Flow Guard.
//!
//! The files' tables are checked. `cargo xtask test` does not run this, and none of the files has
//! run on Windows.

use super::{copy, copy_papers, empty, sign, write_notices, write_toolchains};
use crate::run::{Log, Run};
use crate::sign::Signer;
use crate::windows::{Architecture, Toolchain, arm64x};
use crate::{Result, folder, pe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The files for one architecture.
struct Built {
    toolchain: Toolchain,
    program: PathBuf,
    dll: PathBuf,
}

impl Built {
    fn new(architecture: Architecture, run: &mut Run) -> Option<Self> {
        let mut built = None;
        run.step(&format!("build llvm {architecture}"), |log| {
            let toolchain = Toolchain::ensure_llvm(architecture, log)?;
            let dll = toolchain.build_dll(log)?;
            let program = toolchain.build_programs(&["mpr-otel"], log)?.join("mpr-otel.exe");
            log.note(pe::check_dll(&dll, toolchain.target)?);
            log.note(pe::check_program(&program, toolchain.target)?);
            built = Some(Self { toolchain, program, dll });
            Ok(())
        });
        built
    }
}

/// Fills `target/dist-llvm`.
pub fn run(signer: Option<&Signer>) -> Result<ExitCode> {
    let mut run = Run::new()?;
    if let Some(x64) = Built::new(Architecture::X64, &mut run)
        && let Some(x86) = Built::new(Architecture::X86, &mut run)
        && let Some(arm64) = Built::new(Architecture::Arm64, &mut run)
    {
        let mut binaries = Vec::new();
        let collected = run.step("collect", |log| {
            binaries = collect(&x64, &x86, &arm64, log)?;
            Ok(())
        });
        if let Some(signer) = signer.filter(|_| collected) {
            run.step("sign", |log| sign(signer, &binaries, log));
        }
    }
    Ok(run.finish())
}

/// Makes a folder for each kind of machine, in the layout that `mpr-otel install` needs.
fn collect(x64: &Built, x86: &Built, arm64: &Built, log: &mut Log) -> Result<Vec<PathBuf>> {
    let dist = folder::target().join("dist-llvm");
    empty(&dist)?;
    let forwarder = arm64x::build(&arm64.dll, log)?;
    log.note(pe::check_forwarder(&forwarder)?);
    let files: [(&str, &Path); 11] = [
        ("x64/mpr-otel.exe", &x64.program),
        ("x64/mpr_otel.dll", &x64.dll),
        ("x64/x86/mpr_otel.dll", &x86.dll),
        ("x86/mpr-otel.exe", &x86.program),
        ("x86/mpr_otel.dll", &x86.dll),
        ("arm64/mpr-otel.exe", &arm64.program),
        // `probe` uses this program to map drives as an emulated program.
        ("arm64/x64/mpr-otel.exe", &x64.program),
        ("arm64/mpr_otel.dll", &forwarder),
        ("arm64/mpr_otel_arm64.dll", &arm64.dll),
        ("arm64/mpr_otel_x64.dll", &x64.dll),
        ("arm64/x86/mpr_otel.dll", &x86.dll),
    ];
    let mut binaries = Vec::new();
    for (name, from) in files {
        let to = dist.join(name);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        copy(from, &to)?;
        binaries.push(to);
    }
    let toolchains = [&x64.toolchain, &x86.toolchain, &arm64.toolchain];
    copy_papers(&dist, log)?;
    write_notices(&toolchains, &dist)?;
    write_toolchains(&toolchains, &dist, log)?;
    log.note(format!("in {}", dist.display()));
    Ok(binaries)
}
