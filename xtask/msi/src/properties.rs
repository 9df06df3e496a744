//! The public properties: one for each setting of Windows, from the same table as `install`'s flags.

use mpr_otel_core::settings::{ALL, Form, Row};

/// Removes what the setting is.
const CLEAR: &str = "NONE";

/// Uninstalls settings, and what is not sent yet, too: 1.
pub(crate) const PURGE: &str = "PURGE";
/// What the Upgrade table finds.
pub(crate) const OLDER: &str = "OLDERFOUND";
pub(crate) const NEWER: &str = "NEWERFOUND";
/// What the registry is searched for.
pub(crate) const SERVICE: &str = "SERVICEFOUND";
pub(crate) const NATIVE: &str = "NATIVEARCHITECTURE";
pub(crate) const WINDOWS_10: &str = "WINDOWS10";

/// The settings that have one.
fn settings() -> impl Iterator<Item = &'static Row> {
    ALL.iter().filter(|row| !row.not_on_windows)
}

/// A setting's property. A secret's names the file that has it.
pub(crate) fn property(row: &Row) -> String {
    row.name.registry.to_uppercase() + if row.secret { "FILE" } else { "" }
}

/// The flag of `mpr-otel install` that a property becomes, as the action DLL reads it:
/// `ENDPOINT=--endpoint;...`.
pub(crate) fn flags() -> String {
    let flag = |row| format!("{}=--{}", property(row), row.flag());
    settings().map(flag).collect::<Vec<_>>().join(";")
}

/// Properties to which [`CLEAR`] is a value like others.
pub(crate) fn with_none() -> String {
    let has_none = |row: &&Row| match row.form {
        Form::Choice(choices) | Form::ChoiceOrText(choices) => {
            choices.iter().any(|one| one.eq_ignore_ascii_case(CLEAR))
        }
        _ => false,
    };
    settings().filter(has_none).map(property).collect::<Vec<_>>().join(";")
}

/// All of them: those that Windows Installer passes to its service.
pub(crate) fn secure() -> String {
    let settings = settings().map(property);
    let others = [PURGE, OLDER, NEWER, SERVICE, NATIVE, WINDOWS_10].map(str::to_owned);
    settings.chain(others).collect::<Vec<_>>().join(";")
}
