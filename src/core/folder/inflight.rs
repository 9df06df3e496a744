//! What is open right now: operations under way in live hosts, read without disturbing them.

use super::{Entry, LedgerFolder};
use crate::ledger::{Corruption, LedgerError, Record, SlotImage, state::Phase};
use crate::operation::Operation;
use crate::platform;
use crate::privacy::{Disclosed, Privacy};
use crate::process::Identity;
use std::io;
use std::time::Duration;

/// An operation that is under way.
#[derive(Clone, Debug)]
pub struct Inflight {
    /// What it is.
    pub operation: Disclosed,
    /// Whose it is.
    pub identity: Identity,
    /// The user that the file system says the host belongs to.
    pub user: String,
    /// For how long it has been open.
    pub open_for: Duration,
}

/// All that is open on this machine.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The operations, the one that has been open for longest first.
    pub operations: Vec<Inflight>,
    /// Live hosts that were asked.
    pub hosts: usize,
    /// Ledgers that this user may not read, or that are damaged.
    pub unreadable: usize,
}

impl Snapshot {
    /// Looks at every live host. Names are those that `privacy` lets out.
    pub fn take(folder: &LedgerFolder, privacy: &Privacy) -> io::Result<Self> {
        let mut snapshot = Self::default();
        for entry in folder.list()? {
            match look_at(&entry, privacy, &mut snapshot.operations) {
                Ok(live) => snapshot.hosts += usize::from(live),
                Err(LedgerError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                // Its host is making it, or died over it: nothing is in it.
                Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. }) => {}
                Err(_) => snapshot.unreadable += 1,
            }
        }
        snapshot.operations.sort_by_key(|inflight| std::cmp::Reverse(inflight.open_for));
        Ok(snapshot)
    }
}

/// Adds what is open in one ledger. Returns whether its host lives.
fn look_at(
    entry: &Entry,
    privacy: &Privacy,
    operations: &mut Vec<Inflight>,
) -> Result<bool, LedgerError> {
    let failed = |source| LedgerError::File { what: "read", path: entry.path.clone(), source };
    let access = entry.open()?;
    let header = access.header()?;
    if !access.is_owned().map_err(failed)? {
        return Ok(false);
    }
    let mut open = Vec::new();
    access
        .all_slots(&header, |slot, image| {
            if is_open(&image) {
                open.push((slot, image.generation));
            }
        })
        .map_err(failed)?;
    let user = platform::owner_of(access.file()).map_err(failed)?.name;
    for (slot, generation) in open {
        // Read again: the host may have been writing while all of it was copied.
        let Some(image) = access.slot(&header, slot).map_err(failed)? else { continue };
        if !is_open(&image) || image.generation != generation {
            continue;
        }
        let mut body = image.body;
        body.provider_units = 0;
        let record = Record { unfinished: true, number: image.number(slot), body };
        let now = header.now();
        operations.extend(Operation::decode(&record).map(|operation| Inflight {
            open_for: Duration::from_nanos(now.saturating_sub(operation.started)),
            operation: privacy.disclose(operation),
            identity: header.origin.identity.clone(),
            user: user.clone(),
        }));
    }
    Ok(true)
}

fn is_open(image: &SlotImage) -> bool {
    matches!(image.phase, Some(Phase::Open | Phase::Completing))
}
