//! A name in a folder, and what the folder's list says about it.

use std::ffi::OsString;
use std::time::SystemTime;

/// A file as its folder lists it. The file is not opened for this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the folder.
    pub name: OsString,
    /// Its number on its disk: the inode, or the file id. While this file exists, every other file
    /// has another number, also a later one of the same name.
    pub id: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// When the file was last written to. On Windows the list may show this late.
    pub modified: SystemTime,
}
