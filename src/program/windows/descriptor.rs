//! A security descriptor, made from its text.

use super::wide;
use std::ffi::c_void;
use std::io;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1, SE_OBJECT_TYPE,
    SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, GetSecurityDescriptorOwner,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
};

/// A security descriptor that Windows allocated.
pub(super) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    pub(super) fn parse(sddl: &str) -> io::Result<Self> {
        let text = wide(sddl.as_ref());
        let mut descriptor: *mut c_void = std::ptr::null_mut();
        // SAFETY: `text` ends in NUL, `descriptor` is writable, and no size is asked for.
        let parsed = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                std::ptr::null_mut(),
            )
        };
        if parsed == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(descriptor)) }
    }

    /// Gives an object this owner and this access control list, and stops inheritance. The handle
    /// needs WRITE_DAC and WRITE_OWNER.
    pub(super) fn give(&self, handle: HANDLE, kind: SE_OBJECT_TYPE) -> io::Result<()> {
        self.set(handle, kind, Some(self.owner()?))
    }

    /// The same without the owner. The handle needs WRITE_DAC.
    pub(super) fn give_list(&self, handle: HANDLE, kind: SE_OBJECT_TYPE) -> io::Result<()> {
        self.set(handle, kind, None)
    }

    fn set(&self, handle: HANDLE, kind: SE_OBJECT_TYPE, owner: Option<PSID>) -> io::Result<()> {
        let list_alone = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        let parts = owner.map_or(list_alone, |_| list_alone | OWNER_SECURITY_INFORMATION);
        let owner = owner.unwrap_or(std::ptr::null_mut());
        let list = self.list()?;
        let (group, audit) = (std::ptr::null_mut(), std::ptr::null());
        // SAFETY: a handle that leads to no such object is an error; owner and list lie in `self`; group
        // and audit list, and an owner that is not given, are not among the parts.
        let code = unsafe { SetSecurityInfo(handle, kind, parts, owner, group, list, audit) };
        match code {
            ERROR_SUCCESS => Ok(()),
            code => Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }

    /// The descriptor itself, valid as long as `self`.
    pub(super) fn as_raw(&self) -> PSECURITY_DESCRIPTOR {
        self.0
    }

    /// Its owner, which is part of it.
    fn owner(&self) -> io::Result<PSID> {
        let (mut owner, mut defaulted) = (std::ptr::null_mut(), 0);
        // SAFETY: the descriptor is a valid one; both results are writable.
        let found = unsafe { GetSecurityDescriptorOwner(self.0, &mut owner, &mut defaulted) };
        if found == 0 { Err(io::Error::last_os_error()) } else { Ok(owner) }
    }

    /// Its access control list, which is part of it.
    fn list(&self) -> io::Result<*const ACL> {
        let (mut present, mut list, mut defaulted) = (0, std::ptr::null_mut(), 0);
        // SAFETY: the descriptor is a valid one; the three results are writable.
        let found =
            unsafe { GetSecurityDescriptorDacl(self.0, &mut present, &mut list, &mut defaulted) };
        if found == 0 {
            return Err(io::Error::last_os_error());
        }
        // Without a list everybody could do everything.
        if present == 0 || list.is_null() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(list)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the descriptor was allocated for us with LocalAlloc, and goes with `self`.
        unsafe { LocalFree(self.0) };
    }
}
