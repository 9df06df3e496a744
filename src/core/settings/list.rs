//! Every setting, in one place. `install`'s flags and the table in docs/SETTINGS.md are made from
//! this list; if the page differs, its test prints the right table.

use super::certificate_name::CertificateName;
use super::dfs_root::DfsRoot;
use super::environment::ALLOW_ENVIRONMENT;
use super::parse;
use super::pattern::NamePattern;
use super::proxy::Proxy;
use super::resolve::Resolver;
use super::table::{Context, Form, Name, Row, Setting, code, settings};
use super::{Compression, DeliveryMode, PrivacyLevel, RegistryError, Source};
use crate::platform;
use http::{HeaderName, HeaderValue, Uri};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The registry value of the collector's URL.
pub const ENDPOINT: &str = "Endpoint";
/// The registry value that allows plain http to other machines.
pub const ALLOW_INSECURE: &str = "AllowInsecure";
/// The registry value that names the client certificate.
pub const CLIENT_CERTIFICATE: &str = "ClientCertificate";
/// `MPR_OTEL_DELIVERY`: a thread in the host sends.
pub const DELIVERY_IN_PROCESS: &str = "in-process";
/// `MPR_OTEL_DELIVERY`: the agent sends.
pub const DELIVERY_AGENT: &str = "agent";

settings! {
    /// Switches all recording and sending off: `true` or `1`.
    disabled: bool {
        registry: "Disabled",
        value: "BOOLEAN",
        form: Form::Switch,
        default: false,
        parse: |text, _| parse::boolean(text),
        show: bool::to_string,
    }

    /// On Windows, lets `MPR_OTEL_*` and `TRACEPARENT` count in ordinary processes: `true` or `1`.
    /// They never count in a process that is elevated, a service, or impersonating. On other
    /// systems they always count.
    allow_environment: bool {
        registry: ALLOW_ENVIRONMENT,
        of_registry_alone: true,
        value: "BOOLEAN",
        form: Form::Switch,
        default: false,
        parse: |text, _| parse::boolean(text),
        show: bool::to_string,
    }

    /// Allows plain http to other machines, too: `true` or `1`. Then everybody on the network can
    /// read and change what is sent.
    allow_insecure: bool {
        registry: ALLOW_INSECURE,
        value: "BOOLEAN",
        form: Form::Switch,
        default: false,
        parse: |text, _| parse::boolean(text),
        show: bool::to_string,
    }

    /// Base URL of the collector: https, or http to this machine. `/v1/traces` is appended, but not
    /// to the value of OpenTelemetry's variable for traces.
    endpoint: Option<Uri> {
        registry: ENDPOINT,
        otel: ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        value: "URL",
        default: match cfg!(windows) {
            true => None,
            false => Some(Uri::from_static("http://127.0.0.1:4318/v1/traces")),
        },
        default_text: "none on Windows: recorded, not sent; elsewhere `http://127.0.0.1:4318`",
        // The OTLP specification: the variable for traces is used as it is, and the signal's path
        // is appended to a base URL.
        parse: |text, Context { source, allow_insecure }| {
            let url = match source {
                Source::OtelEnvironment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") => parse::url(text),
                _ => parse::base_url(text),
            }?;
            match parse::is_private(&url) || *allow_insecure {
                true => Ok(Some(url)),
                false => Err("plain http to another machine, which everybody on the network can \
                              read; write https, or set AllowInsecure to 1 as well"
                    .to_owned()),
            }
        },
        show: |url| url.as_ref().map_or_else(|| "none".to_owned(), parse::without_password),
    }

    /// Headers of every request of the agent: `name=value,name=value`, values percent-encoded. On
    /// other systems than Windows, programs send them too, and the environment variables count.
    headers: Vec<(HeaderName, HeaderValue)> {
        registry: "Headers",
        otel: ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
        of_endpoint: true,
        value: "NAME=VALUE,...",
        form: Form::List,
        default: Vec::new(),
        parse: |text, _| parse::headers(text),
        mask: |headers| joined(headers.iter().map(|(name, _)| format!("{name}=***"))),
    }

    /// PEM file of the authorities to trust instead of the system's. Not on Windows: there the
    /// machine's authorities are trusted, and group policy can add more.
    ca_certificate: Option<PathBuf> {
        registry: "CaCertificate",
        not_on_windows: true,
        otel: ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"],
        of_endpoint: true,
        value: "FILE",
        default: None,
        default_text: "system",
        parse: |text, _| match cfg!(windows) {
            true => Err("Windows trusts the machine's authorities and no file; add this one to the \
                         machine's Trusted Root Certification Authorities, by group policy \
                         (docs/SETTINGS.md), and remove the setting"
                .to_owned()),
            false => parse::local_path(text).map(Some),
        },
        show: |path| path.as_deref().map_or_else(|| "system".to_owned(), path_text),
    }

    /// Certificate of the machine that the agent shows to a collector, on Windows: its thumbprint,
    /// or a part of its subject. It must be in the store `LocalMachine\My`, with a private key that
    /// the agent's account may read.
    client_certificate: Option<CertificateName> {
        registry: CLIENT_CERTIFICATE,
        value: "THUMBPRINT",
        default: None,
        parse: |text, _| match cfg!(windows) {
            true => CertificateName::parse(text).map(Some),
            false => Err("only Windows has the machine's certificates".to_owned()),
        },
        show: |name| name.as_ref().map_or_else(String::new, CertificateName::to_string),
    }

    /// Proxy of the agent: `none`, `system` (Windows' proxy settings, a proxy script, or the
    /// network's automatic configuration), or a URL such as `http://proxy.corp.example:8080`. No
    /// proxy is used by programs that send by themselves, nor for a collector on this machine.
    proxy: Proxy {
        registry: "Proxy",
        value: "PROXY",
        form: Form::ChoiceOrText(&["none", "system"]),
        default: Proxy::System,
        parse: |text, _| Proxy::parse(text),
        show: Proxy::to_string,
    }

    /// The most milliseconds that a request may take, 1 to 600000. On Windows this limit holds for
    /// each step: finding the server, connecting, sending, and waiting for the answer.
    timeout: Duration {
        registry: "TimeoutMs",
        otel: ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
        value: "MILLISECONDS",
        form: Form::Number(1, 600_000),
        default: Duration::from_secs(10),
        parse: |text, _| parse::milliseconds(text, 1..=600_000),
        show: milliseconds,
    }

    /// Compression of requests: `gzip` or `none`.
    compression: Compression {
        registry: "Compression",
        otel: ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
        value: "METHOD",
        form: Form::Choice(&["gzip", "none"]),
        default: Compression::Gzip,
        parse: |text, _| {
            parse::choice(text, &[("gzip", Compression::Gzip), ("none", Compression::None)])
        },
        show: |compression| match compression {
            Compression::Gzip => "gzip".to_owned(),
            Compression::None => "none".to_owned(),
        },
    }

    /// `in-process`: a thread in the host sends. `agent`: the host only writes its ledger, and the
    /// agent sends.
    delivery: DeliveryMode {
        registry: "Delivery",
        value: "MODE",
        form: Form::Choice(&[DELIVERY_IN_PROCESS, DELIVERY_AGENT]),
        default: DeliveryMode::InProcess,
        parse: |text, _| {
            let modes = [
                (DELIVERY_IN_PROCESS, DeliveryMode::InProcess),
                (DELIVERY_AGENT, DeliveryMode::Agent),
            ];
            parse::choice(text, &modes)
        },
        show: |delivery| delivery.name().to_owned(),
    }

    /// Folder of the ledgers, on a local disk.
    ledger_dir: PathBuf {
        registry: "LedgerDir",
        value: "FOLDER",
        default: platform::default_ledger_dir(),
        default_text: r"`%ProgramData%\mpr-otel\ledger`; elsewhere `mpr-otel/ledger` in the user's state folder",
        parse: |text, _| parse::local_path(text),
        show: |path| path_text(path),
    }

    /// MiB of operations that the agent keeps while no collector takes them; 0 for any size.
    store_max_mib: u64 {
        registry: "StoreMaxMib",
        value: "NUMBER",
        form: Form::Number(0, 1_000_000),
        default: 512,
        parse: |text, _| parse::number(text, 0..=1_000_000),
        show: u64::to_string,
    }

    /// Hours that the agent keeps an operation that no collector takes; 0 for ever.
    store_max_age: Duration {
        registry: "StoreMaxAgeHours",
        value: "HOURS",
        form: Form::Number(0, 100_000),
        default: Duration::from_secs(7 * 24 * 3600),
        parse: |text, _| {
            parse::number(text, 0..=100_000).map(|hours| Duration::from_secs(hours * 3600))
        },
        show: |age| (age.as_secs() / 3600).to_string(),
    }

    /// The most spans that a request may have, 1 to 10000.
    batch_max: usize {
        registry: "BatchMax",
        value: "NUMBER",
        form: Form::Number(1, 10_000),
        default: 512,
        parse: |text, _| parse::number(text, 1..=10_000).map(|number| number as usize),
        show: usize::to_string,
    }

    /// The most milliseconds that a finished operation waits for others, 0 to 600000.
    batch_delay: Duration {
        registry: "BatchDelayMs",
        value: "MILLISECONDS",
        form: Form::Number(0, 600_000),
        default: Duration::from_secs(1),
        parse: |text, _| parse::milliseconds(text, 0..=600_000),
        show: milliseconds,
    }

    /// Programs that are not recorded, by file name: `msmpeng.exe,backup*.exe`. `*` stands for any
    /// text.
    exclude_processes: Vec<NamePattern> {
        registry: "ExcludeProcesses",
        value: "NAME,...",
        form: Form::List,
        default: Vec::new(),
        parse: |text, _| Ok(NamePattern::list(text)),
        show: |patterns| joined(patterns.iter().map(|pattern| pattern.as_str().to_owned())),
    }

    /// How much of a name leaves the machine: `full` (whole names), `share` (nothing below the
    /// share, and no private share's name), or `none` (no name of a share or drive). The server's
    /// name always leaves the machine, and credentials never do.
    privacy: PrivacyLevel {
        registry: "Privacy",
        value: "LEVEL",
        form: Form::Choice(&["full", "share", "none"]),
        default: PrivacyLevel::Share,
        parse: |text, _| {
            let levels = [PrivacyLevel::Full, PrivacyLevel::Share, PrivacyLevel::None];
            parse::choice(text, &levels.map(|level| (level.name(), level)))
        },
        show: |level| level.name().to_owned(),
    }

    /// Shares whose names do not leave the machine with `Privacy=share`: `home$;users`. `*` stands
    /// for any text. The shares `C$` to `Z$`, `ADMIN$`, `IPC$`, `PRINT$` and `FAX$` are never
    /// private.
    private_shares: Vec<NamePattern> {
        registry: "PrivateShares",
        value: "NAME;...",
        form: Form::List,
        default: NamePattern::list("home$;users;profiles;*$"),
        parse: |text, _| Ok(NamePattern::list(text)),
        show: |patterns| patterns.iter().map(NamePattern::as_str).collect::<Vec<_>>().join(";"),
    }

    /// Roots of DFS namespaces, `\\corp.example\dfs;\\corp\dfs`. Below a root, the next part of the
    /// path is `mpr.dfs.link`.
    dfs_roots: Vec<DfsRoot> {
        registry: "DfsRoots",
        value: "NAME;...",
        default: Vec::new(),
        parse: |text, _| DfsRoot::list(text),
        show: |roots| roots.iter().map(DfsRoot::to_string).collect::<Vec<_>>().join(";"),
    }

    /// Milliseconds after which an operation that has not ended is reported as unfinished.
    unfinished_after: Duration {
        registry: "UnfinishedAfterMs",
        value: "MILLISECONDS",
        form: Form::Number(1, 604_800_000),
        default: Duration::from_secs(600),
        parse: |text, _| parse::milliseconds(text, 1..=604_800_000),
        show: milliseconds,
    }

    /// `service.name` of all spans.
    service_name: String {
        registry: "ServiceName",
        value: "NAME",
        default: "mpr-otel".to_owned(),
        parse: |text, _| Ok(text.to_owned()),
        show: String::clone,
    }

    /// Further resource attributes: `key=value,key=value`, values percent-encoded.
    resource_attributes: Vec<(String, String)> {
        registry: "ResourceAttributes",
        value: "KEY=VALUE,...",
        form: Form::List,
        default: Vec::new(),
        parse: |text, _| parse::pairs(text),
        show: |pairs| joined(pairs.iter().map(|(key, value)| format!("{key}={value}"))),
    }

    /// File for the diagnostics of the agent and of `mpr-otel`, on a local disk. Hosts keep no log.
    log: Option<PathBuf> {
        registry: "Log",
        value: "FILE",
        default: None,
        default_text: "off",
        parse: |text, _| parse::local_path(text).map(Some),
        show: |path| path.as_deref().map_or_else(|| "off".to_owned(), path_text),
    }
}

fn milliseconds(duration: &Duration) -> String {
    duration.as_millis().to_string()
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}
