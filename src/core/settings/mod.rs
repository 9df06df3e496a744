//! The settings: where each comes from, what it may be, and what it is instead if it is malformed.
//!
//! Highest first: group policy, the installer's registry key, `MPR_OTEL_*`, some
//! `OTEL_EXPORTER_OTLP_*`, the default. A malformed value is reported and replaced by the default,
//! never by a lower source: a typing error in a policy must not hand the setting to the host's
//! environment.

mod bounds;
mod list;
mod lookup;
mod parse;
mod resolve;

pub use bounds::Bounds;
pub use list::{DELIVERY_AGENT, DELIVERY_IN_PROCESS, Name};
pub use lookup::{Lookup, System};
#[cfg(windows)]
pub use lookup::{MACHINE_KEY, POLICY_KEY};
pub use parse::ProcessPattern;

use http::{HeaderName, HeaderValue, Uri};
use resolve::Resolver;
use std::path::PathBuf;
use std::time::Duration;

/// How finished operations reach the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A thread in the host sends them.
    InProcess,
    /// The host only writes its ledger; the agent sends for all.
    Agent,
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
pub enum Origin {
    /// `HKLM\SOFTWARE\Policies\mpr-otel`.
    Policy,
    /// `HKLM\SOFTWARE\mpr-otel`.
    Registry,
    /// The setting's own environment variable.
    Environment,
    /// This variable of OpenTelemetry's own.
    OtelEnvironment(&'static str),
    /// Nobody set it.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Policy => "group policy",
            Self::Registry => "registry",
            Self::Environment => "environment",
            Self::OtelEnvironment(variable) => variable,
            Self::Default => "default",
        })
    }
}

/// One setting as it was resolved, for `mpr-otel status` and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which setting.
    pub name: Name,
    /// The value in use; secrets are masked.
    pub value: String,
    /// Where the value in use came from.
    pub origin: Origin,
    /// The value that was refused, and why.
    pub malformed: Option<Malformed>,
}

/// A value that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where it came from.
    pub origin: Origin,
    /// What was wrong and what to write instead.
    pub problem: String,
}

/// Every setting of this process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Kill switch: the exported functions return at once.
    pub disabled: bool,
    /// Full URL that spans are posted to.
    pub endpoint: Uri,
    /// Headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Time a request may take in all.
    pub timeout: Duration,
    /// Compression of requests.
    pub compression: Compression,
    /// PEM file of the only authorities to trust; `None`: the system's.
    pub ca_certificate: Option<PathBuf>,
    /// Who sends.
    pub delivery: Delivery,
    /// Folder of the ledgers.
    pub ledger_dir: PathBuf,
    /// How large the folder may grow.
    pub ledger_bounds: Bounds,
    /// Spans in a request, at most.
    pub batch_max: usize,
    /// The longest a finished operation waits for others.
    pub batch_delay: Duration,
    /// Host programs to leave alone.
    pub exclude_processes: Vec<ProcessPattern>,
    /// When an open operation of a live host is reported as unfinished.
    pub unfinished_after: Duration,
    /// `service.name`.
    pub service_name: String,
    /// Further resource attributes.
    pub resource_attributes: Vec<(String, String)>,
    /// File for diagnostics.
    pub log: Option<PathBuf>,
    /// How each setting came to its value, in the order of the documentation.
    pub reports: Vec<Report>,
}

impl Settings {
    /// Resolves every setting. Never fails: see the [module](self).
    pub fn resolve(lookup: &dyn Lookup) -> Self {
        let mut from = Resolver::new(lookup);
        let disabled = from.setting(&list::DISABLED);
        let endpoint = from.setting(&list::ENDPOINT);
        // Credentials and trust belong to the endpoint they were meant for: a host's own OTLP
        // headers never travel to an endpoint that somebody else configured.
        from.ignore_otel(!matches!(from.origin(), Origin::OtelEnvironment(_) | Origin::Default));
        let headers = from.setting(&list::HEADERS);
        let ca_certificate = from.setting(&list::CA_CERTIFICATE);
        from.ignore_otel(false);
        Self {
            disabled,
            endpoint,
            headers,
            ca_certificate,
            timeout: from.setting(&list::TIMEOUT),
            compression: from.setting(&list::COMPRESSION),
            delivery: from.setting(&list::DELIVERY),
            ledger_dir: from.setting(&list::LEDGER_DIR),
            ledger_bounds: Bounds {
                files: from.setting(&list::LEDGER_MAX_FILES),
                bytes: from.setting(&list::LEDGER_MAX_MIB) << 20,
                age: from.setting(&list::LEDGER_MAX_AGE),
            },
            batch_max: from.setting(&list::BATCH_MAX),
            batch_delay: from.setting(&list::BATCH_DELAY),
            exclude_processes: from.setting(&list::EXCLUDE_PROCESSES),
            unfinished_after: from.setting(&list::UNFINISHED_AFTER),
            service_name: from.setting(&list::SERVICE_NAME),
            resource_attributes: from.setting(&list::RESOURCE_ATTRIBUTES),
            log: from.setting(&list::LOG),
            reports: from.into_reports(),
        }
    }

    /// Whether the host `executable` is to be left alone.
    pub fn excludes(&self, executable: &str) -> bool {
        self.exclude_processes.iter().any(|pattern| pattern.matches(executable))
    }
}

#[cfg(test)]
mod tests;
