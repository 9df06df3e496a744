//! Another process, so that its end can be awaited.

use std::io;
use std::time::Duration;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::Storage::FileSystem::SYNCHRONIZE;
use windows_sys::Win32::System::Threading::{OpenProcess, WaitForSingleObject};

/// A process that may have ended. Its id is not used again while this value lives.
#[derive(Debug)]
pub(crate) struct Process(HANDLE);

impl Process {
    /// The process that has this id now.
    pub(crate) fn open(id: u32) -> io::Result<Self> {
        // SAFETY: takes numbers only.
        let process = unsafe { OpenProcess(SYNCHRONIZE, 0, id) };
        if process.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(process)) }
    }

    /// Waits for the process' end, for `limit` at most. Returns whether it has ended.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<bool> {
        // u32::MAX is INFINITE, so a finite wait is at most one less.
        let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the handle is open for as long as `self` lives.
        match unsafe { WaitForSingleObject(self.0, millis) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(false),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and goes with `self`.
        unsafe { CloseHandle(self.0) };
    }
}
