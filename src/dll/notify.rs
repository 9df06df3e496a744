//! The two functions that MPR calls, on the thread and in the process that maps a drive.
//!
//! Both always return `WN_SUCCESS`, because the library only records. They do a limited amount of
//! work and allocate nothing. PRE waits for nothing. POST waits 50 ms at most, and only while the
//! library starts.

#![allow(unsafe_code)] // This file meets C.

use crate::channel::Signal;
use crate::start::{self, EARLY, Place};
use mpr_otel_core::abi::{
    NOTIFY_POST, NOTIFY_PRE, NotifyAdd, NotifyCancel, NotifyInfo, RESOURCETYPE_ANY, WN_SUCCESS,
};
use mpr_otel_core::clock::unix_nanos;
use mpr_otel_core::ledger::early_table::EarlyTable;
use mpr_otel_core::ledger::{Body, KIND_ADD, KIND_CANCEL, NO_SESSION};
use mpr_otel_core::platform;
use mpr_otel_core::wide::WideStr;
use mpr_otel_core::win32_error::{Meaning, meaning};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

/// The arguments of PRE, from either function.
struct Before<'call> {
    kind: u8,
    remote: WideStr<'call>,
    local: WideStr<'call>,
    flags: u32,
    resource_type: u32,
    force: bool,
}

/// Called by MPR before and after it adds a connection (npapi.h).
///
/// # Safety
///
/// `info` is NULL or points to a `NOTIFYINFO`; `add` is NULL or points to a `NOTIFYADD` whose
/// strings are NULL or NUL-terminated where the contract defines them. Both are unchanged by
/// other threads during the call. Undefined fields may have any value: they are not read.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn AddConnectNotify(
    info: *mut NotifyInfo,
    add: *const NotifyAdd,
) -> u32 {
    guarded(|| {
        // SAFETY: NULL or valid for the call, and no other thread's, says the contract.
        let info = unsafe { info.as_mut() };
        // SAFETY: NULL or valid for the call, says the contract.
        let add = unsafe { add.as_ref() };
        let (Some(info), Some(add)) = (info, add) else {
            return count_malformed();
        };
        let resource = &add.net_resource;
        match info.notify_status {
            NOTIFY_PRE => before(
                info,
                &Before {
                    kind: KIND_ADD,
                    // SAFETY: defined in PRE, NULL or NUL-terminated, and valid for the call.
                    remote: unsafe { WideStr::from_ptr(resource.remote_name) },
                    // SAFETY: as above.
                    local: unsafe { WideStr::from_ptr(resource.local_name) },
                    flags: add.add_flags,
                    resource_type: resource.resource_type,
                    force: false,
                },
            ),
            // Only Windows 98 promises NetResource.lpProvider, so it is not read.
            NOTIFY_POST => after(info, KIND_ADD, || WideStr::EMPTY),
            _ => count_malformed(),
        }
    })
}

/// Called by MPR before and after it cancels a connection (npapi.h).
///
/// # Safety
///
/// As for [`AddConnectNotify`], with a `NOTIFYCANCEL`.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CancelConnectNotify(
    info: *mut NotifyInfo,
    cancel: *const NotifyCancel,
) -> u32 {
    guarded(|| {
        // SAFETY: NULL or valid for the call, and no other thread's, says the contract.
        let info = unsafe { info.as_mut() };
        // SAFETY: NULL or valid for the call, says the contract.
        let cancel = unsafe { cancel.as_ref() };
        let (Some(info), Some(cancel)) = (info, cancel) else {
            return count_malformed();
        };
        match info.notify_status {
            NOTIFY_PRE => before(
                info,
                &Before {
                    kind: KIND_CANCEL,
                    // SAFETY: defined in PRE, NULL or NUL-terminated, and valid for the call.
                    remote: unsafe { WideStr::from_ptr(cancel.name) },
                    local: WideStr::EMPTY,
                    flags: cancel.flags,
                    resource_type: RESOURCETYPE_ANY,
                    force: cancel.force != 0,
                },
            ),
            NOTIFY_POST => after(info, KIND_CANCEL, || {
                // SAFETY: `after` asks for the provider only after a success. Then it is defined.
                unsafe { WideStr::from_ptr(cancel.provider) }
            }),
            _ => count_malformed(),
        }
    })
}

/// Runs `work`. MPR gets success, whatever happens in `work`.
fn guarded(work: impl FnOnce()) -> u32 {
    // A panic must not cross into C. The operation goes on and is not recorded. `work` changes only
    // atomics and a slot that no other thread owns, so nothing has to be repaired.
    let _ = catch_unwind(AssertUnwindSafe(work));
    WN_SUCCESS
}

fn count_malformed() {
    match start::place() {
        Place::Host(host) => host.ledger.header().count_malformed(),
        Place::Early => start::count(|uncounted| &uncounted.malformed),
        Place::Nowhere => {}
    }
}

/// PRE: records the operation and puts its handle into `lpContext`. If the table is full, NULL
/// stays there, and MPR sends no POST.
fn before(info: &mut NotifyInfo, before: &Before<'_>) {
    let thread_id = platform::thread_id();
    let handle = match start::place() {
        Place::Host(host) => {
            let Some((slot, mut claim)) = host.ledger.claim(thread_id) else { return };
            let started = fill(&mut claim, before, thread_id);
            let (handle, generation) = host.ledger.publish(slot, claim);
            host.send(Signal::Before { slot, generation, started });
            handle
        }
        Place::Early => {
            let Some((index, mut claim)) = EARLY.claim() else {
                return start::count(|uncounted| &uncounted.unavailable);
            };
            fill(&mut claim, before, thread_id);
            EARLY.publish(index, claim)
        }
        Place::Nowhere => return,
    };
    info.context = handle.to_context() as *mut _;
}

/// Writes what PRE knows. Returns when the operation began, in nanoseconds of the monotonic clock.
fn fill(body: &mut Body, before: &Before<'_>, thread_id: u32) -> u64 {
    body.thread_id = thread_id;
    body.flags = before.flags;
    body.resource_type = before.resource_type;
    body.kind = before.kind;
    body.force = u8::from(before.force);
    body.set_names(before.remote, before.local);
    let token = platform::effective_token();
    body.session_id = token.session_id.unwrap_or(NO_SESSION);
    body.logon_id = token.logon_id;
    body.elevation = token.elevation;
    body.impersonated = u8::from(token.impersonated);
    body.user_sid_bytes = 0;
    body.checksum = 0;
    body.status = 0;
    body.ended = 0;
    body.sent = 0;
    body.asleep_before = platform::asleep_nanos();
    body.asleep_after = 0;
    body.started_unix_nanos = unix_nanos(SystemTime::now());
    // Taken last, so that the span's duration contains the operation and not this function.
    body.started = platform::awake_nanos();
    body.started
}

/// The arguments of POST.
struct After<P> {
    kind: u8,
    ended: u64,
    status: u32,
    /// Gives the provider's name. Called only after a success.
    provider: P,
}

/// POST: completes the operation that `lpContext` names, if that is open and of this kind.
fn after<'call>(info: &NotifyInfo, kind: u8, provider: impl FnOnce() -> WideStr<'call>) {
    // Taken first, so that the span's duration contains the operation and not this function.
    let ended = platform::awake_nanos();
    let after = After { kind, ended, status: info.operation_status, provider };
    let context = info.context as usize;
    if EarlyTable::index_of(context).is_some() {
        after_early(context, after);
    } else {
        after_in_ledger(context, after);
    }
}

/// POST of an operation in the ledger.
fn after_in_ledger<'call>(context: usize, after: After<impl FnOnce() -> WideStr<'call>>) {
    let Some(host) = start::host() else { return count_unmatched() };
    let Some((slot, mut completion)) = host.ledger.complete(context) else { return };
    let ended = after.ended;
    if !finish(&mut completion, after) {
        return host.ledger.header().count_unmatched();
    }
    host.ledger.finish(slot, completion);
    host.send(Signal::After { slot, ended });
}

/// POST of an operation that began before there was a ledger. If there is a ledger now, this puts
/// the operation there. If not, the thread that makes the ledger does.
fn after_early<'call>(context: usize, after: After<impl FnOnce() -> WideStr<'call>>) {
    start::wait();
    if let Some((index, mut completion)) = EARLY.complete(context) {
        if !finish(&mut completion, after) {
            return count_unmatched();
        }
        completion.finish();
        start::take_in(index);
    } else if let Some(handle) = EARLY.moved(context) {
        after_in_ledger(handle.to_context(), after);
    } else {
        count_unmatched();
    }
}

fn count_unmatched() {
    match start::host() {
        Some(host) => host.ledger.header().count_unmatched(),
        None => start::count(|uncounted| &uncounted.unmatched),
    }
}

/// Writes what POST knows. False if the handle is another operation's; that one stays open.
fn finish<'call>(body: &mut Body, after: After<impl FnOnce() -> WideStr<'call>>) -> bool {
    if body.kind != after.kind {
        return false;
    }
    body.ended = after.ended;
    body.asleep_after = platform::asleep_nanos();
    body.status = after.status;
    if meaning(after.status) == Meaning::Success {
        body.set_provider((after.provider)());
    }
    true
}
