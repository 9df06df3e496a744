//! An open folder, which stays the same folder as long as it is open, and the files in it, which
//! any user may have made.

use crate::platform::{Listed, Ownership, Refused};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How a file is opened that any user may have made: each flag of open(2), and the reason for it.
const FOREIGN: [(libc::c_int, &str); 5] = [
    (libc::O_RDWR, "the lock, the freed slots and the file's date are written"),
    (libc::O_NOFOLLOW, "a link leads to a file that is not in the folder"),
    (libc::O_NONBLOCK, "a lease, and a pipe without a writer, would be waited for"),
    (libc::O_NOCTTY, "a terminal would become this process' own"),
    (libc::O_CLOEXEC, "a child process would keep the lock"),
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
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Self { path: path.into(), file })
    }

    /// The path at which the folder was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder still exists.
    pub fn is_there(&self) -> bool {
        self.file.metadata().is_ok_and(|folder| folder.nlink() > 0)
    }

    /// Opens the file `name` for reading and writing. Does not wait for other programs and follows
    /// no link. Refuses every file that is not plain or has a second name.
    pub fn open_file(&self, name: &OsStr) -> Result<File, Refused> {
        let name = one_name(name)?;
        let flags = FOREIGN.iter().fold(0, |flags, (flag, _)| flags | flag);
        // SAFETY: the descriptor is open for as long as `self` is, and `name` ends in NUL.
        let file = unsafe { libc::openat(self.fd(), name.as_ptr(), flags) };
        if file < 0 {
            return Err(refusal(io::Error::last_os_error()));
        }
        // SAFETY: it was opened just now, and nobody else closes it.
        let file = unsafe { File::from_raw_fd(file) };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(Refused::Directory);
        }
        if !metadata.is_file() {
            return Err(Refused::NoFile);
        }
        match metadata.nlink() {
            // The file was removed at this moment.
            0 => Err(Refused::System(io::ErrorKind::NotFound.into())),
            1 => Ok(file),
            _ => Err(Refused::SecondName),
        }
    }

    /// Lists the folder, one buffer at a time, without opening its files.
    pub fn list(&self) -> io::Result<List<'_>> {
        // A second open file description: a duplicate would share its position in the list.
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the descriptor is open for as long as `self` is, and the name ends in NUL.
        let again = unsafe { libc::openat(self.fd(), c".".as_ptr(), flags) };
        if again < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now, and nobody else closes it.
        let again = unsafe { File::from_raw_fd(again) };
        // SAFETY: the descriptor is open; if this succeeds, the stream owns it.
        let stream = unsafe { libc::fdopendir(again.as_raw_fd()) };
        if stream.is_null() {
            return Err(io::Error::last_os_error());
        }
        let _stream_owns_it = again.into_raw_fd();
        Ok(List { directory: self, stream })
    }

    /// Removes the name `name` if it is still the name of `file`. A user who may rename files here
    /// can do so between the two steps. If [`ownership`](Self::ownership) is safe, only the file's
    /// own user and administrators can.
    pub fn remove(&self, name: &OsStr, file: File) -> io::Result<()> {
        let name = self.name_of(name, &file)?;
        // SAFETY: the descriptor is open for as long as `self` is, and `name` ends in NUL.
        check(unsafe { libc::unlinkat(self.fd(), name.as_ptr(), 0) })
    }

    /// The user whom the folder belongs to, and what others may do in it.
    pub fn ownership(&self) -> io::Result<Ownership> {
        let metadata = self.file.metadata()?;
        // SAFETY: takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        Ok(ownership(metadata.uid(), metadata.mode(), user))
    }

    fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn name_of(&self, name: &OsStr, file: &File) -> io::Result<CString> {
        let name = one_name(name)?;
        let (there, opened) = (self.look_at(&name)?, file.metadata()?);
        if (there.st_dev, there.st_ino) != (opened.dev(), opened.ino()) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "another file has taken its name; nothing was removed",
            ));
        }
        Ok(name)
    }

    fn look_at(&self, name: &CStr) -> io::Result<libc::stat> {
        // SAFETY: the structure is integers, for which zeros are valid.
        let mut seen: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, the name ends in NUL, and `seen` is writable.
        check(unsafe {
            libc::fstatat(self.fd(), name.as_ptr(), &mut seen, libc::AT_SYMLINK_NOFOLLOW)
        })?;
        Ok(seen)
    }
}

/// The folder's list, read one buffer at a time.
#[derive(Debug)]
pub struct List<'a> {
    directory: &'a Directory,
    stream: *mut libc::DIR,
}

impl Iterator for List<'_> {
    type Item = Listed;

    fn next(&mut self) -> Option<Listed> {
        loop {
            // SAFETY: the stream is open until `self` is dropped, and used by nobody else.
            let entry = unsafe { libc::readdir(self.stream) };
            if entry.is_null() {
                return None;
            }
            let name = entry.cast::<libc::c_char>().wrapping_add(offset_of!(libc::dirent, d_name));
            // SAFETY: the entry is valid until the next call, and its name ends in NUL.
            let name = unsafe { CStr::from_ptr(name) };
            if name == c"." || name == c".." {
                continue;
            }
            // If the file cannot be read, it was removed at this moment.
            let Ok(seen) = self.directory.look_at(name) else { continue };
            return Some(Listed {
                name: OsString::from_vec(name.to_bytes().to_vec()),
                id: seen.st_ino,
                bytes: u64::try_from(seen.st_size).unwrap_or(0),
                modified: date(seen.st_mtime, seen.st_mtime_nsec),
            });
        }
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        // SAFETY: the stream was opened for `self`, and goes with it.
        unsafe { libc::closedir(self.stream) };
    }
}

/// A date of stat(2). A date before the epoch becomes the epoch.
fn date(seconds: i64, nanos: i64) -> SystemTime {
    let since = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
    since
        .and_then(|(seconds, nanos)| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos.min(999_999_999)))
        })
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A single name. A path that leads out of the folder is an error.
fn one_name(name: &OsStr) -> io::Result<CString> {
    if name.is_empty() || name == "." || name == ".." || name.as_bytes().contains(&b'/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(CString::new(name.as_bytes())?)
}

/// Why open(2) did not open a file.
fn refusal(error: io::Error) -> Refused {
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK) => Refused::Leased,
        Some(libc::ELOOP) => Refused::Link,
        Some(libc::EISDIR) => Refused::Directory,
        // It is a socket, or a device without a driver.
        Some(libc::ENXIO | libc::ENODEV) => Refused::NoFile,
        _ => Refused::System(error),
    }
}

fn ownership(owner: u32, mode: u32, user: u32) -> Ownership {
    let others_write = mode & (libc::S_IWGRP | libc::S_IWOTH) != 0;
    // With the sticky bit, only the file's owner and the folder's owner may remove the file
    // (rename(2), EPERM).
    let sticky = mode & libc::S_ISVTX != 0;
    Ownership {
        owner: format!("uid {owner}"),
        owner_is_trusted: owner == 0 || owner == user,
        others_may_remove: others_write && !sticky,
    }
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    struct Folder {
        place: tempfile::TempDir,
        directory: Directory,
    }

    impl Folder {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let directory = Directory::open(place.path()).unwrap();
            Self { place, directory }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.place.path().join(name), text).unwrap();
        }

        fn open(&self, name: &str) -> Result<File, Refused> {
            self.directory.open_file(name.as_ref())
        }
    }

    #[test]
    fn foreign_files_are_opened_with_these_flags_and_no_other() {
        let flags = FOREIGN.iter().fold(0, |flags, (flag, _)| flags | flag);
        let wanted =
            libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        assert_eq!(flags, wanted);
        assert!(FOREIGN.iter().all(|(_, reason)| !reason.is_empty()));
    }

    #[test]
    fn a_file_that_is_not_plain_is_refused_with_its_own_reason() {
        let folder = Folder::new();
        let path = |name: &str| folder.place.path().join(name);
        folder.write("plain", "text");
        folder.write("twice", "text");
        std::fs::hard_link(path("twice"), path("twin")).unwrap();
        symlink(path("plain"), path("link")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        let pipe = CString::new(path("pipe").as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends in NUL.
        check(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }).unwrap();

        folder.open("plain").unwrap();
        assert!(matches!(folder.open("twice"), Err(Refused::SecondName)));
        assert!(matches!(folder.open("twin"), Err(Refused::SecondName)));
        assert!(matches!(folder.open("link"), Err(Refused::Link)));
        assert!(matches!(folder.open("folder"), Err(Refused::Directory)));
        assert!(matches!(folder.open("socket"), Err(Refused::NoFile)));
        assert!(matches!(folder.open("pipe"), Err(Refused::NoFile)));
        let gone = folder.open("gone").unwrap_err();
        assert!(matches!(&gone, Refused::System(error) if error.kind() == io::ErrorKind::NotFound));
        for path in ["", ".", "..", "../plain", "folder/../plain"] {
            assert!(matches!(folder.open(path), Err(Refused::System(_))), "{path:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_lease_is_not_waited_for_and_the_file_may_be_opened_later() {
        let folder = Folder::new();
        folder.write("leased", "text");
        let holder = File::open(folder.place.path().join("leased")).unwrap();
        // The kernel signals that the lease is asked for; the signal would end this program.
        // SAFETY: ignoring a signal touches no memory.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        // SAFETY: the descriptor is open.
        check(unsafe { libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }).unwrap();
        let refused = folder.open("leased").unwrap_err();
        assert!(matches!(refused, Refused::Leased) && refused.may_pass());
        drop(holder);
        folder.open("leased").unwrap();
    }

    #[test]
    fn a_folder_is_listed_as_often_as_it_is_asked_and_says_size_date_and_number() {
        let folder = Folder::new();
        for number in 0..100 {
            folder.write(&number.to_string(), &"x".repeat(number));
        }
        symlink("/nowhere/at/all", folder.place.path().join("link")).unwrap();
        for _ in 0..2 {
            let listed: BTreeMap<_, _> = folder
                .directory
                .list()
                .unwrap()
                .map(|file| (file.name.to_string_lossy().into_owned(), file))
                .collect();
            assert_eq!(listed.len(), 101);
            for number in 0..100 {
                let file = &listed[&number.to_string()];
                let there = std::fs::metadata(folder.place.path().join(&file.name)).unwrap();
                assert_eq!((file.bytes, file.id), (number as u64, there.ino()));
                assert_eq!(file.modified, there.modified().unwrap());
            }
            assert_eq!(listed["link"].bytes, "/nowhere/at/all".len() as u64);
        }
        assert_eq!(folder.directory.list().unwrap().take(7).count(), 7);
    }

    #[test]
    fn only_the_file_that_was_opened_is_removed() {
        let folder = Folder::new();
        let path = |name: &str| folder.place.path().join(name);
        folder.write("a", "first");
        let first = folder.open("a").unwrap();
        folder.write("b", "second");
        std::fs::rename(path("b"), path("a")).unwrap();
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(folder.directory.remove("a".as_ref(), first)), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_to_string(path("a")).unwrap(), "second");

        let second = folder.open("a").unwrap();
        folder.directory.remove("a".as_ref(), second).unwrap();
        assert_eq!(folder.directory.list().unwrap().count(), 0);
    }

    #[test]
    fn an_open_folder_stays_the_same_when_another_takes_its_path() {
        let folder = Folder::new();
        let path = folder.place.path().join("ledger");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), "inside").unwrap();
        let directory = Directory::open(&path).unwrap();
        std::fs::rename(&path, folder.place.path().join("aside")).unwrap();
        let elsewhere = folder.place.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("a"), "outside").unwrap();
        symlink(&elsewhere, &path).unwrap();

        let file = directory.open_file("a".as_ref()).unwrap();
        assert_eq!(io::read_to_string(&file).unwrap(), "inside");
        directory.remove("a".as_ref(), file).unwrap();
        assert_eq!(std::fs::read_to_string(elsewhere.join("a")).unwrap(), "outside");
        assert!(Directory::open(&path).is_err(), "a link");
    }

    #[test]
    fn a_folder_is_safe_if_its_owner_is_trusted_and_others_remove_only_their_own() {
        for (owner, mode, safe) in [
            (0, 0o755, true),
            (0, 0o1777, true),
            (0, 0o777, false),
            (0, 0o775, false),
            (0, 0o1775, true),
            (1000, 0o700, true),
            (1001, 0o700, false),
            (1001, 0o1777, false),
        ] {
            let ownership = ownership(owner, mode, 1000);
            assert_eq!(ownership.is_safe(), safe, "{owner} {mode:o}");
        }
        let folder = Folder::new();
        assert!(folder.directory.ownership().unwrap().is_safe());
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.place.path(), open).unwrap();
        assert!(folder.directory.ownership().unwrap().others_may_remove);
    }
}
