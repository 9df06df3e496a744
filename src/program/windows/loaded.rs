//! The DLLs that other processes have loaded.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, MODULEENTRY32W, Module32FirstW, Module32NextW, TH32CS_SNAPMODULE,
    TH32CS_SNAPMODULE32,
};

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
