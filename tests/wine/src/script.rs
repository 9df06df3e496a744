//! What becomes of each operation, as the test that started the program wrote it down.

use mpr_otel_lab::double::Ended;
use serde::Deserialize;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use windows_sys::Win32::Foundation::ERROR_BAD_NET_NAME;

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
}

/// Performs the operation on whatever has one of these names. What the script does not know does
/// not exist.
pub fn perform(names: &[Option<String>]) -> Ended {
    static SCRIPT: OnceLock<Vec<Step>> = OnceLock::new();
    let script = SCRIPT.get_or_init(read);
    let found = script.iter().find(|step| {
        names.iter().flatten().any(|name| name.to_lowercase() == step.name.to_lowercase())
    });
    let Some(step) = found else {
        return Ended { status: ERROR_BAD_NET_NAME, provider: None };
    };
    thread::sleep(Duration::from_millis(step.takes_ms));
    Ended { status: step.status, provider: step.provider.clone() }
}

/// A program that was started without a script finds an empty network.
fn read() -> Vec<Step> {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return Vec::new();
    };
    let text = std::fs::read(path).map_err(|error| error.to_string());
    text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
        .unwrap_or_else(|error| {
            crate::notifyees::complain(&format!("{VARIABLE} is of no use: {error}"));
            Vec::new()
        })
}
