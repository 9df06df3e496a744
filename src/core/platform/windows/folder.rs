//! Windows' own folders. They are not read from the environment, because the user can change it.

use crate::expand::expand;
use std::path::PathBuf;
use windows_registry::LOCAL_MACHINE;
use windows_sys::Win32::System::SystemInformation::GetSystemWindowsDirectoryW;

/// The folder of Windows, such as `C:\Windows`. `%SystemRoot%` stands for it.
pub fn windows_folder() -> Option<String> {
    let mut folder = [0_u16; 512];
    // SAFETY: writes at most as many units as `folder` has.
    let units = unsafe { GetSystemWindowsDirectoryW(folder.as_mut_ptr(), folder.len() as u32) };
    let folder = folder.get(..units as usize).filter(|folder| !folder.is_empty())?;
    String::from_utf16(folder).ok()
}

/// The folder that `%ProgramData%` stands for, as Windows' list of profiles says.
pub fn program_data() -> Option<String> {
    let windows = windows_folder()?;
    let drive = windows.get(..2).filter(|drive| drive.ends_with(':'))?;
    let listed = LOCAL_MACHINE
        .options()
        .read()
        .wow64_64()
        .open(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList")
        .and_then(|key| key.get_string("ProgramData"));
    let usual = || format!(r"{drive}\ProgramData");
    expand(&listed.unwrap_or_else(|_| usual()), |name| match name {
        "SYSTEMDRIVE" => Some(drive.to_owned()),
        "SYSTEMROOT" => Some(windows.clone()),
        _ => None,
    })
    .ok()
}

/// Where this user's programs keep their own data. `None` for a user without a profile.
pub fn state_dir() -> Option<PathBuf> {
    let folder = std::env::var_os("LOCALAPPDATA").map(PathBuf::from);
    folder.filter(|path| path.is_absolute()).map(|path| path.join("mpr-otel"))
}

/// Where ledgers are if no setting names a folder.
pub fn default_ledger_dir() -> PathBuf {
    let folder = program_data().map(PathBuf::from);
    folder
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| PathBuf::from(r"C:\ProgramData"))
        .join("mpr-otel")
        .join("ledger")
}
