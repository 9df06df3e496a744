//! A network provider for Wine that plays MPR's part of the notification contract.
//!
//! Wine's mpr.dll knows no notification DLLs, but it does load network providers. This one loads
//! the registered notification DLLs as MPR would, and surrounds each operation, which a script
//! decides, by PRE and POST. So a program that nobody changed takes the way
//! `WNetAddConnection2W -> mpr.dll -> here -> mpr_otel.dll`.

#![cfg(windows)]

mod notifyees;
mod provider;
mod script;
