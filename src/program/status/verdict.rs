//! The verdict of `status`: whether this machine's operations arrive, what is wrong, and what to do
//! about it.
//!
//! This code reads nothing from the machine: the same observations always give the same verdict.

use crate::architecture::Architecture;
use crate::printable::Printable;
use mpr_otel_core::settings::DeliveryMode;
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// If the agent has not looked into the ledger folder for this long, it hangs. A round waits for
/// one request at most, and a request takes ten minutes at most (`TimeoutMs`).
const AGENT_HANGS_AFTER: Duration = Duration::from_secs(15 * 60);

/// The facts that `status` found and that the verdict needs.
#[derive(Clone, Debug)]
pub(super) struct Observations {
    /// The registry key that could not be read, if there is one.
    pub(super) unreadable: Option<Printable>,
    /// The source of `Disabled` if it is true.
    pub(super) disabled_by: Option<String>,
    /// Who sends.
    pub(super) delivery: DeliveryMode,
    /// Settings whose value was refused.
    pub(super) malformed: Vec<MalformedSetting>,
    /// Values in the settings' registry keys that are not settings.
    pub(super) unknown: Vec<Printable>,
    /// Secrets that every user can read.
    pub(super) exposed: Vec<ExposedSecret>,
    /// How MPR finds the DLL. `None` on systems without MPR.
    pub(super) registered: Option<Registered>,
    /// The DLL for each architecture. Empty on systems without MPR.
    pub(super) dlls: Vec<(Architecture, DllState)>,
    /// Whether the agent runs. `None` if this user may not see it.
    pub(super) agent_runs: Option<bool>,
    /// How long ago the agent last looked into the folder.
    pub(super) agent_round: Option<Duration>,
    /// Why the ledger folder cannot be listed; `None` if it can.
    pub(super) ledgers: Option<Printable>,
    /// What the collector did with an empty batch, and its message.
    pub(super) collector: (Collector, Printable),
}

/// A setting whose value was refused.
#[derive(Clone, Debug)]
pub(super) struct MalformedSetting {
    /// Its registry value.
    pub(super) registry: &'static str,
    /// What is wrong with it.
    pub(super) problem: Printable,
    /// Whether it names the collector. If so, spans go to another endpoint.
    pub(super) is_endpoint: bool,
}

/// A secret in a place where every user can read it.
#[derive(Clone, Debug)]
pub(super) struct ExposedSecret {
    /// Its registry value.
    pub(super) registry: &'static str,
    /// The place where it is now.
    pub(super) place: String,
    /// The flag of `install` that writes it to the right place.
    pub(super) flag: String,
}

impl ExposedSecret {
    /// What is wrong with the secret.
    pub(super) fn problem(&self) -> String {
        format!(
            "readable by every user, in the {}; move it with install --{}",
            self.place, self.flag
        )
    }
}

/// What MPR's list of notification DLLs has for the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// A path of the documented form.
    Well,
    /// No value.
    Not,
    /// A value that MPR does not load.
    Malformed(Printable),
    /// The list could not be read.
    Unknown(Printable),
}

/// What programs of one architecture find at the registered path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DllState {
    /// A DLL that they load, or whose loading was not tried.
    Good,
    /// A DLL that works and is not the file that `install` put on this machine.
    Other(Printable),
    /// There is no file, or it cannot be read.
    Missing(Printable),
    /// A file of another architecture, or not a DLL.
    Wrong(Option<Architecture>, Printable),
    /// A DLL that a program could not load, with Windows' error code if it gave one.
    Refused(Option<u32>, Printable),
}

/// What the collector did with an empty batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Collector {
    /// The collector took it.
    Accepts,
    /// The collector refused it for good.
    Refuses,
    /// The collector did not answer, or asks to be asked later.
    Away,
    /// No setting names a collector.
    Unnamed,
    /// The collector was not asked, because this user may not read the agent's secrets.
    Untried,
    /// Nothing is sent, because the process that listens there must not get the secrets.
    Withheld,
}

/// What happens to this machine's operations. The worst is last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Arrival {
    /// They arrive.
    #[default]
    Arrives,
    /// They are kept, and sent when the collector answers.
    Waits,
    /// Some of them never arrive with this configuration.
    Partly,
    /// None of them ever arrives with this configuration.
    Never,
}

/// The last part of the report of `status`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// What happens to this machine's operations.
    pub(super) arrival: Arrival,
    /// The program's exit code.
    pub(super) exit_code: u8,
    /// What is wrong. The first problem should be corrected first.
    pub(super) problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// The problem's name, which never changes between versions.
    pub(super) name: &'static str,
    /// What happens to this machine's operations if this is the only problem.
    pub(super) arrival: Arrival,
    /// What was found.
    pub(super) what: Printable,
    /// What a person should do.
    pub(super) to_do: Printable,
}

impl Verdict {
    /// The verdict on these observations.
    pub(super) fn on(observations: &Observations) -> Self {
        let mut verdict = Self::default();
        verdict.settings(observations);
        verdict.registration(observations);
        verdict.agent(observations);
        verdict.collector(observations);
        let arrivals = verdict.problems.iter().map(|problem| problem.arrival);
        verdict.arrival = arrivals.max().unwrap_or_default();
        verdict.exit_code = match verdict.arrival {
            Arrival::Arrives => 0,
            Arrival::Partly | Arrival::Never => 1,
            Arrival::Waits => 3,
        };
        verdict
    }

    fn settings(&mut self, seen: &Observations) {
        if let Some(error) = &seen.unreadable {
            self.found(
                "settings_unreadable",
                Arrival::Never,
                format!("{error}; until then nothing is recorded"),
                "repair the key's permissions with regedit, and run `mpr-otel status` again",
            );
        }
        if let Some(source) = &seen.disabled_by {
            self.found(
                "disabled",
                Arrival::Never,
                format!("the setting Disabled is true (from the {source})"),
                "remove the setting there, or set it to false",
            );
        }
        for MalformedSetting { registry, problem, is_endpoint } in &seen.malformed {
            self.found(
                "malformed_setting",
                if *is_endpoint { Arrival::Never } else { Arrival::Arrives },
                format!("the setting {registry} is malformed, so its default counts: {problem}"),
                "correct it where it comes from",
            );
        }
        for value in &seen.unknown {
            self.found(
                "unknown_setting",
                Arrival::Arrives,
                format!("there is no setting for the registry value {value}, so it has no effect"),
                "correct its name, or remove it; docs/SETTINGS.md lists the settings",
            );
        }
        for ExposedSecret { registry, place, flag } in &seen.exposed {
            self.found(
                "secret_exposed",
                Arrival::Arrives,
                format!("every user can read {registry} in the {place}, so its value there is not used"),
                format!(
                    "move it with `mpr-otel install --{flag} FILE` as administrator, remove it from \
                     the {place}, and have the collector accept another"
                ),
            );
        }
    }

    fn registration(&mut self, seen: &Observations) {
        match &seen.registered {
            None => return,
            Some(Registered::Well) => {}
            Some(Registered::Not) => {
                self.found(
                    "not_registered",
                    Arrival::Never,
                    "MPR's list of notification DLLs does not name mpr_otel.dll",
                    "run `mpr-otel install` as administrator",
                );
                // Then no program looks for the DLLs.
                return;
            }
            Some(Registered::Malformed(found)) => self.found(
                "malformed_registration",
                Arrival::Never,
                format!("MPR's list of notification DLLs has {found}, which MPR does not load"),
                "run `mpr-otel install` as administrator",
            ),
            Some(Registered::Unknown(error)) => self.found(
                "registration_unreadable",
                Arrival::Arrives,
                format!("MPR's list of notification DLLs cannot be read: {error}"),
                "run `mpr-otel status` as administrator",
            ),
        }
        let works = |state: &DllState| matches!(state, DllState::Good | DllState::Other(_));
        let any = seen.dlls.iter().any(|(_, state)| works(state));
        let broken = if any { Arrival::Partly } else { Arrival::Never };
        for (programs, state) in &seen.dlls {
            self.dll(*programs, state, broken);
        }
    }

    fn dll(&mut self, programs: Architecture, state: &DllState, broken: Arrival) {
        const AGAIN: &str = "unpack the release again and run `mpr-otel install` as administrator";
        match state {
            DllState::Good => {}
            DllState::Other(path) => self.found(
                "other_dll",
                Arrival::Arrives,
                format!("{programs} programs load {path}, not the DLL that was installed"),
                "run `mpr-otel install` as administrator, unless another installer put it there",
            ),
            DllState::Missing(error) => self.found(
                "dll_missing",
                broken,
                format!("{programs} programs are not recorded: {error}"),
                AGAIN,
            ),
            DllState::Wrong(found, path) => {
                let found = found.map_or_else(|| "no".to_owned(), |found| format!("an {found}"));
                self.found(
                    "dll_of_wrong_architecture",
                    broken,
                    format!("{programs} programs are not recorded: {path} is {found} DLL"),
                    AGAIN,
                );
            }
            DllState::Refused(code, error) => {
                let number = code.map(|code| format!("error {code}: ")).unwrap_or_default();
                self.found(
                    "dll_not_loaded",
                    broken,
                    format!("{programs} programs do not load the DLL: {number}{error}"),
                    code.and_then(refusal).unwrap_or(AGAIN),
                );
            }
        }
    }

    fn agent(&mut self, seen: &Observations) {
        if let Some(error) = &seen.ledgers {
            self.found(
                "ledgers_unreadable",
                Arrival::Arrives,
                format!("the ledger folder cannot be listed: {error}"),
                "run `mpr-otel status` as administrator; \
                 `mpr-otel install` makes the folder and gives it its rights",
            );
        }
        let needed = match seen.delivery {
            DeliveryMode::Agent => Arrival::Never,
            DeliveryMode::InProcess => Arrival::Arrives,
        };
        match (seen.agent_runs, seen.agent_round) {
            (Some(false), _) if needed == Arrival::Never => self.found(
                "no_agent",
                needed,
                "the setting Delivery is \"agent\" and no agent runs, so nothing is sent",
                "run `mpr-otel install` as administrator, or start the service \
                 mpr-otel-agent",
            ),
            (Some(true), Some(round)) if round >= AGENT_HANGS_AFTER => self.found(
                "agent_hangs",
                needed,
                format!(
                    "the agent has not looked into the ledger folder for {} min",
                    round.as_secs() / 60
                ),
                "restart the service mpr-otel-agent",
            ),
            _ => {}
        }
    }

    fn collector(&mut self, seen: &Observations) {
        let (collector, said) = &seen.collector;
        match collector {
            Collector::Accepts => {}
            Collector::Refuses => self.found(
                "collector_refuses",
                Arrival::Never,
                format!("the collector {said}"),
                "correct Endpoint and Headers with `mpr-otel install --endpoint URL --headers-file FILE`",
            ),
            Collector::Away => self.found(
                "collector_away",
                Arrival::Waits,
                format!("the collector {said}"),
                "nothing, if this machine is away from its network; else start the collector or \
                 correct the setting Endpoint",
            ),
            Collector::Withheld => self.found(
                "secret_withheld",
                Arrival::Never,
                format!("nothing is sent: {said}"),
                "run the collector as a service, or name an https endpoint; find out what that \
                 program is",
            ),
            Collector::Untried => self.found(
                "collector_untried",
                Arrival::Arrives,
                format!("the collector was {said}"),
                "run `mpr-otel status` as administrator",
            ),
            // The malformed setting already says it.
            Collector::Unnamed if seen.malformed.iter().any(|setting| setting.is_endpoint) => {}
            Collector::Unnamed => self.found(
                "no_endpoint",
                Arrival::Never,
                "no setting names a collector, so recorded operations are not sent",
                "run `mpr-otel install --endpoint https://...` as administrator, or set Endpoint by \
                 group policy",
            ),
        }
    }

    fn found(
        &mut self,
        name: &'static str,
        arrival: Arrival,
        what: impl Into<Printable>,
        to_do: impl Into<Printable>,
    ) {
        self.problems.push(Problem { name, arrival, what: what.into(), to_do: to_do.into() });
    }

    /// Writes the last line and the list of problems.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let line = match (self.arrival, self.problems.is_empty()) {
            (Arrival::Arrives, true) => "all is well: this machine's operations arrive",
            (Arrival::Arrives, false) => "this machine's operations arrive, but something is wrong",
            (Arrival::Waits, _) => "the collector is away: operations are sent when it answers",
            (Arrival::Partly, _) => "some of this machine's operations never arrive",
            (Arrival::Never, _) => "none of this machine's operations arrives",
        };
        writeln!(out, "\nVerdict: {line}")?;
        for Problem { what, to_do, .. } in &self.problems {
            writeln!(out, "  - {what};\n    what to do: {to_do}")?;
        }
        Ok(())
    }
}

/// What to do about a Windows code for a DLL that was not loaded (winerror.h).
fn refusal(code: u32) -> Option<&'static str> {
    const SIGNED: &str = "App Control for Business, Smart App Control or AppLocker allows no such \
                          DLL: allow it there, or install a signed release";
    match code {
        5 => Some("give users the right to read and execute it"), // ERROR_ACCESS_DENIED
        126 => Some("a DLL that it needs is missing: install a release for this Windows"),
        225 | 226 => Some("the security product removed it: allow it there"), // ERROR_VIRUS_*
        // ERROR_INVALID_IMAGE_HASH, ERROR_ACCESS_DISABLED_BY_POLICY,
        // ERROR_SYSTEM_INTEGRITY_POLICY_VIOLATION and those that follow it.
        577 | 1260 | 4550..=4559 => Some(SIGNED),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
