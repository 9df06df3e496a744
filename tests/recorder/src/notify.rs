//! The functions that Windows calls: MPR's two, and the loader's.

#![allow(unsafe_code)] // This file meets C.

use crate::call::{Add, Cancel, Event, Info, Line};
use crate::{aside, file, memory, token};
use mpr_otel_core::abi::{NOTIFY_PRE, NotifyAdd, NotifyCancel, NotifyInfo, WN_SUCCESS};
use std::ffi::c_void;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use windows_sys::Win32::System::SystemServices::{DLL_PROCESS_ATTACH, DLL_PROCESS_DETACH};

/// Called by MPR before and after it adds a connection (npapi.h).
///
/// # Safety
///
/// In PRE, `lpContext` of a readable `info` is writable, and no other thread's during the call.
/// Nothing else is relied on: what the pointers lead to is read as memory that may not be there.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn AddConnectNotify(
    info: *mut NotifyInfo,
    add: *const NotifyAdd,
) -> u32 {
    guarded(|| {
        let mut line = Line::new(Event::AddConnectNotify);
        line.add = Some(memory::copy(add).map(|add| Add::new(&add)));
        // SAFETY: the caller's promise.
        unsafe { record(info, line) }
    })
}

/// Called by MPR before and after it cancels a connection (npapi.h).
///
/// # Safety
///
/// As for [`AddConnectNotify`].
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CancelConnectNotify(
    info: *mut NotifyInfo,
    cancel: *const NotifyCancel,
) -> u32 {
    guarded(|| {
        let mut line = Line::new(Event::CancelConnectNotify);
        line.cancel = Some(memory::copy(cancel).map(|cancel| Cancel::new(&cancel)));
        // SAFETY: the caller's promise.
        unsafe { record(info, line) }
    })
}

/// Called by the loader: when the DLL comes into a process and when it goes is a question too.
/// It holds the loader's lock, so nothing here waits for a thread.
#[unsafe(no_mangle)]
pub extern "system" fn DllMain(_: *mut c_void, reason: u32, process_ends: *mut c_void) -> i32 {
    guarded(|| match reason {
        DLL_PROCESS_ATTACH => write(&Line::new(Event::Loaded)),
        // At the end of a process its other threads were killed wherever they stood: nothing is safe.
        DLL_PROCESS_DETACH if process_ends.is_null() => write(&Line::new(Event::Unloaded)),
        _ => {}
    });
    1
}

/// Writes a notification down. In PRE it leaves a number in `lpContext`: without one there is no
/// POST.
///
/// # Safety
///
/// As for [`AddConnectNotify`].
unsafe fn record(info: *mut NotifyInfo, mut line: Line) {
    static OPERATION: AtomicUsize = AtomicUsize::new(1);
    line.info = Some(memory::copy(info).map(|copy| {
        let mut context = copy.context;
        if copy.notify_status == NOTIFY_PRE {
            context = OPERATION.fetch_add(1, Ordering::Relaxed) as *mut c_void;
            let place = info.wrapping_byte_add(offset_of!(NotifyInfo, context)).cast();
            // SAFETY: `info` was readable, so it is there, and its context is ours to write.
            unsafe { std::ptr::write_unaligned(place, context) };
        }
        Info::new(&copy, context)
    }));
    line.new_thread = Some(aside::run(|| ()));
    write(&line);
}

/// Appends a line; if the thread's own token may not, with the process' token.
fn write(line: &Line) {
    let Err(refused) = file::append(line) else { return };
    // Without a token of its own the thread has the process' already. Under the loader's lock
    // another thread would not run.
    let loading = matches!(line.event, Event::Loaded | Event::Unloaded);
    if !loading && token::of_thread().is_some() {
        let line = line.refused(&refused);
        aside::run(move || {
            // There is nowhere else to write that nothing can be written.
            let _ = file::append(&line);
        });
    }
}

/// Runs `work`. Whatever happens inside, MPR hears success.
fn guarded(work: impl FnOnce()) -> u32 {
    // A panic must not cross into C. What `work` touches is written to a file or dropped.
    let _ = catch_unwind(AssertUnwindSafe(work));
    WN_SUCCESS
}
