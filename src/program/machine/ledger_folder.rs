//! The folder in which every program keeps its ledger.

use super::{Uninstalled, entries};
use crate::agent::events::RECENT;
use crate::agent::place::{DAMAGED, LOCK, STORE};
use crate::agent::report::{REPORT, UNFINISHED_REPORT};
use crate::answer::Failure;
use crate::rights::Rights;
use crate::setting_flags::GivenSettings;
use crate::windows;
use mpr_otel_core::control_page::ControlPageWriter;
use mpr_otel_core::folder::{self, AGENT_FOLDER, CONTROL_PAGE};
use mpr_otel_core::ledger::is_ledger_name;
use mpr_otel_core::platform;
use mpr_otel_core::settings::{DeliveryMode, Lookup, Reading, Settings, System};
use std::fs;
use std::path::{Path, PathBuf};

/// What the agent keeps in its own folder; what is left of it if it dies; its lock; the page through
/// which it and administrators reach hosts.
const AGENT_FILES: [&str; 7] =
    [STORE, "store.damaged", REPORT, UNFINISHED_REPORT, RECENT, LOCK, CONTROL_PAGE];

/// The folder, the agent's own in it, and the log beside it.
#[derive(Debug)]
pub(super) struct LedgerFolder {
    path: PathBuf,
    log: Option<PathBuf>,
    delivery: DeliveryMode,
    disabled: bool,
}

/// The settings of all programs, with what is about to be written over what there is. This
/// program's environment is its own.
struct Machine<'a> {
    given: &'a GivenSettings,
    system: System,
}

impl Lookup for Machine<'_> {
    fn policy(&self, name: &str) -> Reading {
        self.system.policy(name)
    }

    fn machine(&self, name: &str) -> Reading {
        match self.given.machine(name)? {
            None => self.system.machine(name),
            given => Ok(given),
        }
    }

    /// The folder has nothing to do with one.
    fn secret(&self, _name: &str) -> Option<Reading> {
        Some(Ok(None))
    }

    fn environment(&self, _name: &str) -> Option<String> {
        None
    }

    fn open_telemetry(&self, _name: &str) -> Option<String> {
        None
    }
}

impl LedgerFolder {
    /// The one that the registry names once these settings are in it, or the default.
    pub(super) fn configured(given: &GivenSettings) -> Self {
        let Settings { ledger_dir, log, delivery, disabled, .. } =
            Settings::resolve(&Machine { given, system: System::host() });
        Self { path: ledger_dir, log, delivery, disabled }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing is sent without an agent.
    pub(super) fn waits_for_the_agent(&self) -> bool {
        self.delivery == DeliveryMode::Agent
    }

    /// Refuses a folder with other files in it: their rights would become the ledgers'.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let agent = self.agent();
        let foreign = entries(&self.path)
            .find(|path| !is_ours(path) && agent != *path && self.log.as_ref() != Some(path));
        match foreign {
            None => Ok(()),
            Some(foreign) => Err(format!(
                "--ledger-dir: {} holds {}, which is no ledger; name a folder for ledgers alone",
                self.path.display(),
                foreign.file_name().unwrap_or_default().display()
            )
            .into()),
        }
    }

    /// Makes it, so that every user can keep a ledger in it, and nobody but the agent read
    /// another's.
    pub(super) fn make(&self) -> Result<(), Failure> {
        // Outer folders first: then nobody else makes the inner ones.
        for folder in self.shared().rev() {
            make(folder, Rights::Shared)?;
        }
        make(&self.agent(), Rights::AgentsOnly)?;
        self.make_control_page()
    }

    /// Makes the control page, or takes it over as it is: hosts map it. Has them go on, unless the
    /// settings disable them.
    fn make_control_page(&self) -> Result<(), Failure> {
        let path = self.control_page();
        let failed =
            |error| format!("cannot make {}: {error}; remove it and try again", path.display());
        let page = ControlPageWriter::create(&path).map_err(failed)?;
        windows::set_rights(&path, Rights::ControlPage).map_err(failed)?;
        page.set_stop(self.disabled);
        Ok(())
    }

    /// Has every running host stop, through the control page, if there is one. A page that cannot
    /// be written to reaches nobody, and is removed like the rest.
    pub(super) fn stop_hosts(&self) {
        if let Ok(Some(page)) = ControlPageWriter::open(&self.control_page()) {
            page.set_stop(true);
        }
    }

    fn control_page(&self) -> PathBuf {
        folder::LedgerFolder::new(&self.path).control_page()
    }

    /// Removes the ledgers, what the agent keeps, and the folders unless there is something else
    /// in them.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        if let Some(log) = &self.log {
            done.delete(log)?;
        }
        // Inner first.
        let damaged = self.agent().join(DAMAGED);
        for owner in entries(&damaged) {
            entries(&owner).try_for_each(|copy| done.delete(&copy))?;
            done.delete_folder(&owner)?;
        }
        done.delete_folder(&damaged)?;
        for folder in [self.agent().as_path()].into_iter().chain(self.shared()) {
            for path in entries(folder).filter(|path| is_ours(path)) {
                done.delete(&path)?;
            }
            done.delete_folder(folder)?;
        }
        Ok(())
    }

    /// The folder and, unless a setting chose its place, the one around it; inner first.
    fn shared(&self) -> impl DoubleEndedIterator<Item = &Path> {
        let parent = self.path.parent().filter(|_| self.path == platform::default_ledger_dir());
        [Some(self.path.as_path()), parent].into_iter().flatten()
    }

    /// The folder that only the agent and administrators use.
    fn agent(&self) -> PathBuf {
        self.path.join(AGENT_FOLDER)
    }
}

/// Makes a folder, or takes one over that is there: any user may have made it before us.
fn make(folder: &Path, rights: Rights) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    windows::set_rights(folder, rights).map_err(|error| {
        let folder = folder.display();
        format!("cannot set the rights of {folder}: {error}; remove it and try again").into()
    })
}

/// Whether a file is called as a ledger is, or as what the agent keeps.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    is_ledger_name(&name) || AGENT_FILES.contains(&&*name)
}
