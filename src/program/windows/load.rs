//! Loading a DLL, to see whether Windows lets this process.

use super::wide;
use std::io;
use std::path::Path;
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX, SetErrorMode,
};
use windows_sys::Win32::System::LibraryLoader::{LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};

/// Has Windows fail where it would show a box: nobody may be there to close it. Processes that are
/// started from here inherit it.
pub(crate) fn show_no_boxes() {
    // SAFETY: takes numbers only.
    unsafe {
        SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX)
    };
}

/// Loads the DLL at an absolute path into this process, for good. What it imports is looked for
/// in System32 alone: this program may lie in a folder that anybody writes to. An error is
/// Windows' code.
pub(crate) fn load(path: &Path) -> Result<(), u32> {
    show_no_boxes();
    let path = wide(path.as_os_str());
    // SAFETY: `path` ends in NUL; the second parameter is reserved and must be NULL.
    let module = unsafe {
        LoadLibraryExW(path.as_ptr(), std::ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32)
    };
    if module.is_null() {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0).cast_unsigned());
    }
    Ok(())
}
