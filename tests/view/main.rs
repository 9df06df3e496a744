//! The fleet's view is true: a simulated fleet, and the library itself, send through the gateway
//! that ships to a real Prometheus; every query of every dashboard and rule that ships is asked,
//! and its answer is compared with what really happened.
//!
//! `cargo xtask test --fleet` builds the servers and runs this (Cargo.toml).
#![cfg(unix)]
// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boards;
mod expect;
