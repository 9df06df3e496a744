//! Finds out what a file in the folder is.

use super::foreign::ForeignLedger;
use super::round::POWER_LOSS;
use super::watched::{STUCK_FOR, SWEEP, Sight};
use crate::ledger::{Access, Corruption, LedgerError, Owner};
use crate::platform::{self, Directory};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// If a file is not a ledger after this long, its host died while it made the ledger.
const UNBORN_FOR: Duration = Duration::from_secs(60);
/// A file that is not a ledger is removed after this long.
const JUNK_FOR: Duration = Duration::from_secs(24 * 3600);

/// What was found under a name.
pub(super) enum Opened {
    Ledger(Box<ForeignLedger>),
    /// The file is to be looked at again after this time.
    Later(Sight, Duration),
    /// The file holds nothing to keep. It is removed, after this loss was counted.
    Nothing(Access, Option<&'static str>),
    /// A ledger whose header is damaged.
    Damaged(Access),
}

/// Opens a file that was first seen `known_for` ago, and finds out what it is.
pub(super) fn open(
    directory: &Arc<Directory>,
    name: &OsStr,
    known_for: Duration,
) -> Result<Opened, LedgerError> {
    let access = Access::open(directory, name)?;
    let corruption = match access.header() {
        Ok(header) => {
            let owner = try_own(&access)?;
            return Ok(match owner {
                Owner::Lives if !ForeignLedger::is_for_agent(&header) => {
                    Opened::Later(Sight::Live, SWEEP)
                }
                owner => Opened::Ledger(Box::new(ForeignLedger::new(access, header, owner))),
            });
        }
        Err(LedgerError::Corrupt { corruption, .. }) => corruption,
        Err(error) => return Err(error),
    };
    match corruption {
        // The lock is not taken, because the file's host may be about to take it.
        Corruption::Unborn if known_for < UNBORN_FOR => {
            return Ok(Opened::Later(Sight::Live, SWEEP));
        }
        Corruption::Newer(_) => return Ok(Opened::Later(Sight::Refused, STUCK_FOR)),
        Corruption::Magic | Corruption::Short if known_for < JUNK_FOR => {
            return Ok(Opened::Later(Sight::Refused, STUCK_FOR));
        }
        _ => {}
    }
    if try_own(&access)? == Owner::Lives {
        return Ok(Opened::Later(Sight::Live, SWEEP));
    }
    Ok(match corruption {
        Corruption::Header => Opened::Damaged(access),
        Corruption::Unborn if is_of_an_earlier_boot(&access) => {
            Opened::Nothing(access, Some(POWER_LOSS))
        }
        _ => Opened::Nothing(access, None),
    })
}

fn try_own(access: &Access) -> Result<Owner, LedgerError> {
    let path = access.path();
    access.try_own().map_err(|source| LedgerError::File { what: "lock", path: path.into(), source })
}

/// Whether the file was last written to before the machine started, according to its date.
fn is_of_an_earlier_boot(access: &Access) -> bool {
    let up = platform::awake_nanos().saturating_add(platform::asleep_nanos());
    let started = SystemTime::now().checked_sub(Duration::from_nanos(up));
    let written = access.file().metadata().and_then(|file| file.modified());
    written.ok().zip(started).is_some_and(|(written, started)| written < started)
}
