//! The identity of the host.

use crate::platform;
use std::sync::Arc;

/// What every span says about its process. Read once at start-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// File name of the program, such as `explorer.exe`; empty if it is not known.
    pub executable: Arc<str>,
    /// The Windows session (the user's logon or RDP session). `None` on systems without sessions.
    pub session_id: Option<u32>,
    /// The service that the process is, if the command line of svchost.exe names one.
    pub service: Option<Arc<str>>,
}

impl Identity {
    /// The identity of this process.
    pub fn current() -> Self {
        let executable = std::env::current_exe()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let service = executable
            .eq_ignore_ascii_case("svchost.exe")
            .then(|| service(std::env::args_os().map(|part| part.to_string_lossy().into_owned())))
            .flatten();
        Self {
            pid: std::process::id(),
            executable: executable.into(),
            session_id: platform::session_id(),
            service,
        }
    }
}

/// The text after `-s` in a command line such as `svchost.exe -k netsvcs -p -s Schedule`.
fn service(mut command_line: impl Iterator<Item = String>) -> Option<Arc<str>> {
    command_line.find(|part| part.eq_ignore_ascii_case("-s"))?;
    command_line.next().filter(|name| !name.is_empty()).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_command_line() {
        let named = |line: &str| service(line.split(' ').map(str::to_owned));
        assert_eq!(named("svchost.exe -k netsvcs -p -s Schedule").as_deref(), Some("Schedule"));
        assert_eq!(named("svchost.exe -k netsvcs -p"), None);
        assert_eq!(named("svchost.exe -k netsvcs -s"), None);
    }
}
