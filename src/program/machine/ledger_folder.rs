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

/// The files in the agent's folder: the agent's own, the ones that it leaves if it dies, its lock,
/// and the control page.
const AGENT_FILES: [&str; 7] =
    [STORE, "store.damaged", REPORT, UNFINISHED_REPORT, RECENT, LOCK, CONTROL_PAGE];

/// The ledger folder, the agent's folder in it, and the log file beside it.
#[derive(Debug)]
pub(super) struct LedgerFolder {
    path: PathBuf,
    log: Option<PathBuf>,
    disabled: bool,
}

impl LedgerFolder {
    /// The folder that these settings name.
    pub(super) fn of(settings: &Settings) -> Self {
        let Settings { ledger_dir, log, disabled, .. } = settings;
        Self { path: ledger_dir.clone(), log: log.clone(), disabled: *disabled }
    }

    /// A folder that an earlier setting named.
    pub(super) fn earlier(path: PathBuf) -> Self {
        Self { path, log: None, disabled: true }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a place that is not safe. Refuses a folder with other files, unless an earlier
    /// `install` made it, because these files would get the ledgers' rights.
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
                "--ledger-dir: {} holds {}, which is not a ledger; name a folder for ledgers only",
                self.path.display(),
                foreign.file_name().unwrap_or_default().display()
            ))
            .into()),
        }
    }

    /// Makes the folder. Every user can keep a ledger in it, and only the agent can read another
    /// user's. Outer folders are made first, so that nobody else can make the inner ones. Returns
    /// the folders that were moved away.
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
        // Written before the folders are made, so that `uninstall` knows them even after a failure.
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

    /// Whether the folder holds ledgers, or operations that the agent took over.
    pub(super) fn holds_something(&self) -> bool {
        let ledger =
            |path: PathBuf| is_ledger_name(&path.file_name().unwrap_or_default().to_string_lossy());
        self.agent().join(STORE).exists() || entries(&self.path).any(ledger)
    }

    fn is_default(&self) -> bool {
        self.path == platform::default_ledger_dir()
    }

    /// The ledger folder, or the folder around it if no setting chose the place.
    fn outermost(&self) -> &Path {
        self.path.parent().filter(|_| self.is_default()).unwrap_or(&self.path)
    }

    /// Makes the control page. An existing page is kept, because hosts map it. Removes the stop
    /// word, unless the settings disable hosts.
    pub(super) fn make_control_page(&self) -> Result<(), Failure> {
        let path = self.control_page();
        let failed =
            |error| format!("cannot make {}: {error}; remove it and try again", path.display());
        let page = ControlPageWriter::create(&path).map_err(failed)?;
        windows::set_rights(&path, Rights::ControlPage).map_err(failed)?;
        page.set_stop(self.disabled);
        Ok(())
    }

    /// Writes the stop word to the control page, if there is one. A page that cannot be written to
    /// reaches no host, and is removed with the other files.
    pub(super) fn stop_hosts(&self) {
        if let Ok(Some(page)) = ControlPageWriter::open(&self.control_page()) {
            page.set_stop(true);
        }
    }

    fn control_page(&self) -> PathBuf {
        folder::LedgerFolder::new(&self.path).control_page()
    }

    /// Removes the ledgers and the agent's files. Removes the folders unless they hold something
    /// else.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        if let Some(log) = &self.log {
            done.delete(log)?;
        }
        // Inner folders first.
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

/// Whether a file has the name of a ledger or of one of the agent's files.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    is_ledger_name(&name) || AGENT_FILES.contains(&&*name)
}
