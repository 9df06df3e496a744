//! The folder in which every program keeps its ledger.

use super::record::Record;
use super::secured_folder::{check_place, missing_above, secure};
use super::uninstalled::{Uninstalled, entries};
use crate::agent::events::RECENT;
use crate::agent::place::{DAMAGED, LOCK, STORE};
use crate::agent::report::{REPORT, UNFINISHED_REPORT};
use crate::answer::{Failure, WrongUsage};
use crate::rights::Rights;
use crate::windows;
use mpr_otel_core::control_page::ControlPageWriter;
use mpr_otel_core::folder::{self, AGENT_FOLDER, CONTROL_PAGE};
use mpr_otel_core::ledger::is_ledger_name;
use mpr_otel_core::platform;
use mpr_otel_core::settings::Settings;
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
    disabled: bool,
}

impl LedgerFolder {
    /// The one that these settings name.
    pub(super) fn of(settings: &Settings) -> Self {
        let Settings { ledger_dir, log, disabled, .. } = settings;
        Self { path: ledger_dir.clone(), log: log.clone(), disabled: *disabled }
    }

    /// One that an earlier setting named.
    pub(super) fn earlier(path: PathBuf) -> Self {
        Self { path, log: None, disabled: true }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a place that is not safe, and, unless an earlier `install` made the folder, one with other
    /// files in it: their rights would become the ledgers'.
    pub(super) fn check(&self, record: &Record) -> Result<(), Failure> {
        check_place(self.outermost(), "--ledger-dir")?;
        if self.is_default() || record.ledger_folders.contains(&self.path) {
            return Ok(());
        }
        let agent = self.agent();
        let foreign = entries(&self.path)
            .find(|path| !is_ours(path) && agent != *path && self.log.as_ref() != Some(path));
        match foreign {
            None => Ok(()),
            Some(foreign) => Err(WrongUsage(format!(
                "--ledger-dir: {} holds {}, which is no ledger; name a folder for ledgers alone",
                self.path.display(),
                foreign.file_name().unwrap_or_default().display()
            ))
            .into()),
        }
    }

    /// Makes it, so that every user can keep a ledger in it, and nobody but the agent read another's.
    /// Outer folders first: then nobody else makes the inner ones. Returns what was put aside.
    pub(super) fn make(&self, record: &mut Record) -> Result<Vec<PathBuf>, Failure> {
        let outer = match self.is_default() {
            true => vec![self.outermost().to_owned()],
            false => missing_above(&self.path),
        };
        for folder in &outer {
            record.add_folder(folder);
        }
        record.add_ledger_folder(&self.path);
        if let Some(log) = &self.log {
            record.add_log(log);
        }
        // Before they are made: then what a failure leaves is known.
        record.write()?;
        let outer = outer.into_iter().map(|folder| (folder, Rights::Outer));
        let inner = [(self.path.clone(), Rights::Shared), (self.agent(), Rights::AgentsOnly)];
        let mut aside = Vec::new();
        for (folder, rights) in outer.chain(inner) {
            aside.extend(secure(&folder, rights)?);
            windows::uncompress(&folder).map_err(|error| {
                format!(
                    "cannot switch the compression of {} off: {error}; name another folder with \
                     --ledger-dir",
                    folder.display()
                )
            })?;
        }
        Ok(aside)
    }

    /// Whether there are ledgers in it, or operations that the agent took over.
    pub(super) fn holds_something(&self) -> bool {
        let ledger =
            |path: PathBuf| is_ledger_name(&path.file_name().unwrap_or_default().to_string_lossy());
        self.agent().join(STORE).exists() || entries(&self.path).any(ledger)
    }

    fn is_default(&self) -> bool {
        self.path == platform::default_ledger_dir()
    }

    /// The folder or, unless a setting chose its place, the one around it.
    fn outermost(&self) -> &Path {
        self.path.parent().filter(|_| self.is_default()).unwrap_or(&self.path)
    }

    /// Makes the control page, or takes it over as it is: hosts map it. Has them go on, unless the
    /// settings disable them.
    pub(super) fn make_control_page(&self) -> Result<(), Failure> {
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
        let inner_first = [self.agent(), self.path.clone()];
        let outer = self.is_default().then(|| self.outermost().to_owned());
        for folder in inner_first.into_iter().chain(outer) {
            for path in entries(&folder).filter(|path| is_ours(path)) {
                done.delete(&path)?;
            }
            done.delete_folder(&folder)?;
        }
        Ok(())
    }

    /// The folder that only the agent and administrators use.
    fn agent(&self) -> PathBuf {
        self.path.join(AGENT_FOLDER)
    }
}

/// Whether a file has the name of a ledger, or of what the agent keeps.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    is_ledger_name(&name) || AGENT_FILES.contains(&&*name)
}
