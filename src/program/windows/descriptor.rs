//! A security descriptor, made from its text.

use super::wide;
use std::ffi::c_void;
use std::io;
use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    ACL, GetSecurityDescriptorDacl, GetSecurityDescriptorOwner, PSECURITY_DESCRIPTOR, PSID,
};

/// A security descriptor that Windows made for us.
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

    /// The descriptor itself, which lives as long as `self`.
    pub(super) fn as_raw(&self) -> PSECURITY_DESCRIPTOR {
        self.0
    }

    /// Its owner, which lies in it.
    pub(super) fn owner(&self) -> io::Result<PSID> {
        let (mut owner, mut defaulted) = (std::ptr::null_mut(), 0);
        // SAFETY: the descriptor is a valid one; both results are writable.
        let found = unsafe { GetSecurityDescriptorOwner(self.0, &mut owner, &mut defaulted) };
        if found == 0 { Err(io::Error::last_os_error()) } else { Ok(owner) }
    }

    /// Its access control list, which lies in it.
    pub(super) fn list(&self) -> io::Result<*const ACL> {
        let (mut present, mut list, mut defaulted) = (0, std::ptr::null_mut(), 0);
        // SAFETY: the descriptor is a valid one; the three results are writable.
        let found =
            unsafe { GetSecurityDescriptorDacl(self.0, &mut present, &mut list, &mut defaulted) };
        if found == 0 {
            return Err(io::Error::last_os_error());
        }
        // A missing list would let everybody do everything.
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
