//! What `install` made. `uninstall` needs this, because the settings may name other places by then.

use super::registry::{cannot, open_64};
use crate::answer::Failure;
use std::io;
use std::path::{Path, PathBuf};

/// The key, under `HKEY_LOCAL_MACHINE`.
const RECORD_KEY: &str = r"SOFTWARE\mpr-otel\Install";
/// Ledger folders (REG_MULTI_SZ).
const LEDGER_FOLDERS: &str = "LedgerFolders";
/// Other folders that were made, also those around ledger folders (REG_MULTI_SZ). Inner ones last.
const FOLDERS: &str = "Folders";
/// Files that the setting `Log` named (REG_MULTI_SZ).
const LOGS: &str = "Logs";
/// The value exists if `install` made MPR's list of notification DLLs.
const MADE_LIST: &str = "MadeNotifyees";

/// What was made on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Ledger folders.
    pub(super) ledger_folders: Vec<PathBuf>,
    /// Other folders, also those around ledger folders; inner ones last.
    pub(super) folders: Vec<PathBuf>,
    /// Logs of the agent.
    pub(super) logs: Vec<PathBuf>,
    /// Whether `install` made MPR's list of notification DLLs.
    pub(super) made_list: bool,
}

impl Record {
    /// Reads what earlier installations wrote.
    pub(super) fn read() -> Result<Self, Failure> {
        let read = || -> io::Result<Self> {
            let key = open_64(RECORD_KEY, false)?;
            let paths = |name| -> Vec<PathBuf> {
                let listed = key.get_multi_string(name).unwrap_or_default();
                listed.into_iter().map(PathBuf::from).filter(|path| path.is_absolute()).collect()
            };
            Ok(Self {
                ledger_folders: paths(LEDGER_FOLDERS),
                folders: paths(FOLDERS),
                logs: paths(LOGS),
                made_list: key.get_type(MADE_LIST).is_ok(),
            })
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            read => read.map_err(|error| cannot("read", RECORD_KEY, &error)),
        }
    }

    /// Writes the record.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            let key = open_64(RECORD_KEY, true)?;
            for (name, paths) in [
                (LEDGER_FOLDERS, &self.ledger_folders),
                (FOLDERS, &self.folders),
                (LOGS, &self.logs),
            ] {
                let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
                let paths: Vec<&str> = paths.iter().map(|path| &**path).collect();
                key.set_multi_string(name, &paths)?;
            }
            if self.made_list {
                key.set_u32(MADE_LIST, 1)?;
            }
            Ok(())
        };
        write().map_err(|error| cannot("write", RECORD_KEY, &error))
    }

    /// Adds a ledger folder.
    pub(super) fn add_ledger_folder(&mut self, folder: &Path) {
        add(&mut self.ledger_folders, folder);
    }

    /// Adds a log file.
    pub(super) fn add_log(&mut self, log: &Path) {
        add(&mut self.logs, log);
    }

    /// Adds another folder.
    pub(super) fn add_folder(&mut self, folder: &Path) {
        add(&mut self.folders, folder);
    }
}

fn add(paths: &mut Vec<PathBuf>, path: &Path) {
    if !paths.iter().any(|there| there == path) {
        paths.push(path.to_owned());
    }
}
