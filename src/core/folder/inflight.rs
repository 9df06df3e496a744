//! The operations that are under way in live hosts. Reading them does not disturb the hosts.

use super::{Entry, LedgerFolder};
use crate::ledger::{Corruption, LedgerError, Record, SlotImage, state::Phase};
use crate::operation::Operation;
use crate::platform;
use crate::privacy::{Disclosed, Privacy};
use crate::process::Identity;
use std::io;
use std::time::Duration;

/// An operation under way.
#[derive(Clone, Debug)]
pub struct Inflight {
    /// The operation.
    pub operation: Disclosed,
    /// The host.
    pub identity: Identity,
    /// The user whom the host's ledger belongs to, as the file system says.
    pub user: String,
    /// How long it has been open.
    pub open_for: Duration,
}

/// All operations under way on this machine.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The operations. The one that has been open longest comes first.
    pub operations: Vec<Inflight>,
    /// How many live hosts were read.
    pub hosts: usize,
    /// Ledgers that are damaged or that this user may not read.
    pub unreadable: usize,
}

impl Snapshot {
    /// Reads the ledger of every live host. Contains only names that `privacy` lets leave the
    /// machine.
    pub fn take(folder: &LedgerFolder, privacy: &Privacy) -> io::Result<Self> {
        let mut snapshot = Self::default();
        for entry in folder.list()? {
            match look_at(&entry, privacy, &mut snapshot.operations) {
                Ok(live) => snapshot.hosts += usize::from(live),
                Err(LedgerError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                // The host is still making the file, or died while it did. The file holds nothing.
                Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. }) => {}
                Err(_) => snapshot.unreadable += 1,
            }
        }
        snapshot.operations.sort_by_key(|inflight| std::cmp::Reverse(inflight.open_for));
        Ok(snapshot)
    }
}

/// Adds the open operations of one ledger. Returns whether its host lives.
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
        // The slot is read again, because the host may have been writing while all slots were
        // copied.
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
