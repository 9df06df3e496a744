//! Files that any user may have put where they are: what they are, and whose.

use super::security::Security;
use crate::platform::FileOwner;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DEVICE, FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_OPEN_REPARSE_POINT, FILE_TYPE_DISK,
    GetFileInformationByHandle, GetFileType,
};

/// Opens a file for reading and writing, but only a plain one: no link, no device, no pipe, and
/// with no second name elsewhere, through which writing would reach another file.
pub fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).write(true), path)
}

/// Opens a file for reading alone, but only a plain one, as [`open_plain`] does. What is not one
/// is an error of kind `InvalidData`.
pub fn open_plain_to_read(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true), path)
}

fn plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    let unwanted = FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_DEVICE;
    let handle = file.as_raw_handle() as HANDLE;
    // SAFETY: the handle is open for as long as `file` is.
    let on_disk = unsafe { GetFileType(handle) } == FILE_TYPE_DISK;
    let mut information = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and `information` is writable for the call.
    if unsafe { GetFileInformationByHandle(handle, &mut information) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let plain = file.metadata()?.file_attributes() & unwanted == 0;
    if !plain || !on_disk || information.nNumberOfLinks != 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not a plain file of one name",
        ));
    }
    Ok(file)
}

/// Whether `file` may tell this process what to do. Here the rights that the installer gave the
/// file and its folder say who writes to it, and its owner does not.
pub fn owner_is_trusted(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// Whom the file system says `file` belongs to, by its SID: its name might be asked for over the
/// network.
pub fn owner_of(file: &File) -> io::Result<FileOwner> {
    let security = Security::of(file)?;
    Ok(FileOwner { name: security.owner()?, is_trusted: security.owner_is_trusted()? })
}
