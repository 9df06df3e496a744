//! Functions for services that the crate windows-service does not have.

use super::wide;
use std::io;
use windows_service::service::Service;
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
    SERVICE_REQUIRED_PRIVILEGES_INFOW,
};
use windows_sys::Win32::System::Threading::{
    PROCESS_MITIGATION_POLICY, ProcessExtensionPointDisablePolicy, ProcessImageLoadPolicy,
    ProcessRedirectionTrustPolicy, SetProcessMitigationPolicy,
};

// Bits of the policies' flags (winnt.h).
const ENFORCE_REDIRECTION_TRUST: u32 = 1;
const NO_REMOTE_IMAGES: u32 = 1;
const NO_LOW_MANDATORY_LABEL_IMAGES: u32 = 2;
const PREFER_SYSTEM_32_IMAGES: u32 = 4;
const DISABLE_EXTENSION_POINTS: u32 = 1;

/// Tells Windows not to follow junctions and mount points for this process if a user without
/// administrator rights made them (PROCESS_MITIGATION_REDIRECTION_TRUST_POLICY). An error if this
/// Windows does not have that policy.
pub(crate) fn distrust_redirections() -> io::Result<()> {
    set_mitigation(ProcessRedirectionTrustPolicy, ENFORCE_REDIRECTION_TRUST)
}

/// Has Windows load no DLL into this process from a share, none that a program of low integrity wrote, each
/// from System32 if it is there too, and none that a user's settings bring (AppInit_DLLs, hooks, input
/// methods). An error where Windows does not know one of the policies.
pub(crate) fn distrust_images() -> io::Result<()> {
    let images = NO_REMOTE_IMAGES | NO_LOW_MANDATORY_LABEL_IMAGES | PREFER_SYSTEM_32_IMAGES;
    set_mitigation(ProcessImageLoadPolicy, images)?;
    set_mitigation(ProcessExtensionPointDisablePolicy, DISABLE_EXTENSION_POINTS)
}

/// One of the policies whose structure is a DWORD of flags, as all of this file are.
fn set_mitigation(policy: PROCESS_MITIGATION_POLICY, flags: u32) -> io::Result<()> {
    // SAFETY: the structure of each policy here is one DWORD (winnt.h), and `flags` lives during the call.
    let set = unsafe {
        SetProcessMitigationPolicy(policy, (&raw const flags).cast(), size_of_val(&flags))
    };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Removes all privileges except these from a service, from its next start on.
pub(crate) fn keep_privileges(service: &Service, privileges: &[&str]) -> io::Result<()> {
    // Each name ends in NUL, and the list ends in one more NUL.
    let mut list: Vec<u16> = privileges.iter().flat_map(|name| wide(name.as_ref())).collect();
    list.push(0);
    let info = SERVICE_REQUIRED_PRIVILEGES_INFOW { pmszRequiredPrivileges: list.as_mut_ptr() };
    // SAFETY: the handle is open for as long as `service` is borrowed; the structure belongs to
    // this kind of information, and it and the list live during the call.
    let changed = unsafe {
        ChangeServiceConfig2W(
            service.raw_handle(),
            SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
            (&raw const info).cast(),
        )
    };
    if changed == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
