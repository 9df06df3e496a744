//! Sets who may do what in a folder or with a file.

use super::descriptor::Descriptor;
use crate::rights::Rights;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, HANDLE};
use windows_sys::Win32::Security::Authorization::{SE_FILE_OBJECT, SetSecurityInfo};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSID,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ, WRITE_DAC, WRITE_OWNER,
};

/// Gives the folder or file at `path` these rights, and the files in a folder what they inherit. It
/// becomes the administrators'. A link is refused: any user may have put it there.
pub(crate) fn set_rights(path: &Path, rights: Rights) -> io::Result<()> {
    let file = open(path, rights, WRITE_DAC | WRITE_OWNER)?;
    let descriptor = Descriptor::parse(rights.sddl())?;
    set(&file, Some(descriptor.owner()?), descriptor.list()?)
}

/// Gives the folder or file at `path`, which this user made, these rights, and leaves it this user's:
/// only administrators can give it away to the administrators.
pub(crate) fn set_rights_of_own(path: &Path, rights: Rights) -> io::Result<()> {
    let file = open(path, rights, WRITE_DAC)?;
    let descriptor = Descriptor::parse(rights.sddl())?;
    set(&file, None, descriptor.list()?)
}

/// Opens the very folder or file, and not what it may lead to.
fn open(path: &Path, rights: Rights, access: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .access_mode(FILE_GENERIC_READ | access)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    let attributes = file.metadata()?.file_attributes();
    let expected = if rights.are_of_a_file() { 0 } else { FILE_ATTRIBUTE_DIRECTORY };
    if attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT) == expected {
        return Ok(file);
    }
    Err(match rights.are_of_a_file() {
        true => io::Error::new(io::ErrorKind::InvalidData, "it is a folder, or leads elsewhere"),
        false => io::Error::new(io::ErrorKind::NotADirectory, "it is a file, or leads elsewhere"),
    })
}

/// Sets the access control list, protected against the folder around it, and the owner, if there is
/// one. Both lie in a descriptor that lives during the call.
fn set(file: &File, owner: Option<PSID>, list: *const ACL) -> io::Result<()> {
    let list_alone = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    let parts = owner.map_or(list_alone, |_| list_alone | OWNER_SECURITY_INFORMATION);
    let group = std::ptr::null_mut();
    let audit = std::ptr::null();
    // SAFETY: the handle is open; owner and list lie in the caller's descriptor, which lives; group
    // and audit list, and an owner that is not given, are not among the parts.
    let code = unsafe {
        SetSecurityInfo(
            file.as_raw_handle() as HANDLE,
            SE_FILE_OBJECT,
            parts,
            owner.unwrap_or(std::ptr::null_mut()),
            group,
            list,
            audit,
        )
    };
    if code == ERROR_SUCCESS {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code.cast_signed()))
    }
}
