//! `mpr-otel status`: what is registered, what each setting is and why, what was counted, and
//! whether the collector answers.

mod ledgers;

use crate::answer::{Failure, write_json};
use crate::printable::Printable;
use crate::registration::Registration;
use clap::Args;
use ledgers::Ledgers;
use mpr_otel_core::courier::{Courier, Verdict};
use mpr_otel_core::settings::{ENDPOINT, SettingReport, Settings, System};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Show registration, settings, ledgers, the agent, and whether the collector answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel status\n  mpr-otel status --json\n\n\
    Exits with 1 if a setting is malformed, the DLL is not registered or the collector does not answer.")]
pub(super) struct Status {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    registration: Registration,
    settings: Vec<Setting>,
    ledgers: Ledgers,
    endpoint: Endpoint,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    registry: &'static str,
    value: Printable,
    origin: String,
    malformed: Option<Printable>,
}

#[derive(Serialize)]
struct Endpoint {
    url: Printable,
    answers: bool,
    detail: Printable,
}

impl Status {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let settings = Settings::resolve(&System::open());
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            registration: Registration::find(),
            settings: settings.reports.iter().map(Setting::from).collect(),
            ledgers: Ledgers::count(&settings.ledger_dir),
            endpoint: try_endpoint(&settings),
        };
        if self.json {
            write_json(out, &report)?;
        } else {
            report.write(out)?;
        }
        Ok(if report.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl From<&SettingReport> for Setting {
    fn from(report: &SettingReport) -> Self {
        Self {
            name: report.name.variable(),
            registry: report.name.registry,
            value: report.value.as_str().into(),
            origin: report.source.to_string(),
            malformed: report.malformed.as_ref().map(|malformed| {
                format!("{} (from the {})", malformed.problem, malformed.source).into()
            }),
        }
    }
}

fn try_endpoint(settings: &Settings) -> Endpoint {
    let (answers, detail) = match Courier::new(settings.clone()).probe() {
        Verdict::Accepted { message, .. } if message.is_empty() => {
            (true, "accepts spans".to_owned())
        }
        Verdict::Accepted { message, .. } => (true, format!("accepts spans and says: {message}")),
        Verdict::Refused { reason } => {
            (false, format!("refuses: {reason}; check the URL and the headers"))
        }
        Verdict::Later { reason, .. } => {
            (false, format!("does not answer: {reason}; is a collector listening there?"))
        }
    };
    let url = settings.report(ENDPOINT).map(|report| report.value.as_str().into());
    Endpoint { url: url.unwrap_or_default(), answers, detail: detail.into() }
}

impl Report {
    fn is_healthy(&self) -> bool {
        self.registration.registered
            && self.endpoint.answers
            && self.settings.iter().all(|setting| setting.malformed.is_none())
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "mpr-otel {}", self.version)?;
        let state = if self.registration.registered { "registered" } else { "not registered" };
        writeln!(out, "\nRegistration: {state}")?;
        for note in &self.registration.notes {
            writeln!(out, "  {note}")?;
        }
        for dll in &self.registration.dlls {
            let bits = dll.bits.map_or_else(|| "?".to_owned(), |bits| format!("{bits}-bit"));
            let version = dll.version.as_deref().unwrap_or("unknown");
            writeln!(out, "  {}  {bits}  version {version}", dll.path)?;
        }
        writeln!(out, "\nSettings")?;
        for setting in &self.settings {
            let value = if setting.value.is_empty() { "-" } else { &*setting.value };
            writeln!(out, "  {:<29} {:<34} {}", setting.name, value, setting.origin)?;
            if let Some(problem) = &setting.malformed {
                writeln!(out, "  {:<29} ! ignored: {problem}", "")?;
            }
        }
        self.ledgers.write(out)?;
        let sign = if self.endpoint.answers { "ok" } else { "FAILED" };
        writeln!(out, "\nEndpoint: {} {sign}: {}", self.endpoint.url, self.endpoint.detail)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::testing::{first_forbidden, first_forbidden_in, hostile};
    use crate::registration::Dll;
    use proptest::prelude::*;

    /// A report with these texts wherever a file, a setting or a server has one.
    fn report(texts: &[String; 9]) -> Report {
        let [note, path, version, value, malformed, folder, problem, url, detail] = texts;
        Report {
            version: "1.2.3",
            registration: Registration {
                registered: false,
                notes: vec![note.into()],
                dlls: vec![Dll {
                    path: path.into(),
                    version: Some(version.into()),
                    bits: Some(64),
                }],
            },
            settings: vec![Setting {
                name: "MPR_OTEL_ENDPOINT".to_owned(),
                registry: "Endpoint",
                value: value.into(),
                origin: "environment".to_owned(),
                malformed: Some(malformed.into()),
            }],
            ledgers: Ledgers::of_folder(folder, problem),
            endpoint: Endpoint { url: url.into(), answers: false, detail: detail.into() },
        }
    }

    fn written(report: &Report) -> String {
        let mut shown = Vec::new();
        report.write(&mut shown).unwrap();
        String::from_utf8(shown).unwrap()
    }

    proptest! {
        #[test]
        fn nothing_that_steers_a_terminal_is_shown_in_text_or_json(
            texts in proptest::collection::vec(hostile(), 9)
        ) {
            let report = report(&texts.try_into().unwrap());
            let shown = written(&report);
            prop_assert_eq!(first_forbidden(&shown), None);
            // No text begins a line of its own.
            let plain = written(&self::report(&Default::default()));
            prop_assert_eq!(shown.lines().count(), plain.lines().count());
            prop_assert_eq!(first_forbidden_in(&serde_json::to_value(&report).unwrap()), None);
        }
    }
}
