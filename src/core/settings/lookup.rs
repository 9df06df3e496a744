//! Where the text of a setting is read from.

use super::ENDPOINT;
#[cfg(windows)]
use super::environment::{ALLOW_ENVIRONMENT, Circumstances, is_service};
#[cfg(windows)]
use super::registry::{AGENT_KEY, Key, MACHINE_KEY, POLICY_KEY};
#[cfg(windows)]
use super::resolve;
#[cfg(windows)]
use crate::platform;

/// What a registry key holds for a value: its text, or `None` if the key or the value does not
/// exist.
pub type Reading = Result<Option<String>, Unusable>;

/// Why a registry value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The value cannot be read. It could be `Disabled`, so this process is switched off.
    Unreadable(RegistryError),
    /// The value is wrong. The text says why, and what to write instead.
    Malformed(String),
}

/// The key or the value exists, but Windows did not let this process read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    r"HKLM\{key} cannot be read (error {code:#010x}); give all users the right to read the key, or remove it"
)]
pub struct RegistryError {
    /// The key, under `HKEY_LOCAL_MACHINE`.
    pub key: &'static str,
    /// What Windows said, as an HRESULT.
    pub code: i32,
}

impl RegistryError {
    /// Judges an HRESULT. `Ok(None)` means that the key or the value does not exist. After any
    /// other code it may exist.
    #[cfg_attr(not(windows), allow(dead_code))] // Elsewhere there is no registry.
    pub(super) fn unless_absent<T>(key: &'static str, code: i32) -> Result<Option<T>, Self> {
        // ERROR_FILE_NOT_FOUND and ERROR_PATH_NOT_FOUND (winerror.h, HRESULT_FROM_WIN32).
        match code.cast_unsigned() {
            0x8007_0002 | 0x8007_0003 => Ok(None),
            _ => Err(Self { key, code }),
        }
    }
}

/// The sources of raw values. An empty value counts as unset.
pub trait Lookup {
    /// Value `name` of the group policy's registry key.
    fn policy(&self, name: &str) -> Reading;
    /// Value `name` of the installer's registry key.
    fn machine(&self, name: &str) -> Reading;
    /// Value `name` of the agent's registry key, the only place of a secret. Processes that must
    /// not have the secret get nothing. `None` if this system has no such key: then a secret stands
    /// where every other setting does.
    fn secret(&self, name: &str) -> Option<Reading>;
    /// Variable `name` of the process' environment, `MPR_OTEL_*` or `TRACEPARENT`, if it counts.
    fn environment(&self, name: &str) -> Option<String>;
    /// OpenTelemetry's variable `name`, if OpenTelemetry's variables count.
    fn open_telemetry(&self, name: &str) -> Option<String>;
}

/// The sources of this machine and this process.
#[derive(Debug)]
pub struct System {
    #[cfg(windows)]
    policy: Key,
    #[cfg(windows)]
    machine: Key,
    /// `None` if this process gets no secrets.
    #[cfg(windows)]
    agent: Option<Key>,
    environment: bool,
    open_telemetry: bool,
}

impl System {
    /// The sources for a host or a service. OpenTelemetry's variables do not count, because they
    /// are the host program's own.
    pub fn host() -> Self {
        Self::open(false)
    }

    /// The sources for a program in the foreground, whose environment was set by a person for it.
    pub fn program() -> Self {
        Self::open(true)
    }

    /// Adds the secrets, for the agent, `drain` and `status`. On other systems than Windows every
    /// process has them.
    #[must_use]
    pub fn with_secrets(self) -> Self {
        #[cfg(windows)]
        return Self { agent: Some(Key::open(AGENT_KEY)), ..self };
        #[cfg(not(windows))]
        self
    }

    /// Whether this process' environment counts.
    pub fn environment_counts(&self) -> bool {
        self.environment
    }

    fn open(open_telemetry: bool) -> Self {
        #[cfg(windows)]
        {
            let (policy, machine) = (Key::open(POLICY_KEY), Key::open(MACHINE_KEY));
            let allowed = [&policy, &machine].map(|key| key.read(ALLOW_ENVIRONMENT));
            // If a fact cannot be found out, the strictest answer is assumed.
            let circumstances = Circumstances {
                allowed: resolve::is_on(allowed),
                elevated: platform::is_elevated().unwrap_or(true),
                service: platform::session_id()
                    .zip(platform::user_sid().ok())
                    .is_none_or(|(session, user)| is_service(session, &user)),
                impersonating: platform::is_impersonating().unwrap_or(true),
            };
            let environment = circumstances.environment_counts();
            Self { policy, machine, agent: None, environment, open_telemetry }
        }
        #[cfg(not(windows))]
        Self { environment: true, open_telemetry }
    }
}

impl Lookup for System {
    #[cfg(windows)]
    fn policy(&self, name: &str) -> Reading {
        self.policy.read(name)
    }

    #[cfg(windows)]
    fn machine(&self, name: &str) -> Reading {
        self.machine.read(name)
    }

    #[cfg(windows)]
    fn secret(&self, name: &str) -> Option<Reading> {
        Some(self.agent.as_ref().map_or(Ok(None), |agent| agent.read(name)))
    }

    #[cfg(not(windows))]
    fn policy(&self, _name: &str) -> Reading {
        Ok(None)
    }

    #[cfg(not(windows))]
    fn machine(&self, _name: &str) -> Reading {
        Ok(None)
    }

    #[cfg(not(windows))]
    fn secret(&self, _name: &str) -> Option<Reading> {
        None
    }

    fn environment(&self, name: &str) -> Option<String> {
        let value = self.environment.then(|| std::env::var_os(name)).flatten()?;
        Some(value.to_string_lossy().into_owned())
    }

    fn open_telemetry(&self, name: &str) -> Option<String> {
        self.open_telemetry.then(|| self.environment(name)).flatten()
    }
}

/// The sources of `lookup`, except that an endpoint given here wins over all of them.
#[derive(Debug)]
pub struct WithEndpoint<'a, L> {
    lookup: L,
    endpoint: Option<&'a str>,
}

impl<'a, L: Lookup> WithEndpoint<'a, L> {
    /// These sources with this endpoint, if there is one.
    pub fn new(lookup: L, endpoint: Option<&'a str>) -> Self {
        Self { lookup, endpoint }
    }
}

impl<L: Lookup> Lookup for WithEndpoint<'_, L> {
    fn policy(&self, name: &str) -> Reading {
        match self.endpoint {
            Some(endpoint) if name == ENDPOINT => Ok(Some(endpoint.to_owned())),
            _ => self.lookup.policy(name),
        }
    }

    fn machine(&self, name: &str) -> Reading {
        self.lookup.machine(name)
    }

    fn secret(&self, name: &str) -> Option<Reading> {
        self.lookup.secret(name)
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.lookup.environment(name)
    }

    fn open_telemetry(&self, name: &str) -> Option<String> {
        self.lookup.open_telemetry(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a Win32 code as the HRESULT that HRESULT_FROM_WIN32 makes of it.
    fn judged(code: u32) -> Result<Option<()>, RegistryError> {
        RegistryError::unless_absent("KEY", (code | 0x8007_0000).cast_signed())
    }

    #[test]
    fn only_a_key_or_value_that_is_not_there_counts_as_no_setting() {
        for not_found in [2, 3] {
            assert_eq!(judged(not_found), Ok(None), "{not_found}");
        }
        // Access denied, sharing violation, no memory, corrupt, I/O error, key deleted, more data,
        // no service.
        for other in [0, 1, 5, 6, 8, 13, 32, 234, 1009, 1015, 1016, 1017, 1018, 1072, 1450, 1722] {
            assert!(judged(other).is_err(), "{other}");
        }
        // The same numbers in another facility are other errors.
        assert!(RegistryError::unless_absent::<()>("KEY", 2).is_err());
    }

    #[test]
    fn a_host_reads_no_variable_of_open_telemetry() {
        // PATH stands for any variable: each process of the tests has it.
        assert_eq!(System::host().open_telemetry("PATH"), None);
        assert_eq!(System::program().open_telemetry("PATH"), System::program().environment("PATH"));
    }
}
