//! The bytes of a file that its host has locked.
//!
//! A lock refuses ReadFile and WriteFile, but not a mapped view. If a page of a view cannot be read
//! from the disk, touching it raises an exception, which would end the process. If the system
//! copies the page ([ReadProcessMemory]), it returns an error instead.
//!
//! [ReadProcessMemory]: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-readprocessmemory

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Diagnostics::Debug::{ReadProcessMemory, WriteProcessMemory};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// A view of a file. Only the system touches its bytes.
#[derive(Debug)]
pub struct FileView(MmapRaw);

impl FileView {
    /// Maps the first `length` bytes of `file`. `None` if the file is empty, because nothing can be
    /// mapped then.
    pub fn of(file: &File, length: usize) -> io::Result<Option<Self>> {
        let map = || MmapOptions::new().len(length).map_raw(file).map(Self);
        (length > 0).then(map).transpose()
    }

    /// Copies bytes out. Returns how many bytes were copied: fewer than asked for at the view's
    /// end.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(self.0.len().saturating_sub(offset));
        if wanted == 0 {
            return Ok(0);
        }
        let mut count = 0;
        // SAFETY: `into` is writable for `wanted` bytes, `count` is writable, and the view, which is
        // mapped as long as `self` lives, has `offset + wanted` bytes. The system checks both ranges.
        let copied = unsafe {
            ReadProcessMemory(
                this_process(),
                self.0.as_ptr().wrapping_add(offset).cast(),
                into.as_mut_ptr().cast(),
                wanted,
                &mut count,
            )
        };
        if copied == 0 || count != wanted {
            return Err(io::Error::last_os_error());
        }
        Ok(wanted)
    }

    /// Writes bytes into the view. They must fit.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len());
        if end.is_none_or(|end| end > self.0.len()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut count = 0;
        // SAFETY: `bytes` is readable and `count` writable; the view, which is mapped for writing as
        // long as `self` lives, has room for the bytes at `offset`. Nothing in this process refers to
        // the view's bytes.
        let copied = unsafe {
            WriteProcessMemory(
                this_process(),
                self.0.as_mut_ptr().wrapping_add(offset).cast(),
                bytes.as_ptr().cast(),
                bytes.len(),
                &mut count,
            )
        };
        if copied == 0 || count != bytes.len() {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// The handle that stands for this process. It needs no closing.
fn this_process() -> HANDLE {
    // SAFETY: takes nothing and cannot fail.
    unsafe { GetCurrentProcess() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_to_a_locked_file_and_read_from_it_up_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let other = file.reopen().unwrap();
        file.as_file().try_lock().unwrap();
        let view = FileView::of(&other, 10).unwrap().unwrap();
        let mut bytes = [0; 8];
        assert_eq!(view.read_at(4, &mut bytes).unwrap(), 6);
        assert_eq!(&bytes[..6], b"456789");
        view.write_at(8, b"ab").unwrap();
        assert_eq!(view.read_at(7, &mut bytes).unwrap(), 3);
        assert_eq!(&bytes[..3], b"7ab");
        assert_eq!(view.read_at(10, &mut bytes).unwrap(), 0);
        assert!(view.write_at(9, b"ab").is_err());
        assert!(FileView::of(&other, 0).unwrap().is_none());
    }

    #[test]
    fn a_page_that_cannot_be_read_is_an_error_and_not_an_exception() {
        let mut byte = [0];
        // SAFETY: the system checks the range, in which nothing is mapped, and copies nothing.
        let copied = unsafe {
            ReadProcessMemory(
                this_process(),
                std::ptr::without_provenance(16),
                byte.as_mut_ptr().cast(),
                1,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(copied, 0);
    }
}
