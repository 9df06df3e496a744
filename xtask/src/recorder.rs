//! `cargo xtask recorder`: the notification DLL that writes down every call of itself, and the
//! script that makes Windows call it, in one folder. Neither ships.

use crate::dist::{self, copy};
use crate::run::{Log, Run};
use crate::windows::{RECORDER, Toolchain};
use crate::{Result, folder, pe};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// The recorder for both architectures.
pub struct Recorder {
    /// For 64-bit hosts.
    pub x64: PathBuf,
    /// For 32-bit hosts.
    pub x86: PathBuf,
}

impl Recorder {
    /// Builds and checks both DLLs.
    pub fn new(x64: &Toolchain, x86: &Toolchain, run: &mut Run) -> Option<Self> {
        let mut recorder = None;
        run.step("build recorder", |log| {
            let built = Self { x64: x64.build_recorder(log)?, x86: x86.build_recorder(log)? };
            log.note(pe::check_recorder(&built.x64, x64.target)?);
            log.note(pe::check_recorder(&built.x86, x86.target)?);
            recorder = Some(built);
            Ok(())
        });
        recorder
    }
}

/// Fills `target/recorder`.
pub fn run() -> Result<ExitCode> {
    let mut run = Run::new()?;
    if let Some((x64, x86)) = dist::toolchains(&mut run)
        && let Some(recorder) = Recorder::new(&x64, &x86, &mut run)
    {
        run.step("collect", |log| collect(&recorder, log));
    }
    Ok(run.finish())
}

fn collect(recorder: &Recorder, log: &mut Log) -> Result<()> {
    let target = folder::target().join("recorder");
    let x86 = target.join("x86");
    fs::create_dir_all(&x86).map_err(|error| format!("cannot make {}: {error}", x86.display()))?;
    copy(&recorder.x64, &target.join(RECORDER))?;
    copy(&recorder.x86, &x86.join(RECORDER))?;
    let root = folder::root();
    copy(&root.join("tests").join("recorder").join("run.ps1"), &target.join("run.ps1"))?;
    copy(&root.join("docs").join("WINDOWS.md"), &target.join("WINDOWS.md"))?;
    log.note(format!("in {}; WINDOWS.md there says how to go on", target.display()));
    Ok(())
}
