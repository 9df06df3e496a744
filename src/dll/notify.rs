//! The two functions that MPR calls, on the thread and in the process of whoever maps a drive.
//!
//! Both always return `WN_SUCCESS`: this library observes. Work is bounded, nothing waits, and
//! nothing is allocated after the first call.

#![allow(unsafe_code)] // This file meets C.

use crate::channel::Signal;
use crate::host::Host;
use crate::start;
use mpr_otel_core::abi::{
    NOTIFY_POST, NOTIFY_PRE, NotifyAdd, NotifyCancel, NotifyInfo, RESOURCETYPE_ANY, WN_SUCCESS,
};
use mpr_otel_core::clock::unix_nanos;
use mpr_otel_core::ledger::{KIND_ADD, KIND_CANCEL, Loss, NO_SESSION};
use mpr_otel_core::platform;
use mpr_otel_core::wide::WideStr;
use mpr_otel_core::win32_error::{Meaning, meaning};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

/// What PRE is told, whichever function it came through.
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
/// other threads during the call. Nothing is promised of undefined fields: they are not read.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn AddConnectNotify(
    info: *mut NotifyInfo,
    add: *const NotifyAdd,
) -> u32 {
    guarded(|host| {
        // SAFETY: NULL or valid for the call, and no other thread's, says the contract.
        let info = unsafe { info.as_mut() };
        // SAFETY: NULL or valid for the call, says the contract.
        let add = unsafe { add.as_ref() };
        let (Some(info), Some(add)) = (info, add) else {
            return host.ledger.header().count_malformed();
        };
        let resource = &add.net_resource;
        match info.notify_status {
            NOTIFY_PRE => before(
                host,
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
            // NetResource.lpProvider is promised for Windows 98 only, so it is not read.
            NOTIFY_POST => after(host, info, KIND_ADD, || WideStr::EMPTY),
            _ => host.ledger.header().count_malformed(),
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
    guarded(|host| {
        // SAFETY: NULL or valid for the call, and no other thread's, says the contract.
        let info = unsafe { info.as_mut() };
        // SAFETY: NULL or valid for the call, says the contract.
        let cancel = unsafe { cancel.as_ref() };
        let (Some(info), Some(cancel)) = (info, cancel) else {
            return host.ledger.header().count_malformed();
        };
        match info.notify_status {
            NOTIFY_PRE => before(
                host,
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
            NOTIFY_POST => after(host, info, KIND_CANCEL, || {
                // SAFETY: `after` asks for the provider of a success only, where it is defined.
                unsafe { WideStr::from_ptr(cancel.provider) }
            }),
            _ => host.ledger.header().count_malformed(),
        }
    })
}

/// Runs `work` if this host is to be observed. Whatever happens inside, MPR hears success.
fn guarded(work: impl FnOnce(&'static Host)) -> u32 {
    // A panic must not cross into C, and there is nothing to unwind to: the operation goes on
    // unobserved. What `work` touches are atomics and a slot that no one else owns.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if let Some(host) = start::host() {
            work(host);
        }
    }));
    WN_SUCCESS
}

/// PRE: records the operation and leaves its handle in `lpContext`. A full table leaves NULL
/// there, and MPR sends no POST.
fn before(host: &Host, info: &mut NotifyInfo, before: &Before<'_>) {
    let thread_id = platform::thread_id();
    let Some((slot, mut claim)) = host.ledger.claim(thread_id) else {
        return;
    };
    let body = &mut *claim;
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
    // Last, so that the span measures the operation and not us.
    let started = host.clock.now();
    body.started = started;
    let (handle, generation) = host.ledger.publish(slot, claim);
    info.context = handle.to_context() as *mut _;
    send(host, Signal::Before { slot, generation, started });
}

/// POST: completes the operation that `lpContext` names, if it is open and of this kind.
fn after<'call>(
    host: &Host,
    info: &NotifyInfo,
    kind: u8,
    provider: impl FnOnce() -> WideStr<'call>,
) {
    // First, so that the span measures the operation and not us.
    let ended = host.clock.now();
    let Some((slot, mut completion)) = host.ledger.complete(info.context as usize) else {
        return;
    };
    let body = &mut *completion;
    if body.kind != kind {
        // Another operation's handle: that one stays open.
        return host.ledger.header().count_unmatched();
    }
    body.ended = ended;
    body.asleep_after = platform::asleep_nanos();
    body.status = info.operation_status;
    if meaning(info.operation_status) == Meaning::Success {
        body.set_provider(provider());
    }
    host.ledger.finish(slot, completion);
    send(host, Signal::After { slot, ended });
}

fn send(host: &Host, signal: Signal) {
    if let Some(channel) = &host.channel
        && !channel.send(signal)
    {
        // The channel has room for every slot's signals, so this cannot happen; if it did, the
        // operation would wait in the ledger for an adopter.
        host.ledger.header().count_lost(Loss::ChannelFull, 1);
    }
}
