//! mpr-otel's notification DLL: one OpenTelemetry span for every drive and share mapping.
//!
//! Windows' multiple provider router (MPR) loads it into whatever program maps a drive, and calls
//! its two exports, `AddConnectNotify` and `CancelConnectNotify`. Everything else runs on a thread
//! that the library starts. Data flows one way:
//!
//! ```text
//! MPR ─> notify ─ writes ─> ledger (a mapped file per process)
//!           └──── signals ─> channel ─> exporter: pairing ─> operation ─> span ─> OTLP
//! ```

mod allocator;
mod channel;
mod doorbell;
mod exporter;
mod host;
mod notify;
mod pairing;
mod start;

use mpr_otel_core::sync;
