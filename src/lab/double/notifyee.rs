//! The library under test, loaded as MPR loads it, and its two functions called as MPR calls them.

#![allow(unsafe_code)] // This file meets C.

use super::script::{Add, Cancel, ScriptedCall};
use libloading::Library;
use mpr_otel_core::abi::{
    NOTIFY_POST, NOTIFY_PRE, NetResource, NotifyAdd, NotifyCancel, NotifyInfo,
};
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr::null;

type AddConnectNotify = unsafe extern "system" fn(*mut NotifyInfo, *const NotifyAdd) -> u32;
type CancelConnectNotify = unsafe extern "system" fn(*mut NotifyInfo, *const NotifyCancel) -> u32;

/// An address in the first page, which no system maps: a field that the contract leaves
/// undefined points here. Odd, so that it cannot be mistaken for a real string.
const UNDEFINED: *const u16 = std::ptr::without_provenance(0x11);
/// What undefined numbers hold.
const UNDEFINED_NUMBER: u32 = 0xDEAD_BEEF;

/// Why the library could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load {}: {source}; build it with `cargo build --release`", path.display())]
pub struct LoadError {
    path: PathBuf,
    source: libloading::Error,
}

/// A loaded notification library.
#[derive(Debug)]
pub struct Notifyee {
    add: AddConnectNotify,
    cancel: CancelConnectNotify,
    /// Unloads the library when it is dropped, as MPR may at any time.
    _library: Library,
}

/// One operation's strings, as the caller of MPR owns them.
#[derive(Clone, Debug)]
pub enum Call {
    /// An add-connection.
    Add {
        /// `lpRemoteName`, with whatever terminator it has.
        remote: Option<Vec<u16>>,
        /// `lpLocalName`.
        local: Option<Vec<u16>>,
        /// `dwType`.
        resource_type: u32,
        /// `dwAddFlags`.
        flags: u32,
    },
    /// A cancel-connection.
    Cancel {
        /// `lpName`.
        name: Option<Vec<u16>>,
        /// `dwFlags`.
        flags: u32,
        /// `fForce`.
        force: bool,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// Its Win32 code.
    pub status: u32,
    /// The provider that did it; handed over only for a cancel that MPR counts as a success.
    pub provider: Option<String>,
}

/// A NUL-terminated copy.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

fn pointer(units: Option<&Vec<u16>>) -> *const u16 {
    units.map_or(null(), |units| units.as_ptr())
}

impl From<&ScriptedCall> for Call {
    fn from(request: &ScriptedCall) -> Self {
        match request {
            ScriptedCall::Add(Add { remote, local, resource_type, flags }) => Self::Add {
                remote: remote.as_deref().map(wide),
                local: local.as_deref().map(wide),
                resource_type: *resource_type,
                flags: *flags,
            },
            ScriptedCall::Cancel(Cancel { name, flags, force }) => {
                Self::Cancel { name: name.as_deref().map(wide), flags: *flags, force: *force }
            }
        }
    }
}

impl Notifyee {
    /// Loads a library and finds its two functions.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError { path: path.into(), source };
        // SAFETY: the library's initialisers do nothing (its DllMain is empty).
        let library = unsafe { Library::new(path) }.map_err(failed)?;
        // SAFETY: npapi.h gives this function this signature.
        let add = unsafe { library.get::<AddConnectNotify>(b"AddConnectNotify\0") };
        let add = *add.map_err(failed)?;
        // SAFETY: npapi.h gives this function this signature.
        let cancel = unsafe { library.get::<CancelConnectNotify>(b"CancelConnectNotify\0") };
        let cancel = *cancel.map_err(failed)?;
        Ok(Self { add, cancel, _library: library })
    }

    /// Calls PRE. Returns what it returned and what it left in `lpContext`; 0 means that it wants no
    /// POST.
    pub fn pre(&self, call: &Call) -> (u32, usize) {
        // The strings live for the call only: copies that are freed right after it.
        let call = call.clone();
        let mut info = NotifyInfo {
            notify_status: NOTIFY_PRE,
            operation_status: 0,
            context: std::ptr::null_mut(),
        };
        let returned = self.call(&call, &mut info, UNDEFINED);
        (returned, info.context as usize)
    }

    /// Calls POST with a context, which may be one that no PRE gave.
    pub fn post(&self, call: &Call, context: usize, ended: &Ended) -> u32 {
        let call = call.clone();
        let provider = ended.provider.as_deref().map(wide);
        // MPR names the provider of a cancel that succeeded only (2108 and 2109 are successes).
        let provider = match (&call, ended.status) {
            (Call::Cancel { .. }, 0 | 2108 | 2109) => pointer(provider.as_ref()),
            _ => UNDEFINED,
        };
        let mut info = NotifyInfo {
            notify_status: NOTIFY_POST,
            operation_status: ended.status,
            context: context as *mut c_void,
        };
        self.call(&call, &mut info, provider)
    }

    fn call(&self, call: &Call, info: &mut NotifyInfo, provider: *const u16) -> u32 {
        match call {
            Call::Add { remote, local, resource_type, flags } => {
                let add = NotifyAdd {
                    hwnd_owner: std::ptr::null_mut(),
                    net_resource: NetResource {
                        scope: UNDEFINED_NUMBER,
                        resource_type: *resource_type,
                        display_type: UNDEFINED_NUMBER,
                        usage: UNDEFINED_NUMBER,
                        local_name: pointer(local.as_ref()),
                        remote_name: pointer(remote.as_ref()),
                        comment: UNDEFINED,
                        provider,
                    },
                    add_flags: *flags,
                };
                // SAFETY: both structures and all strings that the contract defines are valid
                // for the call; the library is loaded while `self` lives.
                unsafe { (self.add)(info, &add) }
            }
            Call::Cancel { name, flags, force } => {
                let cancel = NotifyCancel {
                    name: pointer(name.as_ref()),
                    provider,
                    flags: *flags,
                    force: i32::from(*force),
                };
                // SAFETY: as above.
                unsafe { (self.cancel)(info, &cancel) }
            }
        }
    }
}
