//! The file with the lines: `calls.jsonl` in `mpr-otel-recorder` at the root of the drive that
//! Windows is on. A person who wants a record makes the folder, and lets everybody write in it;
//! without the folder nothing is recorded.

#![allow(unsafe_code)] // This file meets Win32.

use crate::call::Line;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use windows_sys::Win32::System::SystemInformation::GetSystemWindowsDirectoryW;

/// Appends a line under the file's lock, so that those of several processes do not mix: a write that
/// only appends (FILE_APPEND_DATA) is one step on Windows, but two under Wine.
pub fn append(line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    // LockFileEx needs more than the right to append. The lock goes with the file's handle.
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path()?)?;
    file.lock()?;
    match file.write(&text)? {
        count if count == text.len() => Ok(()),
        _ => Err(io::ErrorKind::StorageFull.into()),
    }
}

fn path() -> io::Result<PathBuf> {
    let mut units = [0_u16; 512];
    // SAFETY: writes at most as many units as there is room for.
    let count = unsafe { GetSystemWindowsDirectoryW(units.as_mut_ptr(), units.len() as u32) };
    if count == 0 {
        return Err(io::Error::last_os_error());
    }
    let windows = String::from_utf16_lossy(&units[..(count as usize).min(units.len())]);
    let root = Path::new(&windows).ancestors().last().unwrap_or(Path::new("\\"));
    Ok(root.join("mpr-otel-recorder").join("calls.jsonl"))
}
