use super::*;
use std::collections::HashMap;
use std::time::Duration;

/// A machine whose sources the test sets.
#[derive(Default)]
struct Machine {
    policy: HashMap<String, String>,
    registry: HashMap<String, String>,
    environment: HashMap<String, String>,
    /// What this process finds in the agent's key. `None` if there is no such key.
    secrets: Option<HashMap<String, Reading>>,
    /// A registry value that cannot be read.
    unreadable: Option<&'static str>,
}

const DENIED: RegistryError = RegistryError { key: "KEY", code: 0x8007_0005_u32.cast_signed() };

impl Machine {
    fn policy(mut self, name: &str, value: &str) -> Self {
        self.policy.insert(name.into(), value.into());
        self
    }

    fn registry(mut self, name: &str, value: &str) -> Self {
        self.registry.insert(name.into(), value.into());
        self
    }

    /// Makes it like Windows; this process finds nothing in the agent's key.
    fn windows(mut self) -> Self {
        self.secrets.get_or_insert_default();
        self
    }

    /// Makes it like Windows; this process finds this value in the agent's key.
    fn secret(mut self, name: &str, reading: Reading) -> Self {
        self.secrets.get_or_insert_default().insert(name.into(), reading);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn settings(&self) -> Settings {
        Settings::resolve(self)
    }

    fn endpoint(&self) -> String {
        self.settings().endpoint.map(|url| url.to_string()).unwrap_or_default()
    }

    fn reports(&self) -> Reports {
        Settings::resolve_with_reports(self).1
    }

    fn report(&self, registry: &str) -> SettingReport {
        self.reports().of(registry).expect("every setting has a report").clone()
    }
}

impl Lookup for Machine {
    fn policy(&self, name: &str) -> Reading {
        match self.unreadable {
            Some(unreadable) if unreadable == name => Err(Unusable::Unreadable(DENIED)),
            _ => Ok(self.policy.get(name).cloned()),
        }
    }
    fn machine(&self, name: &str) -> Reading {
        match self.registry.get(name) {
            Some(text) if text.contains("%TEMP%") => Err(Unusable::Malformed("unknown".into())),
            text => Ok(text.cloned()),
        }
    }
    fn secret(&self, name: &str) -> Option<Reading> {
        Some(self.secrets.as_ref()?.get(name).cloned().unwrap_or(Ok(None)))
    }
    fn environment(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }
    fn open_telemetry(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }
}

/// The endpoint if no setting names one.
fn default_endpoint() -> String {
    if cfg!(windows) { "" } else { "http://127.0.0.1:4318/v1/traces" }.to_owned()
}

#[test]
fn an_empty_machine_gets_the_documented_defaults() {
    let machine = Machine::default();
    let settings = machine.settings();
    assert!(!settings.disabled && !settings.allow_environment && !settings.allow_insecure);
    assert_eq!(machine.endpoint(), default_endpoint());
    assert_eq!(settings.endpoint.is_none(), cfg!(windows));
    assert!(settings.headers.is_empty());
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert_eq!(settings.compression, Compression::Gzip);
    assert_eq!((settings.ca_certificate, settings.client_certificate), (None, None));
    assert_eq!(settings.proxy, Proxy::System);
    assert_eq!(settings.delivery, DeliveryMode::InProcess);
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!((settings.store_max_mib, settings.store_max_age), (512, week));
    assert_eq!(settings.batch_max, 512);
    assert_eq!(settings.batch_delay, Duration::from_secs(1));
    assert!(settings.exclude_processes.is_empty());
    assert_eq!(settings.unfinished_after, Duration::from_secs(600));
    assert_eq!(settings.service_name, "mpr-otel");
    assert_eq!(settings.log, None);
    assert!(machine.reports().iter().all(|report| report.source == Source::Default));
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
    assert_eq!(policy.settings().timeout, Duration::from_millis(4));
    assert_eq!(policy.report("TimeoutMs").source, Source::Policy);
}

#[test]
fn an_empty_value_counts_as_unset() {
    let machine = Machine::default().policy("Endpoint", "  ").env("MPR_OTEL_ENDPOINT", "https://a");
    assert_eq!(machine.endpoint(), "https://a/v1/traces");
}

#[test]
fn a_malformed_value_is_reported_and_replaced_by_the_default_not_by_a_lower_source() {
    let machine = Machine::default()
        .policy("Endpoint", "ftp://files")
        .env("MPR_OTEL_ENDPOINT", "https://elsewhere");
    assert_eq!(machine.endpoint(), default_endpoint());
    let report = machine.report("Endpoint");
    assert_eq!(report.source, Source::Default);
    let malformed = report.malformed.as_ref().expect("reported");
    assert_eq!(malformed.source, Source::Policy);
    assert!(malformed.problem.contains("http://127.0.0.1:4318"));
    assert!(!malformed.problem.contains("ftp://files"), "it may have a password in it");
}

#[test]
fn every_setting_survives_a_malformed_value() {
    for (name, value) in [
        ("Disabled", "maybe"),
        ("AllowEnvironment", "maybe"),
        ("AllowInsecure", "yes"),
        ("LedgerDir", r"%TEMP%\x"),
        ("Endpoint", "127.0.0.1:4318"),
        ("Endpoint", "http://"),
        ("Endpoint", "http://a b"),
        ("Headers", "no-equals"),
        ("Headers", "bad name=1"),
        ("Headers", "a=line%0D%0Abreak"),
        ("TimeoutMs", "0"),
        ("TimeoutMs", "ten"),
        ("Compression", "zstd"),
        ("CaCertificate", "relative.pem"),
        ("ClientCertificate", "0123456789ABCDEF0123456789ABCDEF0123456"),
        ("Proxy", "proxy:8080"),
        ("Delivery", "pigeon"),
        ("LedgerDir", "relative"),
        ("BatchMax", "0"),
        ("BatchDelayMs", "-1"),
        ("UnfinishedAfterMs", "18446744073709551616"),
        ("ResourceAttributes", "=x"),
        ("Log", "relative.log"),
    ] {
        let report = Machine::default().registry(name, value).report(name);
        assert!(report.malformed.is_some(), "{name}={value} was accepted");
        assert_eq!(report.source, Source::Default, "{name}={value}");
    }
}

#[test]
fn a_base_url_that_has_the_path_for_traces_already_is_refused() {
    for url in ["https://c:4318/v1/traces", "https://c/otlp/v1/traces/"] {
        let machine = Machine::default().policy("Endpoint", url);
        let malformed = machine.report("Endpoint").malformed.expect("malformed");
        assert!(malformed.problem.contains("leave it out"), "{}", malformed.problem);
    }
}

#[test]
fn base_urls_get_the_path_for_traces_and_the_traces_variable_is_used_as_it_is() {
    for (base, full) in [
        ("https://c:4318", "https://c:4318/v1/traces"),
        ("https://c:4318/", "https://c:4318/v1/traces"),
        ("https://c/otlp/", "https://c/otlp/v1/traces"),
    ] {
        let machine = Machine::default().env("MPR_OTEL_ENDPOINT", base);
        assert_eq!(machine.endpoint(), full);
        let machine = Machine::default().env("OTEL_EXPORTER_OTLP_ENDPOINT", base);
        assert_eq!(machine.endpoint(), full);
    }
    let machine = Machine::default()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://base")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/traces");
    assert_eq!(machine.endpoint(), "https://c/traces");
}

#[test]
fn the_hosts_otlp_headers_follow_the_hosts_endpoint_only() {
    let host = Machine::default()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://host")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/host.pem");
    assert_eq!(host.settings().headers.len(), 1);
    let ours = host.env("MPR_OTEL_ENDPOINT", "https://ours");
    let settings = ours.settings();
    assert!(settings.headers.is_empty());
    assert_eq!(settings.ca_certificate, None);
    let both = ours.env("MPR_OTEL_HEADERS", "authorization=Basic%20eDp5,x=1");
    let settings = both.settings();
    assert_eq!(settings.headers.len(), 2);
    assert_eq!(settings.headers[0].1, "Basic eDp5");
}

#[test]
fn a_file_of_authorities_is_refused_on_windows_with_what_to_do_instead() {
    let file = if cfg!(windows) { r"C:\ca.pem" } else { "/ca.pem" };
    let report = Machine::default().registry("CaCertificate", file).report("CaCertificate");
    if cfg!(windows) {
        let problem = report.malformed.expect("refused").problem;
        assert!(problem.contains("group policy"), "{problem}");
        assert_eq!(report.value, "system");
    } else {
        assert_eq!((&*report.value, report.malformed), (file, None));
    }
}

#[test]
fn a_client_certificate_is_the_machines_and_only_for_windows() {
    let machine = Machine::default().policy("ClientCertificate", "agent01.corp.example");
    let report = machine.report("ClientCertificate");
    assert_eq!(report.malformed.is_none(), cfg!(windows), "{report:?}");
    assert_eq!(machine.settings().client_certificate.is_some(), cfg!(windows));
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
    let secrets: Vec<Name> = ALL.iter().filter(|row| row.secret).map(|row| row.name).collect();
    assert_eq!(secrets, [Name { registry: "Headers" }]);
    for name in secrets {
        for value in ["authorization=secret", "secret", "x=a,secret", "x=a%0Dsecret"] {
            let reports = Machine::default().policy(name.registry, value).reports();
            assert!(!format!("{reports:?}").contains("secret"), "{name:?}={value}");
        }
    }
    let machine = Machine::default()
        .env("MPR_OTEL_ENDPOINT", "https://user:secret@c:1")
        .env("MPR_OTEL_HEADERS", "authorization=secret");
    assert_eq!(machine.report("Headers").value, "authorization=***");
    assert_eq!(machine.report("Endpoint").value, "https://***@c:1/v1/traces");
}

/// A Windows machine whose registry names the endpoint and has the agent's secret.
fn agents_windows() -> Machine {
    Machine::default()
        .registry("Endpoint", "https://c")
        .secret("Headers", Ok(Some("authorization=secret".to_owned())))
}

#[test]
fn on_windows_a_secret_comes_only_from_the_agents_key() {
    let agent = agents_windows();
    assert_eq!(agent.settings().headers[0].1, "secret");
    let report = agent.report("Headers");
    assert_eq!((&*report.value, report.source), ("authorization=***", Source::Agent));
    assert_eq!((report.malformed, report.exposed), (None, None));

    let elsewhere = Machine::default()
        .windows()
        .policy("Headers", "a=1")
        .registry("Headers", "b=2")
        .env("MPR_OTEL_HEADERS", "c=3")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "d=4")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "e=5");
    assert!(elsewhere.settings().headers.is_empty());
    let report = elsewhere.report("Headers");
    assert_eq!((&*report.value, report.source), ("", Source::Default));
    // Other settings do not come from the agent's key.
    let other = agents_windows().secret("Timeout", Ok(Some("1".to_owned())));
    assert_eq!(other.settings().timeout, Duration::from_secs(10));
}

#[test]
fn a_secret_that_every_user_can_read_is_named_and_not_used() {
    let policy = agents_windows().policy("Headers", "authorization=public");
    assert_eq!(policy.settings().headers[0].1, "secret");
    assert_eq!(policy.report("Headers").exposed, Some(Source::Policy));
    let registry = Machine::default().windows().registry("Headers", "authorization=public");
    let report = registry.report("Headers");
    assert_eq!((report.exposed, &report.malformed), (Some(Source::Registry), &None));
    assert!(!format!("{report:?}").contains("public"), "{report:?}");
    assert_eq!(registry.registry("Headers", " ").report("Headers").exposed, None);
    // Without an agent's key, and for a setting that is not secret, the ordinary key is the right
    // place.
    assert_eq!(Machine::default().registry("Headers", "a=1").report("Headers").exposed, None);
    let endpoint = Machine::default().windows().registry("Endpoint", "https://c");
    assert_eq!(endpoint.report("Endpoint").exposed, None);
}

#[test]
fn a_secret_does_not_go_to_an_endpoint_that_the_environment_names() {
    for variable in
        ["MPR_OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
    {
        let mut machine = agents_windows().env(variable, "https://users");
        // The registry's endpoint wins.
        assert_eq!(machine.settings().headers.len(), 1, "{variable}");
        machine.registry.clear();
        assert!(machine.endpoint().contains("users"), "{variable}");
        assert!(machine.settings().headers.is_empty(), "{variable}");
        let report = machine.report("Headers");
        let malformed = report.malformed.expect("reported");
        assert_eq!((report.source, malformed.source), (Source::Default, Source::Agent));
        assert!(malformed.problem.contains("environment"), "{}", malformed.problem);
        assert!(!malformed.problem.contains("secret"), "{}", malformed.problem);
    }
}

#[test]
fn a_secret_that_this_process_may_not_read_is_missing_and_disables_nothing() {
    let key = RegistryError { key: "AGENT", ..DENIED };
    let machine = Machine::default()
        .registry("Endpoint", "https://c")
        .env("MPR_OTEL_HEADERS", "a=1")
        .secret("Headers", Err(Unusable::Unreadable(key)));
    let settings = machine.settings();
    assert_eq!((settings.disabled, settings.unreadable), (false, None));
    assert_eq!((settings.withheld, settings.headers.len()), (Some(key), 0));
    let report = machine.report("Headers");
    assert_eq!((&*report.value, report.source), ("administrators read it", Source::Agent));
    assert_eq!(report.malformed, None);
    assert_eq!(agents_windows().settings().withheld, None);
}

/// The source of the endpoint has to be known before a secret is resolved.
#[test]
fn a_secret_stands_below_the_endpoint() {
    let place = |name: &str| ALL.iter().position(|row| row.name.registry == name).unwrap();
    for row in ALL.iter().filter(|row| row.secret) {
        assert!(place(row.name.registry) > place(ENDPOINT), "{:?}", row.name);
    }
}

#[test]
fn an_endpoint_given_by_the_caller_beats_every_source() {
    let machine = Machine::default().policy("Endpoint", "https://fleet").policy("BatchMax", "7");
    let settings = Settings::resolve(&WithEndpoint::new(machine, Some("https://here")));
    assert_eq!(settings.endpoint.unwrap().host(), Some("here"));
    assert_eq!(settings.batch_max, 7);
    let machine = Machine::default().policy("Endpoint", "https://fleet");
    let settings = Settings::resolve(&WithEndpoint::new(machine, None));
    assert_eq!(settings.endpoint.unwrap().host(), Some("fleet"));
}

#[test]
fn a_registry_value_that_cannot_be_read_disables_the_process_whichever_it_is() {
    for Row { name, .. } in ALL {
        let machine = Machine { unreadable: Some(name.registry), ..Machine::default() }
            .registry("Disabled", "false");
        let settings = machine.settings();
        assert_eq!((settings.disabled, settings.unreadable), (true, Some(DENIED)), "{name:?}");
        let report = machine.report(name.registry);
        assert_eq!(report.source, Source::Default, "no lower source, but {report:?}");
        let malformed = report.malformed.expect("reported");
        assert_eq!((malformed.source, malformed.problem), (Source::Policy, DENIED.to_string()));
    }
    let readable = Machine::default().settings();
    assert_eq!((readable.disabled, readable.unreadable), (false, None));
}

#[test]
fn the_environment_is_not_asked_whether_it_counts() {
    let machine = Machine::default().env("MPR_OTEL_ALLOW_ENVIRONMENT", "1");
    assert!(!machine.settings().allow_environment);
    assert!(machine.registry("AllowEnvironment", "1").settings().allow_environment);
}

#[test]
fn plain_http_goes_only_to_this_machine_unless_a_setting_allows_more() {
    for private in [
        "http://127.0.0.1:4318",
        "http://127.9.9.9",
        "http://LocalHost:1",
        "http://[::1]:4318",
        "https://collector.corp.example",
    ] {
        let machine = Machine::default().registry("Endpoint", private);
        assert_eq!(machine.report("Endpoint").malformed, None, "{private}");
    }
    for public in [
        "http://collector.corp.example:4318",
        "http://10.0.0.1",
        "http://[fe80::1]",
        "http://localhost.corp.example",
        "http://127.0.0.1@collector.corp.example",
    ] {
        let machine = Machine::default().registry("Endpoint", public);
        let problem = machine.report("Endpoint").malformed.expect(public).problem;
        assert!(problem.contains("https") && problem.contains("AllowInsecure"), "{problem}");
        assert_eq!(machine.endpoint(), default_endpoint());
        let allowed = machine.policy("AllowInsecure", "1");
        assert_eq!(allowed.report("Endpoint").malformed, None, "{public}");
        let forbidden = Machine::default()
            .policy("AllowInsecure", "0")
            .env("MPR_OTEL_ALLOW_INSECURE", "1")
            .env("MPR_OTEL_ENDPOINT", public);
        assert!(forbidden.report("Endpoint").malformed.is_some(), "{public}");
    }
}

#[test]
fn reports_are_made_only_on_request() {
    let machine = Machine::default();
    let mut resolver = Resolver::new(&machine);
    Settings::by(&mut resolver);
    assert_eq!(resolver.into_reports().iter().count(), 0);
    assert_eq!(machine.reports().iter().count(), ALL.len());
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
fn a_variable_has_the_name_of_its_registry_value() {
    let variable = |registry| Name { registry }.variable();
    assert_eq!(variable("Log"), "MPR_OTEL_LOG");
    assert_eq!(variable("StoreMaxAgeHours"), "MPR_OTEL_STORE_MAX_AGE_HOURS");
}

#[test]
fn the_page_on_settings_has_the_table_that_the_code_makes() {
    let or_dash = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    let mut table = "| variable | registry value | OpenTelemetry | default | secret | meaning |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for Row { name, of_registry_alone, otel, default, secret, about, .. } in ALL {
        let variable =
            if *of_registry_alone { String::new() } else { format!("`{}`", name.variable()) };
        let otel: Vec<String> = otel.iter().map(|variable| format!("`{variable}`")).collect();
        table += &format!(
            "| {} | `{}{}` | {} | {} | {} | {about} |\n",
            or_dash(variable),
            if *secret { r"Agent\" } else { "" },
            name.registry,
            or_dash(otel.join(", ")),
            or_dash(default()),
            if *secret { "yes" } else { "–" },
        );
    }
    let page = include_str!("../../../docs/SETTINGS.md");
    assert!(
        page.contains(&format!("\n\n{table}\n")),
        "the table in docs/SETTINGS.md should be:\n\n{table}"
    );
}

#[test]
fn the_form_of_a_setting_is_what_its_parser_takes() {
    for row in ALL {
        let name = row.name.registry;
        let problem = |text: &str| {
            let machine = Machine::default().registry(name, text);
            machine.report(name).malformed.map(|malformed| malformed.problem)
        };
        match row.form {
            Form::Switch => {
                assert_eq!([problem("0"), problem("1")], [None, None], "{name}");
                assert!(problem("2").is_some(), "{name}");
            }
            Form::Number(least, most) => {
                assert_eq!(problem(&least.to_string()), None, "{name}");
                assert_eq!(problem(&most.to_string()), None, "{name}");
                assert!(problem(&(i64::from(least) - 1).to_string()).is_some(), "{name}");
                assert!(problem(&(u64::from(most) + 1).to_string()).is_some(), "{name}");
            }
            Form::Choice(choices) => {
                for choice in choices {
                    assert_eq!(problem(choice), None, "{name}");
                }
                let said = problem("no such choice").unwrap();
                assert!(said.ends_with(&format!("write {}", choices.join(" or "))), "{said}");
            }
            Form::ChoiceOrText(choices) => {
                for choice in choices {
                    assert_eq!(problem(choice), None, "{name}");
                }
                assert!(problem("no such choice").is_some(), "{name}");
            }
            Form::List | Form::Text => {
                // A text that has a meaning of its own is one of the choices.
                let is_a_word_like_others = problem("none") == problem("another");
                assert!(is_a_word_like_others || problem("none").is_some(), "{name}");
                let other =
                    ["BOOLEAN", "MILLISECONDS", "HOURS", "NUMBER", "METHOD", "LEVEL", "MODE"];
                assert!(!other.contains(&row.value), "{name} takes more than a text");
            }
        }
        // The registry's lists are joined by commas; a list of semicolons alone is a text.
        let is_list = matches!(row.form, Form::List);
        assert!(is_list || !row.value.ends_with(",..."), "{name}");
        assert!(!is_list || row.value.ends_with("..."), "{name}");
    }
}
