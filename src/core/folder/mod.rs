//! The folder that all hosts of a machine keep their ledgers in, and what can be read from it without
//! changing anything.

mod census;
mod inflight;
mod watch;

pub use census::{Census, HostError};
pub use inflight::{Inflight, Snapshot};
pub use watch::{HostSlots, Recorded, Watch};

use crate::ledger::{Access, LedgerError, is_ledger_name};
use crate::platform::{Directory, Listed, Ownership};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Folder in the ledger folder for what the agent keeps.
pub const AGENT_FOLDER: &str = "agent";

/// The control page ([`crate::control_page`]), a file in the agent's folder.
pub const CONTROL_PAGE: &str = "control";

/// Names in a folder at which hosts without an agent make no more ledgers.
const NAMES: usize = 500;

/// The folder.
#[derive(Clone, Debug)]
pub struct LedgerFolder {
    path: PathBuf,
}

/// A file in the folder that is named as a ledger is.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The open folder that it was found in.
    directory: Arc<Directory>,
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last written to, as the file system says. Its owner can say anything there.
    pub modified: SystemTime,
}

impl LedgerFolder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it; `None` if it does not exist.
    pub fn open(&self) -> io::Result<Option<Arc<Directory>>> {
        match Directory::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            directory => Ok(Some(Arc::new(directory?))),
        }
    }

    /// Lists the files that are named as ledgers are, in the order of their names. A folder that does
    /// not exist is empty.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let Some(directory) = self.open()? else { return Ok(Vec::new()) };
        let named = |file: &Listed| is_ledger_name(&file.name.to_string_lossy());
        let mut entries: Vec<Entry> = directory
            .list()?
            .filter(named)
            .map(|file| Entry {
                directory: Arc::clone(&directory),
                path: directory.path().join(&file.name),
                bytes: file.bytes,
                modified: file.modified,
            })
            .collect();
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    /// Whether no more ledgers are to be made where no agent empties them. Counts names up to a
    /// bound and looks at nothing: any user can put any number of files here.
    pub fn is_full(&self) -> bool {
        fs::read_dir(&self.path).is_ok_and(|names| names.take(NAMES).count() == NAMES)
    }

    /// Whom the folder belongs to, and what others may do in it; `None` if there is no folder.
    pub fn ownership(&self) -> io::Result<Option<Ownership>> {
        self.open()?.map(|directory| directory.ownership()).transpose()
    }

    /// Where the agent keeps what is its own.
    pub fn agent(&self) -> PathBuf {
        self.path.join(AGENT_FOLDER)
    }

    /// Where the control page is, if there is one.
    pub fn control_page(&self) -> PathBuf {
        self.agent().join(CONTROL_PAGE)
    }
}

impl Entry {
    /// Opens it in the folder that it was found in.
    pub fn open(&self) -> Result<Access, LedgerError> {
        Access::open(&self.directory, self.path.file_name().unwrap_or_default())
    }

    /// How long ago it was written to; nothing if the clock was set back since.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
}
