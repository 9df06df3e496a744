//! Why a file is not opened. Any user may have made the file.

use std::io;

/// Why a file is left alone.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another program holds a lease or an oplock on the file. It was asked to give it up and has
    /// not answered.
    #[error("another program holds a lease or an oplock on it")]
    Leased,
    /// A symbolic link, a junction, or another reparse point.
    #[error("it is a link or another reparse point")]
    Link,
    /// A directory.
    #[error("it is a directory")]
    Directory,
    /// A device, a pipe, or a socket.
    #[error("it is a device, a pipe or a socket")]
    NoFile,
    /// The file has a second name elsewhere, and a write would change it there, too.
    #[error("it has a second name (hard link)")]
    SecondName,
    /// The file's bytes are not on this disk. Reading them would start another program.
    #[error("its bytes are kept somewhere else (offline, or in a cloud)")]
    Placeholder,
    /// The file is sparse or compressed: writing to it may need disk space that is not there.
    #[error("it is sparse or compressed")]
    NoFixedSpace,
    /// The system refused.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Refused {
    /// Whether the same file may be opened later. The kind of a file does not change, but its users
    /// do.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Leased | Self::System(_))
    }
}

impl From<Refused> for io::Error {
    /// `InvalidData` if the file is of the wrong kind, `WouldBlock` if another program uses it.
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::System(error) => return error,
            Refused::Leased => io::ErrorKind::WouldBlock,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, refused)
    }
}
