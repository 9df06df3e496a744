//! Makes a registry key that has its rights from the first moment on.

use super::descriptor::Descriptor;
use super::wide;
use std::io;
use windows_registry::Key;
use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::Security::Authorization::SE_REGISTRY_KEY;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{WRITE_DAC, WRITE_OWNER};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_CREATED_NEW_KEY,
    REG_OPTION_NON_VOLATILE, RegCreateKeyExW,
};

/// Makes a key below `HKEY_LOCAL_MACHINE`, in the view of 64-bit programs, with the security
/// descriptor `sddl`. An error if the key exists, because it may have other rights.
pub(crate) fn create_key(path: &str, sddl: &str) -> io::Result<Key> {
    let descriptor = Descriptor::parse(sddl)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.as_raw(),
        bInheritHandle: 0,
    };
    let path = wide(path.as_ref());
    let (mut key, mut disposition) = (std::ptr::null_mut(), 0);
    // SAFETY: `path` ends in NUL; no class is named; the descriptor lives during the call; key and
    // disposition are writable.
    let code = unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            0,
            std::ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_READ | KEY_WRITE | WRITE_DAC | WRITE_OWNER | KEY_WOW64_64KEY,
            &attributes,
            &mut key,
            &mut disposition,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    // SAFETY: the handle was just opened and is nobody else's; RegCloseKey closes it.
    let key = unsafe { Key::from_raw(key) };
    if disposition != REG_CREATED_NEW_KEY {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // Wine ignores the descriptor when it makes the key.
    descriptor.give(key.as_raw(), SE_REGISTRY_KEY)?;
    Ok(key)
}
