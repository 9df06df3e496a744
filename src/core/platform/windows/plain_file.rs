//! Files that any user may have made: what kind they are, and whom they belong to.

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

/// Opens a file for reading and writing if it is a plain file. A link, a device or a pipe is
/// refused, and so is a file with a second name elsewhere, because a write would change that file,
/// too.
pub fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).write(true), path)
}

/// Opens a plain file for reading only, as [`open_plain`] does. An error of kind `InvalidData`
/// means that it is not a plain file.
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

/// Whether this process may follow orders in `file`. Always true here: the installer set the rights
/// of the file and its folder, and those rights say who can write to it.
pub fn owner_is_trusted(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// The user whom the file system says `file` belongs to. The name is a SID, because a user's name
/// might be looked up over the network.
pub fn owner_of(file: &File) -> io::Result<FileOwner> {
    let security = Security::of(file)?;
    Ok(FileOwner { name: security.owner()?, is_trusted: security.owner_is_trusted()? })
}
