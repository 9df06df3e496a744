//! Copies of damaged ledgers, so that a person can find out what happened to them.

use crate::ledger::{Access, LARGEST_FILE};
use std::fs;
use std::io;
use std::path::PathBuf;

/// How many bytes of copies are kept for each owner.
const ROOM: u64 = 1 << 20;

/// A folder that has one folder for each owner. Only this process writes there.
#[derive(Clone, Debug)]
pub(super) struct Damaged {
    folder: PathBuf,
}

impl Damaged {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Copies the bytes of a ledger, unless its owner has no room left.
    pub fn keep(&self, owner: &str, ledger: &Access) -> io::Result<()> {
        let folder = self.folder.join(owner.replace(|letter: char| !letter.is_alphanumeric(), "-"));
        fs::create_dir_all(&folder)?;
        let mut kept = 0;
        for file in fs::read_dir(&folder)? {
            kept += file?.metadata()?.len();
        }
        let mut bytes = vec![0; LARGEST_FILE];
        let count = ledger.read_at(0, &mut bytes)?;
        if kept + count as u64 > ROOM {
            return Ok(());
        }
        let name = ledger.path().file_name().ok_or(io::ErrorKind::InvalidInput)?;
        fs::write(folder.join(name), &bytes[..count])
    }

    /// How many copies are kept.
    pub fn count(&self) -> usize {
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
    }
}
