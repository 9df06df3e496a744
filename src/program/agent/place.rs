//! The agent's place: a ledger folder has one agent, and other processes can see whether it runs.

use super::report::Report;
use crate::store::StoreError;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::platform;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// The file that the agent has locked. Its date is the date of the agent's last round.
pub(crate) const LOCK: &str = "lock";
/// The file with the operations that were taken over and wait to be sent.
pub(crate) const STORE: &str = "store.redb";
/// The folder with copies of damaged ledgers.
pub(crate) const DAMAGED: &str = "damaged";
/// How often the lock is tried, because a process that only looks ([`sight`]) holds it for a
/// moment.
const PATIENCE: u32 = 10;

/// Why this process cannot be the agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// There is another agent.
    #[error(
        "another agent empties {}; `mpr-otel status` shows it. Stop it first, or leave the work to it",
        folder.display()
    )]
    Taken {
        /// The ledger folder.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {what} {}: {source}; the agent must be able to write there", path.display())]
    File {
        /// What was tried, as a verb.
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
    /// There is no thread that sends.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// A setting is another than when the agent began.
    #[error("the settings have changed; start the agent again, and it works with them")]
    SettingsChanged,
    /// There is nowhere to keep what is taken over.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The right to be the agent. It lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    lock: File,
}

impl Place {
    /// Takes the agent's place, unless another process has it.
    pub(crate) fn take(folder: &LedgerFolder) -> Result<Self, AgentError> {
        if !platform::is_local(folder.path()) {
            return Err(AgentError::NotLocal { path: folder.path().into() });
        }
        let place = folder.agent();
        let failed = |what, path: &Path| {
            let path = path.to_path_buf();
            move |source| AgentError::File { what, path, source }
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
                    return Err(AgentError::Taken { folder: folder.path().into() });
                }
                TryLockError::WouldBlock => {
                    patience -= 1;
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        Ok(Self { folder: place, lock })
    }

    /// The agent's own folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes that the agent is looking into the folder now.
    pub(super) fn note_round(&self) -> io::Result<()> {
        self.lock.set_modified(SystemTime::now())
    }
}

/// What another process can see of the agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// Whether the agent runs.
    pub(crate) is_running: bool,
    /// When an agent last looked into the folder.
    pub(crate) last_round: Option<SystemTime>,
    /// The last report that it wrote.
    pub(crate) report: Option<Report>,
}

/// Looks at the agent of a folder without disturbing it. An error if this user may not look.
pub(crate) fn sight(folder: &LedgerFolder) -> io::Result<Sight> {
    let lock = match platform::open_plain(&folder.agent().join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sight::default()),
        lock => lock?,
    };
    let is_running = match lock.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let last_round = lock.metadata()?.modified().ok();
    Ok(Sight { is_running, last_round, report: Report::read(&folder.agent()) })
}
