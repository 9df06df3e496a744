//! A DLL, loaded to see whether Windows loads it; and what other processes have loaded.

use super::wide;
use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;
use windows_sys::Win32::Foundation::{FreeLibrary, GetLastError, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOOPENFILEERRORBOX, SetErrorMode,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, MODULEENTRY32W, Module32FirstW, Module32NextW, TH32CS_SNAPMODULE,
    TH32CS_SNAPMODULE32,
};
use windows_sys::Win32::System::LibraryLoader::LoadLibraryExW;

/// Loads a DLL into this process, as MPR would, and frees it. Returns the Win32 code: 0 for
/// success, 126 not found, 193 wrong architecture, 577 or 4551 code integrity.
pub(crate) fn try_load(path: &Path) -> u32 {
    let path = wide(path.as_os_str());
    // SAFETY: `path` ends in NUL. The DLL's initialisers do nothing (its DllMain is empty).
    let library = unsafe { LoadLibraryExW(path.as_ptr(), null_mut(), 0) };
    if library.is_null() {
        // SAFETY: takes nothing.
        return unsafe { GetLastError() };
    }
    // SAFETY: it is loaded, and nothing of it is used.
    unsafe { FreeLibrary(library) };
    0
}

/// Has Windows fail where it would show a box: nobody may be there to close it. Processes that are
/// started from here inherit it.
pub(crate) fn show_no_boxes() {
    // SAFETY: takes numbers only.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX) };
}

/// File names of the DLLs in another process.
pub(crate) fn loaded_by(pid: u32) -> io::Result<Vec<OsString>> {
    // SAFETY: takes numbers only.
    let list = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPMODULE | TH32CS_SNAPMODULE32, pid) };
    if list == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is open and has no other owner.
    let _owner = unsafe { OwnedHandle::from_raw_handle(list) };
    let size = size_of::<MODULEENTRY32W>() as u32;
    let mut entry = MODULEENTRY32W { dwSize: size, ..MODULEENTRY32W::default() };
    let mut names = Vec::new();
    // SAFETY: the handle is open; `entry` is writable and says its size.
    let mut more = unsafe { Module32FirstW(list, &mut entry) };
    while more != 0 {
        let units = entry.szModule.iter().position(|unit| *unit == 0).unwrap_or(0);
        names.push(OsString::from_wide(&entry.szModule[..units]));
        // SAFETY: as above.
        more = unsafe { Module32NextW(list, &mut entry) };
    }
    Ok(names)
}
