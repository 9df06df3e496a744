//! Totals of all ledgers of a folder.

use super::{Entry, LedgerFolder};
use crate::ledger::{Corruption, Keeper, LedgerError, Tally, state::Phase};
use crate::process::Identity;
use std::io;

/// The totals of everything in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Ledgers that could be read.
    pub ledgers: usize,
    /// How many of these belong to a live host.
    pub live: usize,
    /// Files that could not be read: another user's, damaged, or not a ledger.
    pub unreadable: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Operations in dead hosts' ledgers that wait to be taken over.
    pub orphaned: u64,
    /// The sum of two parts: the counters of hosts that send by themselves, and the operations that
    /// wait in the other hosts' ledgers. The agent counts itself what it took out of those.
    pub tally: Tally,
    /// When a collector last accepted a batch of any host, in nanoseconds since 1970; 0 for never.
    pub last_export_unix_nanos: u64,
    /// Why the exporters of live hosts failed last; at most [`MOST_ERRORS`] of them.
    pub last_errors: Vec<HostError>,
}

/// The most errors that a [`Census`] keeps.
const MOST_ERRORS: usize = 8;

/// Why the exporter in a live host failed last. A user's program wrote the text, so it may be
/// anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// The host.
    pub identity: Identity,
    /// The text that its exporter wrote.
    pub text: String,
}

impl Census {
    /// Counts everything in `folder`.
    pub fn take(folder: &LedgerFolder) -> io::Result<Self> {
        let mut census = Self::default();
        for entry in folder.list()? {
            census.bytes = census.bytes.saturating_add(entry.bytes);
            match census.add(&entry) {
                Ok(()) => census.ledgers += 1,
                Err(LedgerError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                // The host is still making the file, or died while it did. The file holds nothing.
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
