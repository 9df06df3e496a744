//! The folder that all hosts of a machine keep their ledgers in.

use crate::ledger::{Access, FILE_SIZE, LedgerError, UNBORN, is_ledger_name};
use crate::platform::{Directory, Listed, Ownership};
use crate::settings::Bounds;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Folder in the ledger folder where damaged ledgers are kept for inspection.
pub const QUARANTINE_FOLDER: &str = "quarantine";
/// Folder in the ledger folder for the agent's own ledger.
pub const AGENT_FOLDER: &str = "agent";

/// The control page ([`crate::control_page`]), a file in the agent's folder.
pub const CONTROL_PAGE: &str = "control";

/// Damaged ledgers that are kept; older ones go.
const QUARANTINED: usize = 16;
/// Names in a folder at which hosts without an agent make no more ledgers.
const NAMES: usize = 500;
/// A file that is no ledger yet after this long has lost its host before it was born.
pub(super) const UNBORN_FOR: Duration = Duration::from_secs(60);

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
    /// Its size, a ledger's at most: a file that is larger must not cost ledgers their place.
    pub bytes: u64,
    /// When it was last written to, as the file system says.
    pub modified: SystemTime,
}

/// What is in the folder.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Ledgers, the one that was written to longest ago first.
    pub ledgers: Vec<Entry>,
    /// Files of hosts that died before their ledger was born.
    unfinished: Vec<Entry>,
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

    /// Lists what is there. A folder that does not exist is empty.
    pub fn survey(&self) -> io::Result<Survey> {
        let directory = match Directory::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
            directory => Arc::new(directory?),
        };
        let now = SystemTime::now();
        let mut survey = Survey::default();
        for listed in directory.list()? {
            let name = listed.name.to_string_lossy();
            if is_ledger_name(&name) {
                survey.ledgers.push(Entry::new(&directory, listed));
            } else if let Some(stem) = name.strip_suffix(UNBORN)
                && is_ledger_name(&format!("{stem}{}", crate::ledger::EXTENSION))
            {
                let entry = Entry::new(&directory, listed);
                survey.unfinished.extend((entry.age(now) > UNBORN_FOR).then_some(entry));
            }
        }
        survey
            .ledgers
            .sort_by(|one, other| (one.modified, &one.path).cmp(&(other.modified, &other.path)));
        Ok(survey)
    }

    /// Whether no more ledgers are to be made where no agent empties them. Counts names up to a
    /// bound and looks at nothing: any user can put any number of files here.
    pub fn is_full(&self) -> bool {
        fs::read_dir(&self.path).is_ok_and(|names| names.take(NAMES).count() == NAMES)
    }

    /// Where a damaged ledger is moved to. Makes the folder, and room in it.
    pub fn quarantine(&self, ledger: &Path) -> io::Result<PathBuf> {
        let folder = self.path.join(QUARANTINE_FOLDER);
        fs::create_dir_all(&folder)?;
        // Old files are removed from it: it must not be a link to somebody's documents.
        let directory = Directory::open(&folder)?;
        let mut kept: Vec<Listed> = directory.list()?.collect();
        kept.sort_by_key(|file| file.modified);
        for old in kept.iter().rev().skip(QUARANTINED - 1) {
            // One more than wanted is no harm.
            let _ = directory.open_file(&old.name).map(|file| directory.remove(&old.name, file));
        }
        Ok(folder.join(ledger.file_name().ok_or(io::ErrorKind::InvalidInput)?))
    }

    /// How many damaged ledgers are kept.
    pub fn quarantined(&self) -> usize {
        let folder = Directory::open(&self.path.join(QUARANTINE_FOLDER));
        folder.and_then(|folder| Ok(folder.list()?.count())).unwrap_or(0)
    }

    /// Whom the folder belongs to, and what others may do in it; `None` if there is no folder.
    pub fn ownership(&self) -> io::Result<Option<Ownership>> {
        match Directory::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            directory => directory?.ownership().map(Some),
        }
    }

    /// Where the agent keeps its own ledger.
    pub fn agent(&self) -> PathBuf {
        self.path.join(AGENT_FOLDER)
    }

    /// Where the control page is, if there is one.
    pub fn control_page(&self) -> PathBuf {
        self.agent().join(CONTROL_PAGE)
    }
}

impl Entry {
    fn new(directory: &Arc<Directory>, file: Listed) -> Self {
        Self {
            directory: Arc::clone(directory),
            path: directory.path().join(&file.name),
            bytes: file.bytes.min(FILE_SIZE as u64),
            modified: file.modified,
        }
    }

    /// Opens it in the folder that it was found in.
    pub fn open(&self) -> Result<Access, LedgerError> {
        Access::open(&self.directory, self.path.file_name().unwrap_or_default())
    }

    /// How long ago it was written to; nothing if the clock was set back since.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
}

impl Survey {
    /// Removes what hosts left that died before their ledger was born. Nothing is in them.
    pub fn remove_unfinished(&self) {
        for entry in &self.unfinished {
            // Another user's, or somebody else was faster.
            let _ = entry.open().map(Access::remove);
        }
    }

    /// How many of the oldest ledgers must go so that the rest keep within the bounds of files
    /// and bytes.
    pub fn beyond(&self, bounds: Bounds) -> usize {
        let mut files = self.ledgers.len();
        let mut bytes: u64 = self.ledgers.iter().map(|entry| entry.bytes).sum();
        let over = |limit: u64, value: u64| limit > 0 && value > limit;
        let mut count = 0;
        for entry in &self.ledgers {
            if !over(bounds.files as u64, files as u64) && !over(bounds.bytes, bytes) {
                break;
            }
            files -= 1;
            bytes = bytes.saturating_sub(entry.bytes);
            count += 1;
        }
        count
    }
}
