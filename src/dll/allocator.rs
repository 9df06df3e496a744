//! The library's allocator: the system's, but for what happens when there is no memory.
//!
//! Rust ends the process then, and says so on its stderr. The host is somebody else's: it goes on,
//! and the thread of the library that asked is parked for good. A caller's thread never allocates
//! after its module was loaded, so none comes here.

#![allow(unsafe_code)] // An allocator is.

use crate::start;
use mpr_otel_core::platform;
use std::alloc::{GlobalAlloc, Layout, System};

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The memory, or no way back for a thread of the library.
fn checked(memory: *mut u8) -> *mut u8 {
    if memory.is_null() && start::is_own_thread() {
        start::give_up();
        platform::park_for_ever();
    }
    memory
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        checked(unsafe { System.realloc(old, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}
