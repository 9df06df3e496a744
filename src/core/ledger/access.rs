//! Another process' ledger file, which may be anything.
//!
//! Any user can put any file into the folder, and change it while it is read. So the file is opened
//! as [`Directory::open_file`] does, and its bytes are copied out before they are checked.
//!
//! On Unix the copies are made by `pread` and `pwrite`. If a file shrinks, they return fewer bytes;
//! a read through a mapping would end the process. On Windows a live host's lock refuses every
//! `ReadFile` and `WriteFile`, so the file is mapped, and the system copies (`platform::FileView`).
//! If a page cannot be read, that is an error of this file; a load from the page would end the
//! process.

use super::LedgerError;
use super::image::{HeaderImage, SlotImage};
use super::layout::{HEADER_SIZE, LARGEST_FILE};
#[cfg(windows)]
use crate::platform::FileView;
use crate::platform::{Directory, Refused};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open ledger file of another process.
#[derive(Debug)]
pub struct Access {
    directory: Arc<Directory>,
    path: PathBuf,
    file: File,
    #[cfg(windows)]
    view: Option<FileView>,
    length: u64,
}

/// Whether the process that made a ledger is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The process lives, or another process is taking the ledger over.
    Lives,
    /// The process is dead; this process now holds the lock.
    Dead,
}

impl Access {
    /// Opens the ledger called `name` in an open folder, for reading and writing.
    pub fn open(directory: &Arc<Directory>, name: &OsStr) -> Result<Self, LedgerError> {
        let path = directory.path().join(name);
        let file = match directory.open_file(name) {
            Ok(file) => file,
            Err(Refused::System(source)) => {
                return Err(LedgerError::File { what: "open", path, source });
            }
            Err(refused) => return Err(LedgerError::Refused { path, refused }),
        };
        let failed = |what, path: &Path| {
            let path = path.to_path_buf();
            move |source| LedgerError::File { what, path, source }
        };
        let length = file.metadata().map_err(failed("read the size of", &path))?.len();
        Ok(Self {
            directory: Arc::clone(directory),
            // A ledger is never larger than this, so nothing behind it is read.
            #[cfg(windows)]
            view: FileView::of(&file, length.min(LARGEST_FILE as u64) as usize)
                .map_err(failed("map", &path))?,
            path,
            file,
            length,
        })
    }

    /// Opens the ledger at `path`. For a person or a test that names one file.
    pub fn at(path: &Path) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::File { what: "open", path: path.into(), source };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Self::open(&Arc::new(Directory::open(folder).map_err(failed)?), name)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was as long as a ledger when it was opened.
    pub fn is_whole(&self, header: &HeaderImage) -> bool {
        self.length == header.geometry.file_size as u64
    }

    /// The open file, to ask the system whose it is.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Tries to take the lock that the owner holds while it lives.
    pub fn try_own(&self) -> io::Result<Owner> {
        match self.file.try_lock() {
            Ok(()) => Ok(Owner::Dead),
            Err(TryLockError::WouldBlock) => Ok(Owner::Lives),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the owner lives. Another process cannot take the ledger over while this runs.
    pub fn is_owned(&self) -> io::Result<bool> {
        match self.file.try_lock_shared() {
            Ok(()) => {
                // If the unlock fails, the lock ends when the file is closed.
                let _ = self.file.unlock();
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Copies bytes out. Returns how many bytes were copied: fewer than asked for at the file's
    /// end.
    #[cfg(unix)]
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let into = within(offset, into);
        let mut count = 0;
        while count < into.len() {
            match self.file.read_at(&mut into[count..], (offset + count) as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Overwrites bytes that the file had when it was opened. Never makes a ledger longer.
    #[cfg(unix)]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.check_room(offset, bytes.len())?;
        self.file.write_all_at(bytes, offset as u64)
    }

    /// Copies bytes out. Returns how many bytes were copied: fewer than asked for at the file's
    /// end.
    #[cfg(windows)]
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> io::Result<usize> {
        let Some(view) = &self.view else { return Ok(0) };
        // Another process may write at the same time: every reader checks the state word again
        // before it uses the rest.
        let count = view.read_at(offset, within(offset, into))?;
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        Ok(count)
    }

    /// Overwrites bytes that the file had when it was opened. Never makes a ledger longer.
    #[cfg(windows)]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.check_room(offset, bytes.len())?;
        let Some(view) = &self.view else { return Err(io::ErrorKind::InvalidInput.into()) };
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        view.write_at(offset, bytes)
    }

    /// Reads and checks the header.
    pub fn header(&self) -> Result<HeaderImage, LedgerError> {
        let mut bytes = vec![0; HEADER_SIZE];
        let count = self.read_at(0, &mut bytes).map_err(|source| LedgerError::File {
            what: "read",
            path: self.path.clone(),
            source,
        })?;
        HeaderImage::parse(&bytes[..count])
            .map_err(|corruption| LedgerError::Corrupt { path: self.path.clone(), corruption })
    }

    /// Reads one slot. `None` if the file ends before the slot does.
    pub fn slot(&self, header: &HeaderImage, index: usize) -> io::Result<Option<SlotImage>> {
        let mut bytes = vec![0; header.geometry.slot_size];
        let count = self.read_at(header.geometry.slot(index), &mut bytes)?;
        Ok(header.slot(&bytes[..count]))
    }

    /// Reads these slots in turn. Slots behind the file's end are left out.
    pub fn each_slot(
        &self,
        header: &HeaderImage,
        slots: Range<usize>,
        mut see: impl FnMut(usize, SlotImage),
    ) -> io::Result<()> {
        // A few slots at a time: the whole table of version 1 would take more memory than a host's
        // exporter has.
        const AT_ONCE: usize = 64;
        let size = header.geometry.slot_size;
        let mut block = vec![0; AT_ONCE * size];
        for first in slots.clone().step_by(AT_ONCE) {
            let wanted = AT_ONCE.min(slots.end - first) * size;
            let count = self.read_at(header.geometry.slot(first), &mut block[..wanted])?;
            for (index, bytes) in block[..count].chunks_exact(size).enumerate() {
                if let Some(image) = header.slot(bytes) {
                    see(first + index, image);
                }
            }
            if count < wanted {
                break;
            }
        }
        Ok(())
    }

    /// Reads all slots in turn. Slots behind the file's end are left out.
    pub fn all_slots(
        &self,
        header: &HeaderImage,
        see: impl FnMut(usize, SlotImage),
    ) -> io::Result<()> {
        self.each_slot(header, 0..header.geometry.slot_count, see)
    }

    fn check_room(&self, offset: usize, length: usize) -> io::Result<()> {
        let end = offset.checked_add(length).ok_or(io::ErrorKind::InvalidInput)?;
        if end > LARGEST_FILE || end as u64 > self.length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }

    /// Removes the file. This process must hold its lock: see [`try_own`](Self::try_own).
    pub fn remove(self) -> io::Result<()> {
        let (directory, path, file) = self.unmapped();
        // The name and the lock go together: no process finds the name of an unlocked file.
        directory.remove(name_in(&path), file)
    }

    /// Closes the mapping, because Windows refuses to delete a mapped file.
    fn unmapped(self) -> (Arc<Directory>, PathBuf, File) {
        (self.directory, self.path, self.file)
    }
}

/// The name that the file was opened by.
fn name_in(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// The part of `into` that lies within a ledger's size, whatever length the file has.
fn within(offset: usize, into: &mut [u8]) -> &mut [u8] {
    let length = into.len().min(LARGEST_FILE.saturating_sub(offset));
    &mut into[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::ledger::{Keeper, Ledger, Seed};
    use crate::process::Identity;

    #[test]
    fn a_live_hosts_ledger_is_read_and_written_and_a_dead_ones_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let identity =
            Identity { pid: 4711, executable: "host.exe".into(), session_id: None, service: None };
        let seed = Seed {
            identity: &identity,
            parent: None,
            clock: Clock::start(),
            id_seed: [1, 2, 3],
            boot_id: 0,
            keeper: Keeper::Agent,
        };
        let host = Ledger::create(folder.path(), seed).unwrap();
        let path = host.path().unwrap().to_path_buf();
        let access = Access::at(&path).unwrap();
        let header = access.header().unwrap();
        assert_eq!((header.origin.identity.pid, header.keeper), (4711, Keeper::Agent));
        assert!(access.is_whole(&header));
        assert_eq!(access.try_own().unwrap(), Owner::Lives);

        let last = header.geometry.file_size - 1;
        access.write_at(last, &[7]).unwrap();
        let mut bytes = [0; 2];
        assert_eq!(access.read_at(last, &mut bytes).unwrap(), 1);
        assert_eq!(bytes[0], 7);
        assert!(access.write_at(last, &[7, 7]).is_err());
        assert_eq!(access.slot(&header, 0).unwrap().unwrap().generation, 0);

        drop(host);
        assert_eq!(access.try_own().unwrap(), Owner::Dead);
        access.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_refused_is_not_mistaken_for_one_that_cannot_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("1-0000000000000000.ledger")).unwrap();
        let open = |name: &str| Access::at(&folder.path().join(name)).unwrap_err();
        assert!(matches!(
            open("1-0000000000000000.ledger"),
            LedgerError::Refused { refused: Refused::Directory, .. }
        ));
        assert!(matches!(
            open("gone"),
            LedgerError::File { source, .. } if source.kind() == io::ErrorKind::NotFound
        ));
    }
}
