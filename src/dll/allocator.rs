//! The library's allocator: the system's, except for what happens when there is no memory.
//!
//! Rust would write to stderr and end the process. The host must go on, so the library's thread
//! that asked for memory waits for ever instead. A caller's thread never allocates after its module
//! was loaded, so this never stops a caller.

#![allow(unsafe_code)] // An allocator is unsafe code.

use crate::start;
use mpr_otel_core::platform;
use std::alloc::{GlobalAlloc, Layout, System};

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Returns the memory. If there is none, the library's thread never returns.
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
