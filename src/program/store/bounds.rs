//! How much the store keeps, and how long.

use super::{Key, OVERHEAD, Outcome, RECORDS, SHARES, boxed, give_up, of_owner, table};
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::settings::Settings;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use std::time::{Duration, Instant};

/// The reason of a loss when there was no room for the operation.
pub(super) const STORE_FULL: &str = "store_full";
/// In this time at most a tenth of the records is removed for their age. If the clock jumps, only
/// that much is lost before somebody notices.
const HOUR: Duration = Duration::from_secs(3600);
/// How many records are removed at a time to make room.
const AT_ONCE: usize = 64;

/// How much is kept, and how long. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes of the records.
    pub(crate) bytes: u64,
    /// The age, counted from the intake.
    pub(crate) age: Duration,
}

impl Bounds {
    /// The bounds in the settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { bytes: settings.store_max_mib << 20, age: settings.store_max_age }
    }

    /// Removes the oldest records of the owner who has most, until all records fit.
    pub(super) fn keep(&self, transaction: &WriteTransaction) -> Outcome<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        loop {
            let (mut sum, mut most) = (0, (0, 0));
            let shares = transaction.open_table(SHARES).map_err(boxed)?;
            for share in shares.iter().map_err(boxed)? {
                let (owner, share) = share.map_err(boxed)?;
                let bytes = share.value().0;
                sum += bytes;
                most = most.max((bytes, owner.value()));
            }
            drop(shares);
            if sum <= self.bytes {
                return Ok(());
            }
            let mut excess = sum - self.bytes;
            let mut keys = Vec::new();
            let records = transaction.open_table(RECORDS).map_err(boxed)?;
            for record in records.range(of_owner(most.1)).map_err(boxed)?.take(AT_ONCE) {
                let (key, value) = record.map_err(boxed)?;
                keys.push(key.value());
                excess = excess.saturating_sub(value.value().1.len() as u64 + OVERHEAD);
                if excess == 0 {
                    break;
                }
            }
            drop(records);
            give_up(transaction, &keys, STORE_FULL)?;
        }
    }

    /// Whether a record is too old.
    pub(super) fn has_old(&self, transaction: &ReadTransaction, now: u64) -> Outcome<bool> {
        let Some(records) = table(transaction.open_table(RECORDS))? else { return Ok(false) };
        let Some(shares) = table(transaction.open_table(SHARES))? else { return Ok(false) };
        Ok(!self.old(&records, &shares, now, 1)?.is_empty())
    }

    /// Removes records that are too old, but in any hour no more than a tenth of those that were
    /// there. Returns how many were removed.
    pub(super) fn remove_old(
        &self,
        transaction: &WriteTransaction,
        now: u64,
        ageing: &mut Option<(Instant, u64)>,
    ) -> Outcome<u64> {
        let keys = {
            let records = transaction.open_table(RECORDS).map_err(boxed)?;
            let shares = transaction.open_table(SHARES).map_err(boxed)?;
            let (began, allowed) = match *ageing {
                Some((began, allowed)) if began.elapsed() < HOUR => (began, allowed),
                _ => {
                    let mut count = 0_u64;
                    for share in shares.iter().map_err(boxed)? {
                        count += share.map_err(boxed)?.1.value().1;
                    }
                    (Instant::now(), count.div_ceil(10))
                }
            };
            let limit = usize::try_from(allowed).unwrap_or(usize::MAX);
            let keys = self.old(&records, &shares, now, limit)?;
            *ageing = Some((began, allowed - keys.len() as u64));
            keys
        };
        give_up(transaction, &keys, Loss::Expired.name())?;
        Ok(keys.len() as u64)
    }

    /// The first `limit` records that are too old. A record that was taken in after `now` is not
    /// old.
    fn old(
        &self,
        records: &impl ReadableTable<Key, (u64, &'static [u8])>,
        shares: &impl ReadableTable<u32, (u64, u64)>,
        now: u64,
        limit: usize,
    ) -> Outcome<Vec<Key>> {
        let mut keys = Vec::new();
        if self.age.is_zero() {
            return Ok(keys);
        }
        let age = u64::try_from(self.age.as_nanos()).unwrap_or(u64::MAX);
        for share in shares.iter().map_err(boxed)? {
            let owner = share.map_err(boxed)?.0.value();
            for record in records.range(of_owner(owner)).map_err(boxed)? {
                let (key, value) = record.map_err(boxed)?;
                if keys.len() >= limit || now.saturating_sub(value.value().0) <= age {
                    break;
                }
                keys.push(key.value());
            }
        }
        Ok(keys)
    }
}
