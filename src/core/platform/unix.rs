//! Linux and similar systems, on which mpr-otel is developed and tested.

#![allow(unsafe_code)] // This file meets C.

mod directory;

pub use directory::{Directory, List};

use super::{FileOwner, Token};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `os.type` of the semantic conventions.
pub const OS_TYPE: &str = if cfg!(target_os = "linux") { "linux" } else { "unix" };

/// The monotonic clock in nanoseconds. On Linux it does not count sleep. `Instant` reads the same
/// clock, but its checked arithmetic doubles the time that the call takes.
pub fn awake_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable for the call, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// The boot of the machine; 0 if it is not known. The kernel makes a UUID for each boot
/// (random(4)), and this is the UUID's first half.
pub fn boot_id() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

/// How long the machine has slept since its boot. Always 0 here: the monotonic clock does not count
/// sleep, and sleep matters on laptops with Windows.
pub fn asleep_nanos() -> u64 {
    0
}

/// This system has no such tokens.
pub fn effective_token() -> Token {
    Token::default()
}

/// Keeps the library loaded for the life of the process. Here the linker flag `-z nodelete`
/// (build.rs) does it.
pub fn pin_module() {}

/// The calling thread's id, as the kernel counts them.
pub fn thread_id() -> u32 {
    thread_local! {
        // The system call takes longer than the rest of a notification, so each thread makes it
        // only once.
        static ID: Cell<u32> = const { Cell::new(0) };
    }
    ID.with(|id| {
        if id.get() == 0 {
            #[cfg(target_os = "linux")]
            // SAFETY: takes nothing and cannot fail.
            id.set(unsafe { libc::gettid() } as u32);
            #[cfg(not(target_os = "linux"))]
            id.set(1);
        }
        id.get()
    })
}

/// This system has no sessions.
pub fn session_id() -> Option<u32> {
    None
}

/// `host.name`.
pub fn host_name() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: writes at most `len` bytes to `name`, which has that many.
    let status = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|byte| *byte == 0)?;
    (status == 0 && end > 0).then(|| String::from_utf8_lossy(&name[..end]).into_owned())
}

/// The computer's own name.
pub fn computer_name() -> Option<String> {
    host_name()
}

/// The id of this installation, which systemd and D-Bus keep.
pub fn installation_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
}

/// `host.arch`: the kernel's architecture, in the semantic conventions' word if they have one.
pub fn machine_arch() -> Option<String> {
    uname().map(|(_, machine)| arch(&machine).to_owned())
}

/// What uname(2) calls `machine`, in the semantic conventions' word if they have one.
fn arch(machine: &str) -> &str {
    match machine {
        "x86_64" | "amd64" => "amd64",
        "aarch64" | "arm64" => "arm64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "ppc" => "ppc32",
        "ppc64" | "ppc64le" => "ppc64",
        arm if arm.starts_with("arm") => "arm32",
        // For ia64 and s390x, for example, the conventions use the same word.
        other => other,
    }
}

/// `os.version` and `os.build_id`: the distribution's VERSION_ID, and its BUILD_ID or else the
/// kernel's release.
pub fn os_version() -> (Option<String>, Option<String>) {
    // os-release(5)
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    let build = release_value(&release, "BUILD_ID").or_else(|| uname().map(|(kernel, _)| kernel));
    (release_value(&release, "VERSION_ID"), build)
}

/// A value of os-release(5). The values that are read here contain no escapes.
fn release_value(release: &str, name: &str) -> Option<String> {
    let value =
        release.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Release and machine of uname(2).
fn uname() -> Option<(String, String)> {
    // SAFETY: the structure is arrays of `c_char`, for which zeros are valid.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` is writable for the call.
    if unsafe { libc::uname(&mut names) } != 0 {
        return None;
    }
    let text = |name: &[libc::c_char]| {
        let bytes: Vec<u8> =
            name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Some((text(&names.release), text(&names.machine)))
}

/// This system has no Active Directory sites.
pub fn site() -> Option<String> {
    None
}

/// Where this user's programs keep their own data. `None` for a user without a home.
pub fn state_dir() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|folder| folder.join("mpr-otel"))
}

/// Where ledgers are if no setting names a folder: under the user's state folder.
pub fn default_ledger_dir() -> PathBuf {
    state_dir().unwrap_or_else(|| std::env::temp_dir().join("mpr-otel")).join("ledger")
}

/// Whether `path` may be touched during a call. On this system no path can call MPR again.
pub fn is_local(_path: &Path) -> bool {
    true
}

/// Lets only the owner read and write new files.
pub fn owner_only(options: &mut OpenOptions) {
    options.mode(0o600);
}

/// Lets the owner write new files, and everybody read them.
pub fn others_read(options: &mut OpenOptions) {
    options.mode(0o644);
}

/// Gives `file` its `size` in bytes, and takes all of its disk space now.
pub fn allocate(file: &File, size: u64) -> io::Result<()> {
    let size = libc::off_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Opens a file for reading and writing if it is a plain file. A link, a device or a pipe is
/// refused, and so is a file with a second name elsewhere, because a write would change that file,
/// too.
pub fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).write(true), path)
}

/// Opens a plain file for reading only, as [`open_plain`] does. An error of kind `InvalidData`
/// means that it is not a plain file.
pub fn open_plain_to_read(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true), path).map_err(|error| match error.raw_os_error() {
        // It is a link or a socket.
        Some(libc::ELOOP | libc::ENXIO) => not_plain(),
        _ => error,
    })
}

fn plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = options.custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.nlink() {
        // The file was removed at this moment.
        0 => Err(io::ErrorKind::NotFound.into()),
        1 if metadata.is_file() => Ok(file),
        _ => Err(not_plain()),
    }
}

fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file of one name")
}

/// Whether `file` belongs to a user whose orders this process may follow: root, or the user of this
/// process.
pub fn owner_is_trusted(file: &File) -> io::Result<bool> {
    owner_of(file).map(|owner| owner.is_trusted)
}

/// The user whom the file system says `file` belongs to.
pub fn owner_of(file: &File) -> io::Result<FileOwner> {
    let owner = file.metadata()?.uid();
    // SAFETY: takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    Ok(FileOwner { name: format!("uid {owner}"), is_trusted: [0, user].contains(&owner) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_have_the_names_of_the_semantic_conventions() {
        for (machine, name) in [
            ("x86_64", "amd64"),
            ("aarch64", "arm64"),
            ("i686", "x86"),
            ("armv7l", "arm32"),
            ("ppc64le", "ppc64"),
            ("s390x", "s390x"),
            ("riscv64", "riscv64"),
        ] {
            assert_eq!(arch(machine), name);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_boot_has_an_id_that_stays() {
        assert_ne!(boot_id(), 0);
        assert_eq!(boot_id(), boot_id());
    }

    #[test]
    fn a_releases_values_are_read_with_and_without_quotes() {
        let release =
            "NAME=\"A VERSION_ID=1\"\nVERSION_ID=\"12\"\nBUILD_ID='rolling'\nVARIANT_ID=\n";
        assert_eq!(release_value(release, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(release_value(release, "BUILD_ID").as_deref(), Some("rolling"));
        assert_eq!(release_value("VERSION_ID=3.20.1\n", "VERSION_ID").as_deref(), Some("3.20.1"));
        assert_eq!(release_value(release, "VARIANT_ID"), None);
        assert_eq!(release_value(release, "ID"), None);
    }
}
