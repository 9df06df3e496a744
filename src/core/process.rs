//! Who the host is.

use crate::platform;
use std::sync::Arc;

/// What every span says of its process, read once at start-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// File name of the program, such as `explorer.exe`; empty if it cannot be told.
    pub executable: Arc<str>,
    /// Windows session (the user's logon or RDP session); `None` where there are none.
    pub session_id: Option<u32>,
}

impl Identity {
    /// The identity of this process.
    pub fn current() -> Self {
        let executable = std::env::current_exe()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_default();
        Self {
            pid: std::process::id(),
            executable: executable.into(),
            session_id: platform::session_id(),
        }
    }
}
