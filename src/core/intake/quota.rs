//! How much one owner's ledgers may use in an hour.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The length of the hour.
const HOUR: Duration = Duration::from_secs(3600);
/// How many ledgers of one owner are taken over in an hour.
const LEDGERS: u64 = 20_000;
/// How many operations of one owner are taken over in an hour.
const OPERATIONS: u64 = 200_000;
/// How many losses of one owner are counted in an hour if only a header claims them.
const CLAIMED: u64 = 10_000;
/// How many servers one owner's operations may name in an hour. Each server makes time series that
/// are kept for months.
const SERVERS: usize = 200;

/// How much one owner has used in this hour.
///
/// Ledgers and operations above the quota wait for the next hour. The system, administrators,
/// services and the user of this process have a quota of servers only, because they could do more
/// harm in other ways.
#[derive(Debug)]
pub(super) struct Quota {
    is_trusted: bool,
    began: Instant,
    ledgers: u64,
    operations: u64,
    claimed: u64,
    servers: HashSet<String>,
}

impl Quota {
    pub fn new(is_trusted: bool, now: Instant) -> Self {
        let servers = HashSet::new();
        Self { is_trusted, began: now, ledgers: 0, operations: 0, claimed: 0, servers }
    }

    /// Whether this owner has only a quota of servers.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Whether its hour is over.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= HOUR
    }

    /// Begins the next hour if this one is over.
    pub fn renew(&mut self, now: Instant) {
        if self.is_over(now) {
            *self = Self::new(self.is_trusted, now);
        }
    }

    /// When the owner's ledgers are looked at again. `None` if they are looked at now.
    pub fn spent_until(&self) -> Option<Instant> {
        let is_spent = self.ledgers >= LEDGERS || self.operations >= OPERATIONS;
        (is_spent && !self.is_trusted).then(|| self.began + HOUR)
    }

    /// Counts a ledger that was taken over.
    pub fn take_ledger(&mut self) {
        self.ledgers += 1;
    }

    /// Counts operations that were taken over or could not be read.
    pub fn take_operations(&mut self, count: u64) {
        self.operations = self.operations.saturating_add(count);
    }

    /// How many of these losses count.
    pub fn claim(&mut self, losses: u64) -> u64 {
        let room = if self.is_trusted { u64::MAX } else { CLAIMED.saturating_sub(self.claimed) };
        let counted = losses.min(room);
        self.claimed = self.claimed.saturating_add(counted);
        counted
    }

    /// Whether an operation on this server is sent with the server's name.
    pub fn admits(&mut self, server: &str) -> bool {
        if self.servers.contains(server) {
            return true;
        }
        let admitted = self.servers.len() < SERVERS;
        if admitted {
            self.servers.insert(server.to_owned());
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrusted_owner_has_a_quota_of_everything_in_each_hour() {
        let now = Instant::now();
        let mut quota = Quota::new(false, now);
        quota.take_operations(OPERATIONS - 1);
        assert_eq!(quota.spent_until(), None);
        quota.take_operations(1);
        assert_eq!(quota.spent_until(), Some(now + HOUR));
        assert_eq!((quota.claim(CLAIMED - 1), quota.claim(u64::MAX), quota.claim(1)), (9999, 1, 0));
        for server in 0..SERVERS {
            assert!(quota.admits(&server.to_string()));
        }
        assert!(!quota.admits("one more") && quota.admits("7"));
        quota.renew(now + HOUR - Duration::from_secs(1));
        assert!(quota.spent_until().is_some());
        quota.renew(now + HOUR);
        assert!(quota.spent_until().is_none() && quota.admits("one more") && quota.claim(1) == 1);
    }

    #[test]
    fn a_trusted_owner_has_a_quota_of_servers_only() {
        let mut quota = Quota::new(true, Instant::now());
        quota.take_operations(u64::MAX);
        (0..LEDGERS).for_each(|_| quota.take_ledger());
        assert_eq!((quota.spent_until(), quota.claim(u64::MAX)), (None, u64::MAX));
        assert_eq!((0..1000).filter(|server| quota.admits(&server.to_string())).count(), SERVERS);
    }
}
