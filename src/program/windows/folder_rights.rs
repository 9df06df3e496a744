//! Sets who may do what in a folder or with a file.

use super::descriptor::Descriptor;
use crate::rights::Rights;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use windows_sys::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ, WRITE_DAC, WRITE_OWNER,
};

/// Gives the folder or file at `path` these rights, and the files in a folder what they inherit. It
/// becomes the administrators'. A link is refused: any user may have put it there.
pub(crate) fn set_rights(path: &Path, rights: Rights) -> io::Result<()> {
    let file = open(path, rights, WRITE_DAC | WRITE_OWNER)?;
    Descriptor::parse(rights.sddl())?.give(file.as_raw_handle(), SE_FILE_OBJECT)
}

/// Gives the folder or file at `path`, which this user made, these rights, and leaves it this user's:
/// only administrators can give it away to the administrators.
pub(crate) fn set_rights_of_own(path: &Path, rights: Rights) -> io::Result<()> {
    let file = open(path, rights, WRITE_DAC)?;
    Descriptor::parse(rights.sddl())?.give_list(file.as_raw_handle(), SE_FILE_OBJECT)
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
