//! The registry: MPR's list of notification DLLs, and the machine's settings.

use super::uninstalled::Uninstalled;
use crate::answer::Failure;
use crate::dll_file::LIBRARY;
use crate::rights::AGENT_KEY_SDDL;
use crate::setting_flags::GivenSettings;
use crate::windows;
use mpr_otel_core::settings::{AGENT_KEY, MACHINE_KEY};
use std::io;
use std::path::{Path, PathBuf};
use windows_registry::{Key, LOCAL_MACHINE, Type, Value};

/// Under `HKEY_LOCAL_MACHINE`. 32- and 64-bit programs share it.
const PROVIDERS: &str = r"SYSTEM\CurrentControlSet\Control\NetworkProvider";
const NOTIFYEES: &str = r"SYSTEM\CurrentControlSet\Control\NetworkProvider\Notifyees";
const SOFTWARE: &str = "SOFTWARE";
/// The value's name. Any name is valid, and each DLL has its own.
const VALUE: &str = "mpr-otel";
/// For 32-bit programs Windows replaces System32 by SysWOW64.
const DATA: &str = r"%SystemRoot%\System32\mpr_otel.dll";

/// A value of the list of notification DLLs.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The value's name.
    pub(crate) name: String,
    /// The name of its type.
    pub(crate) kind: String,
    /// Whether its type is the documented one, REG_EXPAND_SZ.
    is_expanded: bool,
    /// The DLL's path, as it is written there.
    pub(crate) data: String,
}

impl Listed {
    /// Whether MPR loads it. The documentation asks for REG_EXPAND_SZ and a path.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.is_expanded && Path::new(&windows::expand(&self.data)).is_absolute()
    }

    /// The path that it leads to. It is expanded and has no `..`, as Windows does before it
    /// redirects 32-bit programs.
    pub(crate) fn path(&self) -> PathBuf {
        let path = PathBuf::from(windows::expand(&self.data));
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// Looks for the DLL on the list. First for the value that `install` writes, and then for any value
/// that leads to a file of the DLL's name, because another installer may use another name.
pub(crate) fn listed() -> io::Result<Option<Listed>> {
    let key = match LOCAL_MACHINE.open(NOTIFYEES).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        key => key?,
    };
    let mut found = None;
    for (name, value) in key.values()? {
        let kind = value.ty();
        let data = String::try_from(value).unwrap_or_default();
        let is_usual = name.eq_ignore_ascii_case(VALUE);
        let file = data.rsplit('\\').next().unwrap_or_default();
        if is_usual || file.eq_ignore_ascii_case(LIBRARY) {
            let is_expanded = kind == Type::ExpandString;
            let kind = match kind {
                Type::ExpandString => "REG_EXPAND_SZ".to_owned(),
                Type::String => "REG_SZ".to_owned(),
                kind => format!("{kind:?}"),
            };
            found = Some(Listed { name, kind, is_expanded, data });
        }
        if is_usual {
            break;
        }
    }
    Ok(found)
}

/// Refuses users without the rights for the next steps.
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

/// Whether the list of notification DLLs exists, empty or not.
pub(super) fn list_is_there() -> bool {
    LOCAL_MACHINE.open(NOTIFYEES).is_ok()
}

/// Puts the product's DLL on the list. Other DLLs' values stay as they are.
pub(super) fn register() -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        LOCAL_MACHINE.create(NOTIFYEES)?.set_expand_string(VALUE, DATA)?;
        Ok(())
    };
    write().map_err(|error| cannot("write", NOTIFYEES, &error))
}

/// Takes the product's DLL off the list. Removes the list, too, if `install` made it and it is
/// empty.
pub(super) fn unregister(made_list: bool, done: &mut Uninstalled) -> Result<(), Failure> {
    let mut remove = || -> io::Result<()> {
        let key = open_64(NOTIFYEES, false)?;
        if key.get_type(VALUE).is_ok() {
            key.remove_value(VALUE)?;
            done.removed.push(format!(r"HKLM\{NOTIFYEES}: {VALUE}"));
        }
        let is_empty = key.values()?.next().is_none() && key.keys()?.next().is_none();
        drop(key);
        if made_list && is_empty {
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

/// Writes the given settings, and removes those that were given empty.
pub(super) fn write_settings(given: &GivenSettings) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let key = open_64(MACHINE_KEY, true)?;
        for (name, value) in given.values() {
            match value {
                "" => remove_value(&key, name)?,
                value => key.set_string(name, value)?,
            }
        }
        // Every user can read a secret that was written here before.
        for (name, _) in given.secrets() {
            remove_value(&key, name)?;
        }
        Ok(())
    };
    write().map_err(|error| cannot("write", MACHINE_KEY, &error))
}

/// Writes the given secrets, and removes those that were given empty.
///
/// The key is made new, with its rights from the first moment on. Otherwise a user who had opened
/// an older key with other rights could read what is written to it.
pub(super) fn write_secrets(given: &GivenSettings) -> Result<(), Failure> {
    if given.secrets().next().is_none() {
        return Ok(());
    }
    let write = || -> io::Result<()> {
        let kept = kept_secrets(given)?;
        remove_key(AGENT_KEY)?;
        let written: Vec<(&str, &str)> = given.secrets().filter(|(_, it)| !it.is_empty()).collect();
        if kept.is_empty() && written.is_empty() {
            return Ok(());
        }
        let key = windows::create_key(AGENT_KEY, AGENT_KEY_SDDL)?;
        for (name, value) in kept {
            key.set_value(name, &value)?;
        }
        for (name, value) in written {
            key.set_string(name, value)?;
        }
        Ok(())
    };
    write().map_err(|error| cannot("write", AGENT_KEY, &error))
}

/// The values of the agent's key that were not given now.
fn kept_secrets(given: &GivenSettings) -> io::Result<Vec<(String, Value)>> {
    let key = match open_64(AGENT_KEY, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        key => key?,
    };
    let is_given = |name: &str| given.secrets().any(|(given, _)| given.eq_ignore_ascii_case(name));
    Ok(key.values()?.filter(|(name, _)| !is_given(name)).collect())
}

/// Removes a value if it exists.
fn remove_value(key: &Key, name: &str) -> io::Result<()> {
    match key.get_type(name) {
        Ok(_) => Ok(key.remove_value(name)?),
        Err(_) => Ok(()),
    }
}

/// Removes all settings that `install` wrote. Group policy's settings stay.
pub(super) fn remove_settings(done: &mut Uninstalled) -> Result<(), Failure> {
    if remove_key(MACHINE_KEY).map_err(|error| cannot("remove", MACHINE_KEY, &error))? {
        done.removed.push(format!(r"HKLM\{MACHINE_KEY}"));
    }
    Ok(())
}

/// Removes a key and everything below it. Returns whether the key existed.
pub(super) fn remove_key(path: &str) -> io::Result<bool> {
    let (parent, name) = path.rsplit_once('\\').unwrap_or(("", path));
    let remove = || -> io::Result<()> {
        drop(open_64(path, false)?);
        open_64(parent, false)?.remove_tree(name)?;
        Ok(())
    };
    match remove() {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a key to read and write, in the view of 64-bit programs.
pub(super) fn open_64(path: &str, create: bool) -> io::Result<Key> {
    let mut options = LOCAL_MACHINE.options();
    options.read().write().wow64_64();
    if create {
        options.create();
    }
    Ok(options.open(path)?)
}

pub(super) fn cannot(verb: &str, key: &str, error: &io::Error) -> Failure {
    format!(
        r"cannot {verb} HKLM\{key}: {error}; check the key's permissions with regedit and try again"
    )
    .into()
}
