//! What the program changes on a Windows machine, and takes back.
//!
//! MPR finds the DLL through one value of a shared key, whose path means `System32` to 64-bit
//! programs and `SysWOW64` to 32-bit ones. So there is a DLL in each, and a single value.

mod agent_service;
mod event_source;
mod ledger_folder;
mod placed_file;
mod registry;
mod system_dll;

pub(super) use placed_file::Placement;
pub(super) use registry::{Listed, listed};
pub(super) use system_dll::SystemDll;

use crate::answer::Failure;
use crate::printable::Printable;
use crate::setting_flags::{GivenSettings, SettingFlags};
use crate::windows;
use agent_service::{Agent, AgentService};
use ledger_folder::LedgerFolder;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use system_dll::Placed;

/// What `install` did.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    pub(super) dlls: Vec<Placed>,
    /// Settings that were written, secrets masked.
    pub(super) settings: Vec<Setting>,
    /// Where every program keeps its ledger.
    pub(super) ledger_dir: Printable,
    /// The agent's service, if there is one.
    pub(super) agent: Option<Agent>,
    /// What is not as it could be.
    pub(super) warnings: Vec<String>,
}

/// A setting in the registry.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    /// Name of the registry value.
    pub(super) name: &'static str,
    /// What it is now.
    pub(super) value: Printable,
}

/// What `uninstall` did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Uninstalled {
    pub(super) removed: Vec<String>,
    /// Files in use, which Windows deletes when it starts next.
    pub(super) at_restart: Vec<String>,
    /// What is still there, and why.
    pub(super) kept: Vec<String>,
}

/// Installs the DLLs beside this program, with these settings, and, if it is asked for, this
/// program as the agent. Does nothing twice.
pub(super) fn install(flags: &SettingFlags, with_agent: bool) -> Result<Installed, Failure> {
    // All that can be refused is refused before anything is changed.
    let (given, reports) = flags.read()?;
    let folder = LedgerFolder::configured(&given);
    folder.check()?;
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
                dll.architecture.bits()
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
    registry::write_settings(&given)?;
    registry::write_secrets(&given)?;
    folder.make()?;
    event_source::register()?;
    // From here on programs load the DLL, and find all that it needs.
    registry::register()?;
    let service = AgentService::find()?;
    let agent = match with_agent {
        true => Some(service.install(&program, &mut warnings)?),
        false => service.leave(),
    };
    if agent.is_none() && folder.waits_for_the_agent() {
        warnings.push(
            "delivery is \"agent\" and there is no agent, so nothing is sent; \
             run `mpr-otel install --agent`"
                .to_owned(),
        );
    }
    if given.secrets().any(|(_, value)| !value.is_empty()) && !folder.waits_for_the_agent() {
        warnings.push(
            "delivery is \"in-process\", and programs send without these headers; only what the \
             agent sends has them. `mpr-otel install --agent --delivery agent` leaves all to it"
                .to_owned(),
        );
    }
    let settings = reports
        .into_iter()
        .map(|report| Setting { name: report.name.registry, value: report.value.into() })
        .collect();
    let ledger_dir = Printable::from(folder.path().display().to_string());
    Ok(Installed { dlls, settings, ledger_dir, agent, warnings })
}

/// Takes everything back. Finding nothing is no failure.
pub(super) fn uninstall() -> Result<Uninstalled, Failure> {
    registry::require_rights()?;
    let mut done = Uninstalled::default();
    // The settings name it, so before they go.
    let folder = LedgerFolder::configured(&GivenSettings::default());
    // First: from here on no program loads the DLL.
    registry::unregister(&mut done)?;
    // It would make ledger and lock anew.
    AgentService::find()?.remove(&mut done)?;
    event_source::unregister(&mut done)?;
    // After the agent, which would have hosts go on; before anything that they use is removed.
    folder.stop_hosts();
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

    /// Deletes a folder, now or, if nothing is in it that stays, at the next start of Windows.
    fn delete_folder(&mut self, folder: &Path) -> Result<(), Failure> {
        match fs::remove_dir(folder) {
            Ok(()) => self.removed.push(folder.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) if entries(folder).all(|path| self.goes(&path)) => {
                self.delete_at_restart(folder)?;
            }
            Err(_) => {
                self.kept.push(format!("{}, for it holds what is not ours", folder.display()));
            }
        }
        Ok(())
    }

    /// Whether a file or folder is on its way. One that a program has open may be listed until
    /// the program ends, deleted or not.
    fn goes(&self, path: &Path) -> bool {
        let path = path.display().to_string();
        self.removed.contains(&path) || self.at_restart.contains(&path)
    }

    fn delete_at_restart(&mut self, path: &Path) -> Result<(), Failure> {
        windows::delete_at_restart(path).map_err(|error| {
            format!("cannot delete {}: {error}; delete it by hand", path.display())
        })?;
        self.at_restart.push(path.display().to_string());
        Ok(())
    }
}

/// What is in a folder; nothing if the folder is elsewhere: any user may have put a link there.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let here = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir());
    let listed = here.then(|| fs::read_dir(folder).ok()).flatten();
    listed.into_iter().flatten().flatten().map(|entry| entry.path())
}
