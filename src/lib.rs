//! mpr-otel: one OpenTelemetry span for every drive and share mapping of a Windows machine.
//!
//! The library is a notification DLL for Windows' multiple provider router (MPR). Its two
//! exports, [`AddConnectNotify`] and [`CancelConnectNotify`], run in whatever program maps a
//! drive; everything else runs on a thread of our own. Data flows one way:
//!
//! ```text
//! MPR ─> notify ─ writes ─> ledger (a mapped file per process)
//!           └──── signals ─> channel ─> exporter: pairing ─> operation ─> span ─> OTLP
//! ```
//!
//! As a Rust library it carries the pieces that the `mpr-otel` program and the tests share; it
//! promises no stable Rust API.

pub mod abi;
pub mod adoption;
pub mod agent;
mod channel;
pub mod clock;
pub mod courier;
mod diagnostics;
mod doorbell;
pub mod double;
mod exporter;
mod host;
pub mod ledger;
mod notify;
pub mod operation;
pub mod origin;
mod pairing;
pub mod platform;
pub mod process;
pub mod receiver;
pub mod remote_name;
pub mod resource;
pub mod settings;
pub mod simulation;
pub mod span;
mod start;
mod sync;
pub mod trace_context;
mod wide;
pub mod win32_error;

pub use notify::{AddConnectNotify, CancelConnectNotify};
