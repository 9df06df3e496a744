//! The identity of a file, which is the same for all of its paths.

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ID_INFO, FileIdInfo, GetFileInformationByHandleEx,
};

/// A file's volume, and its id on that volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    volume: u64,
    id: [u8; 16],
}

impl FileIdentity {
    /// The identity of an open file. No other file gets it before this file is deleted.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let mut info = FILE_ID_INFO::default();
        // SAFETY: the handle is open for as long as `file` is, and `info` is the structure of this
        // class and writable for its size.
        let done = unsafe {
            GetFileInformationByHandleEx(
                file.as_raw_handle() as HANDLE,
                FileIdInfo,
                (&raw mut info).cast(),
                size_of::<FILE_ID_INFO>() as u32,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { volume: info.VolumeSerialNumber, id: info.FileId.Identifier })
    }
}
