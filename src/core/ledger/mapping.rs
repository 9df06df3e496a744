//! The memory behind a ledger: a locked file mapped into memory, or anonymous memory.

#![allow(unsafe_code)] // This file meets shared memory.

use super::LedgerError;
use super::layout::{FILE_SIZE, HEADER_SIZE, Header, SLOT_COUNT, SLOT_SIZE, StoredSlot};
use super::slot::Slot;
use crate::platform;
use memmap2::{MmapMut, MmapOptions, MmapRaw};
use std::fs::{File, OpenOptions};
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const _: () = assert!(size_of::<Slot>() == SLOT_SIZE);
const _: () = assert!(Slot::BODY == offset_of!(StoredSlot, body));

/// Memory of exactly [`FILE_SIZE`] bytes, page aligned. It holds a header and a table of slots.
#[derive(Debug)]
pub struct Mapping {
    memory: MmapRaw,
    /// Locked while the host lives. The kernel releases the lock when the process ends.
    file: Mutex<Option<File>>,
    path: Option<PathBuf>,
}

impl Mapping {
    /// Creates the file `path`, locks it, takes its disk space, and maps it. The magic is written
    /// last.
    ///
    /// All of the disk space is taken at once. If the disk had no room for a mapped page, a store
    /// into the page would kill the host. Until the magic is there, a reader sees an unfinished
    /// ledger.
    pub fn create(path: &Path, header: Header) -> Result<Self, LedgerError> {
        let failed = |what| move |source| LedgerError::File { what, path: path.into(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        platform::owner_only(&mut options);
        let file = options.open(path).map_err(failed("create"))?;
        let mapped = (|| {
            file.try_lock().map_err(std::io::Error::from).map_err(failed("lock"))?;
            platform::allocate(&file, FILE_SIZE as u64).map_err(failed("take disk space for"))?;
            let memory = MmapOptions::new().len(FILE_SIZE).map_raw(&file).map_err(failed("map"))?;
            // The first touch of a page must not read the whole file ahead. The system may ignore it.
            #[cfg(unix)]
            let _ = memory.advise(memmap2::Advice::Random);
            Ok(memory)
        })();
        match mapped {
            Ok(memory) => Ok(Self::with_header(memory, header, Some(file), Some(path.into()))),
            Err(error) => {
                drop(file);
                // If the file cannot be removed, it stays. It is empty and does no harm.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// The same table in anonymous memory. It is lost with the process.
    pub fn anonymous(header: Header) -> Result<Self, LedgerError> {
        let memory = MmapMut::map_anon(FILE_SIZE).map_err(LedgerError::Memory)?;
        Ok(Self::with_header(MmapRaw::from(memory), header, None, None))
    }

    fn with_header(
        memory: MmapRaw,
        header: Header,
        file: Option<File>,
        path: Option<PathBuf>,
    ) -> Self {
        // SAFETY: the memory is writable, page aligned, larger than a header, and no other thread
        // has seen it: the file was created just now or the memory is anonymous.
        unsafe { memory.as_mut_ptr().cast::<Header>().write(header) };
        let mapping = Self { memory, file: Mutex::new(file), path };
        mapping.header().bear();
        mapping
    }

    /// Closes the file and gives up its lock. The memory stays mapped.
    pub fn close(&self) {
        // No code panics while it holds this lock, so a poisoned lock is as good as another.
        if let Some(file) = self.file.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // On Linux the mapping keeps the open file, and so its lock, after the descriptor is
            // closed. If the unlock fails, the file stays locked until this process ends.
            let _ = file.unlock();
        }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        // SAFETY: the memory holds FILE_SIZE >= HEADER_SIZE bytes, is page aligned, and lives as
        // long as `self`. Every field is an integer, so any bytes are a valid value; what changes
        // after the start is atomic.
        unsafe { &*self.memory.as_ptr().cast::<Header>() }
    }

    /// The table of slots.
    pub fn slots(&self) -> &[Slot; SLOT_COUNT] {
        // SAFETY: the header ends inside the memory, and the table behind it fits (FILE_SIZE).
        let first = unsafe { self.memory.as_ptr().add(HEADER_SIZE) };
        // SAFETY: `first` is aligned (HEADER_SIZE is a multiple of 8) and SLOT_COUNT slots lie
        // behind it. Slots hold integers only and guard their own bodies.
        unsafe { &*first.cast::<[Slot; SLOT_COUNT]>() }
    }

    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
