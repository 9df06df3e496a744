//! Windows 10 and later.

#![allow(unsafe_code)] // This file meets Win32.

mod certificate_store;
mod directory;
mod effective_token;
mod file_view;
mod folder;
mod identity;
#[cfg(target_env = "gnu")]
mod load_config;
mod plain_file;
mod security;
mod system_library;
mod token;
pub mod winhttp;

pub use certificate_store::Certificate;
pub use directory::{Directory, List};
pub use effective_token::effective_token;
pub use file_view::FileView;
pub use folder::{default_ledger_dir, program_data, state_dir, windows_folder};
pub use identity::{computer_name, host_name, installation_id, machine_arch, os_version, site};
pub use plain_file::{open_plain, open_plain_to_read, owner_is_trusted, owner_of};
pub use token::{is_elevated, is_impersonating, user_sid, user_sid_of};

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::{Component, Path, Prefix};
use std::sync::atomic::{AtomicU64, Ordering};
use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_SPARSE_FILE, QueryDosDeviceW,
};
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

/// `os.type` of the semantic conventions.
pub const OS_TYPE: &str = "windows";

/// The monotonic clock in nanoseconds, without the time that the machine slept.
pub fn awake_nanos() -> u64 {
    counter_nanos().saturating_sub(asleep_nanos())
}

/// How long the machine has slept since its boot. Read from `InterruptTimeBias` of
/// KUSER_SHARED_DATA (ntddk.h), a page that every process has at this address.
pub fn asleep_nanos() -> u64 {
    const SHARED_PAGE: usize = 0x7FFE_0000;
    const INTERRUPT_TIME_BIAS: usize = 0x3B0;
    let bias = std::ptr::with_exposed_provenance::<u64>(SHARED_PAGE + INTERRUPT_TIME_BIAS);
    loop {
        // SAFETY: the kernel maps the page into every process for its whole life, readable, and
        // the field is aligned.
        let first = unsafe { bias.read_volatile() };
        // SAFETY: as above.
        let second = unsafe { bias.read_volatile() };
        // On 32 bits one load is two reads. The field changes only when the machine wakes up.
        if cfg!(target_pointer_width = "64") || first == second {
            // The field is in units of 100 ns.
            return second.wrapping_mul(100);
        }
    }
}

/// The performance counter in nanoseconds. It counts sleep.
fn counter_nanos() -> u64 {
    static FREQUENCY: AtomicU64 = AtomicU64::new(0);
    let mut frequency = FREQUENCY.load(Ordering::Relaxed);
    if frequency == 0 {
        let mut asked = 0;
        // SAFETY: `asked` is writable for the call, which cannot fail since Windows XP.
        unsafe { QueryPerformanceFrequency(&mut asked) };
        frequency = asked.unsigned_abs().max(1);
        FREQUENCY.store(frequency, Ordering::Relaxed);
    }
    let mut ticks = 0;
    // SAFETY: `ticks` is writable for the call, which cannot fail since Windows XP.
    unsafe { QueryPerformanceCounter(&mut ticks) };
    let ticks = ticks.unsigned_abs();
    match frequency {
        // Since Windows 10 the counter runs at 10 MHz on nearly every machine.
        10_000_000 => ticks.wrapping_mul(100),
        _ => (ticks / frequency)
            .wrapping_mul(1_000_000_000)
            .wrapping_add((ticks % frequency).wrapping_mul(1_000_000_000) / frequency),
    }
}

/// The boot of the machine, counted by Windows; 0 if it is not known.
pub fn boot_id() -> u64 {
    // KUSER_SHARED_DATA (ntddk.h) is at this address in every process. Its BootId, a ULONG, is at
    // this offset.
    const BOOT_ID: *const u32 = (0x7FFE_0000_usize + 0x2C4) as *const u32;
    // SAFETY: Windows maps that page, read-only, into every process for its whole life. The place
    // is a multiple of four. The kernel writes it while Windows starts.
    u64::from(unsafe { BOOT_ID.read_volatile() })
}

/// Keeps this module loaded for the life of the process, even if the host calls FreeLibrary.
/// Otherwise a thread of the library could wake up in code that was unloaded.
pub fn pin_module() {
    let mut module: HMODULE = std::ptr::null_mut();
    let inside: *const c_void = (pin_module as fn()) as *const c_void;
    // SAFETY: with FROM_ADDRESS the name is an address inside this module, and `module` is
    // writable. On failure the module stays as it was: loaded, and freed when MPR frees it.
    unsafe {
        GetModuleHandleExW(
            GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
            inside.cast(),
            &mut module,
        )
    };
}

/// The calling thread's id. It takes one read of the thread's own block.
pub fn thread_id() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { GetCurrentThreadId() }
}

/// The session this process runs in.
pub fn session_id() -> Option<u32> {
    let mut session = 0;
    // SAFETY: `session` is writable for the call.
    let found = unsafe { ProcessIdToSessionId(std::process::id(), &mut session) };
    (found != 0).then_some(session)
}

/// Whether `path` is on a disk of this machine, judged by its spelling and by the device that its
/// drive letter stands for. No file is opened, because opening one on a dead server takes twenty
/// seconds, and a UNC path calls MPR again.
pub fn is_local(path: &Path) -> bool {
    let Some(Component::Prefix(prefix)) = path.components().next() else {
        return false;
    };
    let (Prefix::Disk(letter) | Prefix::VerbatimDisk(letter)) = prefix.kind() else {
        return false;
    };
    let device = [u16::from(letter), u16::from(b':'), 0];
    let mut target = [0_u16; 512];
    // SAFETY: `device` ends in NUL; writes at most 512 units, which `target` has.
    let units =
        unsafe { QueryDosDeviceW(device.as_ptr(), target.as_mut_ptr(), target.len() as u32) }
            as usize;
    let end = target[..units.min(target.len())].iter().position(|unit| *unit == 0).unwrap_or(0);
    let target = String::from_utf16_lossy(&target[..end]).to_ascii_lowercase();
    target.starts_with(r"\device\harddisk")
}

/// A new file inherits its folder's rights, which the installer set.
pub fn owner_only(_options: &mut OpenOptions) {}

/// A new file inherits its folder's rights, until the installer gives it its own.
pub fn others_read(_options: &mut OpenOptions) {}

/// Gives `file` its `size` in bytes. NTFS takes the disk space now.
///
/// # Errors
///
/// Windows refuses, or would take the space later: a full disk would then end the program that writes
/// into the mapped file.
pub fn allocate(file: &File, size: u64) -> io::Result<()> {
    file.set_len(size)?;
    match takes_space_later(file.metadata()?.file_attributes()) {
        true => Err(io::Error::other("the ledger folder makes compressed or sparse files")),
        false => Ok(()),
    }
}

/// Whether NTFS takes space for such a file only when something is written into it.
fn takes_space_later(attributes: u32) -> bool {
    attributes & (FILE_ATTRIBUTE_COMPRESSED | FILE_ATTRIBUTE_SPARSE_FILE) != 0
}

/// The text at a pointer.
///
/// # Safety
///
/// `text` points to UTF-16 that ends in NUL.
unsafe fn wide_text(text: *const u16) -> String {
    let mut units = Vec::new();
    loop {
        // SAFETY: no unit before the NUL was found, so this one is still part of the text.
        match unsafe { *text.wrapping_add(units.len()) } {
            0 => return String::from_utf16_lossy(&units),
            unit => units.push(unit),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_NORMAL};

    #[test]
    fn a_ledgers_file_takes_its_space_at_once() {
        let file = tempfile::tempfile().unwrap();
        allocate(&file, 4096).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4096);
        for (attributes, later) in [
            (FILE_ATTRIBUTE_NORMAL | FILE_ATTRIBUTE_ARCHIVE, false),
            (FILE_ATTRIBUTE_ARCHIVE | FILE_ATTRIBUTE_COMPRESSED, true),
            (FILE_ATTRIBUTE_SPARSE_FILE, true),
        ] {
            assert_eq!(takes_space_later(attributes), later, "{attributes:x}");
        }
    }
}
