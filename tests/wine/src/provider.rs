//! The functions that a network provider exports (npapi.h).

#![allow(unsafe_code)] // This file meets C.

use crate::notifyees;
use crate::script::Operation;
use mpr_otel_core::abi::NetResource;
use mpr_otel_lab::double::Call;
use std::ffi::c_void;
use windows_sys::Win32::NetworkManagement::WNet::{
    WNNC_CON_ADDCONNECTION, WNNC_CON_ADDCONNECTION3, WNNC_CON_CANCELCONNECTION, WNNC_CONNECTION,
    WNNC_NET_TYPE, WNNC_SPEC_VERSION, WNNC_SPEC_VERSION51,
};

/// A network type of nobody's (the high word counts), so that it is never preferred.
const NET_TYPE: u32 = 0x7F00_0000;

/// What this provider can do.
#[unsafe(no_mangle)]
pub extern "system" fn NPGetCaps(index: u32) -> u32 {
    match index {
        WNNC_SPEC_VERSION => WNNC_SPEC_VERSION51,
        WNNC_NET_TYPE => NET_TYPE,
        WNNC_CONNECTION => {
            WNNC_CON_ADDCONNECTION3 | WNNC_CON_ADDCONNECTION | WNNC_CON_CANCELCONNECTION
        }
        _ => 0,
    }
}

/// Adds a connection.
///
/// # Safety
///
/// `resource` points to a `NETRESOURCEW` whose names are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn NPAddConnection3(
    _owner: *mut c_void,
    resource: *const NetResource,
    _password: *const u16,
    _user: *const u16,
    flags: u32,
) -> u32 {
    // SAFETY: the caller's promise.
    let resource = unsafe { &*resource };
    // SAFETY: the caller's promise.
    let remote = unsafe { copy(resource.remote_name) };
    // SAFETY: the caller's promise.
    let local = unsafe { copy(resource.local_name) };
    let names = [text(remote.as_ref()), text(local.as_ref())];
    let call = Call::Add { remote, local, resource_type: resource.resource_type, flags };
    operate(&call, &Operation::on(&names))
}

/// Adds a connection, the older way.
///
/// # Safety
///
/// As for [`NPAddConnection3`].
#[unsafe(no_mangle)]
pub unsafe extern "system" fn NPAddConnection(
    resource: *const NetResource,
    password: *const u16,
    user: *const u16,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { NPAddConnection3(std::ptr::null_mut(), resource, password, user, 0) }
}

/// Cancels a connection.
///
/// # Safety
///
/// `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn NPCancelConnection(name: *const u16, force: i32) -> u32 {
    // SAFETY: the caller's promise.
    let name = unsafe { copy(name) };
    let names = [text(name.as_ref())];
    // Wine keeps the caller's flags to itself.
    let call = Call::Cancel { name, flags: 0, force: force != 0 };
    operate(&call, &Operation::on(&names))
}

/// Carries out an operation as MPR does: notified, or not.
fn operate(call: &Call, operation: &Operation) -> u32 {
    let status = match operation.is_notified() {
        true => notifyees::surround(call, || operation.perform()),
        false => operation.perform().status,
    };
    operation.result(status)
}

/// A string with its NUL.
///
/// # Safety
///
/// `string` is NULL or NUL-terminated.
unsafe fn copy(string: *const u16) -> Option<Vec<u16>> {
    if string.is_null() {
        return None;
    }
    let mut units = Vec::new();
    loop {
        // SAFETY: not past the NUL, so inside the string.
        let unit = unsafe { *string.wrapping_add(units.len()) };
        units.push(unit);
        if unit == 0 {
            return Some(units);
        }
    }
}

fn text(units: Option<&Vec<u16>>) -> Option<String> {
    units.map(|units| String::from_utf16_lossy(units).trim_end_matches('\0').to_owned())
}
