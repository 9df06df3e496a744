//! Loads a DLL, to find out whether Windows allows it.

use super::wide;
use std::io;
use std::path::Path;
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX, SetErrorMode,
};
use windows_sys::Win32::System::LibraryLoader::{LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};

/// Makes Windows return an error where it would show a message box, because nobody may be there to
/// close the box. Child processes inherit this.
pub(crate) fn show_no_boxes() {
    // SAFETY: takes numbers only.
    unsafe {
        SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX)
    };
}

/// Loads the DLL at an absolute path into this process, for the rest of its life. The DLL's imports
/// come only from System32, because this program may be in a folder that any user can write to. An
/// error is Windows' code.
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
