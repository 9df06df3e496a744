//! Who called: the return addresses on the stack, each as its module and the offset in it.

#![allow(unsafe_code)] // This file meets Win32.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use windows_sys::Win32::System::Diagnostics::Debug::RtlCaptureStackBackTrace;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
    GetModuleFileNameW, GetModuleHandleExW,
};

/// RtlCaptureStackBackTrace took less than 63 on old systems, says its page.
const FRAMES: usize = 62;

/// `module+0xoffset` of each return address, the innermost first.
pub fn frames() -> Vec<String> {
    let mut addresses = [null_mut::<c_void>(); FRAMES];
    // SAFETY: writes at most as many addresses as there is room for; the hash may be NULL.
    let count =
        unsafe { RtlCaptureStackBackTrace(0, FRAMES as u32, addresses.as_mut_ptr(), null_mut()) };
    let found = addresses.iter().take(usize::from(count));
    // NULL is where a stack ends; as an address it would stand for the program.
    found.filter(|address| !address.is_null()).map(|address| frame(*address)).collect()
}

fn frame(address: *mut c_void) -> String {
    let mut module = null_mut();
    let flags =
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    // SAFETY: with FROM_ADDRESS the name is an address, which may be any; `module` is writable.
    if unsafe { GetModuleHandleExW(flags, address.cast(), &mut module) } == 0 {
        return format!("{address:p}");
    }
    let offset = (address as usize).wrapping_sub(module as usize);
    let path = file_name(module);
    let name = path.as_deref().and_then(Path::file_name).unwrap_or_default();
    format!("{}+{offset:#x}", name.to_string_lossy())
}

/// The file of a module; of the program's, if it is NULL.
pub fn file_name(module: *mut c_void) -> Option<PathBuf> {
    let mut units = [0_u16; 1024];
    // SAFETY: writes at most as many units as there is room for.
    let count = unsafe { GetModuleFileNameW(module, units.as_mut_ptr(), units.len() as u32) };
    let name = &units[..(count as usize).min(units.len())];
    (count != 0).then(|| PathBuf::from(String::from_utf16_lossy(name)))
}
