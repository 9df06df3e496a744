//! The user whom a file or a folder belongs to, and what others may do with it.

use super::token;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::Foundation::{
    ERROR_SUCCESS, GENERIC_ALL, GENERIC_WRITE, HANDLE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, INHERIT_ONLY_ACE,
    OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_DELETE_CHILD, FILE_WRITE_ATTRIBUTES, WRITE_DAC, WRITE_OWNER,
};

/// `AceType` of an ACE that refuses (ACCESS_DENIED_ACE_TYPE of winnt.h): it gives no rights.
const DENIED: u8 = 1;
/// `AceType` of an [`ACCESS_ALLOWED_ACE`] (ACCESS_ALLOWED_ACE_TYPE of winnt.h).
const ALLOWED: u8 = 0;
/// Rights on a folder that let a user remove or replace its files. GENERIC_* rights include others.
const REMOVING: u32 = FILE_DELETE_CHILD
    | FILE_WRITE_ATTRIBUTES
    | WRITE_DAC
    | WRITE_OWNER
    | GENERIC_ALL
    | GENERIC_WRITE;

/// Rights on a folder that let a user move its contents or change its rights. Users may add files
/// to `%ProgramData%` and set its attributes, but they cannot make a link of a folder that is not
/// empty.
const MOVING: u32 = FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER | GENERIC_ALL;

/// The owner and the access list, inside the descriptor that Windows made.
pub(super) struct Security {
    /// The owner, valid while this lives.
    pub(super) owner: PSID,
    list: *mut ACL,
    descriptor: PSECURITY_DESCRIPTOR,
}

impl Security {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let null = std::ptr::null_mut();
        let mut security = Self { owner: null, list: std::ptr::null_mut(), descriptor: null };
        // SAFETY: the handle is open; the three results are writable, and the others are not asked
        // for.
        let code = unsafe {
            GetSecurityInfo(
                file.as_raw_handle() as HANDLE,
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &mut security.owner,
                std::ptr::null_mut(),
                &mut security.list,
                std::ptr::null_mut(),
                &mut security.descriptor,
            )
        };
        if code != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
        if security.owner.is_null() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(security)
    }

    /// The owner's SID as text.
    pub(super) fn owner(&self) -> io::Result<String> {
        // SAFETY: the SID is valid while `self` lives.
        unsafe { token::sid_text(self.owner) }
    }

    /// Whether the owner is the system, an administrator, a service, or the user of this process.
    pub(super) fn owner_is_trusted(&self) -> io::Result<bool> {
        // SAFETY: the SID is valid while `self` lives.
        unsafe { is_trusted(self.owner) }
    }

    /// Whether anybody who is not trusted may remove or replace the folder's contents.
    pub(super) fn others_may_remove(&self) -> io::Result<bool> {
        self.others_may(REMOVING)
    }

    /// Whether anybody who is not trusted may move the folder's contents. If the folder is not a
    /// root: also whether its own rights let them move the folder itself.
    pub(super) fn others_may_move(&self, is_root: bool) -> io::Result<bool> {
        self.others_may(if is_root { MOVING } else { MOVING | DELETE })
    }

    /// Whether the list gives one of these rights to anybody who is not trusted.
    fn others_may(&self, rights: u32) -> io::Result<bool> {
        if self.list.is_null() {
            // A file without a list is open to everybody.
            return Ok(true);
        }
        // SAFETY: the list is valid while `self` lives.
        let count = u32::from(unsafe { (*self.list).AceCount });
        for index in 0..count {
            let mut ace = std::ptr::null_mut();
            // SAFETY: the list is valid while `self` lives, and `ace` is writable.
            if unsafe { GetAce(self.list, index, &mut ace) } == 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: every ACE begins with a header.
            let header = unsafe { *ace.cast::<ACE_HEADER>() };
            let for_children = u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0;
            if for_children || header.AceType == DENIED {
                continue;
            }
            if header.AceType != ALLOWED {
                // An ACE with a condition or an object. This code does not read it and so does not
                // trust it.
                return Ok(true);
            }
            let ace = ace.cast::<ACCESS_ALLOWED_ACE>();
            // SAFETY: its type says that it is this structure.
            let mask = unsafe { (*ace).Mask };
            let sid = ace.cast::<u8>().wrapping_add(offset_of!(ACCESS_ALLOWED_ACE, SidStart));
            // SAFETY: the SID begins at this field, inside the list.
            let trusted = unsafe { is_trusted(sid.cast()) }?;
            if mask & rights != 0 && !trusted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Security {
    fn drop(&mut self) {
        // SAFETY: the descriptor was allocated for us with LocalAlloc, and goes with `self`.
        unsafe { LocalFree(self.descriptor) };
    }
}

/// Whether a SID is LocalSystem, the administrators, a service (TrustedInstaller and the agent among
/// them), or this process' user.
///
/// # Safety
///
/// `sid` is a valid SID.
unsafe fn is_trusted(sid: PSID) -> io::Result<bool> {
    // SAFETY: the caller's.
    let text = unsafe { token::sid_text(sid) }?;
    // SAFETY: the caller's.
    Ok(is_of_the_system(&text) || unsafe { token::is_mine(sid) }?)
}

/// Well-known SIDs: LocalSystem, BUILTIN\Administrators, and NT SERVICE\*, which only services
/// have.
fn is_of_the_system(sid: &str) -> bool {
    sid == "S-1-5-18" || sid == "S-1-5-32-544" || sid.starts_with("S-1-5-80-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::Security::Authorization::{
        ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
    };
    use windows_sys::Win32::Security::{GetSecurityDescriptorDacl, GetSecurityDescriptorOwner};

    impl Security {
        /// Reads a descriptor in its definition language (SDDL).
        fn parse(sddl: &str) -> Self {
            let text: Vec<u16> = sddl.encode_utf16().chain([0]).collect();
            let null = std::ptr::null_mut();
            let mut security = Self { owner: null, list: std::ptr::null_mut(), descriptor: null };
            // SAFETY: the text ends in NUL, the descriptor is writable, and no size is asked for.
            let parsed = unsafe {
                ConvertStringSecurityDescriptorToSecurityDescriptorW(
                    text.as_ptr(),
                    SDDL_REVISION_1,
                    &mut security.descriptor,
                    std::ptr::null_mut(),
                )
            };
            assert_ne!(parsed, 0, "{sddl}");
            let (mut present, mut defaulted) = (0, 0);
            // SAFETY: the descriptor is a valid one; both results are writable.
            let owner = unsafe {
                GetSecurityDescriptorOwner(security.descriptor, &mut security.owner, &mut defaulted)
            };
            // SAFETY: as above, with three results.
            let list = unsafe {
                GetSecurityDescriptorDacl(
                    security.descriptor,
                    &mut present,
                    &mut security.list,
                    &mut defaulted,
                )
            };
            assert!(owner != 0 && list != 0 && present != 0, "{sddl}");
            security
        }
    }

    #[test]
    fn folders_of_windows_can_hold_the_ledger_folder_and_folders_of_users_cannot() {
        // As icacls shows them on Windows 10 and 11.
        let root = "O:S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464\
            D:PAI(A;;LC;;;AU)(A;OICIIO;SDGXGWGR;;;AU)(A;;FA;;;SY)(A;OICIIO;GA;;;SY)\
            (A;OICIIO;GA;;;BA)(A;;FA;;;BA)(A;OICI;0x1200a9;;;BU)";
        let program_data = "O:SYD:PAI(A;OICIIO;GA;;;CO)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)\
            (A;OICI;0x1200a9;;;BU)(A;CI;DCLCRPCR;;;BU)";
        // The root of a second disk, and a folder that a user makes there.
        let disk =
            "O:BAD:PAI(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1301bf;;;AU)(A;OICI;0x1200a9;;;BU)";
        let users = "O:S-1-5-21-1-2-3-1001D:AI(A;OICIID;FA;;;BA)(A;OICIID;FA;;;SY)";
        let denied = "O:BAD:P(D;;FA;;;AU)(A;;FA;;;BA)";
        let judge = |sddl: &str, is_root| {
            let security = Security::parse(sddl);
            security.owner_is_trusted().unwrap() && !security.others_may_move(is_root).unwrap()
        };
        assert!(judge(root, true));
        assert!(judge(program_data, false));
        // Nobody can rename a root, and the folder that `install` makes there inherits no rights.
        assert!(judge(disk, true));
        assert!(!judge(disk, false));
        assert!(!judge(users, false));
        assert!(judge(denied, false));
        // Without a list everybody may do everything.
        let mut security = Security::parse(denied);
        security.list = std::ptr::null_mut();
        assert!(security.others_may_move(false).unwrap());
        // But these folders are not safe for ledgers.
        assert!(Security::parse(program_data).others_may_remove().unwrap());
    }

    #[test]
    fn the_system_administrators_and_services_are_trusted_and_users_are_not() {
        for trusted in ["S-1-5-18", "S-1-5-32-544", "S-1-5-80-956008885-3418522649"] {
            assert!(is_of_the_system(trusted), "{trusted}");
        }
        // BUILTIN\Users, everyone, authenticated users, LocalService, CREATOR OWNER, one user.
        for other in
            ["S-1-5-32-545", "S-1-1-0", "S-1-5-11", "S-1-5-19", "S-1-3-0", "S-1-5-21-1-2-3-1001"]
        {
            assert!(!is_of_the_system(other), "{other}");
        }
    }
}
