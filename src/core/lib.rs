//! The code that all processes of mpr-otel share: the ledger, and all steps from an operation to
//! OTLP.
//!
//! It is linked into the notification DLL, and so loaded into every program that maps a drive. Data
//! flows one way:
//!
//! ```text
//! abi, wide ─> ledger ─> operation ─> privacy ─> span ─> courier ─> OTLP
//!                 └─ intake: operations of other processes' ledgers, for the agent's store
//! ```
//!
//! The crate has no stable Rust API.

#![deny(missing_docs)]

pub mod abi;

pub mod attribute;
pub mod clock;
pub mod control_page;
pub mod courier;
pub mod credentials;
#[cfg(any(windows, test))]
mod expand;
pub mod folder;
pub mod intake;
pub mod ledger;
pub mod machine;
pub mod operation;
pub mod origin;
pub mod platform;
pub mod privacy;
pub mod process;
pub mod remote_name;
pub mod resource;
pub mod settings;
pub mod span;
pub mod stop;
pub mod sync;
pub mod trace_context;
pub mod wide;
pub mod win32_error;
