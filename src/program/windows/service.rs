//! Functions for services that the crate windows-service does not have.

use super::wide;
use std::io;
use windows_service::service::Service;
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
    SERVICE_REQUIRED_PRIVILEGES_INFOW,
};
use windows_sys::Win32::System::SystemServices::PROCESS_MITIGATION_REDIRECTION_TRUST_POLICY;
use windows_sys::Win32::System::Threading::{
    ProcessRedirectionTrustPolicy, SetProcessMitigationPolicy,
};

/// `EnforceRedirectionTrust`, the first bit of the policy's flags (winnt.h).
const ENFORCE_REDIRECTION_TRUST: u32 = 1;

/// Tells Windows not to follow junctions and mount points for this process if a user without
/// administrator rights made them (PROCESS_MITIGATION_REDIRECTION_TRUST_POLICY). An error if this
/// Windows does not have that policy.
pub(crate) fn distrust_redirections() -> io::Result<()> {
    let mut policy = PROCESS_MITIGATION_REDIRECTION_TRUST_POLICY::default();
    policy.Anonymous.Flags = ENFORCE_REDIRECTION_TRUST;
    // SAFETY: the structure belongs to this policy, and lives during the call.
    let set = unsafe {
        SetProcessMitigationPolicy(
            ProcessRedirectionTrustPolicy,
            (&raw const policy).cast(),
            size_of_val(&policy),
        )
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
