//! Copies of damaged ledgers, so that somebody can find out what happened to them.

use crate::ledger::{Access, LARGEST_FILE};
use std::fs;
use std::io;
use std::path::PathBuf;

/// Bytes that are kept for each owner.
const ROOM: u64 = 1 << 20;

/// A folder with a folder for each owner. Nobody but this process writes there.
#[derive(Clone, Debug)]
pub(super) struct Damaged {
    folder: PathBuf,
}

impl Damaged {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Copies what a ledger has in the place of one, unless its owner has no room left.
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

    /// How many are kept.
    pub fn count(&self) -> usize {
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
    }
}
