//! The settings: where each value comes from, which values are valid, and what replaces a malformed
//! one.
//!
//! The sources, highest first: group policy, the installer's registry key, `MPR_OTEL_*`, some
//! `OTEL_EXPORTER_OTLP_*`, the default. On Windows the environment counts only in ordinary
//! processes, and only if the registry allows it. OpenTelemetry's variables never count in a host
//! or a service. A malformed value is reported and replaced by the default, never by a lower
//! source, because a typing error in a policy must not give the setting to the host's environment.
//! If the registry cannot be read, the process is disabled.
//!
//! On Windows a secret has one source, the agent's registry key, and only the agent reads it. A
//! host has no secret. No secret is sent to an endpoint that the environment named.

mod certificate_name;
mod dfs_root;
mod environment;
mod list;
mod lookup;
mod parse;
mod pattern;
mod proxy;
mod reading;
#[cfg(windows)]
mod registry;
mod resolve;
mod table;

pub use certificate_name::CertificateName;
pub use dfs_root::DfsRoot;
pub use environment::{ALLOW_ENVIRONMENT, Circumstances};
pub use list::{
    ALL, ALLOW_INSECURE, CLIENT_CERTIFICATE, DELIVERY_AGENT, DELIVERY_IN_PROCESS, ENDPOINT,
    Settings,
};
pub use lookup::{Lookup, System, WithEndpoint};
pub(crate) use parse::is_on_this_machine;
pub use pattern::NamePattern;
pub use proxy::Proxy;
pub use reading::{Reading, RegistryError, Unusable};
#[cfg(windows)]
pub use registry::{AGENT_KEY, MACHINE_KEY, POLICY_KEY, unknown_values};
use resolve::Resolver;
pub use table::{Form, Name, Row};

/// How finished operations reach the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// A thread in the host sends them.
    InProcess,
    /// The host only writes its ledger; the agent sends for all.
    Agent,
}

impl DeliveryMode {
    /// How the setting names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => DELIVERY_IN_PROCESS,
            Self::Agent => DELIVERY_AGENT,
        }
    }
}

/// How much of a name leaves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivacyLevel {
    /// Whole names.
    Full,
    /// Nothing below the share, and no name of a private share.
    Share,
    /// The server's name, but no name of a share or drive.
    None,
}

impl PrivacyLevel {
    /// The level's name as it is written in the setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Share => "share",
            Self::None => "none",
        }
    }
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `Content-Encoding: gzip`.
    Gzip,
    /// Not at all.
    None,
}

/// Where a setting's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `HKLM\SOFTWARE\Policies\mpr-otel`.
    Policy,
    /// `HKLM\SOFTWARE\mpr-otel`.
    Registry,
    /// `HKLM\SOFTWARE\mpr-otel\Agent`, for secrets alone.
    Agent,
    /// The setting's own environment variable.
    Environment,
    /// This variable of OpenTelemetry.
    OtelEnvironment(&'static str),
    /// No source has a value.
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Policy => "group policy",
            Self::Registry => "registry",
            Self::Agent => "agent's registry key",
            Self::Environment => "environment",
            Self::OtelEnvironment(variable) => variable,
            Self::Default => "default",
        })
    }
}

/// Where each setting's value came from, in the order of the documentation. Reports are made only
/// on request: a host makes none.
#[derive(Clone, Debug)]
pub struct Reports(Vec<SettingReport>);

impl Reports {
    /// The report of the setting with this registry value.
    pub fn of(&self, registry: &str) -> Option<&SettingReport> {
        self.iter().find(|report| report.name.registry == registry)
    }

    /// All reports.
    pub fn iter(&self) -> std::slice::Iter<'_, SettingReport> {
        self.0.iter()
    }
}

impl IntoIterator for Reports {
    type Item = SettingReport;
    type IntoIter = std::vec::IntoIter<SettingReport>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// One setting as it was resolved, for `mpr-otel status` and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingReport {
    /// Which setting.
    pub name: Name,
    /// The value in use; secrets are masked.
    pub value: String,
    /// Where the value in use came from.
    pub source: Source,
    /// The value that was refused, and why.
    pub malformed: Option<Malformed>,
    /// The source in which every user can read this secret, if there is one. The secret is not used
    /// from there.
    pub exposed: Option<Source>,
}

/// A value that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where it came from.
    pub source: Source,
    /// What was wrong and what to write instead.
    pub problem: String,
}

impl Settings {
    /// Resolves every setting. Never fails: see the [module](self).
    pub fn resolve(lookup: &dyn Lookup) -> Self {
        Self::by(&mut Resolver::new(lookup))
    }

    /// Resolves every setting, and reports how each came to its value.
    pub fn resolve_with_reports(lookup: &dyn Lookup) -> (Self, Reports) {
        let mut resolver = Resolver::with_reports(lookup);
        let settings = Self::by(&mut resolver);
        (settings, resolver.into_reports())
    }

    fn by(resolver: &mut Resolver<'_>) -> Self {
        let mut settings = Self::each(resolver);
        settings.disabled |= settings.unreadable.is_some();
        settings
    }

    /// Whether the host `executable` must not be recorded.
    pub fn excludes(&self, executable: &str) -> bool {
        self.exclude_processes.iter().any(|pattern| pattern.matches(executable))
    }
}

#[cfg(test)]
mod tests;
