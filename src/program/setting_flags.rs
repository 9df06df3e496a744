//! The flags of `mpr-otel install`: one for each setting.

use crate::answer::{Failure, WrongUsage};
use crate::secret_file::SecretFile;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use mpr_otel_core::settings::{
    ALL, ALLOW_INSECURE, Lookup, Name, Reading, Row, SettingReport, Settings, System,
};

/// Settings to write for the whole machine, from the command line: each has a registry value and
/// its text. For a secret, the text is the name of the file that contains it.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingFlags {
    values: Vec<(&'static str, String)>,
    secrets: Vec<(&'static str, String)>,
}

/// Settings to write for the whole machine: registry values and their new content. Empty content
/// removes the setting.
#[derive(Default)]
pub(super) struct GivenSettings {
    values: Vec<(&'static str, String)>,
    secrets: Vec<(&'static str, String)>,
}

impl SettingFlags {
    /// Whether the command line has this setting, even if it is empty.
    #[cfg(windows)]
    pub(super) fn has(&self, registry: &str) -> bool {
        self.values.iter().any(|(name, _)| *name == registry)
    }

    /// Adds a setting that is not on the command line.
    #[cfg(windows)]
    pub(super) fn set(&mut self, registry: &'static str, value: &str) {
        self.values.push((registry, value.to_owned()));
    }

    /// Reads the files, and checks every value as the DLL and the agent will, before anything is
    /// written. Returns the values to write, and reports about them with secrets masked.
    ///
    /// # Errors
    ///
    /// [`WrongUsage`] if a value cannot be used.
    pub(super) fn read(&self) -> Result<(GivenSettings, Vec<SettingReport>), Failure> {
        let mut given = GivenSettings { values: self.values.clone(), ..GivenSettings::default() };
        for (name, file) in &self.secrets {
            let text = match file.as_str() {
                "" => String::new(),
                file => SecretFile::named(file)
                    .read()
                    .map_err(|problem| refused(Name { registry: name }, problem))?,
            };
            given.secrets.push((name, text));
        }
        let reports = given.check()?;
        Ok((given, reports))
    }
}

/// The failure for a wrong value, with its flag's name.
fn refused(name: Name, problem: impl std::fmt::Display) -> WrongUsage {
    WrongUsage(format!("--{}: {problem}", flag(name)))
}

/// Finds values that a setting's parser accepts and that are wrong on a command line. Returns the
/// value, and the error.
type Check = fn(&str) -> Result<(), String>;

/// By the settings' registry values.
const CHECKS: [(&str, Check); 1] =
    [("ExcludeProcesses", |names| match names.split([',', ';']).find(|one| is_path(one)) {
        Some(path) => {
            let path = path.trim();
            let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
            Err(format!("{path} is a path, and programs are excluded by file name; write {name}"))
        }
        None => Ok(()),
    })];

fn is_path(text: &str) -> bool {
    text.contains(['\\', '/'])
}

impl GivenSettings {
    fn check(&self) -> Result<Vec<SettingReport>, Failure> {
        let alone = Alone { given: self, system: &System::host() };
        let (_, reports) = Settings::resolve_with_reports(&alone);
        let all = || self.values.iter().chain(&self.secrets);
        let given: Vec<SettingReport> = reports
            .into_iter()
            .filter(|report| all().any(|(name, _)| *name == report.name.registry))
            .collect();
        let malformed = given.iter().find_map(|report| Some((report, report.malformed.as_ref()?)));
        if let Some((report, malformed)) = malformed {
            return Err(refused(report.name, &malformed.problem).into());
        }
        for (name, check) in CHECKS {
            let value = value(&self.values, name).filter(|value| !value.trim().is_empty());
            if let Some(Err(problem)) = value.map(|value| check(value.trim())) {
                return Err(refused(Name { registry: name }, problem).into());
            }
        }
        Ok(given)
    }

    /// Whether a setting was given with empty content.
    #[cfg(windows)]
    pub(super) fn removes(&self, registry: &str) -> bool {
        let mut all = self.values().chain(self.secrets());
        all.any(|(name, value)| name == registry && value.is_empty())
    }

    /// The registry values that were given, with their content.
    #[cfg(windows)]
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        trimmed(&self.values)
    }

    /// The same for secrets.
    #[cfg(windows)]
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&'static str, &str)> {
        trimmed(&self.secrets)
    }
}

#[cfg(windows)]
fn trimmed<'a>(
    given: &'a [(&'static str, String)],
) -> impl Iterator<Item = (&'static str, &'a str)> {
    given.iter().map(|(name, value)| (*name, value.trim()))
}

/// Only the given settings, as if they were in the registry. AllowInsecure also counts if it is in
/// the registry already.
struct Alone<'a> {
    given: &'a GivenSettings,
    system: &'a System,
}

impl Lookup for Alone<'_> {
    fn policy(&self, name: &str) -> Reading {
        match name {
            ALLOW_INSECURE => self.system.policy(name),
            _ => Ok(None),
        }
    }

    fn machine(&self, name: &str) -> Reading {
        match value(&self.given.values, name) {
            None if name == ALLOW_INSECURE => self.system.machine(name),
            given => Ok(given),
        }
    }

    fn secret(&self, name: &str) -> Option<Reading> {
        Some(Ok(value(&self.given.secrets, name)))
    }

    fn environment(&self, _name: &str) -> Option<String> {
        None
    }

    fn open_telemetry(&self, _name: &str) -> Option<String> {
        None
    }
}

/// The settings of all programs, as they will be after the given ones are written. This program's
/// own environment does not count.
#[cfg(windows)]
pub(super) struct Machine<'a> {
    pub(super) given: &'a GivenSettings,
    pub(super) system: System,
}

#[cfg(windows)]
impl Lookup for Machine<'_> {
    fn policy(&self, name: &str) -> Reading {
        self.system.policy(name)
    }

    fn machine(&self, name: &str) -> Reading {
        match value(&self.given.values, name) {
            None => self.system.machine(name),
            given => Ok(given),
        }
    }

    /// Nothing that `install` does needs a secret.
    fn secret(&self, _name: &str) -> Option<Reading> {
        Some(Ok(None))
    }

    fn environment(&self, _name: &str) -> Option<String> {
        None
    }

    fn open_telemetry(&self, _name: &str) -> Option<String> {
        None
    }
}

fn value(given: &[(&'static str, String)], name: &str) -> Option<String> {
    given.iter().find(|(registry, _)| *registry == name).map(|(_, value)| value.clone())
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
        let given = |secret| {
            let rows = ALL.iter().filter(move |row| row.secret == secret);
            let names = rows.map(|row| row.name.registry);
            names
                .filter_map(|name| Some((name, matches.get_one::<String>(name)?.clone())))
                .collect()
        };
        Ok(Self { values: given(false), secrets: given(true) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(row: &Row) -> Arg {
    let about = row.about.replace('`', "");
    let about = about.trim_end_matches('.');
    let (value, help) = match row.secret {
        true => ("FILE", format!("File (- is standard input) with: {about}")),
        false => (row.value, about.to_owned()),
    };
    Arg::new(row.name.registry)
        .long(row.flag())
        .value_name(value)
        .help(help)
        .help_heading("Settings for this machine; an empty value removes one")
}

/// The flag that sets a setting.
pub(super) fn flag(name: Name) -> String {
    ALL.iter().find(|row| row.name == name).map(Row::flag).unwrap_or_default()
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
            let SettingFlags { values, secrets } = flags(&[flag, "x"]);
            assert_eq!((values, secrets.len()), (vec![(registry, "x".to_owned())], 0));
        }
        let command = SettingFlags::augment_args(Command::new("install"));
        let flags: Vec<&str> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
        let settings: Vec<&str> = ALL.iter().map(|row| row.name.registry).collect();
        assert_eq!(flags, settings);
    }

    #[test]
    fn a_malformed_value_is_refused_with_the_name_of_its_flag() {
        let problem = flags(&["--timeout-ms", "soon"]).read().err().unwrap().to_string();
        assert!(problem.starts_with("--timeout-ms: `soon` is not a whole number"), "{problem}");
    }

    #[test]
    fn a_value_that_no_program_could_use_is_refused_as_wrong_usage() {
        for (flag, value, complaint) in [
            ("--endpoint", "http://127.0.0.1:4318/v1/traces", "/v1/traces is added"),
            ("--endpoint", "http://127.0.0.1:4318/x/v1/traces/", "/v1/traces is added"),
            ("--proxy", "proxy:8080", "not none, system or a URL"),
            ("--exclude-processes", r"a.exe,C:\Windows\explorer.exe", "write explorer.exe"),
            ("--exclude-processes", "a.exe; ../b.exe", "../b.exe is a path"),
            ("--timeout-ms", "soon", "not a whole number"),
        ] {
            let problem = flags(&[flag, value]).read().err().unwrap();
            assert!(problem.is::<WrongUsage>(), "{problem}");
            let problem = problem.to_string();
            assert!(problem.starts_with(&format!("{flag}: ")), "{problem}");
            assert!(problem.contains(complaint), "{problem}");
        }
        for (flag, value) in [
            ("--endpoint", "http://127.0.0.1:4318/v1/traces/x"),
            ("--endpoint", ""),
            ("--ca-certificate", ""),
            ("--exclude-processes", "a.exe;b*.exe"),
        ] {
            assert!(flags(&[flag, value]).read().is_ok(), "{flag} {value}");
        }
    }

    #[test]
    #[cfg(windows)]
    fn a_file_of_authorities_is_refused_with_what_to_do_and_an_old_one_can_be_removed() {
        let problem = flags(&["--ca-certificate", r"C:\ca.pem"]).read().err().unwrap();
        assert!(problem.is::<WrongUsage>(), "{problem}");
        assert!(problem.to_string().contains("group policy"), "{problem}");
        assert!(flags(&["--ca-certificate", ""]).read().is_ok());
    }

    #[test]
    fn no_command_line_contains_a_secret() {
        let command = || SettingFlags::augment_args(Command::new("install").no_binary_name(true));
        for row in ALL.iter().filter(|row| row.secret) {
            let flag = flag(row.name);
            assert!(flag.ends_with("-file"), "{flag}");
            let bare = format!("--{}", flag.trim_end_matches("-file"));
            assert!(command().try_get_matches_from([bare.as_str(), "x"]).is_err(), "{bare}");
        }
        assert_eq!(flags(&["--headers-file", "x"]).secrets, [("Headers", "x".to_owned())]);
    }

    #[test]
    fn headers_are_masked_and_empty_values_are_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        std::fs::write(&file, "authorization=secret\n").unwrap();
        let flags = flags(&["--headers-file", file.to_str().unwrap(), "--log", ""]);
        let (given, reports) = flags.read().unwrap();
        assert_eq!(given.secrets, [("Headers", "authorization=secret".to_owned())]);
        let shown: Vec<&str> = reports.iter().map(|report| report.value.as_str()).collect();
        assert_eq!(shown, ["authorization=***", "off"]);
    }

    #[test]
    fn an_empty_file_name_removes_a_secret_and_an_empty_file_does_not() {
        let (given, reports) = flags(&["--headers-file", ""]).read().unwrap();
        assert_eq!(given.secrets, [("Headers", String::new())]);
        assert_eq!((reports.len(), reports[0].value.as_str()), (1, ""));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        std::fs::write(&file, " \n").unwrap();
        let problem = flags(&["--headers-file", file.to_str().unwrap()]).read().err().unwrap();
        assert!(problem.to_string().starts_with("--headers-file: "), "{problem}");
        assert!(problem.to_string().contains("has nothing in it"), "{problem}");
        std::fs::write(&file, "secret").unwrap();
        let problem = flags(&["--headers-file", file.to_str().unwrap()]).read().err().unwrap();
        assert!(problem.to_string().contains("--headers-file: not a list"), "{problem}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}
