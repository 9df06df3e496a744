//! Another process' ledger file, which may be anything.
//!
//! Any user can put any file into the folder, and change it while it is looked at. So it is opened
//! without following a link, and only if it is a regular file of one name; and everything is
//! copied out before it is looked at.
//!
//! On Unix the copies are made by `pread`: a file that shrinks gives fewer bytes, where a mapping
//! would end the process. On Windows they are made from a mapping: a live host's lock refuses any
//! other kind of read, and a file that is mapped cannot shrink.

#![allow(unsafe_code)] // This file meets shared memory.

use super::image::{HeaderImage, SlotImage};
use super::layout::LARGEST_FILE;
use super::{HEADER_SIZE, LedgerError};
use crate::platform;
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An open ledger file of another process.
#[derive(Debug)]
pub struct Access {
    path: PathBuf,
    file: File,
    #[cfg(windows)]
    memory: Option<memmap2::MmapRaw>,
    length: u64,
}

/// Whether the process that made a ledger lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It does, or another process is adopting the ledger.
    Lives,
    /// It does not; the lock is ours.
    Dead,
}

impl Access {
    /// Opens the ledger at `path` for reading and writing.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let failed = |what| move |source| LedgerError::File { what, path: path.into(), source };
        let file = platform::open_plain(path).map_err(failed("open"))?;
        let length = file.metadata().map_err(failed("read the size of"))?.len();
        Ok(Self {
            path: path.into(),
            #[cfg(windows)]
            memory: Self::map(&file, length).map_err(failed("map"))?,
            file,
            length,
        })
    }

    #[cfg(windows)]
    fn map(file: &File, length: u64) -> io::Result<Option<memmap2::MmapRaw>> {
        // An empty file has nothing to map, and no more than a ledger's size is ever looked at.
        let length = length.min(LARGEST_FILE as u64) as usize;
        let options = || memmap2::MmapOptions::new().len(length).map_raw(file);
        (length > 0).then(options).transpose()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it had as many bytes as a ledger when it was opened.
    pub fn is_whole(&self, header: &HeaderImage) -> bool {
        self.length == header.geometry.file_size as u64
    }

    /// The open file, to ask the system whose it is.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Takes the lock that the owner holds while it lives.
    pub fn try_own(&self) -> io::Result<Owner> {
        match self.file.try_lock() {
            Ok(()) => Ok(Owner::Dead),
            Err(TryLockError::WouldBlock) => Ok(Owner::Lives),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the owner lives, without keeping anybody from adopting the ledger for longer than
    /// this takes.
    pub fn is_owned(&self) -> io::Result<bool> {
        match self.file.try_lock_shared() {
            Ok(()) => {
                // Should it fail, the lock goes when the file is closed.
                let _ = self.file.unlock();
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Copies bytes out. Returns how many there were: fewer than asked for at the file's end.
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

    /// Writes bytes into it, which it must have had when it was opened: nothing here ever makes a
    /// ledger longer.
    #[cfg(unix)]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.check_room(offset, bytes.len())?;
        self.file.write_all_at(bytes, offset as u64)
    }

    /// Copies bytes out. Returns how many there were: fewer than asked for at the file's end.
    #[cfg(windows)]
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> io::Result<usize> {
        let Some(memory) = &self.memory else { return Ok(0) };
        let into = within(offset, into);
        let count = into.len().min(memory.len().saturating_sub(offset));
        // SAFETY: `offset + count` is within the mapping, `into` has `count` bytes, and the two
        // cannot overlap. Another process may write meanwhile: bytes are bytes, and every reader
        // checks the state word again before it believes them.
        unsafe {
            std::ptr::copy_nonoverlapping(
                memory.as_ptr().wrapping_add(offset),
                into.as_mut_ptr(),
                count,
            )
        };
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        Ok(count)
    }

    /// Writes bytes into it, which it must have had when it was opened: nothing here ever makes a
    /// ledger longer.
    #[cfg(windows)]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.check_room(offset, bytes.len())?;
        let Some(memory) = &self.memory else { return Err(io::ErrorKind::InvalidInput.into()) };
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        // SAFETY: `check_room` proved that the bytes fit into the mapping; they cannot overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                memory.as_mut_ptr().wrapping_add(offset),
                bytes.len(),
            )
        };
        Ok(())
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

    /// Reads one slot; `None` if the file ends before it does.
    pub fn slot(&self, header: &HeaderImage, index: usize) -> io::Result<Option<SlotImage>> {
        let mut bytes = vec![0; header.geometry.slot_size];
        let count = self.read_at(header.geometry.slot(index), &mut bytes)?;
        Ok(header.slot(&bytes[..count]))
    }

    /// Reads these slots in turn, as far as the file has them.
    pub fn each_slot(
        &self,
        header: &HeaderImage,
        slots: Range<usize>,
        mut see: impl FnMut(usize, SlotImage),
    ) -> io::Result<()> {
        // A few at a time: the whole table of version 1 would take more memory than a host's
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

    /// Reads all slots in turn, as far as the file has them.
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

    /// Removes the file, which must be ours alone: see [`try_own`](Self::try_own).
    pub fn remove(self) -> io::Result<()> {
        let (path, file) = self.unmapped();
        // The lock goes with the name: nobody finds the one without the other.
        let removed = std::fs::remove_file(path);
        drop(file);
        removed
    }

    /// Moves the file, which must be ours alone, to another name in the same file system.
    pub fn rename(self, to: &Path) -> io::Result<()> {
        let (path, file) = self.unmapped();
        let renamed = std::fs::rename(path, to);
        drop(file);
        renamed
    }

    /// Windows refuses to delete what is mapped.
    fn unmapped(self) -> (PathBuf, File) {
        (self.path, self.file)
    }
}

/// The part of `into` that a ledger has at `offset`, whatever length the file has.
fn within(offset: usize, into: &mut [u8]) -> &mut [u8] {
    let length = into.len().min(LARGEST_FILE.saturating_sub(offset));
    &mut into[..length]
}
