//! The registry: MPR's list of notification DLLs, and the machine's settings.

use super::Uninstalled;
use crate::answer::Failure;
use crate::setting_flags::SettingFlags;
use mpr_otel_core::settings::MACHINE_KEY;
use std::io;
use windows_registry::{Key, LOCAL_MACHINE, Type};

/// Under `HKEY_LOCAL_MACHINE`; 32- and 64-bit programs share it.
const PROVIDERS: &str = r"SYSTEM\CurrentControlSet\Control\NetworkProvider";
const NOTIFYEES: &str = r"SYSTEM\CurrentControlSet\Control\NetworkProvider\Notifyees";
const SOFTWARE: &str = "SOFTWARE";
/// Any name will do; each DLL has its own.
const VALUE: &str = "mpr-otel";
/// Windows leads 32-bit programs to SysWOW64 instead.
const DATA: &str = r"%SystemRoot%\System32\mpr_otel.dll";

/// What the list of notification DLLs says of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// MPR loads it.
    Good,
    /// It is not there.
    Missing,
    /// It is there, and MPR does not load it: what it says.
    Other(String),
}

/// Looks ours up.
pub(crate) fn registered() -> Entry {
    let Ok(key) = LOCAL_MACHINE.open(NOTIFYEES) else {
        return Entry::Missing;
    };
    let Ok(value) = key.get_value(VALUE) else {
        return Entry::Missing;
    };
    let kind = value.ty();
    let data = String::try_from(value).unwrap_or_default();
    if kind == Type::ExpandString && data.eq_ignore_ascii_case(DATA) {
        return Entry::Good;
    }
    Entry::Other(format!("{kind:?} {data}"))
}

/// Refuses those who may not do what follows.
pub(super) fn require_rights() -> Result<(), Failure> {
    for path in [PROVIDERS, SOFTWARE] {
        let opened = open_64(path, false);
        if opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return Err("this needs administrator rights, and nothing was changed; \
                        open a terminal with \"Run as administrator\" and try again"
                .into());
        }
    }
    Ok(())
}

/// Puts ours on the list. Others' values stay as they are.
pub(super) fn register() -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        LOCAL_MACHINE.create(NOTIFYEES)?.set_expand_string(VALUE, DATA)?;
        Ok(())
    };
    write().map_err(|error| cannot("write", NOTIFYEES, &error))
}

/// Takes ours off the list, and the list away if nothing else is on it.
pub(super) fn unregister(done: &mut Uninstalled) -> Result<(), Failure> {
    let mut remove = || -> io::Result<()> {
        let key = open_64(NOTIFYEES, false)?;
        if key.get_type(VALUE).is_ok() {
            key.remove_value(VALUE)?;
            done.removed.push(format!(r"HKLM\{NOTIFYEES}: {VALUE}"));
        }
        let is_empty = key.values()?.next().is_none() && key.keys()?.next().is_none();
        drop(key);
        if is_empty {
            LOCAL_MACHINE.remove_tree(NOTIFYEES)?;
            done.removed.push(format!(r"HKLM\{NOTIFYEES}"));
        }
        Ok(())
    };
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(cannot("change", NOTIFYEES, &error))
        }
        _ => Ok(()),
    }
}

/// Writes the settings that were given, and removes those that were given empty.
pub(super) fn write_settings(flags: &SettingFlags) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let key = open_64(MACHINE_KEY, true)?;
        for (name, value) in flags.values() {
            match value {
                "" if key.get_type(name).is_err() => {}
                "" => key.remove_value(name)?,
                value => key.set_string(name, value)?,
            }
        }
        Ok(())
    };
    write().map_err(|error| cannot("write", MACHINE_KEY, &error))
}

/// Removes all settings that `install` wrote. Group policy's are not ours to remove.
pub(super) fn remove_settings(done: &mut Uninstalled) -> Result<(), Failure> {
    let (parent, name) = MACHINE_KEY.split_once('\\').unwrap_or(("", MACHINE_KEY));
    let remove = || -> io::Result<()> {
        drop(open_64(MACHINE_KEY, false)?);
        open_64(parent, false)?.remove_tree(name)?;
        Ok(())
    };
    match remove() {
        Ok(()) => done.removed.push(format!(r"HKLM\{MACHINE_KEY}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("remove", MACHINE_KEY, &error)),
    }
    Ok(())
}

/// A key to read and write, in the view that 64-bit programs see.
fn open_64(path: &str, create: bool) -> io::Result<Key> {
    let mut options = LOCAL_MACHINE.options();
    options.read().write().wow64_64();
    if create {
        options.create();
    }
    Ok(options.open(path)?)
}

fn cannot(verb: &str, key: &str, error: &io::Error) -> Failure {
    format!(
        r"cannot {verb} HKLM\{key}: {error}; check the key's permissions with regedit and try again"
    )
    .into()
}
