//! A name in a folder, and what the folder's list says of it.

use std::ffi::OsString;
use std::time::SystemTime;

/// A file as its folder lists it: nothing was opened to learn this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the folder.
    pub name: OsString,
    /// Its number on its disk: the inode, or the file id. Another file that takes the name later has
    /// another one, as long as this one exists.
    pub id: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written to, as the list says: on Windows it may be late.
    pub modified: SystemTime,
}
