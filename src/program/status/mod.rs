//! `mpr-otel status`: the registration, each setting and its source, the counts, the collector's
//! answer, and what all that means.

mod control_page;
mod endpoint;
mod ledgers;
mod load;
#[cfg(windows)]
mod load_trial;
mod protections;
mod registration;
mod verdict;

#[cfg(windows)]
pub(super) use load_trial::TryLoad;

use crate::answer::{Failure, write_json};
use crate::printable::Printable;
use crate::setting_flags::flag;
use clap::Args;
use control_page::ControlPage;
use endpoint::Endpoint;
use ledgers::Ledgers;
use mpr_otel_core::settings::{ENDPOINT, Reports, SettingReport, Settings, System};
use protections::Protection;
use registration::Registration;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use verdict::{ExposedSecret, MalformedSetting, Observations, Verdict};

/// The registry value of the setting that disables everything.
const DISABLED: &str = "Disabled";

/// Show registration, settings, ledgers, the agent, the collector's answer, and what is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel status\n  mpr-otel status --json\n\n\
    Exits with 0 if this machine's operations arrive, with 1 if all or some of them never \
    arrive with this configuration, and with 3 if only the collector is away.")]
pub(super) struct Status {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    /// `None` on systems without MPR.
    registration: Option<Registration>,
    protections: Vec<Protection>,
    settings: Vec<Setting>,
    ledgers: Ledgers,
    /// `None` if there is no page that this user can read.
    control_page: Option<ControlPage>,
    endpoint: Endpoint,
    verdict: Verdict,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    registry: &'static str,
    value: Printable,
    origin: String,
    malformed: Option<Printable>,
}

impl Status {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        // The settings as hosts read them, and the agent's secrets.
        let system = System::host().with_secrets();
        let (settings, reports) = Settings::resolve_with_reports(&system);
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            #[cfg(windows)]
            registration: Some(Registration::find()),
            #[cfg(not(windows))]
            registration: None,
            protections: Protection::all(),
            settings: reports.iter().map(Setting::from).collect(),
            ledgers: Ledgers::count(&settings.ledger_dir),
            control_page: ControlPage::find(&settings.ledger_dir),
            endpoint: Endpoint::try_out(&settings, reports.of(ENDPOINT)),
            verdict: Verdict::default(),
        };
        report.verdict = Verdict::on(&report.observations(&settings, &reports));
        if self.json {
            write_json(out, &report)?;
        } else {
            report.write(out)?;
        }
        Ok(ExitCode::from(report.verdict.exit_code))
    }
}

impl From<&SettingReport> for Setting {
    fn from(report: &SettingReport) -> Self {
        Self {
            name: report.name.variable(),
            registry: report.name.registry,
            value: report.value.as_str().into(),
            origin: report.source.to_string(),
            malformed: match (&report.malformed, exposed(report)) {
                (Some(malformed), _) => {
                    Some(format!("{} (from the {})", malformed.problem, malformed.source).into())
                }
                (None, Some(secret)) => Some(secret.problem().into()),
                (None, None) => None,
            },
        }
    }
}

/// The secret that every user can read, according to this report.
fn exposed(report: &SettingReport) -> Option<ExposedSecret> {
    Some(ExposedSecret {
        registry: report.name.registry,
        place: report.exposed?.to_string(),
        flag: flag(report.name),
    })
}

/// What stands beside the settings in the registry.
fn unknown_values() -> Vec<Printable> {
    #[cfg(windows)]
    return mpr_otel_core::settings::unknown_values().into_iter().map(Printable::from).collect();
    #[cfg(not(windows))]
    Vec::new()
}

impl Report {
    fn observations(&self, settings: &Settings, reports: &Reports) -> Observations {
        let refused =
            reports.iter().zip(&self.settings).filter(|(report, _)| report.malformed.is_some());
        let malformed = refused.filter_map(|(_, setting)| {
            Some(MalformedSetting {
                registry: setting.registry,
                problem: setting.malformed.clone()?,
                is_endpoint: setting.registry == ENDPOINT,
            })
        });
        let switched_off = settings.disabled && settings.unreadable.is_none();
        let disabled_by = reports.of(DISABLED).filter(|_| switched_off);
        let registration = self.registration.as_ref();
        let dlls = registration.map(|registration| {
            registration.dlls.iter().map(|dll| (dll.programs, dll.state())).collect()
        });
        Observations {
            unreadable: settings.unreadable.map(|error| error.to_string().into()),
            disabled_by: disabled_by.map(|report| report.source.to_string()),
            delivery: settings.delivery,
            malformed: malformed.collect(),
            unknown: unknown_values(),
            exposed: reports.iter().filter_map(exposed).collect(),
            registered: registration.map(Registration::state),
            dlls: dlls.unwrap_or_default(),
            agent_runs: self.ledgers.agent.running,
            agent_round: self.ledgers.agent.last_round(),
            ledgers: self.ledgers.problem.clone(),
            collector: (self.endpoint.collector, self.endpoint.detail.clone()),
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "mpr-otel {}", self.version)?;
        match &self.registration {
            Some(registration) => registration.write(out)?,
            None => writeln!(out, "\nRegistration: only Windows has one")?,
        }
        if !self.protections.is_empty() {
            writeln!(out, "\nWindows' protections, as the registry says")?;
        }
        for protection in &self.protections {
            protection.write(out)?;
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
        ControlPage::write(self.control_page.as_ref(), out)?;
        self.endpoint.write(out)?;
        self.verdict.write(out)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::load::{Load, Loading};
    use super::registration::{Dll, Entry};
    use super::verdict::{Arrival, Collector, Problem};
    use super::*;
    use crate::architecture::Architecture;
    use crate::printable::testing::{first_forbidden, first_forbidden_in, hostile};
    use proptest::prelude::*;

    /// A report that has these texts wherever a file, a setting or a server provides one.
    fn report(texts: &[String; 17]) -> Report {
        let [name, kind, data, path, version, refusal, unlisted, key, number, rest @ ..] = texts;
        let [value, malformed, folder, problem, url, detail, what, to_do] = rest;
        let dll = |problem: Option<&String>| Dll {
            programs: Architecture::Amd64,
            path: path.into(),
            leads_to: Some(path.into()),
            problem: problem.map(Printable::from),
            architecture: None,
            version: Some(version.into()),
            installed: Some(false),
            load: Load { result: Loading::Refused, code: Some(577), detail: Some(refusal.into()) },
        };
        Report {
            version: "1.2.3",
            registration: Some(Registration {
                entry: Some(Entry {
                    name: name.into(),
                    kind: kind.into(),
                    data: data.into(),
                    well_formed: false,
                }),
                problem: Some(unlisted.into()),
                dlls: vec![dll(None), dll(Some(unlisted))],
            }),
            protections: vec![Protection {
                name: "smart_app_control",
                registry: key.into(),
                value: Some(number.into()),
                meaning: None,
            }],
            settings: vec![Setting {
                name: "MPR_OTEL_ENDPOINT".to_owned(),
                registry: "Endpoint",
                value: value.into(),
                origin: "environment".to_owned(),
                malformed: Some(malformed.into()),
            }],
            ledgers: Ledgers::of_folder(folder, problem),
            control_page: None,
            endpoint: Endpoint {
                url: url.into(),
                collector: Collector::Refuses,
                detail: detail.into(),
            },
            verdict: Verdict {
                problems: vec![Problem {
                    name: "disabled",
                    arrival: Arrival::Never,
                    what: what.into(),
                    to_do: to_do.into(),
                }],
                ..Verdict::default()
            },
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
            texts in proptest::collection::vec(hostile(), 17)
        ) {
            let report = report(&texts.try_into().unwrap());
            let shown = written(&report);
            prop_assert_eq!(first_forbidden(&shown), None);
            // No text may begin a line of its own.
            let plain = written(&self::report(&Default::default()));
            prop_assert_eq!(shown.lines().count(), plain.lines().count());
            prop_assert_eq!(first_forbidden_in(&serde_json::to_value(&report).unwrap()), None);
        }
    }
}
