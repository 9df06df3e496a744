//! What all ledgers of a folder say together.

use super::{Entry, LedgerFolder};
use crate::ledger::{Corruption, Keeper, LedgerError, Tally, state::Phase};
use crate::process::Identity;
use std::io;

/// A count of everything in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Ledgers that could be read.
    pub ledgers: usize,
    /// Of these, ledgers whose host lives.
    pub live: usize,
    /// Files that could not be read: other users', damaged, or no ledgers.
    pub unreadable: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Operations in dead hosts' ledgers that wait to be taken over.
    pub orphaned: u64,
    /// The sum of what hosts count that send by themselves, and of what waits in the others'
    /// ledgers: what the agent took out of those it counts itself.
    pub tally: Tally,
    /// When a collector last accepted a batch of any host, in nanoseconds since 1970; 0: never.
    pub last_export_unix_nanos: u64,
    /// Why exporters in live hosts failed last, [`MOST_ERRORS`] of them at most.
    pub last_errors: Vec<HostError>,
}

/// The most that a [`Census`] keeps of them.
const MOST_ERRORS: usize = 8;

/// Why the exporter in a live host failed last. Of any content: a user's program wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// Which host.
    pub identity: Identity,
    /// What its exporter noted.
    pub text: String,
}

impl Census {
    /// Counts what is in `folder`.
    pub fn take(folder: &LedgerFolder) -> io::Result<Self> {
        let mut census = Self::default();
        for entry in folder.list()? {
            census.bytes = census.bytes.saturating_add(entry.bytes);
            match census.add(&entry) {
                Ok(()) => census.ledgers += 1,
                Err(LedgerError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                // Its host is making it, or died over it: nothing is in it.
                Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. }) => {}
                Err(_) => census.unreadable += 1,
            }
        }
        Ok(census)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let failed = |source| LedgerError::File { what: "read", path: entry.path.clone(), source };
        let access = entry.open()?;
        let header = access.header()?;
        let (mut recorded, mut waiting) = (0_u64, 0);
        access
            .all_slots(&header, |_, slot| {
                recorded = recorded.saturating_add(slot.had());
                waiting += u64::from(slot.phase != Some(Phase::Free));
            })
            .map_err(failed)?;
        if access.is_owned().map_err(failed)? {
            self.live += 1;
            if !header.last_error.is_empty() && self.last_errors.len() < MOST_ERRORS {
                let (identity, text) = (header.origin.identity.clone(), header.last_error.clone());
                self.last_errors.push(HostError { identity, text });
            }
        } else {
            self.orphaned += waiting;
        }
        self.tally += match header.keeper {
            Keeper::Host => header.tally(recorded),
            Keeper::Agent => Tally { seen: waiting, ..Tally::default() },
        };
        self.last_export_unix_nanos =
            self.last_export_unix_nanos.max(header.last_export_unix_nanos);
        Ok(())
    }
}
