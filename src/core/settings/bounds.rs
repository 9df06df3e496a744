//! How much a ledger folder may hold.

use std::time::Duration;

/// How large the folder may grow while nobody takes the spans. 0 is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Ledger files.
    pub files: usize,
    /// Bytes of all ledger files.
    pub bytes: u64,
    /// Time since a dead host last wrote to its ledger.
    pub age: Duration,
}
