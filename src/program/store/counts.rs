//! What happened to operations, counted by the agent as it happens.

use super::bounds::STORE_FULL;
use super::{COUNTS, Outcome, SHARES, TOLD, boxed, table};
use mpr_otel_core::intake::POWER_LOSS;
use mpr_otel_core::ledger::Loss;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;

/// Operations that were taken over, and losses that were found.
pub(super) const SEEN: &str = "seen";
/// Operations whose span a collector has.
pub(super) const EXPORTED: &str = "exported";
/// Operations lost, by reason.
pub(super) const LOST: &str = "lost";
/// Every reason for which an operation is lost.
pub(crate) const LOSSES: [&str; 8] = {
    let [a, b, c, d, e, f] = Loss::ALL;
    [a.name(), b.name(), c.name(), d.name(), e.name(), f.name(), POWER_LOSS, STORE_FULL]
};
/// Operations that were found in a ledger again, and spans that were sent again.
pub(super) const REPEATED: &str = "repeated";
/// Operations that were taken over, by outcome and class.
pub(super) const ENDED: &str = "ended";
/// Operations in the store. Computed, and never stored.
pub(super) const PENDING: &str = "pending";

/// Numbers, by what they count and by up to two more words: a reason, or an outcome and a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<(String, String, String), u64>);

impl Counts {
    /// Adds `count` to one of the numbers.
    pub(super) fn add(&mut self, (what, first, second): (&str, &str, &str), count: u64) {
        if count > 0 {
            *self.0.entry((what.to_owned(), first.to_owned(), second.to_owned())).or_default() +=
                count;
        }
    }

    fn sum(&self, what: &str) -> u64 {
        self.0.iter().filter(|((key, ..), _)| key == what).map(|(_, count)| count).sum()
    }

    /// Operations that were taken over, and losses that were found: `exported + pending + lost`.
    pub(crate) fn seen(&self) -> u64 {
        self.sum(SEEN)
    }

    /// Operations whose span a collector has.
    pub(crate) fn exported(&self) -> u64 {
        self.sum(EXPORTED)
    }

    /// Operations that wait in the store.
    pub(crate) fn pending(&self) -> u64 {
        self.sum(PENDING)
    }

    /// Operations that were found in a ledger again, and spans that were sent again.
    pub(crate) fn repeated(&self) -> u64 {
        self.sum(REPEATED)
    }

    /// Operations lost, by reason.
    pub(crate) fn lost(&self) -> BTreeMap<String, u64> {
        let lost = self.0.iter().filter(|((what, ..), _)| what == LOST);
        lost.map(|((_, reason, _), count)| (reason.clone(), *count)).collect()
    }

    /// Operations that were taken over, by outcome and class. Most outcomes have no class.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let ended = self.0.iter().filter(|((what, ..), _)| what == ENDED);
        ended.map(|((_, outcome, class), count)| (outcome.as_str(), class.as_str(), *count))
    }

    /// Whether everything that is counted has been reported.
    pub(super) fn is_told(transaction: &ReadTransaction) -> Outcome<bool> {
        Ok(Self::in_table(transaction, COUNTS)? == Self::in_table(transaction, TOLD)?)
    }

    fn in_table(
        transaction: &ReadTransaction,
        definition: TableDefinition<(&str, &str, &str), u64>,
    ) -> Outcome<Self> {
        let mut counts = Self::default();
        if let Some(stored) = table(transaction.open_table(definition))? {
            counts.read(&stored)?;
        }
        Ok(counts)
    }

    /// The counts in a store.
    pub(super) fn of(transaction: &ReadTransaction) -> Outcome<Self> {
        let mut counts = Self::in_table(transaction, COUNTS)?;
        if let Some(shares) = table(transaction.open_table(SHARES))? {
            for share in shares.iter().map_err(boxed)? {
                counts.add((PENDING, "", ""), share.map_err(boxed)?.1.value().1);
            }
        }
        Ok(counts)
    }

    fn read(
        &mut self,
        stored: &impl ReadableTable<(&'static str, &'static str, &'static str), u64>,
    ) -> Outcome<()> {
        for count in stored.iter().map_err(boxed)? {
            let (key, count) = count.map_err(boxed)?;
            self.add(key.value(), count.value());
        }
        Ok(())
    }

    /// Adds these numbers to the counts in the store.
    pub(super) fn add_to(&self, transaction: &WriteTransaction) -> Outcome<()> {
        let mut stored = transaction.open_table(COUNTS).map_err(boxed)?;
        for ((what, first, second), count) in &self.0 {
            let key = (what.as_str(), first.as_str(), second.as_str());
            let before = stored.get(key).map_err(boxed)?.map_or(0, |before| before.value());
            stored.insert(key, before + count).map_err(boxed)?;
        }
        Ok(())
    }

    /// What was counted since the last call.
    pub(super) fn tell(transaction: &WriteTransaction) -> Outcome<Self> {
        let (mut now, mut grown) = (Self::default(), Self::default());
        now.read(&transaction.open_table(COUNTS).map_err(boxed)?)?;
        let mut told = transaction.open_table(TOLD).map_err(boxed)?;
        for ((what, first, second), count) in &now.0 {
            let key = (what.as_str(), first.as_str(), second.as_str());
            let before = told.insert(key, count).map_err(boxed)?.map_or(0, |before| before.value());
            grown.add(key, count - before);
        }
        Ok(grown)
    }
}
