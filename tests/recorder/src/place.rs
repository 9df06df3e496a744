//! When and where a call came.

#![allow(unsafe_code)] // This file meets Win32.

use crate::stack;
use crate::token::{self, Token};
use mpr_otel_core::platform;
use serde::Serialize;
use std::path::PathBuf;
use std::ptr::null_mut;
use windows_sys::Win32::Foundation::SYSTEMTIME;
use windows_sys::Win32::System::SystemInformation::GetSystemTime;

/// By two clocks.
#[derive(Clone, Debug, Serialize)]
pub struct Time {
    /// UTC, as RFC 3339 writes it.
    utc: String,
    /// The performance counter, in nanoseconds: the same for all processes.
    counter_ns: u64,
}

impl Time {
    pub fn now() -> Self {
        let mut time = SYSTEMTIME::default();
        // SAFETY: `time` is writable.
        unsafe { GetSystemTime(&mut time) };
        let date = format!("{:04}-{:02}-{:02}", time.wYear, time.wMonth, time.wDay);
        let clock = format!("{:02}:{:02}:{:02}", time.wHour, time.wMinute, time.wSecond);
        Self {
            utc: format!("{date}T{clock}.{:03}Z", time.wMilliseconds),
            counter_ns: platform::awake_nanos(),
        }
    }
}

/// The process that was called in.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    id: u32,
    image: Option<PathBuf>,
    /// What this DLL was built for, and so what the process is.
    architecture: &'static str,
    session: Option<u32>,
    token: Option<Token>,
}

impl Process {
    pub fn current() -> Self {
        Self {
            id: std::process::id(),
            image: stack::file_name(null_mut()),
            architecture: std::env::consts::ARCH,
            session: platform::session_id(),
            token: token::of_process(),
        }
    }
}

/// The thread that was called on.
#[derive(Clone, Debug, Serialize)]
pub struct Thread {
    id: u32,
    /// The token that it impersonates with; null if it has the process'.
    token: Option<Token>,
}

impl Thread {
    pub fn current() -> Self {
        Self { id: platform::thread_id(), token: token::of_thread() }
    }
}
