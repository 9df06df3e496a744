//! Memory of this process that may not be there: read with ReadProcessMemory, which fails where a
//! load would fault.

#![allow(unsafe_code)] // This file meets Win32.

use mpr_otel_core::abi::{NotifyAdd, NotifyCancel, NotifyInfo};
use serde::Serialize;
use std::mem::MaybeUninit;
use windows_sys::Win32::Foundation::GetLastError;
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Memory::{
    MEM_FREE, MEM_IMAGE, MEM_MAPPED, MEM_PRIVATE, MEMORY_BASIC_INFORMATION, VirtualQuery,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetCurrentThreadStackLimits};

/// Bytes of a string that are read at most.
const LIMIT: usize = 4096;
/// No page is smaller, so what does not cross its end is there as a whole or not at all.
const PAGE: usize = 4096;

/// What is at an address: the thing itself, or the Win32 code with which reading it failed.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Found<T> {
    /// It was read.
    Whole(T),
    /// It could not be read.
    Not { unreadable: u32 },
}

impl<T> Found<T> {
    /// What `make` makes of it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Whole(thing) => Found::Whole(make(thing)),
            Self::Not { unreadable } => Found::Not { unreadable },
        }
    }
}

/// Structures of which any bytes are a value.
///
/// # Safety
///
/// Only integers and raw pointers are in it.
pub unsafe trait Plain {}
// SAFETY: three of these (abi.rs).
unsafe impl Plain for NotifyInfo {}
// SAFETY: as above.
unsafe impl Plain for NotifyAdd {}
// SAFETY: as above.
unsafe impl Plain for NotifyCancel {}

/// A copy of the structure at an address, if there is one.
pub fn copy<T: Plain>(address: *const T) -> Found<T> {
    let mut copy = MaybeUninit::<T>::uninit();
    // SAFETY: `copy` has room for the bytes of a `T`.
    match unsafe { read(address as usize, copy.as_mut_ptr().cast(), size_of::<T>()) } {
        // SAFETY: all its bytes were written, and any bytes are a `T`.
        Ok(()) => Found::Whole(unsafe { copy.assume_init() }),
        Err(unreadable) => Found::Not { unreadable },
    }
}

/// A string as it came: where it is, and what is there.
#[derive(Clone, Debug, Serialize)]
pub struct Text {
    address: u64,
    /// What the memory at the address belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<&'static str>,
    /// What could be read of it; unpaired surrogates are replaced by U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The Win32 code with which reading stopped before the terminator.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<u32>,
    /// Whether the string is longer than what is read of one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl Text {
    /// Reads UTF-16 up to the terminator, page by page.
    pub fn at(address: *const u16) -> Self {
        let address = address as usize;
        let mut text = Self {
            address: address as u64,
            memory: None,
            text: None,
            unreadable: None,
            cut: false,
        };
        if address == 0 {
            return text;
        }
        text.memory = Some(kind(address));
        let mut bytes = Vec::new();
        while bytes.len() < LIMIT {
            let next = address.wrapping_add(bytes.len());
            let mut page = [0_u8; PAGE];
            let count = (PAGE - next % PAGE).min(LIMIT - bytes.len());
            // SAFETY: `page` has room for a page.
            if let Err(unreadable) = unsafe { read(next, page.as_mut_ptr(), count) } {
                text.unreadable = Some(unreadable);
                break;
            }
            bytes.extend_from_slice(&page[..count]);
            if units(&bytes).any(|unit| unit == 0) {
                break;
            }
        }
        let found: Vec<u16> = units(&bytes).take_while(|unit| *unit != 0).collect();
        text.cut = text.unreadable.is_none() && 2 * found.len() >= LIMIT;
        if !bytes.is_empty() {
            text.text = Some(String::from_utf16_lossy(&found));
        }
        text
    }
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]))
}

/// Copies bytes of this process from `address`, which may be any. The error is Win32's.
///
/// # Safety
///
/// `target` is writable for `count` bytes.
unsafe fn read(address: usize, target: *mut u8, count: usize) -> Result<(), u32> {
    let mut done = 0;
    // SAFETY: takes nothing and cannot fail.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: `target` is writable for `count` bytes. The source needs no promise: the kernel
    // copies, and fails where nothing is.
    let read =
        unsafe { ReadProcessMemory(process, address as *const _, target.cast(), count, &mut done) };
    if read != 0 && done == count {
        return Ok(());
    }
    // SAFETY: takes nothing and cannot fail.
    Err(unsafe { GetLastError() })
}

/// What the memory at an address belongs to.
fn kind(address: usize) -> &'static str {
    let (mut low, mut high) = (0, 0);
    // SAFETY: both are writable for the call.
    unsafe { GetCurrentThreadStackLimits(&mut low, &mut high) };
    if (low..high).contains(&address) {
        return "stack";
    }
    let mut region = MEMORY_BASIC_INFORMATION::default();
    // SAFETY: `region` is writable for its own size; the address may be any.
    let size = unsafe { VirtualQuery(address as *const _, &mut region, size_of_val(&region)) };
    match (size, region.State, region.Type) {
        (0, ..) => "none",
        (_, MEM_FREE, _) => "free",
        (_, _, MEM_PRIVATE) => "private",
        (_, _, MEM_IMAGE) => "image",
        (_, _, MEM_MAPPED) => "mapped",
        _ => "other",
    }
}
