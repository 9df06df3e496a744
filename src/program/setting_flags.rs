//! One flag for each setting, as `mpr-otel install` takes them.

use crate::answer::Failure;
use clap::Args;
use mpr_otel_core::settings::{Lookup, Report, Settings};

/// Settings to write for the whole machine. An empty value removes the setting.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings for this machine; an empty value removes one")]
pub(super) struct SettingFlags {
    /// Switch everything off: true or false
    #[arg(long, value_name = "BOOLEAN")]
    disabled: Option<String>,
    /// Base URL of the collector; /v1/traces is appended
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Headers of every request; every user of this machine can read them
    #[arg(long, value_name = "NAME=VALUE,...")]
    headers: Option<String>,
    /// PEM file of the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_certificate: Option<String>,
    /// Time a request may take in all
    #[arg(long, value_name = "MILLISECONDS")]
    timeout_ms: Option<String>,
    /// gzip or none
    #[arg(long, value_name = "METHOD")]
    compression: Option<String>,
    /// in-process: each program sends its own spans; agent: the agent sends for all
    #[arg(long, value_name = "MODE")]
    delivery: Option<String>,
    /// Folder of the ledgers, on a local disk
    #[arg(long, value_name = "FOLDER")]
    ledger_dir: Option<String>,
    /// Ledger files kept while the collector is away; 0 for any number
    #[arg(long, value_name = "NUMBER")]
    ledger_max_files: Option<String>,
    /// MiB of ledger files kept while the collector is away; 0 for any size
    #[arg(long, value_name = "NUMBER")]
    ledger_max_mib: Option<String>,
    /// How long a dead program's ledger is kept while the collector is away; 0 for ever
    #[arg(long, value_name = "HOURS")]
    ledger_max_age_hours: Option<String>,
    /// Spans in a request, at most
    #[arg(long, value_name = "NUMBER")]
    batch_max: Option<String>,
    /// The longest that a finished span waits for others
    #[arg(long, value_name = "MILLISECONDS")]
    batch_delay_ms: Option<String>,
    /// Programs to leave alone, by file name; * stands for anything
    #[arg(long, value_name = "NAME,...")]
    exclude_processes: Option<String>,
    /// When an operation that has not ended is reported as unfinished
    #[arg(long, value_name = "MILLISECONDS")]
    unfinished_after_ms: Option<String>,
    /// service.name of all spans
    #[arg(long, value_name = "NAME")]
    service_name: Option<String>,
    /// Further resource attributes of all spans
    #[arg(long, value_name = "KEY=VALUE,...")]
    resource_attributes: Option<String>,
    /// File for diagnostics, on a local disk
    #[arg(long, value_name = "FILE")]
    log: Option<String>,
}

impl SettingFlags {
    /// Checks every value as the DLL will, before anything is written. Returns what is to be
    /// written, secrets masked for showing.
    pub(super) fn check(&self) -> Result<Vec<Report>, Failure> {
        let mut given = Settings::resolve(self).reports;
        given.retain(|report| self.machine(report.name.registry).is_some());
        let malformed = given.iter().find_map(|report| Some((report, report.malformed.as_ref()?)));
        match malformed {
            None => Ok(given),
            Some((report, malformed)) => {
                Err(format!("{}: {}", flag(report.name.variable), malformed.problem).into())
            }
        }
    }

    /// Registry values and what they are to be.
    pub(super) fn values(&self) -> [(&'static str, Option<&str>); 18] {
        [
            ("Disabled", self.disabled.as_deref()),
            ("Endpoint", self.endpoint.as_deref()),
            ("Headers", self.headers.as_deref()),
            ("CaCertificate", self.ca_certificate.as_deref()),
            ("TimeoutMs", self.timeout_ms.as_deref()),
            ("Compression", self.compression.as_deref()),
            ("Delivery", self.delivery.as_deref()),
            ("LedgerDir", self.ledger_dir.as_deref()),
            ("LedgerMaxFiles", self.ledger_max_files.as_deref()),
            ("LedgerMaxMib", self.ledger_max_mib.as_deref()),
            ("LedgerMaxAgeHours", self.ledger_max_age_hours.as_deref()),
            ("BatchMax", self.batch_max.as_deref()),
            ("BatchDelayMs", self.batch_delay_ms.as_deref()),
            ("ExcludeProcesses", self.exclude_processes.as_deref()),
            ("UnfinishedAfterMs", self.unfinished_after_ms.as_deref()),
            ("ServiceName", self.service_name.as_deref()),
            ("ResourceAttributes", self.resource_attributes.as_deref()),
            ("Log", self.log.as_deref()),
        ]
    }
}

/// The flags alone, as if they stood in the registry already.
impl Lookup for SettingFlags {
    fn policy(&self, _name: &str) -> Option<String> {
        None
    }

    fn machine(&self, name: &str) -> Option<String> {
        let (_, value) = self.values().into_iter().find(|(registry, _)| *registry == name)?;
        value.map(str::to_owned)
    }

    fn environment(&self, _name: &str) -> Option<String> {
        None
    }
}

/// The flag that sets what `variable` sets.
fn flag(variable: &str) -> String {
    let name = variable.strip_prefix("MPR_OTEL_").unwrap_or(variable);
    format!("--{}", name.to_ascii_lowercase().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args;

    #[test]
    fn every_setting_has_its_flag_and_its_registry_value() {
        let command = SettingFlags::augment_args(clap::Command::new("install"));
        let mut flags: Vec<String> = command
            .get_arguments()
            .map(|argument| format!("--{}", argument.get_long().unwrap()))
            .collect();
        let none = SettingFlags::default();
        let reports = Settings::resolve(&none).reports;
        let mut expected: Vec<String> =
            reports.iter().map(|report| flag(report.name.variable)).collect();
        flags.sort();
        expected.sort();
        assert_eq!(flags, expected);
        let mut values: Vec<&str> = none.values().iter().map(|(name, _)| *name).collect();
        let mut names: Vec<&str> = reports.iter().map(|report| report.name.registry).collect();
        values.sort();
        names.sort();
        assert_eq!(values, names);
    }

    #[test]
    fn a_malformed_value_is_refused_with_the_name_of_its_flag() {
        let flags = SettingFlags { timeout_ms: Some("soon".to_owned()), ..SettingFlags::default() };
        let problem = flags.check().unwrap_err().to_string();
        assert!(problem.starts_with("--timeout-ms: `soon` is not a whole number"), "{problem}");
    }

    #[test]
    fn headers_are_masked_and_empty_values_are_no_error() {
        let flags = SettingFlags {
            headers: Some("authorization=secret".to_owned()),
            log: Some(String::new()),
            ..SettingFlags::default()
        };
        let given = flags.check().unwrap();
        let shown: Vec<&str> = given.iter().map(|report| report.value.as_str()).collect();
        assert_eq!(shown, ["authorization=***", "off"]);
    }
}
