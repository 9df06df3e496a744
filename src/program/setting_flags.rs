//! One flag for each setting, as `mpr-otel install` takes them.

use crate::answer::Failure;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use mpr_otel_core::settings::{ALL, Lookup, Name, Reading, Row, SettingReport, Settings};

/// Settings to write for the whole machine: registry values and what they are to be. An empty value
/// removes the setting.
#[derive(Debug, Default)]
pub(super) struct SettingFlags(Vec<(&'static str, String)>);

impl SettingFlags {
    /// Checks every value as the DLL will, before anything is written. Returns what is to be
    /// written, secrets masked for showing.
    pub(super) fn check(&self) -> Result<Vec<SettingReport>, Failure> {
        let (_, reports) = Settings::resolve_with_reports(self);
        let given: Vec<SettingReport> = reports
            .into_iter()
            .filter(|report| self.0.iter().any(|(name, _)| *name == report.name.registry))
            .collect();
        let malformed = given.iter().find_map(|report| Some((report, report.malformed.as_ref()?)));
        match malformed {
            None => Ok(given),
            Some((report, malformed)) => {
                Err(format!("--{}: {}", flag(report.name), malformed.problem).into())
            }
        }
    }

    /// Registry values that were given, and what they are to be.
    #[cfg(windows)]
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.trim()))
    }
}

/// The flags alone, as if they stood in the registry already.
impl Lookup for SettingFlags {
    fn policy(&self, _name: &str) -> Reading {
        Ok(None)
    }

    fn machine(&self, name: &str) -> Reading {
        let given = self.0.iter().find(|(registry, _)| *registry == name);
        Ok(given.map(|(_, value)| value.clone()))
    }

    fn environment(&self, _name: &str) -> Option<String> {
        None
    }

    fn open_telemetry(&self, _name: &str) -> Option<String> {
        None
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(ALL.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let names = ALL.iter().map(|row| row.name.registry);
        let given = names
            .filter_map(|name| Some((name, matches.get_one::<String>(name)?.clone())))
            .collect();
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(row: &Row) -> Arg {
    let about = row.about.replace('`', "");
    Arg::new(row.name.registry)
        .long(flag(row.name))
        .value_name(row.value)
        .help(about.trim_end_matches('.').to_owned())
        .help_heading("Settings for this machine; an empty value removes one")
}

/// The flag that sets a setting.
fn flag(name: Name) -> String {
    name.variable().trim_start_matches("MPR_OTEL_").to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> SettingFlags {
        let command = SettingFlags::augment_args(Command::new("install").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        SettingFlags::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn every_setting_has_its_flag() {
        for (registry, flag) in [
            ("Disabled", "--disabled"),
            ("CaCertificate", "--ca-certificate"),
            ("StoreMaxAgeHours", "--store-max-age-hours"),
        ] {
            assert_eq!(flags(&[flag, "x"]).0, [(registry, "x".to_owned())]);
        }
        let command = SettingFlags::augment_args(Command::new("install"));
        let flags: Vec<&str> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
        let settings: Vec<&str> = ALL.iter().map(|row| row.name.registry).collect();
        assert_eq!(flags, settings);
    }

    #[test]
    fn a_malformed_value_is_refused_with_the_name_of_its_flag() {
        let problem = flags(&["--timeout-ms", "soon"]).check().unwrap_err().to_string();
        assert!(problem.starts_with("--timeout-ms: `soon` is not a whole number"), "{problem}");
    }

    #[test]
    fn headers_are_masked_and_empty_values_are_no_error() {
        let given = flags(&["--headers", "authorization=secret", "--log", ""]).check().unwrap();
        let shown: Vec<&str> = given.iter().map(|report| report.value.as_str()).collect();
        assert_eq!(shown, ["authorization=***", "off"]);
    }
}
