//! What one round of the intake found.

use super::foreign::{ForeignLedger, Found};
use super::watched::Watched;
use crate::ledger::{Access, Loss, Record};
use crate::operation::{Kind, Operation, Outcome};
use crate::origin::Origin;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

/// Why an operation is lost, beside a ledger's own reasons: the machine lost power over it.
pub const POWER_LOSS: &str = "power_loss";

/// Operations lost, by reason.
pub type Losses = BTreeMap<&'static str, u64>;

/// An operation that was found and is to be written down.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Whom the ledger belongs to, as the file system says: `uid 1000`, or a SID.
    pub owner: Arc<str>,
    /// What all operations of its ledger have in common.
    pub origin: Arc<Origin>,
    /// What was recorded.
    pub record: Record,
    /// Which operation it was.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its owner named so many servers in this hour that this one is `other`.
    pub server_is_other: bool,
    /// Losses of its host that its span reports.
    pub lost: u64,
}

impl Taken {
    /// What is stored for an operation, as it is decoded again to be sent.
    pub fn operation(&self) -> Option<Operation> {
        Operation::decode(&self.record)
    }
}

/// What a round found. Nothing in a ledger is changed until it is
/// [concluded](super::Intake::conclude).
#[derive(Debug, Default)]
pub struct Round {
    /// Operations.
    pub taken: Vec<Taken>,
    /// Losses that were found, with the seed that their ledger is known by.
    pub losses: Vec<([u64; 3], Losses)>,
    /// Dead hosts' ledgers that are removed with it.
    pub removed: u64,
    /// Of these, damaged ones.
    pub damaged: u64,
    /// Whether there is more to take at once.
    pub more: bool,
    pub(super) ledgers: Vec<Visited>,
    pub(super) discarded: Vec<Discarded>,
}

/// A ledger that something was found in.
#[derive(Debug)]
pub(super) struct Visited {
    pub name: OsString,
    pub watched: Watched,
    pub ledger: ForeignLedger,
    pub found: Found,
}

/// A file that holds nothing to take.
#[derive(Debug)]
pub(super) struct Discarded {
    pub name: OsString,
    pub watched: Watched,
    pub access: Access,
}

impl Round {
    /// Whether there is nothing to write down.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.losses.is_empty()
    }

    /// Counts losses of one ledger: those that were found, and of those that its header claims
    /// `counted`.
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
