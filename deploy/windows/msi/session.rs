//! An installation that is under way, as Windows Installer lets an action see it.
#![allow(unsafe_code)] // It is a handle of Windows.

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, ERROR_SUCCESS};
use windows_sys::Win32::System::ApplicationInstallationAndServicing::{
    INSTALLMESSAGE, INSTALLMESSAGE_ERROR, INSTALLMESSAGE_INFO, MSIHANDLE, MsiCloseHandle,
    MsiCreateRecord, MsiGetPropertyW, MsiProcessMessage, MsiRecordSetStringW, MsiSetPropertyW,
};

/// The handle that an action is called with, which is Windows Installer's to close.
#[derive(Clone, Copy)]
pub(crate) struct Session(pub(crate) MSIHANDLE);

impl Session {
    /// A property's value; empty if there is none.
    pub(crate) fn property(self, name: &str) -> String {
        let name = wide(name);
        // Without the zero that ends it.
        let mut length = 0;
        let mut text = vec![0];
        loop {
            // SAFETY: the name ends with a zero; the buffer has room for `length` units and a zero.
            let code = unsafe {
                let size = &raw mut length;
                MsiGetPropertyW(self.0, name.as_ptr(), text.as_mut_ptr(), size)
            };
            match code {
                ERROR_SUCCESS => {
                    text.truncate(length as usize);
                    return String::from_utf16_lossy(&text);
                }
                ERROR_MORE_DATA => {
                    length += 1;
                    text = vec![0; length as usize];
                }
                _ => return String::new(),
            }
        }
    }

    /// Sets a property. The Win32 code if Windows Installer refuses.
    pub(crate) fn set_property(self, name: &str, value: &str) -> Result<(), u32> {
        let (name, value) = (wide(name), wide(value));
        // SAFETY: both end with a zero.
        match unsafe { MsiSetPropertyW(self.0, name.as_ptr(), value.as_ptr()) } {
            ERROR_SUCCESS => Ok(()),
            code => Err(code),
        }
    }

    /// Puts a line into the log.
    pub(crate) fn log(self, line: &str) {
        self.message(INSTALLMESSAGE_INFO, line);
    }

    /// Says why the installation fails: in the log, and to who looks at it.
    pub(crate) fn error(self, line: &str) {
        self.message(INSTALLMESSAGE_ERROR, line);
    }

    fn message(self, kind: INSTALLMESSAGE, line: &str) {
        // Field 0 is the format, and [1] in it the line: brackets in a line stay what they are.
        let (format, line) = (wide("mpr-otel: [1]"), wide(line));
        // SAFETY: no pointers.
        let record = unsafe { MsiCreateRecord(1) };
        // SAFETY: a record of one field, and a text that ends with a zero. Without a record the functions
        // say so, and there is nobody to tell.
        unsafe { MsiRecordSetStringW(record, 0, format.as_ptr()) };
        // SAFETY: the same.
        unsafe { MsiRecordSetStringW(record, 1, line.as_ptr()) };
        // SAFETY: the record is this function's.
        unsafe { MsiProcessMessage(self.0, kind, record) };
        // SAFETY: the same, for the last time.
        unsafe { MsiCloseHandle(record) };
    }
}

fn wide(text: &str) -> Vec<u16> {
    // A zero would end it early.
    text.encode_utf16().filter(|unit| *unit != 0).chain([0]).collect()
}
