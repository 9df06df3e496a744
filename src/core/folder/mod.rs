//! The folder with the ledgers of all hosts of a machine, and what can be read from it without
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

/// The agent's own folder in the ledger folder.
pub const AGENT_FOLDER: &str = "agent";

/// The control page ([`crate::control_page`]): a file in the agent's folder.
pub const CONTROL_PAGE: &str = "control";

/// If the folder has this many names and no agent empties it, hosts make no more ledgers.
const NAMES: usize = 500;

/// The ledger folder.
#[derive(Clone, Debug)]
pub struct LedgerFolder {
    path: PathBuf,
}

/// A file in the folder whose name is a ledger's.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The open folder in which the file was found.
    directory: Arc<Directory>,
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// When the file was last written to, as the file system says. Its owner can set any time.
    pub modified: SystemTime,
}

impl LedgerFolder {
    /// The folder at `path`. It need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the folder. `None` if it does not exist.
    pub fn open(&self) -> io::Result<Option<Arc<Directory>>> {
        match Directory::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            directory => Ok(Some(Arc::new(directory?))),
        }
    }

    /// Lists the files whose names are a ledger's, in the order of their names. A folder that does
    /// not exist has none.
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

    /// Whether hosts without an agent must make no more ledgers. Counts names up to a limit and
    /// opens no file, because any user can put any number of files here.
    pub fn is_full(&self) -> bool {
        fs::read_dir(&self.path).is_ok_and(|names| names.take(NAMES).count() == NAMES)
    }

    /// The user whom the folder belongs to, and what others may do in it. `None` if there is no
    /// folder.
    pub fn ownership(&self) -> io::Result<Option<Ownership>> {
        self.open()?.map(|directory| directory.ownership()).transpose()
    }

    /// The agent's own folder.
    pub fn agent(&self) -> PathBuf {
        self.path.join(AGENT_FOLDER)
    }

    /// The path of the control page, which need not exist.
    pub fn control_page(&self) -> PathBuf {
        self.agent().join(CONTROL_PAGE)
    }
}

impl Entry {
    /// Opens the file in the folder in which it was found.
    pub fn open(&self) -> Result<Access, LedgerError> {
        Access::open(&self.directory, self.path.file_name().unwrap_or_default())
    }

    /// How long ago the file was written to; zero if the clock was set back since.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
}
