//! What the crate windows-service leaves out.

use super::wide;
use std::io;
use windows_service::service::Service;
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
    SERVICE_REQUIRED_PRIVILEGES_INFOW,
};

/// Takes all privileges but these from a service, from its next start on.
pub(crate) fn keep_privileges(service: &Service, privileges: &[&str]) -> io::Result<()> {
    // Each ends in NUL, and the list in another.
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
