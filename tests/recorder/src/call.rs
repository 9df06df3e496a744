//! What a line says. Fields that Windows declares keep the names of its headers.

use crate::memory::{Found, Text};
use crate::place::{Process, Thread, Time};
use crate::{aside, stack};
use mpr_otel_core::abi::{NetResource, NotifyAdd, NotifyCancel, NotifyInfo};
use serde::Serialize;
use std::ffi::c_void;

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Event {
    /// The loader brought the DLL into a process.
    Loaded,
    /// The loader takes it out again, in a process that goes on.
    Unloaded,
    /// MPR adds a connection.
    AddConnectNotify,
    /// MPR cancels one.
    CancelConnectNotify,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub time: Time,
    pub event: Event,
    /// What the call was handed, as the header calls the types; nothing by the loader.
    #[serde(rename = "NOTIFYINFO", skip_serializing_if = "Option::is_none")]
    pub info: Option<Found<Info>>,
    #[serde(rename = "NOTIFYADD", skip_serializing_if = "Option::is_none")]
    pub add: Option<Found<Add>>,
    #[serde(rename = "NOTIFYCANCEL", skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Found<Cancel>>,
    pub process: Process,
    pub thread: Thread,
    /// Where the call came from, the innermost first: module and offset in it.
    pub stack: Vec<String>,
    /// Whether a thread could start, and so whether the loader's lock was free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_thread: Option<aside::Run>,
    /// Why the calling thread's token could not write this line, which the process' token wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_could_not_write: Option<String>,
}

impl Line {
    pub fn new(event: Event) -> Self {
        Self {
            time: Time::now(),
            event,
            info: None,
            add: None,
            cancel: None,
            process: Process::current(),
            thread: Thread::current(),
            stack: stack::frames(),
            new_thread: None,
            thread_could_not_write: None,
        }
    }

    /// The same, to be written by another thread.
    pub fn refused(&self, why: &std::io::Error) -> Self {
        Self { thread_could_not_write: Some(why.to_string()), ..self.clone() }
    }
}

/// `NOTIFYINFO`.
#[derive(Clone, Debug, Serialize)]
#[allow(non_snake_case)]
pub struct Info {
    /// 1: PRE. 2: POST.
    dwNotifyStatus: u32,
    dwOperationStatus: u32,
    /// As MPR handed it over.
    lpContext: u64,
    /// As it was left: in PRE, the number of the operation in this process.
    lpContext_left: u64,
}

impl Info {
    pub fn new(info: &NotifyInfo, left: *mut c_void) -> Self {
        Self {
            dwNotifyStatus: info.notify_status,
            dwOperationStatus: info.operation_status,
            lpContext: info.context as u64,
            lpContext_left: left as u64,
        }
    }
}

/// `NOTIFYADD`.
#[derive(Clone, Debug, Serialize)]
#[allow(non_snake_case)]
pub struct Add {
    hwndOwner: u64,
    NetResource: Resource,
    dwAddFlags: u32,
}

impl Add {
    pub fn new(add: &NotifyAdd) -> Self {
        Self {
            hwndOwner: add.hwnd_owner as u64,
            NetResource: Resource::new(&add.net_resource),
            dwAddFlags: add.add_flags,
        }
    }
}

/// `NETRESOURCEW`, those fields too that the contract leaves undefined.
#[derive(Clone, Debug, Serialize)]
#[allow(non_snake_case)]
pub struct Resource {
    dwScope: u32,
    dwType: u32,
    dwDisplayType: u32,
    dwUsage: u32,
    lpLocalName: Text,
    lpRemoteName: Text,
    lpComment: Text,
    lpProvider: Text,
}

impl Resource {
    fn new(resource: &NetResource) -> Self {
        Self {
            dwScope: resource.scope,
            dwType: resource.resource_type,
            dwDisplayType: resource.display_type,
            dwUsage: resource.usage,
            lpLocalName: Text::at(resource.local_name),
            lpRemoteName: Text::at(resource.remote_name),
            lpComment: Text::at(resource.comment),
            lpProvider: Text::at(resource.provider),
        }
    }
}

/// `NOTIFYCANCEL`.
#[derive(Clone, Debug, Serialize)]
#[allow(non_snake_case)]
pub struct Cancel {
    lpName: Text,
    lpProvider: Text,
    dwFlags: u32,
    fForce: i32,
}

impl Cancel {
    pub fn new(cancel: &NotifyCancel) -> Self {
        Self {
            lpName: Text::at(cancel.name),
            lpProvider: Text::at(cancel.provider),
            dwFlags: cancel.flags,
            fForce: cancel.force,
        }
    }
}
