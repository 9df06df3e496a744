//! What a notification and the exporter share in one process.

use crate::channel::Channel;
use mpr_otel_core::clock::Clock;
use mpr_otel_core::ledger::{Ledger, LedgerError};
use mpr_otel_core::origin::Origin;
use mpr_otel_core::settings::Settings;

/// The library in its host, from the first notification on.
#[derive(Debug)]
pub struct Host {
    pub ledger: Ledger,
    /// Why the ledger is not a file, if it is not.
    pub unprotected: Option<LedgerError>,
    /// To the exporter; `None` if the agent exports.
    pub channel: Option<Channel>,
    pub clock: Clock,
    /// What the spans share.
    pub origin: Origin,
    /// The settings as they were at start-up.
    pub settings: Settings,
}
