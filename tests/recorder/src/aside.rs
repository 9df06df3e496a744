//! Work on a thread of its own: it has the process' token, and it runs only while nobody holds
//! the loader's lock.
//!
//! A thread that starts or ends has to take the loader's lock first, says Microsoft's page on the
//! loaderLock assistant of .NET. So a thread that ran shows that nobody held the lock, and one that
//! did not, that somebody does or that the machine is very slow. `LdrLockLoaderLock`, which would
//! tell at once, is not in Microsoft's documentation; `AuxUlibIsDLLSynchronizationHeld` is, but only
//! as a static library for Microsoft's linker.

#![allow(unsafe_code)] // This file meets Win32.

use serde::Serialize;
use std::os::windows::io::AsRawHandle;
use std::ptr::null_mut;
use std::thread;
use std::time::Instant;
use windows_sys::Win32::Foundation::{FreeLibrary, HMODULE, WAIT_OBJECT_0};
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GetModuleHandleExW,
};
use windows_sys::Win32::System::Threading::WaitForSingleObject;

/// How long a thread is waited for, in milliseconds.
const LIMIT_MS: u32 = 500;

/// What became of a thread.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Whether it ran to its end within the limit.
    ended: bool,
    waited_us: u64,
}

/// Runs `work` on another thread, and waits for that for half a second at most.
pub fn run(work: impl FnOnce() + Send + 'static) -> Run {
    let module = referenced();
    let begun = Instant::now();
    let ended = thread::Builder::new().spawn(work).is_ok_and(|thread| {
        // SAFETY: the handle is open while `thread` lives.
        unsafe { WaitForSingleObject(thread.as_raw_handle(), LIMIT_MS) == WAIT_OBJECT_0 }
    });
    let waited_us = begun.elapsed().as_micros() as u64;
    if ended && !module.is_null() {
        // SAFETY: it was taken above, and the thread that it was for is gone. MPR holds another, for
        // it is calling us. A thread that goes on keeps this one, and so its code.
        unsafe { FreeLibrary(module) };
    }
    Run { ended, waited_us }
}

/// One more reference to this module.
fn referenced() -> HMODULE {
    let mut module = null_mut();
    let inside = (referenced as fn() -> HMODULE) as *const u16;
    // SAFETY: with FROM_ADDRESS the name is an address inside this module; `module` is writable.
    unsafe { GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, inside, &mut module) };
    module
}
