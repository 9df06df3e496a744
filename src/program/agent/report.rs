//! The agent's report about itself, written once a minute, because only one process can open its
//! store.

use super::trouble::Trouble;
use crate::store::{Store, StoreError};
use mpr_otel_core::clock;
use mpr_otel_core::intake::Sights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// The file's name, in the agent's folder.
pub(crate) const REPORT: &str = "status.json";
/// The report's file name until it is complete.
pub(crate) const UNFINISHED_REPORT: &str = "status.new";

/// An agent's report about itself. `seen = exported + pending + lost` always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When the report was written, in milliseconds since 1970.
    pub(crate) written_unix_ms: u64,
    /// When a collector last took spans, in milliseconds since 1970; `None` for never.
    pub(crate) last_export_unix_ms: Option<u64>,
    /// Since when the collector takes nothing, in milliseconds since 1970; `None` if it takes
    /// spans.
    pub(crate) blocked_since_unix_ms: Option<u64>,
    /// Why it did not take the last batch.
    pub(crate) trouble: Option<String>,
    /// Operations that were taken over, and losses that were found.
    pub(crate) seen: u64,
    /// How many of these a collector has the span of.
    pub(crate) exported: u64,
    /// How many of these are in the store.
    pub(crate) pending: u64,
    /// How many of these are lost, by reason.
    pub(crate) lost: BTreeMap<String, u64>,
    /// Operations that were taken over a second time, and spans that were sent a second time.
    pub(crate) repeated: u64,
    /// Bytes in the store.
    pub(crate) store_bytes: u64,
    /// Ledgers of live hosts.
    pub(crate) live: usize,
    /// Files that are not touched.
    pub(crate) refused: usize,
    /// Users whose ledgers wait because their quota for this hour is used up.
    pub(crate) deferred: usize,
    /// Copies of damaged ledgers.
    pub(crate) damaged: usize,
}

impl Report {
    /// The report for this moment.
    pub(super) fn of(
        store: &Store,
        sights: Sights,
        trouble: Option<Trouble>,
    ) -> Result<Self, StoreError> {
        let counts = store.counts()?;
        let last_export = store.last_export()? / 1_000_000;
        Ok(Self {
            written_unix_ms: unix_ms(SystemTime::now()),
            last_export_unix_ms: Some(last_export).filter(|date| *date > 0),
            blocked_since_unix_ms: trouble.as_ref().map(|trouble| unix_ms(trouble.since)),
            trouble: trouble.map(|trouble| trouble.reason),
            seen: counts.seen(),
            exported: counts.exported(),
            pending: counts.pending(),
            lost: counts.lost(),
            repeated: counts.repeated(),
            store_bytes: store.bytes()?,
            live: sights.live,
            refused: sights.refused,
            deferred: sights.deferred,
            damaged: sights.damaged,
        })
    }

    /// Reads the report in `folder`; `None` if it is missing or cannot be read.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(REPORT)).ok()?).ok()
    }

    /// Writes the report into `folder`. A reader finds the old report or the new one, never a part.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let unfinished = folder.join(UNFINISHED_REPORT);
        std::fs::write(&unfinished, serde_json::to_vec(self)?)?;
        std::fs::rename(unfinished, folder.join(REPORT))
    }
}

/// A date in milliseconds since 1970.
fn unix_ms(date: SystemTime) -> u64 {
    clock::unix_nanos(date) / 1_000_000
}
