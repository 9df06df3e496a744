//! The settings in Windows' registry.

use super::list::ALL;
use super::reading::{Reading, RegistryError, Unusable};
use crate::expand::expand;
use crate::platform;
use windows_registry::{LOCAL_MACHINE, Type, Value};

/// Under `HKEY_LOCAL_MACHINE`: the key that group policy writes.
pub const POLICY_KEY: &str = r"SOFTWARE\Policies\mpr-otel";
/// Under `HKEY_LOCAL_MACHINE`: the key that the installer writes.
pub const MACHINE_KEY: &str = r"SOFTWARE\mpr-otel";
/// Under `HKEY_LOCAL_MACHINE`: the key of the secrets. The installer writes it; administrators and
/// the agent read it.
pub const AGENT_KEY: &str = r"SOFTWARE\mpr-otel\Agent";

/// One of these keys.
#[derive(Debug)]
pub(super) struct Key {
    path: &'static str,
    /// `None` if the key does not exist.
    opened: Result<Option<windows_registry::Key>, RegistryError>,
}

impl Key {
    pub(super) fn open(path: &'static str) -> Self {
        // The 64-bit view, so that a 32-bit host reads the same settings.
        let opened = LOCAL_MACHINE.options().read().wow64_64().open(path);
        Self { path, opened: found(path, opened) }
    }

    /// Value `name` as text: REG_DWORD in decimal, REG_MULTI_SZ joined by commas.
    pub(super) fn read(&self, name: &str) -> Reading {
        let Some(key) = self.opened.as_ref().map_err(|error| Unusable::Unreadable(*error))? else {
            return Ok(None);
        };
        match found(self.path, key.get_value(name)).map_err(Unusable::Unreadable)? {
            None => Ok(None),
            Some(value) => text(value).map(Some).map_err(Unusable::Malformed),
        }
    }
}

/// Values of group policy's key and of the machine's that are not settings, each as `HKLM\KEY\NAME`: their
/// names may be misspelt. Of a key that cannot be read there are none.
pub fn unknown_values() -> Vec<String> {
    let mut unknown = Vec::new();
    for path in [POLICY_KEY, MACHINE_KEY] {
        let Ok(Some(key)) = Key::open(path).opened else { continue };
        let names = key.values().into_iter().flatten().map(|(name, _)| name);
        let is_setting =
            |name: &String| ALL.iter().any(|row| row.name.registry.eq_ignore_ascii_case(name));
        unknown.extend(
            names.filter(|name| !is_setting(name)).map(|name| format!(r"HKLM\{path}\{name}")),
        );
    }
    unknown
}

fn found<T>(
    key: &'static str,
    result: windows_registry::Result<T>,
) -> Result<Option<T>, RegistryError> {
    result.map_or_else(|error| RegistryError::unless_absent(key, error.code().0), |it| Ok(Some(it)))
}

/// The text of a value, whose type may be any that a setting can have.
fn text(value: Value) -> Result<String, String> {
    let read = match value.ty() {
        Type::String => String::try_from(value).ok(),
        Type::U32 | Type::U64 => u64::try_from(value).ok().map(|number| number.to_string()),
        Type::MultiString => Vec::try_from(value).ok().map(|items: Vec<String>| items.join(",")),
        Type::ExpandString => match String::try_from(value) {
            Ok(text) => {
                return expand(&text, |name| match name {
                    "SYSTEMROOT" => platform::windows_folder(),
                    "PROGRAMDATA" => platform::program_data(),
                    _ => None,
                })
                .map_err(|unknown| {
                    format!("{unknown}; only %SystemRoot% and %ProgramData% are replaced")
                });
            }
            Err(_) => None,
        },
        _ => None,
    };
    read.ok_or_else(|| "not a text; write the value as REG_SZ, or a number as REG_DWORD".to_owned())
}
