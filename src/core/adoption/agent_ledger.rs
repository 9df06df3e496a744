//! What the agent keeps between its lives: a ledger of its own, without operations, that inherits
//! the counters of every ledger it removes.
//!
//! It is mapped as every ledger is, so what was counted survives the agent. It lies in a folder
//! of its own, where on Windows only administrators and the agent may write.

use crate::adoption::LedgerFolder;
use crate::clock::Clock;
use crate::ledger::mapping::Mapping;
use crate::ledger::{Access, Geometry, Header, Keeper, LedgerError, Seed, Tally};
use crate::platform;
use crate::process::Identity;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

const LEDGER: &str = "agent.ledger";
const LOCK: &str = "lock";
/// How often the lock is tried: somebody who only looks ([`AgentLedger::status`]) holds it for a
/// moment.
const PATIENCE: u32 = 10;

/// Why this process cannot be the agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentLedgerError {
    /// There is one already.
    #[error(
        "another agent empties {}; `mpr-otel status` shows it. Stop it first, or leave the work to it",
        folder.display()
    )]
    Taken {
        /// The ledger folder.
        folder: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {what} {}: {source}; the agent must be able to write there", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder is on a share or a removable disk.
    #[error("the ledger folder {} is not on a local disk; set MPR_OTEL_LEDGER_DIR to a folder that is", path.display())]
    NotLocal {
        /// The folder.
        path: PathBuf,
    },
    /// The agent's ledger could not be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The agent's own ledger, and its right to be the agent.
#[derive(Debug)]
pub struct AgentLedger {
    mapping: Mapping,
    /// Held for as long as this process is the agent. Its date is the agent's last round.
    lock: File,
}

impl AgentLedger {
    /// Takes the agent's place, unless it is taken.
    pub fn open(folder: &LedgerFolder) -> Result<Self, AgentLedgerError> {
        if !platform::is_local(folder.path()) {
            return Err(AgentLedgerError::NotLocal { path: folder.path().into() });
        }
        let place = folder.agent();
        let failed = |what, path: &Path| {
            let path = path.to_path_buf();
            move |source| AgentLedgerError::File { what, path, source }
        };
        std::fs::create_dir_all(&place).map_err(failed("make", &place))?;
        let path = place.join(LOCK);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        platform::owner_only(&mut options);
        let lock = options.open(&path).map_err(failed("open", &path))?;
        let mut patience = PATIENCE;
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::Error(source) => return Err(failed("lock", &path)(source)),
                TryLockError::WouldBlock if patience == 0 => {
                    return Err(AgentLedgerError::Taken { folder: folder.path().into() });
                }
                TryLockError::WouldBlock => {
                    patience -= 1;
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        Ok(Self { mapping: Self::ledger(folder, &place.join(LEDGER))?, lock })
    }

    /// The ledger of the last agent, or a new one. Nobody else is at it: we hold the lock.
    fn ledger(folder: &LedgerFolder, path: &Path) -> Result<Mapping, AgentLedgerError> {
        let mut counted = Tally::default();
        let kept = match Access::at(path).and_then(|access| access.header()) {
            Ok(header) if header.keeper == Keeper::Nobody => {
                counted = header.inherited;
                header.geometry == Geometry::V2
            }
            Ok(_) => false,
            Err(LedgerError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Self::create(path);
            }
            Err(error @ LedgerError::Corrupt { .. }) => {
                tracing::warn!(%error, "the agent's own ledger is damaged; it begins a new one");
                false
            }
            Err(error) => return Err(error.into()),
        };
        if kept && let Some(mapping) = Mapping::reopen(path)? {
            return Ok(mapping);
        }
        let failed =
            |source| AgentLedgerError::File { what: "put aside", path: path.into(), source };
        let aside = folder.quarantine(path).map_err(failed)?;
        std::fs::rename(path, aside).map_err(failed)?;
        let mapping = Self::create(path)?;
        // Of an agent of version 1, which has reported them.
        mapping.header().inherit(&counted);
        mapping.header().tell(&counted);
        Ok(mapping)
    }

    fn create(path: &Path) -> Result<Mapping, AgentLedgerError> {
        // What an agent left that died while it made one.
        let _ = std::fs::remove_file(path.with_extension(crate::ledger::UNBORN));
        let identity = Identity::current();
        let seed = Seed {
            identity: &identity,
            parent: None,
            clock: Clock::start(),
            // It has no operations, so it makes no ids.
            id_seed: [0; 3],
            boot_id: 0,
            keeper: Keeper::Nobody,
        };
        match Mapping::create(path, Header::new(seed)) {
            Ok(mapping) => Ok(mapping),
            // Emptying ledgers is what frees a full disk.
            Err(error) => {
                tracing::warn!(%error, "what this agent counts is lost with it");
                Ok(Mapping::anonymous(Header::new(seed))?)
            }
        }
    }

    /// Notes that the agent looks into the folder now.
    pub fn note_round(&self) -> io::Result<()> {
        self.lock.set_modified(SystemTime::now())
    }

    /// The counters.
    pub fn header(&self) -> &Header {
        self.mapping.header()
    }
}

/// What another process can tell of the agent.
#[derive(Clone, Debug, Default)]
pub struct AgentStatus {
    /// Whether it runs.
    pub running: bool,
    /// When an agent last looked into the folder.
    pub last_round: Option<SystemTime>,
    /// The counters of the ledgers that it removed, and when a collector last took a batch of it.
    pub header: Option<crate::ledger::HeaderImage>,
}

impl AgentLedger {
    /// Looks at the agent of a folder, without disturbing it. An error where this user may not.
    pub fn status(folder: &LedgerFolder) -> io::Result<AgentStatus> {
        let lock = folder.agent().join(LOCK);
        let lock = match platform::open_plain(&lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(AgentStatus::default());
            }
            lock => lock?,
        };
        let running = match lock.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        let last_round = lock.metadata()?.modified().ok();
        let header =
            Access::at(&folder.agent().join(LEDGER)).and_then(|access| access.header()).ok();
        Ok(AgentStatus { running, last_round, header })
    }
}
