//! Where the text of a setting is read from.

use super::ENDPOINT;
#[cfg(windows)]
use super::environment::{ALLOW_ENVIRONMENT, Circumstances, is_service};
use super::reading::Reading;
#[cfg(windows)]
use super::reading::is_on;
#[cfg(windows)]
use super::registry::{AGENT_KEY, Key, MACHINE_KEY, POLICY_KEY};
#[cfg(windows)]
use crate::platform;

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
                allowed: is_on(allowed),
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

    #[test]
    fn a_host_reads_no_variable_of_open_telemetry() {
        // PATH stands for any variable: each process of the tests has it.
        assert_eq!(System::host().open_telemetry("PATH"), None);
        assert_eq!(System::program().open_telemetry("PATH"), System::program().environment("PATH"));
    }
}
