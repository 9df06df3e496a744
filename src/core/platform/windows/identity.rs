//! Which machine this is, and which Windows runs on it.
//!
//! Every process of a machine gets the same answers, also a 32-bit or an emulated one.

use std::ffi::c_void;
use windows_registry::{Key, LOCAL_MACHINE};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::SystemInformation::{
    COMPUTER_NAME_FORMAT, ComputerNameDnsFullyQualified, ComputerNamePhysicalDnsHostname,
    GetComputerNameExW, GetNativeSystemInfo, IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64,
    IMAGE_FILE_MACHINE_ARMNT, IMAGE_FILE_MACHINE_I386, IMAGE_FILE_MACHINE_UNKNOWN,
    PROCESSOR_ARCHITECTURE_AMD64, PROCESSOR_ARCHITECTURE_INTEL, SYSTEM_INFO,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;
use windows_sys::core::{BOOL, s, w};

/// `host.name`: the fully qualified DNS name, or the computer's name.
pub fn host_name() -> Option<String> {
    name(ComputerNameDnsFullyQualified)
}

/// The computer's own name: its DNS host name without a domain. Joining a domain or a cluster's
/// virtual names do not change it.
pub fn computer_name() -> Option<String> {
    name(ComputerNamePhysicalDnsHostname)
}

fn name(format: COMPUTER_NAME_FORMAT) -> Option<String> {
    let mut name = [0_u16; 512];
    let mut units = name.len() as u32;
    // SAFETY: writes at most `units` units, which `name` has.
    let done = unsafe { GetComputerNameExW(format, name.as_mut_ptr(), &mut units) };
    let text = String::from_utf16_lossy(&name[..(units as usize).min(name.len())]);
    (done != 0 && !text.is_empty()).then_some(text)
}

/// The id of this installation: the MachineGuid that Windows made.
pub fn installation_id() -> Option<String> {
    let key = open(r"SOFTWARE\Microsoft\Cryptography")?;
    key.get_string("MachineGuid").ok().filter(|id| !id.is_empty())
}

/// `os.version` and `os.build_id`, from the registry. The version functions are not used, because
/// their answer depends on the program's compatibility settings.
pub fn os_version() -> (Option<String>, Option<String>) {
    let Some(key) = open(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion") else {
        return (None, None);
    };
    let number = |name| key.get_u32(name).ok();
    let build = key.get_string("CurrentBuildNumber").ok().filter(|build| !build.is_empty());
    let release = number("CurrentMajorVersionNumber").zip(number("CurrentMinorVersionNumber"));
    (version(release, build.as_deref()), build_id(build.as_deref(), number("UBR")))
}

/// The version, such as `10.0.26100`.
fn version(release: Option<(u32, u32)>, build: Option<&str>) -> Option<String> {
    let ((major, minor), build) = release.zip(build)?;
    Some(format!("{major}.{minor}.{build}"))
}

/// The build and its revision, such as `26100.2314`. The revision is 0 before the first update.
fn build_id(build: Option<&str>, revision: Option<u32>) -> Option<String> {
    Some(format!("{}.{}", build?, revision.unwrap_or(0)))
}

/// The Active Directory site that Netlogon found last, as the registry has it.
pub fn site() -> Option<String> {
    let key = open(r"SYSTEM\CurrentControlSet\Services\Netlogon\Parameters")?;
    key.get_string("DynamicSiteName").ok()
}

/// Opens a key of the machine, in the view of 64-bit programs.
fn open(path: &str) -> Option<Key> {
    LOCAL_MACHINE.options().read().wow64_64().open(path).ok()
}

/// `host.arch`: the machine's own architecture.
pub fn machine_arch() -> Option<String> {
    let name = match native_machine() {
        IMAGE_FILE_MACHINE_AMD64 => "amd64",
        IMAGE_FILE_MACHINE_ARM64 => "arm64",
        IMAGE_FILE_MACHINE_ARMNT => "arm32",
        IMAGE_FILE_MACHINE_I386 => "x86",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The machine's own `IMAGE_FILE_MACHINE_` value.
fn native_machine() -> u16 {
    /// Declared in wow64apiset.h. It exists since Windows 10 version 1709, and Server 2016 is
    /// older, so it is looked up at run time.
    type IsWow64Process2 = unsafe extern "system" fn(HANDLE, *mut u16, *mut u16) -> BOOL;
    // SAFETY: the name ends in NUL. Every process has kernel32, for its whole life.
    let kernel = unsafe { GetModuleHandleW(w!("kernel32.dll")) };
    // SAFETY: the name ends in NUL; a module that is NULL finds no such function.
    let found = unsafe { GetProcAddress(kernel, s!("IsWow64Process2")) };
    if let Some(found) = found {
        let address = found as *const c_void;
        // SAFETY: the function of this name in kernel32 has this signature (wow64apiset.h).
        let ask = unsafe { std::mem::transmute::<*const c_void, IsWow64Process2>(address) };
        let (mut process, mut native) = (IMAGE_FILE_MACHINE_UNKNOWN, IMAGE_FILE_MACHINE_UNKNOWN);
        // SAFETY: takes nothing and cannot fail.
        let this = unsafe { GetCurrentProcess() };
        // SAFETY: `this` needs no closing; both results are writable.
        if unsafe { ask(this, &mut process, &mut native) } != 0 {
            return native;
        }
    }
    // An older Windows emulates no other machine.
    let mut system = SYSTEM_INFO::default();
    // SAFETY: `system` is writable for the call, which cannot fail.
    unsafe { GetNativeSystemInfo(&mut system) };
    // SAFETY: the function wrote the structure, whose two readings overlap in plain integers.
    match unsafe { system.Anonymous.Anonymous.wProcessorArchitecture } {
        PROCESSOR_ARCHITECTURE_AMD64 => IMAGE_FILE_MACHINE_AMD64,
        PROCESSOR_ARCHITECTURE_INTEL => IMAGE_FILE_MACHINE_I386,
        _ => IMAGE_FILE_MACHINE_UNKNOWN,
    }
}
