//! Why a file that anybody may have made is not opened.

use std::io;

/// A file that is left alone.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another program holds a lease or an oplock on it and has not answered that it is asked for.
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
    /// A file with another name elsewhere, through which writing would reach that one.
    #[error("it has a second name (hard link)")]
    SecondName,
    /// Its bytes are not on this disk, and reading them starts another program.
    #[error("its bytes are kept somewhere else (offline, or in a cloud)")]
    Placeholder,
    /// Sparse or compressed: writing to it may need disk space that is not there.
    #[error("it is sparse or compressed")]
    NoFixedSpace,
    /// The system said no.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Refused {
    /// Whether the same file may be opened at a later time: what it is does not change, and who
    /// uses it does.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Leased | Self::System(_))
    }
}

impl From<Refused> for io::Error {
    /// `InvalidData` for what the file is, `WouldBlock` if somebody uses it.
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::System(error) => return error,
            Refused::Leased => io::ErrorKind::WouldBlock,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, refused)
    }
}
