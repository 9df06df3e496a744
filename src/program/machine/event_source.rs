//! What makes the agent known to Windows' Application log.
//!
//! A viewer shows an event by a message of the source's file, with the event's text in it. Windows' own
//! EventCreate.exe has the messages 1 to 1000, each of them the text alone: Microsoft says that the program
//! `eventcreate` takes these numbers, and Go's golang.org/x/sys/windows/svc/eventlog has used its file
//! for that since 2012. So no file of messages is to be installed, updated and removed.

use super::registry::{cannot, remove_key};
use super::uninstalled::Uninstalled;
use crate::agent::events::SOURCE;
use crate::answer::Failure;
use std::io;
use windows_registry::LOCAL_MACHINE;

/// Under `HKEY_LOCAL_MACHINE`: the sources of the Application log. 32- and 64-bit programs share it.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE
const LEVELS: u32 = 7;

/// Makes the source known.
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

/// Makes it unknown. The log keeps its events, and a viewer shows their text as what was written with them.
pub(super) fn unregister(done: &mut Uninstalled) -> Result<(), Failure> {
    let path = format!(r"{SOURCES}\{SOURCE}");
    if remove_key(&path).map_err(|error| cannot("remove", &path, &error))? {
        done.removed.push(format!(r"HKLM\{path}"));
    }
    Ok(())
}
