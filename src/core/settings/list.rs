//! Every setting: its names, its default, how it is read and shown.

use super::parse::{self, ProcessPattern};
use super::{Compression, Delivery, Origin};
use crate::platform;
use http::{HeaderName, HeaderValue, Uri};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The two names of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Environment variable.
    pub variable: &'static str,
    /// Registry value.
    pub registry: &'static str,
}

/// How one setting is resolved.
pub(super) struct Setting<T> {
    pub(super) name: Name,
    /// OpenTelemetry's own variables that serve as the fourth source, highest first.
    pub(super) otel: &'static [&'static str],
    pub(super) default: fn() -> T,
    pub(super) parse: fn(&str, Origin) -> Result<T, String>,
    pub(super) show: fn(&T) -> String,
}

const fn name(variable: &'static str, registry: &'static str) -> Name {
    Name { variable, registry }
}

/// `MPR_OTEL_DELIVERY`: a thread in the host sends.
pub const DELIVERY_IN_PROCESS: &str = "in-process";
/// `MPR_OTEL_DELIVERY`: the agent sends.
pub const DELIVERY_AGENT: &str = "agent";

pub(super) const DISABLED: Setting<bool> = Setting {
    name: name("MPR_OTEL_DISABLED", "Disabled"),
    otel: &["OTEL_SDK_DISABLED"],
    default: || false,
    parse: |text, _| parse::boolean(text),
    show: bool::to_string,
};

pub(super) const ENDPOINT: Setting<Uri> = Setting {
    name: name("MPR_OTEL_ENDPOINT", "Endpoint"),
    otel: &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    default: || Uri::from_static("http://127.0.0.1:4318/v1/traces"),
    // OTLP spec: the traces variable is used as it is, a base URL gets the signal's path.
    parse: |text, origin| match origin {
        Origin::OtelEnvironment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") => parse::url(text),
        _ => parse::base_url(text),
    },
    show: |endpoint| parse::without_password(endpoint),
};

pub(super) const HEADERS: Setting<Vec<(HeaderName, HeaderValue)>> = Setting {
    name: name("MPR_OTEL_HEADERS", "Headers"),
    otel: &["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
    default: Vec::new,
    parse: |text, _| parse::headers(text),
    // Header values are credentials more often than not.
    show: |headers| {
        let masked: Vec<String> = headers.iter().map(|(name, _)| format!("{name}=***")).collect();
        masked.join(",")
    },
};

pub(super) const TIMEOUT: Setting<Duration> = Setting {
    name: name("MPR_OTEL_TIMEOUT_MS", "TimeoutMs"),
    otel: &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
    default: || Duration::from_secs(10),
    parse: |text, _| parse::milliseconds(text, 1..=600_000),
    show: milliseconds,
};

pub(super) const COMPRESSION: Setting<Compression> = Setting {
    name: name("MPR_OTEL_COMPRESSION", "Compression"),
    otel: &["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
    default: || Compression::Gzip,
    parse: |text, _| {
        parse::choice(text, &[("gzip", Compression::Gzip), ("none", Compression::None)])
    },
    show: |compression| match compression {
        Compression::Gzip => "gzip".to_owned(),
        Compression::None => "none".to_owned(),
    },
};

pub(super) const CA_CERTIFICATE: Setting<Option<PathBuf>> = Setting {
    name: name("MPR_OTEL_CA_CERTIFICATE", "CaCertificate"),
    otel: &["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"],
    default: || None,
    parse: |text, _| parse::local_path(text).map(Some),
    show: |path| path.as_deref().map_or_else(|| "system".to_owned(), path_text),
};

pub(super) const DELIVERY: Setting<Delivery> = Setting {
    name: name("MPR_OTEL_DELIVERY", "Delivery"),
    otel: &[],
    default: || Delivery::InProcess,
    parse: |text, _| {
        parse::choice(
            text,
            &[(DELIVERY_IN_PROCESS, Delivery::InProcess), (DELIVERY_AGENT, Delivery::Agent)],
        )
    },
    show: |delivery| match delivery {
        Delivery::InProcess => DELIVERY_IN_PROCESS.to_owned(),
        Delivery::Agent => DELIVERY_AGENT.to_owned(),
    },
};

pub(super) const LEDGER_DIR: Setting<PathBuf> = Setting {
    name: name("MPR_OTEL_LEDGER_DIR", "LedgerDir"),
    otel: &[],
    default: platform::default_ledger_dir,
    parse: |text, _| parse::local_path(text),
    show: |path| path_text(path),
};

pub(super) const LEDGER_MAX_FILES: Setting<usize> = Setting {
    name: name("MPR_OTEL_LEDGER_MAX_FILES", "LedgerMaxFiles"),
    otel: &[],
    default: || 500,
    parse: |text, _| parse::number(text, 0..=1_000_000).map(|number| number as usize),
    show: usize::to_string,
};

pub(super) const LEDGER_MAX_MIB: Setting<u64> = Setting {
    name: name("MPR_OTEL_LEDGER_MAX_MIB", "LedgerMaxMib"),
    otel: &[],
    default: || 512,
    parse: |text, _| parse::number(text, 0..=1_000_000),
    show: u64::to_string,
};

pub(super) const LEDGER_MAX_AGE: Setting<Duration> = Setting {
    name: name("MPR_OTEL_LEDGER_MAX_AGE_HOURS", "LedgerMaxAgeHours"),
    otel: &[],
    default: || Duration::from_secs(7 * 24 * 3600),
    parse: |text, _| {
        parse::number(text, 0..=100_000).map(|hours| Duration::from_secs(hours * 3600))
    },
    show: |age| (age.as_secs() / 3600).to_string(),
};

pub(super) const BATCH_MAX: Setting<usize> = Setting {
    name: name("MPR_OTEL_BATCH_MAX", "BatchMax"),
    otel: &[],
    default: || 512,
    parse: |text, _| parse::number(text, 1..=10_000).map(|number| number as usize),
    show: usize::to_string,
};

pub(super) const BATCH_DELAY: Setting<Duration> = Setting {
    name: name("MPR_OTEL_BATCH_DELAY_MS", "BatchDelayMs"),
    otel: &[],
    default: || Duration::from_secs(1),
    parse: |text, _| parse::milliseconds(text, 0..=600_000),
    show: milliseconds,
};

pub(super) const EXCLUDE_PROCESSES: Setting<Vec<ProcessPattern>> = Setting {
    name: name("MPR_OTEL_EXCLUDE_PROCESSES", "ExcludeProcesses"),
    otel: &[],
    default: Vec::new,
    parse: |text, _| Ok(parse::process_patterns(text)),
    show: |patterns| {
        let names: Vec<&str> = patterns.iter().map(ProcessPattern::as_str).collect();
        names.join(",")
    },
};

pub(super) const UNFINISHED_AFTER: Setting<Duration> = Setting {
    name: name("MPR_OTEL_UNFINISHED_AFTER_MS", "UnfinishedAfterMs"),
    otel: &[],
    default: || Duration::from_secs(600),
    parse: |text, _| parse::milliseconds(text, 1..=604_800_000),
    show: milliseconds,
};

pub(super) const SERVICE_NAME: Setting<String> = Setting {
    name: name("MPR_OTEL_SERVICE_NAME", "ServiceName"),
    otel: &[],
    default: || "mpr-otel".to_owned(),
    parse: |text, _| Ok(text.to_owned()),
    show: String::clone,
};

pub(super) const RESOURCE_ATTRIBUTES: Setting<Vec<(String, String)>> = Setting {
    name: name("MPR_OTEL_RESOURCE_ATTRIBUTES", "ResourceAttributes"),
    otel: &[],
    default: Vec::new,
    parse: |text, _| parse::pairs(text),
    show: |pairs| {
        let shown: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        shown.join(",")
    },
};

pub(super) const LOG: Setting<Option<PathBuf>> = Setting {
    name: name("MPR_OTEL_LOG", "Log"),
    otel: &[],
    default: || None,
    parse: |text, _| parse::local_path(text).map(Some),
    show: |path| path.as_deref().map_or_else(|| "off".to_owned(), path_text),
};

fn milliseconds(duration: &Duration) -> String {
    duration.as_millis().to_string()
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
