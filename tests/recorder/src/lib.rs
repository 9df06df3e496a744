//! A notification DLL that writes down every call of it, as it came: what an hour on a Windows
//! machine turns into facts. docs/WINDOWS.md says how to run it and what it is to find out.
//!
//! Each call becomes one line of JSON in `calls.jsonl` ([`file`]). The recorder allocates, opens a
//! file and starts a thread in every call, which a DLL in other people's programs must not do: it
//! is an experiment, and never ships.

#![cfg(windows)]

mod aside;
mod call;
mod file;
mod memory;
mod notify;
mod place;
mod stack;
mod token;
