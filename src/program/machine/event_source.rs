//! Registers the agent with Windows' Application log.
//!
//! A viewer shows an event through a message in the source's message file. Windows' own
//! EventCreate.exe has the messages 1 to 1000, and each of them is only the event's text: Microsoft
//! says that the program `eventcreate` takes these numbers, and Go's
//! golang.org/x/sys/windows/svc/eventlog has used the file since 2012. So mpr-otel needs no message
//! file of its own.

use super::registry::{cannot, remove_key};
use super::uninstalled::Uninstalled;
use crate::agent::events::SOURCE;
use crate::answer::Failure;
use std::io;
use windows_registry::LOCAL_MACHINE;

/// The sources of the Application log, under `HKEY_LOCAL_MACHINE`. 32- and 64-bit programs share
/// them.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE
const LEVELS: u32 = 7;

/// Registers the source.
pub(super) fn register() -> Result<(), Failure> {
    let path = format!(r"{SOURCES}\{SOURCE}");
    let write = || -> io::Result<()> {
        let key = LOCAL_MACHINE.create(&path)?;
        key.set_expand_string("EventMessageFile", MESSAGES)?;
        key.set_u32("TypesSupported", LEVELS)?;
        Ok(())
    };
    write().map_err(|error| cannot("write", &path, &error))
}

/// Removes the source. The log keeps its events, and a viewer then shows the text alone.
pub(super) fn unregister(done: &mut Uninstalled) -> Result<(), Failure> {
    let path = format!(r"{SOURCES}\{SOURCE}");
    if remove_key(&path).map_err(|error| cannot("remove", &path, &error))? {
        done.removed.push(format!(r"HKLM\{path}"));
    }
    Ok(())
}
