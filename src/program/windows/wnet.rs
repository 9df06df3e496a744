//! The functions of mpr.dll that map and cancel (winnetwk.h). Each is looked up when it is called,
//! because not every Windows has all of them.

use super::wide;
use std::ffi::CString;
use std::ptr::{null, null_mut};
use windows_sys::Win32::Foundation::HWND;
use windows_sys::Win32::NetworkManagement::WNet::{
    NETRESOURCEW, RESOURCETYPE_ANY, RESOURCETYPE_DISK,
};
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::BOOL;

/// The type that GetProcAddress returns.
type Function = unsafe extern "system" fn() -> isize;
type AddConnection2 =
    unsafe extern "system" fn(*const NETRESOURCEW, *const u16, *const u16, u32) -> u32;
type AddConnection3 =
    unsafe extern "system" fn(HWND, *const NETRESOURCEW, *const u16, *const u16, u32) -> u32;
/// The credentials and options are buffers; NULL means none.
type AddConnection4 = unsafe extern "system" fn(
    HWND,
    *const NETRESOURCEW,
    *const u8,
    u32,
    u32,
    *const u8,
    u32,
) -> u32;
type UseConnection = unsafe extern "system" fn(
    HWND,
    *const NETRESOURCEW,
    *const u16,
    *const u16,
    u32,
    *mut u16,
    *mut u32,
    *mut u32,
) -> u32;
type CancelConnection = unsafe extern "system" fn(*const u16, BOOL) -> u32;
type CancelConnection2 = unsafe extern "system" fn(*const u16, u32, BOOL) -> u32;

/// A function of mpr.dll.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wnet {
    AddConnection2(AddConnection2),
    AddConnection3(AddConnection3),
    AddConnection4(AddConnection4),
    UseConnection(UseConnection),
    CancelConnection(CancelConnection),
    CancelConnection2(CancelConnection2),
}

impl Wnet {
    /// The function of that name. `None` if mpr.dll does not have it, or it is not one of these
    /// functions.
    pub(crate) fn find(name: &str) -> Option<Self> {
        macro_rules! typed {
            ($type:ty) => {{
                let function = look_up(name)?;
                // SAFETY: winnetwk.h gives the function of this name this signature.
                unsafe { std::mem::transmute::<Function, $type>(function) }
            }};
        }
        Some(match name {
            "WNetAddConnection2W" => Self::AddConnection2(typed!(AddConnection2)),
            "WNetAddConnection3W" => Self::AddConnection3(typed!(AddConnection3)),
            "WNetAddConnection4W" => Self::AddConnection4(typed!(AddConnection4)),
            "WNetUseConnectionW" => Self::UseConnection(typed!(UseConnection)),
            "WNetCancelConnectionW" => Self::CancelConnection(typed!(CancelConnection)),
            "WNetCancelConnection2W" => Self::CancelConnection2(typed!(CancelConnection2)),
            _ => return None,
        })
    }

    /// Maps `\\server\share` without a local device, or cancels that mapping. The mapping is not
    /// remembered for the next logon, and nobody is asked for a password. Returns the Win32 code.
    pub(crate) fn call(self, remote_name: &str) -> u32 {
        macro_rules! call {
            ($function:ident($($argument:expr),*)) => {
                // SAFETY: the structure and the names, which end in NUL, live during the call; NULL
                // stands for no window, the caller's own credentials and no options; as many units
                // of `access` are written as `units` says.
                unsafe { $function($($argument),*) }
            };
        }
        let mut name = wide(remote_name.as_ref());
        // `IPC$` is neither a disk nor a printer.
        let ipc = remote_name.to_ascii_lowercase().ends_with("\\ipc$");
        let resource = NETRESOURCEW {
            dwType: if ipc { RESOURCETYPE_ANY } else { RESOURCETYPE_DISK },
            lpRemoteName: name.as_mut_ptr(),
            ..NETRESOURCEW::default()
        };
        let (window, none) = (null_mut(), null());
        let mut access = [0_u16; 1024];
        let (mut units, mut result) = (access.len() as u32, 0_u32);
        let (path, units) = (access.as_mut_ptr(), &mut units);
        match self {
            Self::AddConnection2(add) => call!(add(&resource, none, none, 0)),
            Self::AddConnection3(add) => call!(add(window, &resource, none, none, 0)),
            Self::AddConnection4(add) => call!(add(window, &resource, null(), 0, 0, null(), 0)),
            Self::UseConnection(take) => {
                call!(take(window, &resource, none, none, 0, path, units, &mut result))
            }
            Self::CancelConnection(cancel) => call!(cancel(name.as_ptr(), 1)),
            Self::CancelConnection2(cancel) => call!(cancel(name.as_ptr(), 0, 1)),
        }
    }
}

fn look_up(name: &str) -> Option<Function> {
    let library = wide("mpr.dll".as_ref());
    // SAFETY: `library` ends in NUL; the flag restricts the search to System32.
    let library =
        unsafe { LoadLibraryExW(library.as_ptr(), null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
    if library.is_null() {
        return None;
    }
    let name = CString::new(name).ok()?;
    // SAFETY: the library is loaded and never freed; `name` ends in NUL.
    unsafe { GetProcAddress(library, name.as_ptr().cast()) }
}
