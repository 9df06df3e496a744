//! Writes to the Application log.

use super::wide;
use std::io;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};

/// The level of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    /// For the record.
    Information,
    /// There will be harm if nobody acts.
    Warning,
    /// Something is lost or does not work.
    Error,
}

/// Writes an event of `source` to the log with which `source` is registered. `text` replaces `%1`
/// in the message `id` of the source's file. It has 31,839 characters at most (ReportEventW).
pub(crate) fn report_event(source: &str, kind: EventType, id: u32, text: &str) -> io::Result<()> {
    let (source, text) = (wide(source.as_ref()), wide(text.as_ref()));
    let kind = match kind {
        EventType::Information => EVENTLOG_INFORMATION_TYPE,
        EventType::Warning => EVENTLOG_WARNING_TYPE,
        EventType::Error => EVENTLOG_ERROR_TYPE,
    };
    // SAFETY: NULL stands for this machine; `source` ends in NUL.
    let log = unsafe { RegisterEventSourceW(std::ptr::null(), source.as_ptr()) };
    if log.is_null() {
        return Err(io::Error::last_os_error());
    }
    let strings = [text.as_ptr()];
    // SAFETY: the handle was just opened; no user is named; there is one string, which ends in NUL and
    // lives during the call; there are no bytes, for which NULL may stand.
    let written = unsafe {
        ReportEventW(
            log,
            kind,
            0,
            id,
            std::ptr::null_mut(),
            strings.len() as u16,
            0,
            strings.as_ptr(),
            std::ptr::null(),
        )
    };
    let done = if written == 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the handle was opened above, and is not used after this.
    unsafe { DeregisterEventSource(log) };
    done
}
