//! What becomes of each operation, as the test that started the program wrote it down.

use mpr_otel_lab::double::Ended;
use serde::Deserialize;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use windows_sys::Win32::Foundation::ERROR_BAD_NET_NAME;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

/// Names the script's file: a JSON list of [`Step`]s.
const VARIABLE: &str = "MPR_TEST_SCRIPT";

/// How operations on one name go.
#[derive(Debug, Deserialize)]
struct Step {
    /// A remote or local name; case does not count.
    name: String,
    /// Milliseconds that the operation takes.
    #[serde(default)]
    takes_ms: u64,
    /// The Win32 code it ends with.
    #[serde(default)]
    status: u32,
    /// The provider that did it.
    provider: Option<String>,
    /// What the call returns instead, as when MPR fails after the provider succeeded.
    returns: Option<u32>,
    /// Programs with this in their command line are not notified.
    not_notified: Option<String>,
    /// Programs with this in their command line are killed in the operation, as a task manager
    /// would.
    kills: Option<String>,
}

/// An operation on whatever has one of these names.
pub struct Operation(Option<&'static Step>);

impl Operation {
    /// Looks it up. What the script does not know does not exist.
    pub fn on(names: &[Option<String>]) -> Self {
        static SCRIPT: OnceLock<Vec<Step>> = OnceLock::new();
        let script = SCRIPT.get_or_init(read);
        Self(script.iter().find(|step| {
            names.iter().flatten().any(|name| name.to_lowercase() == step.name.to_lowercase())
        }))
    }

    /// Whether MPR notifies this program of it.
    pub fn is_notified(&self) -> bool {
        !self.0.is_some_and(|step| is_meant(step.not_notified.as_ref()))
    }

    pub fn perform(&self) -> Ended {
        let Some(step) = self.0 else {
            return Ended { status: ERROR_BAD_NET_NAME, provider: None };
        };
        thread::sleep(Duration::from_millis(step.takes_ms));
        if is_meant(step.kills.as_ref()) {
            terminate();
        }
        Ended { status: step.status, provider: step.provider.clone() }
    }

    /// What the call returns, if its provider ended with `status`.
    pub fn result(&self, status: u32) -> u32 {
        self.0.and_then(|step| step.returns).unwrap_or(status)
    }
}

/// Whether a step's word is in this program's command line.
fn is_meant(part: Option<&String>) -> bool {
    part.is_some_and(|part| std::env::args().any(|word| word.contains(part)))
}

/// Ends this process at once (TerminateProcess).
#[allow(unsafe_code)]
fn terminate() {
    // SAFETY: takes nothing.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the pseudo-handle of this process is always valid.
    unsafe { TerminateProcess(this, 9) };
}

/// A program that was started without a script finds an empty network.
fn read() -> Vec<Step> {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return Vec::new();
    };
    let text = std::fs::read(path).map_err(|error| error.to_string());
    text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
        .unwrap_or_else(|error| {
            crate::notifyees::complain(&format!("{VARIABLE} cannot be used: {error}"));
            Vec::new()
        })
}
