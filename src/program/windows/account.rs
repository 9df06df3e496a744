//! What Windows keeps for an account.

use super::wide;
use std::io;
use std::path::PathBuf;
use windows_sys::Win32::UI::Shell::DeleteProfileW;

/// The profiles on this machine, each under its account's SID.
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";

/// Removes the profile of an account. Windows makes the profile when a service of this account
/// first starts. Returns the profile's folder; `None` if there is none.
pub(crate) fn delete_profile(sid: &str) -> io::Result<Option<PathBuf>> {
    let key = windows_registry::LOCAL_MACHINE
        .options()
        .read()
        .wow64_64()
        .open(format!(r"{PROFILES}\{sid}"))
        .map_err(io::Error::from);
    let key = match key {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        key => key?,
    };
    let folder = PathBuf::from(key.get_string("ProfileImagePath")?);
    drop(key);
    let sid = wide(sid.as_ref());
    // SAFETY: `sid` ends in NUL; NULL stands for the path that the registry has, and for this
    // computer.
    let deleted = unsafe { DeleteProfileW(sid.as_ptr(), std::ptr::null(), std::ptr::null()) };
    if deleted == 0 { Err(io::Error::last_os_error()) } else { Ok(Some(folder)) }
}
