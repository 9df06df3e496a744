//! What one round of the intake found.

use super::foreign::{ForeignLedger, Found};
use super::watched::Watched;
use crate::ledger::{Access, Loss, Record};
use crate::operation::{Kind, Operation, Outcome};
use crate::origin::Origin;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

/// The reason of a loss when the machine lost power during an operation. A ledger's header does not
/// count this reason.
pub const POWER_LOSS: &str = "power_loss";

/// Operations lost, by reason.
pub type Losses = BTreeMap<&'static str, u64>;

/// An operation that was found and has to be written down.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The user whom the ledger belongs to, as the file system says: `uid 1000`, or a SID.
    pub owner: Arc<str>,
    /// What all operations of its ledger have in common.
    pub origin: Arc<Origin>,
    /// What was recorded.
    pub record: Record,
    /// Which operation it was.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the server's name is replaced by `other`, because the owner named too many servers
    /// in this hour.
    pub server_is_other: bool,
    /// How many losses of its host the span reports.
    pub lost: u64,
}

impl Taken {
    /// The operation as it will be decoded again when it is sent.
    pub fn operation(&self) -> Option<Operation> {
        Operation::decode(&self.record)
    }
}

/// What a round found. Nothing in a ledger is changed until it is
/// [concluded](super::Intake::conclude).
#[derive(Debug, Default)]
pub struct Round {
    /// The operations.
    pub taken: Vec<Taken>,
    /// The losses, each with the seed of its ledger.
    pub losses: Vec<([u64; 3], Losses)>,
    /// How many ledgers of dead hosts are removed when the round is concluded.
    pub removed: u64,
    /// How many of these are damaged.
    pub damaged: u64,
    /// Whether more can be taken at once.
    pub more: bool,
    pub(super) ledgers: Vec<Visited>,
    pub(super) discarded: Vec<Discarded>,
}

/// A ledger in which something was found.
#[derive(Debug)]
pub(super) struct Visited {
    pub name: OsString,
    pub watched: Watched,
    pub ledger: ForeignLedger,
    pub found: Found,
}

/// A file that holds nothing to take over.
#[derive(Debug)]
pub(super) struct Discarded {
    pub name: OsString,
    pub watched: Watched,
    pub access: Access,
}

impl Round {
    /// Whether nothing was found that must be written down.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.losses.is_empty()
    }

    /// Counts losses of one ledger: the losses that were found, and `counted` of those that its
    /// header claims.
    pub(super) fn lose(
        &mut self,
        ledger: [u64; 3],
        (reason, found): (&'static str, u64),
        claimed: &[u64],
        mut counted: u64,
    ) {
        let mut losses = Losses::new();
        let mut add = |reason, count| {
            if count > 0 {
                *losses.entry(reason).or_default() += count;
            }
        };
        add(reason, found);
        for (loss, count) in Loss::ALL.iter().zip(claimed) {
            let count = counted.min(*count);
            counted -= count;
            add(loss.name(), count);
        }
        if !losses.is_empty() {
            self.losses.push((ledger, losses));
        }
    }
}
