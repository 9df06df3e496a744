//! Which command line each deferred action runs.

use crate::command_line::command_line;

/// Removes what a setting is.
const CLEAR: &str = "NONE";

/// Reads properties by their names. Returns actions, each with its command line.
///
/// # Errors
///
/// What was given may not be.
pub(crate) fn plan(
    property: impl Fn(&str) -> String,
) -> Result<[(&'static str, String); 4], String> {
    let flags = property("SettingFlags");
    let flags: Vec<(&str, &str)> = flags.split(';').filter_map(|one| one.split_once('=')).collect();
    let with_none = property("NoneIsAValue");
    let mut given = Vec::new();
    for (name, flag) in &flags {
        match property(name) {
            // Absent: the setting stays as it is.
            empty if empty.is_empty() => {}
            clear if clear == CLEAR && !with_none.split(';').any(|one| one == *name) => {
                given.push(format!("{flag}="));
            }
            value => given.push(format!("{flag}={value}")),
        }
    }
    // Windows Installer sets it for a user who is no administrator and whom it serves with the system's
    // rights, as for a repair. The settings are the machine's.
    let is_restricted = !property("RestrictedUserControl").is_empty();
    if is_restricted && !property("Installed").is_empty() && !given.is_empty() {
        return Err("only an administrator changes settings; run this from a terminal that was \
                    opened with \"Run as administrator\". Nothing was changed"
            .to_owned());
    }
    let program = property("InstallFolder") + "mpr-otel.exe";
    let line = |words: &[&str]| command_line([&*program].into_iter().chain(words.iter().copied()));
    let install = ["install", "--from-msi"];
    let given: Vec<&str> = install.into_iter().chain(given.iter().map(String::as_str)).collect();
    let keep = ["uninstall", "--from-msi", "--keep-data"];
    let purge = ["uninstall", "--from-msi"];
    Ok([
        ("Install", line(&given)),
        ("Restore", line(&install)),
        ("Undo", line(&keep)),
        ("Uninstall", line(if property("PURGE") == "1" { &purge } else { &keep })),
    ])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn planned(given: &[(&str, &str)]) -> Result<[(&'static str, String); 4], String> {
        let always = [
            ("SettingFlags", "ENDPOINT=--endpoint;PRIVACY=--privacy;HEADERSFILE=--headers-file"),
            ("NoneIsAValue", "PRIVACY"),
            ("InstallFolder", r"C:\Program Files\mpr-otel\"),
        ];
        plan(|name| {
            let found = always.iter().chain(given).find(|(property, _)| *property == name);
            found.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
        })
    }

    fn line(given: &[(&str, &str)], action: &str) -> String {
        let plan = planned(given).unwrap();
        let line = plan.into_iter().find(|(name, _)| *name == action).unwrap().1;
        line.strip_prefix(r#""C:\Program Files\mpr-otel\mpr-otel.exe" "#).unwrap().to_owned()
    }

    #[test]
    fn given_wins_absent_keeps_and_none_clears() {
        assert_eq!(line(&[], "Install"), r#""install" "--from-msi""#);
        let given = [("ENDPOINT", "https://a b"), ("HEADERSFILE", "NONE"), ("PRIVACY", "NONE")];
        assert_eq!(
            line(&given, "Install"),
            r#""install" "--from-msi" "--endpoint=https://a b" "--privacy=NONE" "--headers-file=""#
        );
        assert_eq!(line(&given, "Restore"), r#""install" "--from-msi""#);
    }

    #[test]
    fn settings_stay_unless_they_are_to_be_purged() {
        assert_eq!(line(&[], "Uninstall"), r#""uninstall" "--from-msi" "--keep-data""#);
        assert_eq!(line(&[("PURGE", "1")], "Uninstall"), r#""uninstall" "--from-msi""#);
        assert_eq!(line(&[("PURGE", "1")], "Undo"), r#""uninstall" "--from-msi" "--keep-data""#);
    }

    #[test]
    fn an_ordinary_user_repairs_and_changes_no_setting() {
        let user = [("RestrictedUserControl", "1"), ("Installed", "x")];
        assert!(planned(&user).is_ok());
        let refused = planned(&[&user[..], &[("ENDPOINT", "https://x")]].concat()).unwrap_err();
        assert!(refused.starts_with("only an administrator"), "{refused}");
    }
}
