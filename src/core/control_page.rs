//! The control page: a file of 4 KiB through which administrators and the agent reach every host.
//!
//! `install` makes the page, administrators and the agent write it, and each host maps it
//! read-only. So a host can see without any I/O whether it must stop, and whether an agent empties
//! the ledger folder.
//!
//! The layout is [`Layout`], in little endian, which is the byte order of Windows and Linux on all
//! machines that they run on here. Its words have 32 bits. That is the largest size that Rust
//! promises to load from read-only memory in a 32-bit program, too (`std::sync::atomic`, "Atomic
//! accesses to read-only memory").

#![allow(unsafe_code)] // This file meets shared memory.

use crate::platform;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

/// First bytes of the page.
const MAGIC: [u8; 8] = *b"MPRCTRL\0";
/// Version of the page's format. A page of another version counts as no page.
const VERSION: u32 = 1;
/// Bytes of the file that are mapped.
const SIZE: usize = 4096;
/// The value of `Layout::stop` if hosts must record nothing.
const STOP: u32 = 1;
/// The upper half of a heartbeat while it is being written. As a time it is 584 years in the
/// future.
const BEING_WRITTEN: u32 = u32::MAX;
/// How often a reader tries again while a heartbeat is being written, which takes three stores.
/// After that the heartbeat counts as missing: no host waits for an agent.
const ATTEMPTS: u32 = 100;

/// An agent whose last heartbeat is older counts as gone.
pub const HEARTBEAT_LASTS: Duration = Duration::from_secs(600);

/// The fields of the page. The rest of the page is zeros.
#[repr(C)]
struct Layout {
    /// [`MAGIC`], written last.
    magic: [AtomicU32; 2],
    /// [`VERSION`].
    version: AtomicU32,
    /// 0: record; [`STOP`]: record nothing.
    stop: AtomicU32,
    /// The newest version of a ledger that the agent reads.
    newest_ledger: AtomicU32,
    /// Zero.
    padding: AtomicU32,
    /// The boot of the heartbeat ([`platform::boot_id`]), lower half first.
    boot: [AtomicU32; 2],
    /// When the agent last looked into the ledger folder, in nanoseconds of that boot's monotonic
    /// clock ([`platform::awake_nanos`]), lower half first. 0: never.
    heartbeat: [AtomicU32; 2],
}

const _: () = {
    assert!(offset_of!(Layout, magic) == 0);
    assert!(offset_of!(Layout, version) == 8);
    assert!(offset_of!(Layout, stop) == 12);
    assert!(offset_of!(Layout, newest_ledger) == 16);
    assert!(offset_of!(Layout, padding) == 20);
    assert!(offset_of!(Layout, boot) == 24);
    assert!(offset_of!(Layout, heartbeat) == 32);
    assert!(size_of::<Layout>() == 40 && size_of::<Layout>() <= SIZE);
};

impl Layout {
    fn is_valid(&self) -> bool {
        // After this load, everything is visible that was written before the magic.
        let magic = load_halves(&self.magic);
        fence(Ordering::Acquire);
        magic == u64::from_le_bytes(MAGIC) && self.version.load(Ordering::Relaxed) == VERSION
    }

    /// The monotonic time of the last heartbeat in this boot.
    fn heartbeat(&self) -> Option<u64> {
        // The boot is read first: a heartbeat that is read afterwards is of this boot or a later
        // one.
        let of_this_boot = load_halves(&self.boot) == platform::boot_id();
        fence(Ordering::Acquire);
        let nanos = (0..ATTEMPTS).find_map(|_| self.written_heartbeat())?;
        (nanos != 0 && of_this_boot).then_some(nanos)
    }

    /// The heartbeat. `None` while it is being written.
    fn written_heartbeat(&self) -> Option<u64> {
        let [low, high] = &self.heartbeat;
        let before = high.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let lower = low.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        // The writer marks the upper half before it changes the lower half.
        let whole = before != BEING_WRITTEN && high.load(Ordering::Relaxed) == before;
        whole.then_some(u64::from(before) << 32 | u64::from(lower))
    }

    fn set_heartbeat(&self, nanos: u64) {
        let [low, high] = &self.heartbeat;
        high.store(BEING_WRITTEN, Ordering::Relaxed);
        fence(Ordering::Release);
        low.store(nanos as u32, Ordering::Relaxed);
        high.store((nanos >> 32) as u32, Ordering::Release);
    }
}

fn load_halves([low, high]: &[AtomicU32; 2]) -> u64 {
    u64::from(high.load(Ordering::Relaxed)) << 32 | u64::from(low.load(Ordering::Relaxed))
}

fn store_halves([low, high]: &[AtomicU32; 2], value: u64) {
    low.store(value as u32, Ordering::Relaxed);
    high.store((value >> 32) as u32, Ordering::Relaxed);
}

/// [`SIZE`] bytes of a control page's file.
#[derive(Debug)]
struct Mapping(MmapRaw);

impl Mapping {
    fn layout(&self) -> &Layout {
        // SAFETY: the memory has SIZE bytes, which are more than a Layout has, and begins at a page,
        // so it is aligned; it lives as long as `self`. Every value of every field is valid, and
        // all of them are atomic, so other processes may write them. Those who may open the file
        // for writing never make it shorter.
        unsafe { &*self.0.as_ptr().cast::<Layout>() }
    }
}

/// A control page as a host sees it: read-only.
#[derive(Debug)]
pub struct ControlPage(Mapping);

impl ControlPage {
    /// Maps the page at `path`. `None` if there is no file.
    ///
    /// A file counts as no page if it is shorter than 4 KiB, is not plain, lacks the magic, or has
    /// another version. On Unix, so does a file of a user other than root and the user of this
    /// process. An error is the system's, for example that this user may not read the file.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match platform::open_plain_to_read(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(error),
        };
        if !is_whole(&file)? || !platform::owner_is_trusted(&file)? {
            return Ok(None);
        }
        let page = Self(Mapping(MmapOptions::new().len(SIZE).map_raw_read_only(&file)?));
        Ok(page.0.layout().is_valid().then_some(page))
    }

    /// Whether hosts must record nothing. This is a single load.
    pub fn stop_is_set(&self) -> bool {
        self.0.layout().stop.load(Ordering::Relaxed) == STOP
    }

    /// Whether an agent empties the ledger folder: it did so in the last ten minutes.
    pub fn agent_lives(&self) -> bool {
        self.agent_lives_by(platform::awake_nanos)
    }

    fn agent_lives_by(&self, clock: impl Fn() -> u64) -> bool {
        self.heartbeat_age_by(clock).is_some_and(|age| age < HEARTBEAT_LASTS)
    }

    /// The age of the agent's last heartbeat. `None` if there was no heartbeat in this boot, or if
    /// it is in the future by this machine's clock.
    pub fn heartbeat_age(&self) -> Option<Duration> {
        self.heartbeat_age_by(platform::awake_nanos)
    }

    /// The clock is read after the heartbeat, because the heartbeat may be written at this moment.
    fn heartbeat_age_by(&self, clock: impl Fn() -> u64) -> Option<Duration> {
        let heartbeat = self.0.layout().heartbeat()?;
        clock().checked_sub(heartbeat).map(Duration::from_nanos)
    }

    /// Whether the agent, if one lives, reads ledgers of this version.
    pub fn reads_ledger_version(&self, version: u32) -> bool {
        !self.agent_lives() || version <= self.newest_ledger_version()
    }

    /// The newest version of a ledger that the last agent read.
    pub fn newest_ledger_version(&self) -> u32 {
        self.0.layout().newest_ledger.load(Ordering::Relaxed)
    }
}

/// A control page as administrators and the agent see it.
#[derive(Debug)]
pub struct ControlPageWriter(Mapping);

impl ControlPageWriter {
    /// Opens the page at `path`. `None` if there is no file.
    ///
    /// The file is kept, because hosts map it. A file that is too short, lacks the magic or has
    /// another version becomes a page without a stop word and a heartbeat. It is an error if the
    /// file is not plain or, on Unix, belongs to a user other than root and the user of this
    /// process.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match platform::open_plain(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => Self::of(&file?).map(Some),
        }
    }

    /// Makes the page at `path`. If there is a file, it is opened as [`open`](Self::open) does.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        platform::others_read(&mut options);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::of(&platform::open_plain(path)?)
            }
            file => Self::of(&file?),
        }
    }

    fn of(file: &File) -> io::Result<Self> {
        if !platform::owner_is_trusted(file)? {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file belongs to another user",
            ));
        }
        if !is_whole(file)? {
            // The disk space is taken now. Without it a store into the page would end the process.
            platform::allocate(file, SIZE as u64)?;
        }
        let page = Self(Mapping(MmapOptions::new().len(SIZE).map_raw(file)?));
        if !page.0.layout().is_valid() {
            page.reset();
        }
        Ok(page)
    }

    /// Makes it a page without a stop word and a heartbeat.
    fn reset(&self) {
        let layout = self.0.layout();
        store_halves(&layout.magic, 0);
        fence(Ordering::Release);
        layout.stop.store(0, Ordering::Relaxed);
        layout.newest_ledger.store(0, Ordering::Relaxed);
        layout.padding.store(0, Ordering::Relaxed);
        store_halves(&layout.boot, 0);
        layout.set_heartbeat(0);
        layout.version.store(VERSION, Ordering::Relaxed);
        fence(Ordering::Release);
        store_halves(&layout.magic, u64::from_le_bytes(MAGIC));
    }

    /// Tells every host that maps the page to record nothing from now on, or to record again.
    pub fn set_stop(&self, stop: bool) {
        self.0.layout().stop.store(if stop { STOP } else { 0 }, Ordering::Relaxed);
    }

    /// Writes a heartbeat: the agent is looking into the ledger folder now. `newest_ledger_version`
    /// is the newest version of a ledger that it reads.
    pub fn beat(&self, newest_ledger_version: u32) {
        let layout = self.0.layout();
        layout.newest_ledger.store(newest_ledger_version, Ordering::Relaxed);
        let boot = platform::boot_id();
        if load_halves(&layout.boot) != boot {
            // The heartbeat of an earlier boot must not count in this boot.
            layout.set_heartbeat(0);
            fence(Ordering::Release);
            store_halves(&layout.boot, boot);
        }
        layout.set_heartbeat(platform::awake_nanos());
    }
}

fn is_whole(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.len() >= SIZE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    struct Place {
        _folder: TempDir,
        path: PathBuf,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        Place { path: folder.path().join("control"), _folder: folder }
    }

    impl Place {
        fn page(&self) -> Option<ControlPage> {
            ControlPage::open(&self.path).unwrap()
        }

        fn writer(&self) -> ControlPageWriter {
            ControlPageWriter::create(&self.path).unwrap()
        }

        /// A page on which an agent wrote a heartbeat just now.
        fn beaten(&self) -> (ControlPageWriter, ControlPage) {
            let writer = self.writer();
            writer.beat(7);
            let page = self.page().unwrap();
            assert!(page.agent_lives());
            (writer, page)
        }
    }

    fn heartbeat_of(page: &ControlPage) -> u64 {
        page.0.layout().heartbeat().unwrap()
    }

    #[test]
    fn a_new_page_has_no_stop_word_and_no_heartbeat() {
        let place = place();
        assert!(place.page().is_none());
        assert!(ControlPageWriter::open(&place.path).unwrap().is_none());
        place.writer();
        let page = place.page().unwrap();
        assert!(!page.stop_is_set() && !page.agent_lives());
        assert_eq!(page.heartbeat_age(), None);
        assert!(page.reads_ledger_version(u32::MAX));
        let bytes = fs::read(&place.path).unwrap();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(bytes[..12], *b"MPRCTRL\0\x01\0\0\0");
        assert!(bytes[12..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn every_field_is_at_its_place_in_little_endian() {
        let place = place();
        let (writer, page) = place.beaten();
        writer.set_stop(true);
        let bytes = fs::read(&place.path).unwrap();
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(bytes[12..24], *b"\x01\0\0\0\x07\0\0\0\0\0\0\0");
        assert_eq!((long(24), long(32)), (platform::boot_id(), heartbeat_of(&page)));
        assert!(bytes[40..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_file_without_the_magic_or_of_another_version_is_not_a_page_until_it_is_repaired_in_place()
    {
        for (at, byte) in [(0, b'm'), (8, 2)] {
            let place = place();
            place.writer().set_stop(true);
            let mut bytes = fs::read(&place.path).unwrap();
            bytes[at] = byte;
            // The same file is used, because hosts map it.
            fs::write(&place.path, bytes).unwrap();
            assert!(place.page().is_none());
            let repaired = ControlPageWriter::open(&place.path).unwrap().unwrap();
            assert!(!place.page().unwrap().stop_is_set());
            repaired.beat(1);
            assert!(place.page().unwrap().agent_lives());
        }
    }

    #[test]
    fn a_file_that_is_too_short_is_not_a_page_until_a_writer_makes_it_longer() {
        let place = place();
        let whole = {
            place.writer();
            fs::read(&place.path).unwrap()
        };
        fs::write(&place.path, &whole[..4095]).unwrap();
        assert!(place.page().is_none());
        place.writer();
        assert!(place.page().is_some());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_a_fifo_a_folder_and_a_second_name_are_refused_to_readers_and_writers() {
        use std::os::unix::fs::symlink;
        let target = place();
        target.writer();
        let linked = place();
        symlink(&target.path, &linked.path).unwrap();
        let folder = place();
        fs::create_dir(&folder.path).unwrap();
        let fifo = place();
        let made = std::process::Command::new("mkfifo").arg(&fifo.path).status().unwrap();
        assert!(made.success());
        for place in [linked, folder, fifo] {
            assert!(place.page().is_none());
            assert!(ControlPageWriter::create(&place.path).is_err());
            assert!(ControlPageWriter::open(&place.path).is_err());
        }
        assert!(target.page().is_some());
        fs::hard_link(&target.path, target.path.with_extension("other")).unwrap();
        assert!(target.page().is_none());
        assert!(ControlPageWriter::create(&target.path).is_err());
    }

    #[test]
    #[cfg(unix)]
    // Only root can give a file to another user.
    fn a_file_of_another_user_is_not_a_page() {
        let place = place();
        place.writer();
        if std::os::unix::fs::chown(&place.path, Some(65_534), None).is_ok() {
            assert!(place.page().is_none());
            assert!(ControlPageWriter::create(&place.path).is_err());
        }
    }

    #[test]
    fn an_agent_lives_for_ten_minutes_after_its_heartbeat() {
        let place = place();
        let (_, page) = place.beaten();
        let heartbeat = heartbeat_of(&page);
        let age = |later: u64| page.heartbeat_age_by(|| heartbeat + later);
        assert_eq!(age(0), Some(Duration::ZERO));
        assert_eq!(age(600_000_000_000), Some(HEARTBEAT_LASTS));
        assert!(page.agent_lives_by(|| heartbeat + 599_999_999_999));
        assert!(!page.agent_lives_by(|| heartbeat + 600_000_000_000));
    }

    #[test]
    fn a_heartbeat_in_the_future_does_not_count() {
        let place = place();
        let (_, page) = place.beaten();
        let heartbeat = heartbeat_of(&page);
        assert!(!page.agent_lives_by(|| heartbeat - 1));
        assert_eq!(page.heartbeat_age_by(|| heartbeat - 1), None);
    }

    #[test]
    fn a_heartbeat_of_another_boot_does_not_count() {
        let place = place();
        let (writer, page) = place.beaten();
        store_halves(&writer.0.layout().boot, platform::boot_id() ^ 1);
        assert!(!page.agent_lives());
        assert!(page.reads_ledger_version(8));
        writer.beat(7);
        assert!(page.agent_lives());
    }

    #[test]
    fn a_heartbeat_that_is_half_written_does_not_count() {
        let place = place();
        let (writer, page) = place.beaten();
        writer.0.layout().heartbeat[1].store(BEING_WRITTEN, Ordering::Relaxed);
        assert_eq!(page.0.layout().written_heartbeat(), None, "it is read again");
        assert!(!page.agent_lives());
        writer.beat(7);
        assert!(page.agent_lives());
    }

    #[test]
    fn only_an_agent_that_lives_refuses_a_version() {
        let place = place();
        let (writer, page) = place.beaten();
        assert!(page.reads_ledger_version(6) && page.reads_ledger_version(7));
        assert!(!page.reads_ledger_version(8));
        writer.0.layout().set_heartbeat(0);
        assert!(page.reads_ledger_version(8));
    }

    #[test]
    fn a_mapping_that_exists_already_shows_a_stop_and_its_end() {
        let place = place();
        let writer = place.writer();
        let page = place.page().unwrap();
        writer.set_stop(true);
        assert!(page.stop_is_set());
        writer.set_stop(false);
        assert!(!page.stop_is_set());
    }

    #[test]
    fn creating_a_page_that_exists_keeps_its_fields_and_every_mapping_of_it() {
        let place = place();
        let (first, page) = place.beaten();
        first.set_stop(true);
        let second = place.writer();
        assert!(page.stop_is_set() && page.agent_lives());
        second.set_stop(false);
        assert!(!page.stop_is_set());
        second.beat(9);
        assert_eq!(page.newest_ledger_version(), 9);
    }
}
