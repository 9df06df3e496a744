use super::*;
use std::collections::HashMap;

/// A machine of the test's own making.
#[derive(Default)]
struct Machine {
    policy: HashMap<String, String>,
    registry: HashMap<String, String>,
    environment: HashMap<String, String>,
}

impl Machine {
    fn policy(mut self, name: &str, value: &str) -> Self {
        self.policy.insert(name.into(), value.into());
        self
    }

    fn registry(mut self, name: &str, value: &str) -> Self {
        self.registry.insert(name.into(), value.into());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn settings(&self) -> Settings {
        Settings::resolve(self)
    }
}

impl Lookup for Machine {
    fn policy(&self, name: &str) -> Option<String> {
        self.policy.get(name).cloned()
    }
    fn machine(&self, name: &str) -> Option<String> {
        self.registry.get(name).cloned()
    }
    fn environment(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }
}

fn report<'a>(settings: &'a Settings, variable: &str) -> &'a Report {
    settings
        .reports
        .iter()
        .find(|report| report.name.variable == variable)
        .expect("every setting has a report")
}

#[test]
fn an_empty_machine_gets_the_documented_defaults() {
    let settings = Machine::default().settings();
    assert!(!settings.disabled);
    assert_eq!(settings.endpoint, "http://127.0.0.1:4318/v1/traces");
    assert!(settings.headers.is_empty());
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert_eq!(settings.compression, Compression::Gzip);
    assert_eq!(settings.ca_certificate, None);
    assert_eq!(settings.delivery, Delivery::InProcess);
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(settings.ledger_bounds, Bounds { files: 500, bytes: 512 << 20, age: week });
    assert_eq!(settings.batch_max, 512);
    assert_eq!(settings.batch_delay, Duration::from_secs(1));
    assert!(settings.exclude_processes.is_empty());
    assert_eq!(settings.unfinished_after, Duration::from_secs(600));
    assert_eq!(settings.service_name, "mpr-otel");
    assert_eq!(settings.log, None);
    assert_eq!(settings.reports.len(), 18);
    assert!(settings.reports.iter().all(|report| report.origin == Origin::Default));
}

#[test]
fn policy_beats_registry_beats_environment_beats_otel() {
    let otel = Machine::default().env("OTEL_EXPORTER_OTLP_TIMEOUT", "1");
    assert_eq!(otel.settings().timeout, Duration::from_millis(1));
    let environment = otel.env("MPR_OTEL_TIMEOUT_MS", "2");
    assert_eq!(environment.settings().timeout, Duration::from_millis(2));
    let registry = environment.registry("TimeoutMs", "3");
    assert_eq!(registry.settings().timeout, Duration::from_millis(3));
    let policy = registry.policy("TimeoutMs", "4");
    let settings = policy.settings();
    assert_eq!(settings.timeout, Duration::from_millis(4));
    assert_eq!(report(&settings, "MPR_OTEL_TIMEOUT_MS").origin, Origin::Policy);
}

#[test]
fn an_empty_value_counts_as_unset() {
    let machine = Machine::default().policy("Endpoint", "  ").env("MPR_OTEL_ENDPOINT", "http://a");
    assert_eq!(machine.settings().endpoint, "http://a/v1/traces");
}

#[test]
fn a_malformed_value_is_reported_and_replaced_by_the_default_not_by_a_lower_source() {
    let machine = Machine::default()
        .policy("Endpoint", "ftp://files")
        .env("MPR_OTEL_ENDPOINT", "http://elsewhere");
    let settings = machine.settings();
    assert_eq!(settings.endpoint, "http://127.0.0.1:4318/v1/traces");
    let report = report(&settings, "MPR_OTEL_ENDPOINT");
    assert_eq!(report.origin, Origin::Default);
    let malformed = report.malformed.as_ref().expect("reported");
    assert_eq!(malformed.origin, Origin::Policy);
    assert!(malformed.problem.contains("ftp://files"));
}

#[test]
fn every_setting_survives_a_malformed_value() {
    for (variable, value) in [
        ("MPR_OTEL_DISABLED", "maybe"),
        ("MPR_OTEL_ENDPOINT", "127.0.0.1:4318"),
        ("MPR_OTEL_ENDPOINT", "http://"),
        ("MPR_OTEL_ENDPOINT", "http://a b"),
        ("MPR_OTEL_HEADERS", "no-equals"),
        ("MPR_OTEL_HEADERS", "bad name=1"),
        ("MPR_OTEL_HEADERS", "a=line%0D%0Abreak"),
        ("MPR_OTEL_TIMEOUT_MS", "0"),
        ("MPR_OTEL_TIMEOUT_MS", "ten"),
        ("MPR_OTEL_COMPRESSION", "zstd"),
        ("MPR_OTEL_CA_CERTIFICATE", "relative.pem"),
        ("MPR_OTEL_DELIVERY", "pigeon"),
        ("MPR_OTEL_LEDGER_DIR", "relative"),
        ("MPR_OTEL_BATCH_MAX", "0"),
        ("MPR_OTEL_BATCH_DELAY_MS", "-1"),
        ("MPR_OTEL_UNFINISHED_AFTER_MS", "18446744073709551616"),
        ("MPR_OTEL_RESOURCE_ATTRIBUTES", "=x"),
        ("MPR_OTEL_LOG", "relative.log"),
    ] {
        let settings = Machine::default().env(variable, value).settings();
        let report = report(&settings, variable);
        assert!(report.malformed.is_some(), "{variable}={value} was accepted");
        assert_eq!(report.origin, Origin::Default, "{variable}={value}");
    }
}

#[test]
fn base_urls_get_the_path_for_traces_and_the_traces_variable_is_used_as_it_is() {
    for (base, full) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/", "https://c/otlp/v1/traces"),
    ] {
        let machine = Machine::default().env("MPR_OTEL_ENDPOINT", base);
        assert_eq!(machine.settings().endpoint, full);
        let machine = Machine::default().env("OTEL_EXPORTER_OTLP_ENDPOINT", base);
        assert_eq!(machine.settings().endpoint, full);
    }
    let machine = Machine::default()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/traces");
    assert_eq!(machine.settings().endpoint, "http://c/traces");
}

#[test]
fn the_hosts_otlp_headers_follow_the_hosts_endpoint_only() {
    let host = Machine::default()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/host.pem");
    assert_eq!(host.settings().headers.len(), 1);
    let ours = host.env("MPR_OTEL_ENDPOINT", "http://ours");
    let settings = ours.settings();
    assert!(settings.headers.is_empty());
    assert_eq!(settings.ca_certificate, None);
    let both = ours.env("MPR_OTEL_HEADERS", "authorization=Basic%20eDp5,x=1");
    let settings = both.settings();
    assert_eq!(settings.headers.len(), 2);
    assert_eq!(settings.headers[0].1, "Basic eDp5");
}

#[test]
fn the_hosts_own_identity_is_ignored() {
    let settings = Machine::default()
        .env("OTEL_SERVICE_NAME", "host")
        .env("OTEL_RESOURCE_ATTRIBUTES", "a=b")
        .settings();
    assert_eq!(settings.service_name, "mpr-otel");
    assert!(settings.resource_attributes.is_empty());
}

#[test]
fn reports_hide_secrets() {
    let settings = Machine::default()
        .env("MPR_OTEL_ENDPOINT", "https://user:secret@c:1")
        .env("MPR_OTEL_HEADERS", "authorization=secret")
        .settings();
    assert!(!format!("{:?}", settings.reports).contains("secret"));
    assert_eq!(report(&settings, "MPR_OTEL_HEADERS").value, "authorization=***");
    assert_eq!(report(&settings, "MPR_OTEL_ENDPOINT").value, "https://***@c:1/v1/traces");
    let malformed = Machine::default().env("MPR_OTEL_HEADERS", "x=a,secret").settings();
    assert!(!format!("{:?}", malformed.reports).contains("secret"));
}

#[test]
fn process_patterns_match_whole_names_without_case() {
    let settings = Machine::default()
        .env("MPR_OTEL_EXCLUDE_PROCESSES", "MsMpEng.exe; backup*.exe,*agent*,a*b*c")
        .settings();
    for name in
        ["msmpeng.EXE", "backup.exe", "Backup-2.exe", "agent", "myagent.exe", "abc", "axbxc"]
    {
        assert!(settings.excludes(name), "{name}");
    }
    for name in ["explorer.exe", "xmsmpeng.exe", "backup.exe.bak", "acb", "ab", ""] {
        assert!(!settings.excludes(name), "{name}");
    }
}

#[test]
fn the_page_on_settings_lists_every_setting_and_no_other() {
    let page = include_str!("../../../docs/SETTINGS.md");
    let listed: Vec<(String, String)> = page
        .lines()
        .filter(|line| line.starts_with("| `MPR_OTEL_"))
        .map(|line| {
            let mut cells = line.split('`').skip(1).step_by(2).map(str::to_owned);
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
        })
        .collect();
    let settings = Machine::default().settings();
    let resolved: Vec<(String, String)> = settings
        .reports
        .iter()
        .map(|report| (report.name.variable.to_owned(), report.name.registry.to_owned()))
        .collect();
    assert_eq!(listed, resolved);
}
