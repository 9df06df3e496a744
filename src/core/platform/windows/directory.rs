//! An open folder, which stays the same folder as long as it is open, and the files in it, which
//! any user may have made.

use super::security::Security;
use crate::platform::{Listed, Ownership, Refused};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_COMPLETE_IF_OPLOCKED, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_NO_RECALL,
    FILE_OPEN_REPARSE_POINT, FILE_SYNCHRONOUS_IO_NONALERT, NtCreateFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_NO_MORE_FILES, HANDLE, NTSTATUS, RtlNtStatusToDosError, STATUS_FILE_IS_A_DIRECTORY,
    STATUS_OPLOCK_BREAK_IN_PROGRESS, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, DELETE, FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_DEVICE,
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS,
    FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_DISPOSITION_FLAG_DELETE, FILE_DISPOSITION_FLAG_POSIX_SEMANTICS, FILE_DISPOSITION_INFO,
    FILE_DISPOSITION_INFO_EX, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_ID_BOTH_DIR_INFO, FILE_LIST_DIRECTORY,
    FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_TRAVERSE,
    FILE_TYPE_DISK, FileDispositionInfo, FileDispositionInfoEx, FileIdBothDirectoryInfo,
    FileIdBothDirectoryRestartInfo, GetFileInformationByHandle, GetFileInformationByHandleEx,
    GetFileType, READ_CONTROL, SYNCHRONIZE, SetFileInformationByHandle,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

/// How a file is opened that any user may have made: each option of NtCreateFile, and the reason
/// for it.
const FOREIGN: [(u32, &str); 5] = [
    (FILE_COMPLETE_IF_OPLOCKED, "an oplock that is not given up would be waited for without end"),
    (FILE_OPEN_REPARSE_POINT, "a link leads to a file that is not in the folder"),
    (FILE_OPEN_NO_RECALL, "a placeholder would be fetched over the network"),
    (FILE_NON_DIRECTORY_FILE, "a folder is no ledger"),
    (FILE_SYNCHRONOUS_IO_NONALERT, "ReadFile, LockFile and their kin return when they are done"),
];

/// What others may do with the file at the same time: everything that they could do without this
/// process.
const SHARED: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// File attributes that are refused, in this order.
const UNWANTED: [(u32, fn() -> Refused); 8] = [
    (FILE_ATTRIBUTE_REPARSE_POINT, || Refused::Link),
    (FILE_ATTRIBUTE_DIRECTORY, || Refused::Directory),
    (FILE_ATTRIBUTE_DEVICE, || Refused::NoFile),
    (FILE_ATTRIBUTE_RECALL_ON_OPEN, || Refused::Placeholder),
    (FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS, || Refused::Placeholder),
    (FILE_ATTRIBUTE_OFFLINE, || Refused::Placeholder),
    (FILE_ATTRIBUTE_SPARSE_FILE, || Refused::NoFixedSpace),
    (FILE_ATTRIBUTE_COMPRESSED, || Refused::NoFixedSpace),
];

/// An open folder.
#[derive(Debug)]
pub struct Directory {
    /// The path at which the folder was opened.
    path: PathBuf,
    file: File,
}

impl Directory {
    /// Opens the folder at `path`, whose last part must not be a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        let rights = FILE_LIST_DIRECTORY | FILE_TRAVERSE | FILE_READ_ATTRIBUTES;
        let file = OpenOptions::new()
            .access_mode(rights | READ_CONTROL | SYNCHRONIZE)
            .share_mode(SHARED)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
            .open(path)?;
        let attributes = information(&file)?.dwFileAttributes;
        let kind = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
        if attributes & kind != FILE_ATTRIBUTE_DIRECTORY {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.into(), file })
    }

    /// The path at which the folder was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder still exists.
    pub fn is_there(&self) -> bool {
        information(&self.file).is_ok_and(|folder| folder.nNumberOfLinks > 0)
    }

    /// Opens the file `name` for reading and writing. Does not wait for other programs and follows
    /// no link. Refuses every file that is not plain or has a second name.
    pub fn open_file(&self, name: &OsStr) -> Result<File, Refused> {
        self.open_with(name, FILE_GENERIC_READ | FILE_GENERIC_WRITE)
    }

    fn open_with(&self, name: &OsStr, rights: u32) -> Result<File, Refused> {
        let mut units = one_name(name)?;
        let bytes = u16::try_from(size_of_val(units.as_slice()))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let object_name =
            UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_mut_ptr() };
        let attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: self.file.as_raw_handle() as HANDLE,
            ObjectName: &object_name,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = std::ptr::null_mut();
        let mut block = IO_STATUS_BLOCK::default();
        let options = FOREIGN.iter().fold(0, |options, (option, _)| options | option);
        // SAFETY: the folder's handle is open as long as `self` is; the attributes, the name and its
        // units outlive the call; `handle` and `block` are writable; there are no extended attributes.
        let status = unsafe {
            NtCreateFile(
                &mut handle,
                rights | SYNCHRONIZE,
                &attributes,
                &mut block,
                std::ptr::null(),
                0,
                SHARED,
                FILE_OPEN,
                options,
                std::ptr::null(),
                0,
            )
        };
        if status < 0 {
            return Err(refusal(status));
        }
        // SAFETY: it was opened just now, and nobody else closes it.
        let file = unsafe { File::from_raw_handle(handle.cast()) };
        // The call succeeded and the handle is open, but the first use of the handle would wait.
        if status == STATUS_OPLOCK_BREAK_IN_PROGRESS {
            return Err(Refused::Leased);
        }
        // SAFETY: the handle is open for as long as `file` is.
        if unsafe { GetFileType(handle) } != FILE_TYPE_DISK {
            return Err(Refused::NoFile);
        }
        let information = information(&file)?;
        accept(information.dwFileAttributes, information.nNumberOfLinks)?;
        Ok(file)
    }

    /// Lists the folder, one buffer at a time, without opening its files. The folder has only one
    /// list: do not begin another before this one is dropped.
    pub fn list(&self) -> io::Result<List<'_>> {
        let mut list = List {
            directory: self,
            buffer: vec![0; BUFFER / size_of::<u64>()].into_boxed_slice(),
            next: None,
        };
        list.fill(FileIdBothDirectoryRestartInfo)?;
        Ok(list)
    }

    /// Removes `file`, which was opened as `name`. Never removes another file.
    pub fn remove(&self, name: &OsStr, file: File) -> io::Result<()> {
        let again = self.open_with(name, DELETE | FILE_READ_ATTRIBUTES)?;
        if identity(&information(&again)?) != identity(&information(&file)?) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "another file has taken its name; nothing was removed",
            ));
        }
        let flags = FILE_DISPOSITION_FLAG_DELETE | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS;
        let at_once = FILE_DISPOSITION_INFO_EX { Flags: flags };
        set_information(&again, FileDispositionInfoEx, &at_once).or_else(|_| {
            // This file system does not have that operation. The name is removed when the last
            // handle is closed.
            set_information(
                &again,
                FileDispositionInfo,
                &FILE_DISPOSITION_INFO { DeleteFile: true },
            )
        })
    }

    /// The user whom the folder belongs to, and what others may do in it.
    pub fn ownership(&self) -> io::Result<Ownership> {
        let security = Security::of(&self.file)?;
        Ok(Ownership {
            owner: security.owner()?,
            owner_is_trusted: security.owner_is_trusted()?,
            others_may_remove: security.others_may_remove()?,
        })
    }

    /// Whether nobody but the system, administrators, services and this process' user can move the
    /// folder's contents, or the folder itself. A root folder cannot be moved.
    pub fn keeps_its_place(&self) -> io::Result<bool> {
        let security = Security::of(&self.file)?;
        let is_root = self.path.parent().is_none();
        Ok(security.owner_is_trusted()? && !security.others_may_move(is_root)?)
    }
}

/// Bytes of the folder's list that are read at a time: a few hundred names.
const BUFFER: usize = 64 * 1024;

/// The folder's list.
#[derive(Debug)]
pub struct List<'a> {
    directory: &'a Directory,
    /// The unit is eight bytes, because the entries are aligned to eight bytes.
    buffer: Box<[u64]>,
    /// The offset of the next entry in the buffer.
    next: Option<usize>,
}

impl List<'_> {
    /// Reads the next entries. At the end of the list there are none.
    fn fill(&mut self, class: i32) -> io::Result<()> {
        // SAFETY: the handle is open as long as the directory is, and the buffer is writable.
        let filled = unsafe {
            GetFileInformationByHandleEx(
                self.directory.file.as_raw_handle() as HANDLE,
                class,
                self.buffer.as_mut_ptr().cast(),
                size_of_val(&*self.buffer) as u32,
            )
        };
        self.next = (filled != 0).then_some(0);
        let error = io::Error::last_os_error();
        let at_end = error.raw_os_error().map(i32::cast_unsigned) == Some(ERROR_NO_MORE_FILES);
        if filled != 0 || at_end { Ok(()) } else { Err(error) }
    }

    /// The entry at `place` of the buffer, and the offset of the next one.
    fn entry(&self, place: usize) -> Option<(Listed, Option<usize>)> {
        const NAME: usize = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName);
        let room = size_of_val(&*self.buffer).checked_sub(place)?;
        if room < size_of::<FILE_ID_BOTH_DIR_INFO>() {
            return None;
        }
        let start = self.buffer.as_ptr().cast::<u8>().wrapping_add(place);
        // SAFETY: the buffer has room for the structure here, and each of its fields is an integer.
        let entry = unsafe { start.cast::<FILE_ID_BOTH_DIR_INFO>().read_unaligned() };
        let units = entry.FileNameLength as usize / size_of::<u16>();
        if NAME + units * size_of::<u16>() > room {
            return None;
        }
        let name: Vec<u16> = (0..units)
            // SAFETY: the name's units are within the buffer, as was just checked.
            .map(|unit| unsafe {
                start.wrapping_add(NAME).cast::<u16>().wrapping_add(unit).read_unaligned()
            })
            .collect();
        let listed = Listed {
            name: OsString::from_wide(&name),
            id: entry.FileId.cast_unsigned(),
            bytes: u64::try_from(entry.EndOfFile).unwrap_or(0),
            modified: date(entry.LastWriteTime),
        };
        let step = entry.NextEntryOffset as usize;
        Some((listed, (step > 0).then_some(place + step)))
    }
}

impl Iterator for List<'_> {
    type Item = Listed;

    fn next(&mut self) -> Option<Listed> {
        loop {
            let Some(place) = self.next else {
                // If the list cannot be read further, it ends here.
                self.fill(FileIdBothDirectoryInfo).ok()?;
                self.next?;
                continue;
            };
            let (listed, next) = self.entry(place)?;
            self.next = next;
            if listed.name != "." && listed.name != ".." {
                return Some(listed);
            }
        }
    }
}

/// A date of Windows, in units of 100 ns since 1601. A date before 1970 becomes 1970.
fn date(ticks: i64) -> SystemTime {
    const TO_1970: i64 = 116_444_736_000_000_000;
    let since = u64::try_from(ticks.saturating_sub(TO_1970)).unwrap_or(0);
    let since = Duration::new(since / 10_000_000, (since % 10_000_000) as u32 * 100);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A single name. A path that leads out of the folder, or a stream of a file, is an error.
fn one_name(name: &OsStr) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = name.encode_wide().collect();
    let outside = |unit: &u16| [b'\\', b'/', b':', 0].map(u16::from).contains(unit);
    if units.is_empty() || name == "." || name == ".." || units.iter().any(outside) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(units)
}

/// Why NtCreateFile did not open a file.
fn refusal(status: NTSTATUS) -> Refused {
    if status == STATUS_FILE_IS_A_DIRECTORY {
        return Refused::Directory;
    }
    // SAFETY: takes a number and cannot fail.
    let code = unsafe { RtlNtStatusToDosError(status) };
    Refused::System(io::Error::from_raw_os_error(code.cast_signed()))
}

/// Refuses every file that is not plain, has a second name, or has bytes that are not on this disk.
fn accept(attributes: u32, links: u32) -> Result<(), Refused> {
    match UNWANTED.iter().find(|(attribute, _)| attributes & attribute != 0) {
        Some((_, refused)) => Err(refused()),
        None if links > 1 => Err(Refused::SecondName),
        None => Ok(()),
    }
}

/// Numbers that only this file of the machine has.
fn identity(file: &BY_HANDLE_FILE_INFORMATION) -> (u32, u32, u32) {
    (file.dwVolumeSerialNumber, file.nFileIndexHigh, file.nFileIndexLow)
}

fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut information = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and `information` is writable for the call.
    let found =
        unsafe { GetFileInformationByHandle(file.as_raw_handle() as HANDLE, &mut information) };
    if found == 0 { Err(io::Error::last_os_error()) } else { Ok(information) }
}

fn set_information<T>(file: &File, class: i32, information: &T) -> io::Result<()> {
    // SAFETY: the handle is open, and `information` is readable for its size.
    let set = unsafe {
        SetFileInformationByHandle(
            file.as_raw_handle() as HANDLE,
            class,
            (&raw const *information).cast(),
            size_of::<T>() as u32,
        )
    };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn foreign_files_are_opened_with_these_options_and_no_other() {
        // wdm.h, NtCreateFile: CreateOptions.
        let options = FOREIGN.iter().fold(0, |options, (option, _)| options | option);
        assert_eq!(options, 0x100 | 0x20_0000 | 0x40_0000 | 0x40 | 0x20);
        assert!(FOREIGN.iter().all(|(_, reason)| !reason.is_empty()));
        assert_eq!(SHARED, 7);
    }

    #[test]
    fn attributes_say_what_is_refused_and_why() {
        let refused = |attributes| accept(attributes, 1).unwrap_err().to_string();
        assert_eq!(refused(0x400), Refused::Link.to_string());
        assert_eq!(refused(0x400 | 0x1000), Refused::Link.to_string());
        assert_eq!(refused(0x10), Refused::Directory.to_string());
        assert_eq!(refused(0x40), Refused::NoFile.to_string());
        for placeholder in [0x4_0000, 0x40_0000, 0x1000] {
            assert_eq!(refused(placeholder), Refused::Placeholder.to_string());
        }
        for space in [0x200, 0x800] {
            assert_eq!(refused(space), Refused::NoFixedSpace.to_string());
        }
        assert!(matches!(accept(0x20, 2), Err(Refused::SecondName)));
        // Archive, normal, not indexed, read-only, hidden.
        assert!(accept(0x20 | 0x80 | 0x2000 | 0x1 | 0x2, 1).is_ok());
    }

    #[test]
    fn a_folder_is_listed_and_its_files_are_opened_and_removed() {
        let place = tempfile::tempdir().unwrap();
        // More names than one buffer holds.
        for number in 0..1000 {
            let name = format!("{number:064}");
            std::fs::write(place.path().join(name), "x".repeat(number)).unwrap();
        }
        let directory = Directory::open(place.path()).unwrap();
        for _ in 0..2 {
            let listed: BTreeMap<_, _> =
                directory.list().unwrap().map(|file| (file.name.clone(), file)).collect();
            assert_eq!(listed.len(), 1000);
            for (number, file) in listed.values().enumerate() {
                assert_eq!(file.bytes, number as u64);
                assert!(file.modified > SystemTime::UNIX_EPOCH);
            }
        }
        let name = OsString::from(format!("{:064}", 7));
        let file = directory.open_file(&name).unwrap();
        assert_eq!(io::read_to_string(&file).unwrap(), "xxxxxxx");
        directory.remove(&name, file).unwrap();
        let gone = directory.open_file(&name).unwrap_err();
        assert!(matches!(gone, Refused::System(error) if error.kind() == io::ErrorKind::NotFound));
        assert_eq!(directory.list().unwrap().count(), 999);
    }

    #[test]
    fn folders_second_names_and_paths_are_refused() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("folder")).unwrap();
        std::fs::write(place.path().join("plain"), "text").unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let open = |name: &str| directory.open_file(name.as_ref());
        assert!(matches!(open("folder"), Err(Refused::Directory)));
        for path in ["", ".", "..", r"..\plain", r"folder\..\plain", "plain:stream", "/plain"] {
            assert!(matches!(open(path), Err(Refused::System(_))), "{path:?}");
        }
        open("plain").unwrap();
        std::fs::hard_link(place.path().join("plain"), place.path().join("twin")).unwrap();
        assert!(matches!(open("plain"), Err(Refused::SecondName)));
    }

    #[test]
    fn only_the_file_that_was_opened_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        std::fs::write(path("a"), "first").unwrap();
        std::fs::write(path("b"), "second").unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let first = directory.open_file("a".as_ref()).unwrap();
        std::fs::rename(path("a"), path("c")).unwrap();
        std::fs::rename(path("b"), path("a")).unwrap();
        assert!(directory.remove("a".as_ref(), first).is_err());
        assert_eq!(std::fs::read_to_string(path("a")).unwrap(), "second");
    }

    #[test]
    fn dates_are_those_of_windows() {
        let day = Duration::from_secs(86_400);
        assert_eq!(date(116_444_736_000_000_000 + 864_000_000_000), SystemTime::UNIX_EPOCH + day);
        assert_eq!(date(i64::MIN), SystemTime::UNIX_EPOCH);
        assert!(date(i64::MAX) > SystemTime::UNIX_EPOCH);
    }
}
