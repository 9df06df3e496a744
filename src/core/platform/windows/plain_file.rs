//! Files that any user may have put where they are: what they are, and whose.

use super::token;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID};
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

/// Whether the file system says that `file` belongs to the user of this process. What an
/// administrator makes belongs to the administrators, if Windows is set up so.
pub fn is_mine(file: &File) -> io::Result<bool> {
    let owner = Owner::of(file)?;
    // SAFETY: the SID is valid while `owner` lives.
    unsafe { token::is_mine(owner.sid) }
}

/// Whether `file` may tell this process what to do. Here the rights that the installer gave the
/// file and its folder say who writes to it, and its owner does not.
pub fn owner_is_trusted(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// Whom the file system says `file` belongs to, as a SID: its name might be asked for over the
/// network.
pub fn owner_of(file: &File) -> io::Result<String> {
    let owner = Owner::of(file)?;
    // SAFETY: the SID is valid while `owner` lives.
    unsafe { token::sid_text(owner.sid) }
}

/// A file's owner, inside the descriptor that Windows made for us.
struct Owner {
    sid: PSID,
    descriptor: PSECURITY_DESCRIPTOR,
}

impl Owner {
    fn of(file: &File) -> io::Result<Self> {
        let mut owner = Self { sid: std::ptr::null_mut(), descriptor: std::ptr::null_mut() };
        // SAFETY: the handle is open; both results are writable, and the others are not asked for.
        let code = unsafe {
            GetSecurityInfo(
                file.as_raw_handle() as HANDLE,
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION,
                &mut owner.sid,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &mut owner.descriptor,
            )
        };
        if code != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
        if owner.sid.is_null() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: the descriptor was allocated for us with LocalAlloc, and goes with `self`.
        unsafe { LocalFree(self.descriptor) };
    }
}
