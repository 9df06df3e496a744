//! Makes folders, and sets the rights of folders and files.

use super::descriptor::Descriptor;
use super::wide;
use crate::rights::Rights;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use windows_sys::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    COMPRESSION_FORMAT_NONE, CreateDirectoryW, DELETE, FILE_ATTRIBUTE_COMPRESSED,
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES,
    FILE_RENAME_INFO, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FileRenameInfo,
    ReplaceFileW, SYNCHRONIZE, SetFileInformationByHandle, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::FSCTL_SET_COMPRESSION;

/// Makes the folder at `path`. It has these rights from the first moment on. An error if the name
/// exists.
pub(crate) fn create_folder(path: &Path, rights: Rights) -> io::Result<()> {
    let descriptor = Descriptor::parse(rights.sddl())?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.as_raw(),
        bInheritHandle: 0,
    };
    let path = wide(path.as_os_str());
    // SAFETY: `path` ends in NUL; the attributes and their descriptor live during the call.
    let made = unsafe { CreateDirectoryW(path.as_ptr(), &attributes) };
    if made == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Renames the folder, file or link at `path` to `to`, which must be free. A link is renamed
/// itself, and not the file that it leads to.
pub(crate) fn rename(path: &Path, to: &Path) -> io::Result<()> {
    // The rights of the folder around it allow this to administrators, whatever its own rights are.
    let file = OpenOptions::new()
        .access_mode(DELETE | FILE_READ_ATTRIBUTES | SYNCHRONIZE)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    let name = wide(to.as_os_str());
    const NAME: usize = offset_of!(FILE_RENAME_INFO, FileName);
    let bytes = size_of_val(name.as_slice());
    // In units of eight bytes, because the structure is aligned to eight bytes. It ends in one unit
    // of the name.
    let mut buffer = vec![0_u64; (NAME + bytes).div_ceil(size_of::<u64>()) + 1];
    let info = buffer.as_mut_ptr().cast::<FILE_RENAME_INFO>();
    // The length does not include the NUL.
    let length = (bytes - size_of::<u16>()) as u32;
    // SAFETY: the buffer is aligned for the structure and larger, and its other fields stay zero.
    unsafe { (*info).FileNameLength = length };
    let target = buffer.as_mut_ptr().cast::<u8>().wrapping_add(NAME).cast::<u16>();
    // SAFETY: the buffer has room for the name's units here, and is another piece of memory.
    unsafe { target.copy_from_nonoverlapping(name.as_ptr(), name.len()) };
    // SAFETY: the handle is open; the buffer holds the structure of this class, and is as long.
    let renamed = unsafe {
        SetFileInformationByHandle(
            file.as_raw_handle(),
            FileRenameInfo,
            buffer.as_ptr().cast(),
            size_of_val(buffer.as_slice()) as u32,
        )
    };
    if renamed == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts the file `new` in the place of `path`, and renames the old file to `aside`, which must be
/// free.
pub(crate) fn replace_file(path: &Path, new: &Path, aside: &Path) -> io::Result<()> {
    let [path, new, aside] = [path, new, aside].map(|path| wide(path.as_os_str()));
    // SAFETY: the three names end in NUL; the last two are reserved.
    let replaced = unsafe {
        ReplaceFileW(
            path.as_ptr(),
            new.as_ptr(),
            aside.as_ptr(),
            0,
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    if replaced == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tells Windows not to compress files that are made in this folder, because a mapped file must
/// have its space on the disk.
pub(crate) fn uncompress(path: &Path) -> io::Result<()> {
    let folder = open(path, Rights::Shared, FILE_GENERIC_WRITE)?;
    if folder.metadata()?.file_attributes() & FILE_ATTRIBUTE_COMPRESSED == 0 {
        return Ok(());
    }
    let (format, mut returned) = (COMPRESSION_FORMAT_NONE, 0);
    // SAFETY: the handle is open; the request reads the two bytes of `format` and writes none.
    let done = unsafe {
        DeviceIoControl(
            folder.as_raw_handle(),
            FSCTL_SET_COMPRESSION,
            (&raw const format).cast(),
            size_of_val(&format) as u32,
            std::ptr::null_mut(),
            0,
            &mut returned,
            std::ptr::null_mut(),
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the folder or file at `path` these rights, and lets the files in a folder inherit them.
/// Its owner becomes the administrators. A link is refused, because any user may have put it there.
pub(crate) fn set_rights(path: &Path, rights: Rights) -> io::Result<()> {
    let file = open(path, rights, WRITE_DAC | WRITE_OWNER)?;
    Descriptor::parse(rights.sddl())?.give(file.as_raw_handle(), SE_FILE_OBJECT)
}

/// Gives the folder or file at `path` these rights. This user made it and stays its owner, because
/// only administrators can change that.
pub(crate) fn set_rights_of_own(path: &Path, rights: Rights) -> io::Result<()> {
    let file = open(path, rights, WRITE_DAC)?;
    Descriptor::parse(rights.sddl())?.give_list(file.as_raw_handle(), SE_FILE_OBJECT)
}

/// Opens the folder or file itself. A link is not followed.
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
