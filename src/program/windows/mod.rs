//! What installing and the service need from Windows. Core has what every process of mpr-otel
//! needs.

#![allow(unsafe_code)] // This folder meets Win32.

mod account;
mod debugged;
mod descriptor;
mod event_log;
mod file_identity;
mod folder;
mod listeners;
mod load;
mod loaded;
mod process;
mod registry_key;
mod service;
mod wnet;

pub(crate) use account::delete_profile;
pub(crate) use debugged::Debugged;
pub(crate) use event_log::{EventType, report_event};
pub(crate) use file_identity::FileIdentity;
pub(crate) use folder::{
    create_folder, rename, replace_file, set_rights, set_rights_of_own, uncompress,
};
pub(crate) use listeners::listeners;
pub(crate) use load::{load, show_no_boxes};
pub(crate) use loaded::loaded_by;
pub(crate) use process::Process;
pub(crate) use registry_key::create_key;
pub(crate) use service::{distrust_images, distrust_redirections, keep_privileges};
pub(crate) use wnet::Wnet;

use crate::architecture::Architecture;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use windows_sys::Win32::Storage::FileSystem::{MOVEFILE_DELAY_UNTIL_REBOOT, MoveFileExW};
use windows_sys::Win32::System::Environment::ExpandEnvironmentStringsW;
use windows_sys::Win32::System::SystemInformation::{
    GetSystemDirectoryW, GetSystemWow64DirectoryW,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, IsWow64Process2};

/// `Program Files`, which only administrators can write to. The path comes from the registry: the
/// user can change the environment, and the programs that are put there are run by others.
pub(crate) fn program_files() -> io::Result<PathBuf> {
    let folder = windows_registry::LOCAL_MACHINE
        .options()
        .read()
        .wow64_64()
        .open(r"SOFTWARE\Microsoft\Windows\CurrentVersion")?
        .get_string("ProgramFilesDir")?;
    Ok(PathBuf::from(folder))
}

/// `System32`, the folder of the system's DLLs for programs of this width.
pub(crate) fn system_folder() -> io::Result<PathBuf> {
    let mut folder = [0_u16; 512];
    // SAFETY: writes at most as many units as `folder` has.
    let units = unsafe { GetSystemDirectoryW(folder.as_mut_ptr(), folder.len() as u32) };
    filled(&folder, units)
}

/// `SysWOW64`, to which a 64-bit Windows leads 32-bit programs that ask for `System32`. An error if
/// Windows runs no 32-bit programs.
pub(crate) fn wow64_folder() -> io::Result<PathBuf> {
    let mut folder = [0_u16; 512];
    // SAFETY: writes at most as many units as `folder` has.
    let units = unsafe { GetSystemWow64DirectoryW(folder.as_mut_ptr(), folder.len() as u32) };
    filled(&folder, units)
}

/// The architectures of the programs that this machine runs, its own first.
///
/// x86 programs need SysWOW64, which Server Core may not have. Windows 11 on Arm runs amd64
/// programs, too, and they use the same System32 as its own programs (Microsoft: Arm64X PE files).
pub(crate) fn architectures() -> Vec<Architecture> {
    let (mut process, mut native) = (0, 0);
    // SAFETY: takes nothing, and gives a pseudo-handle that is always valid.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is valid, and both numbers are writable.
    let known = unsafe { IsWow64Process2(this, &mut process, &mut native) } != 0;
    let native = Architecture::of_machine(native).filter(|_| known).unwrap_or(Architecture::OWN);
    let mut all = vec![native];
    if native == Architecture::Arm64 {
        all.push(Architecture::Amd64);
    }
    if native != Architecture::X86 && wow64_folder().is_ok_and(|folder| folder.is_dir()) {
        all.push(Architecture::X86);
    }
    all
}

/// A path that a function wrote. The function returned the path's length, or 0 for a failure.
fn filled(buffer: &[u16], units: u32) -> io::Result<PathBuf> {
    match buffer.get(..units as usize) {
        Some([]) => Err(io::Error::last_os_error()),
        Some(path) => Ok(PathBuf::from(OsString::from_wide(path))),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

/// Replaces `%NAME%` by the environment's value, as MPR does with its list of notification DLLs.
pub(crate) fn expand(text: &str) -> String {
    let source = wide(text.as_ref());
    let mut target = vec![0_u16; 4096];
    // SAFETY: `source` ends in NUL; writes at most as many units as `target` has.
    let units = unsafe {
        ExpandEnvironmentStringsW(source.as_ptr(), target.as_mut_ptr(), target.len() as u32)
    } as usize;
    match units {
        0 => text.to_owned(),
        units if units > target.len() => text.to_owned(),
        units => String::from_utf16_lossy(&target[..units - 1]),
    }
}

/// Tells Windows to delete a file at its next start. A folder is deleted if it is empty by then.
pub(crate) fn delete_at_restart(path: &Path) -> io::Result<()> {
    let path = wide(path.as_os_str());
    // SAFETY: `path` ends in NUL; NULL as the new name stands for deletion.
    let done = unsafe { MoveFileExW(path.as_ptr(), std::ptr::null(), MOVEFILE_DELAY_UNTIL_REBOOT) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The text as UTF-16 with a NUL at its end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}
