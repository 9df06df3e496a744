//! What the program changes on a Windows machine, and takes back.
//!
//! MPR finds the DLL through one value of a shared key, whose path means `System32` to 64-bit
//! programs and `SysWOW64` to 32-bit ones. So there is a DLL in each, and a single value.

mod ledger_folder;
mod registry;
mod system_dll;

pub(super) use registry::{Entry, registered};
pub(super) use system_dll::SystemDll;

use super::Failure;
use super::setting_flags::SettingFlags;
use ledger_folder::LedgerFolder;
use mpr_otel::platform;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;
use system_dll::Placed;

/// What `install` did.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    /// The DLLs that MPR finds.
    pub(super) dlls: Vec<Placed>,
    /// Settings that were written, secrets masked.
    pub(super) settings: Vec<Setting>,
    /// Where every program keeps its ledger.
    pub(super) ledger_dir: String,
    /// What is not as it could be.
    pub(super) warnings: Vec<String>,
}

/// A setting in the registry.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    /// Name of the registry value.
    pub(super) name: &'static str,
    /// What it is now.
    pub(super) value: String,
}

/// What `uninstall` did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Uninstalled {
    /// What is gone.
    pub(super) removed: Vec<String>,
    /// Files in use, which Windows deletes when it starts next.
    pub(super) at_restart: Vec<String>,
    /// Folders that hold what is not ours.
    pub(super) kept: Vec<String>,
}

/// Installs the DLLs beside this program, with these settings. Does nothing twice.
pub(super) fn install(flags: &SettingFlags) -> Result<Installed, Failure> {
    // All that can be refused is refused before anything is changed.
    let given = flags.check()?;
    let program = std::env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new(r"C:\"));
    let mut sources = Vec::new();
    let mut warnings = Vec::new();
    for dll in SystemDll::all()? {
        let source = dll.source(beside);
        if dll.is_optional() && !source.exists() {
            warnings.push(format!(
                "{} is missing, so {}-bit programs are not measured",
                source.display(),
                dll.bits
            ));
            continue;
        }
        dll.check(&source)?;
        sources.push((dll, source));
    }
    registry::require_rights()?;

    let mut dlls = Vec::new();
    for (dll, source) in sources {
        dlls.push(dll.put(&source)?);
    }
    registry::write_settings(flags)?;
    let folder = LedgerFolder::configured();
    folder.make()?;
    // Last: from here on programs load the DLL, and find all that it needs.
    registry::register()?;
    let settings = given
        .into_iter()
        .map(|report| Setting { name: report.name.registry, value: report.value })
        .collect();
    Ok(Installed { dlls, settings, ledger_dir: folder.path().display().to_string(), warnings })
}

/// Takes everything back. Finding nothing is no failure.
pub(super) fn uninstall() -> Result<Uninstalled, Failure> {
    registry::require_rights()?;
    let mut done = Uninstalled::default();
    // The settings name it, so before they go.
    let folder = LedgerFolder::configured();
    // First: from here on no program loads the DLL.
    registry::unregister(&mut done)?;
    for dll in SystemDll::all()? {
        dll.remove(&mut done)?;
    }
    folder.remove(&mut done)?;
    registry::remove_settings(&mut done)?;
    Ok(done)
}

impl Uninstalled {
    /// Deletes a file, now or, if a program uses it, at the next start of Windows.
    fn delete(&mut self, path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Ok(()) => self.removed.push(path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => self.delete_at_restart(path)?,
        }
        Ok(())
    }

    fn delete_at_restart(&mut self, path: &Path) -> Result<(), Failure> {
        platform::delete_at_restart(path).map_err(|error| {
            format!("cannot delete {}: {error}; delete it by hand", path.display())
        })?;
        self.at_restart.push(path.display().to_string());
        Ok(())
    }
}
