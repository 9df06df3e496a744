//! `cargo xtask recorder`: the notification DLL that writes down every call of it, and the script
//! that makes Windows call it, in a folder of their own. Nothing of it ships.

use crate::dist::{self, copy};
use crate::run::{Log, Run};
use crate::windows::{Architecture, Toolchain};
use crate::{Result, folder, pe};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The recorder's DLL.
pub const FILE: &str = "mpr_otel_recorder.dll";

/// The recorder for both architectures.
pub struct Recorder {
    /// For 64-bit hosts.
    pub x64: PathBuf,
    /// For 32-bit hosts.
    pub x86: PathBuf,
}

impl Recorder {
    /// Builds and checks both.
    pub fn new(x64: &Toolchain, x86: &Toolchain, run: &mut Run) -> Option<Self> {
        let mut recorder = None;
        run.step("build recorder", |log| {
            let built = Self { x64: x64.build_recorder(log)?, x86: x86.build_recorder(log)? };
            log.note(pe::check_recorder(&built.x64, Architecture::X64)?);
            log.note(pe::check_recorder(&built.x86, Architecture::X86)?);
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
    copy(&recorder.x64, &target.join(FILE))?;
    copy(&recorder.x86, &x86.join(FILE))?;
    let root = folder::root();
    copy(&root.join("tests").join("recorder").join("run.ps1"), &target.join("run.ps1"))?;
    copy(&root.join("docs").join("WINDOWS.md"), &target.join("WINDOWS.md"))?;
    log.note(format!("in {}; WINDOWS.md there says how to go on", target.display()));
    Ok(())
}

/// Refuses a recorder in what ships.
pub fn refuse_in(shipped: &Path) -> Result<()> {
    let folder = |error| format!("cannot read {}: {error}", shipped.display());
    for entry in fs::read_dir(shipped).map_err(folder)? {
        let path = entry.map_err(folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if path.is_dir() {
            refuse_in(&path)?;
        } else if name.contains("recorder") {
            return Err(format!("{} is an experiment and must not ship", path.display()).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_does_not_ship() {
        let shipped = std::env::temp_dir().join(format!("recorder-{}", std::process::id()));
        let x86 = shipped.join("x86");
        fs::create_dir_all(&x86).unwrap();
        fs::write(x86.join("mpr_otel.dll"), "").unwrap();
        assert!(refuse_in(&shipped).is_ok());
        fs::write(x86.join(FILE), "").unwrap();
        let refused = refuse_in(&shipped).unwrap_err().to_string();
        fs::remove_dir_all(&shipped).unwrap();
        assert!(refused.ends_with("is an experiment and must not ship"), "{refused}");
    }
}
