//! The shared library, called as MPR calls it and with nothing around it.
//!
//! `mpr_otel_lab::double` plays the whole contract and copies every string for it; here the
//! structures are prepared, so that what is timed is the library.

#![allow(unsafe_code)] // This file meets C.

use crate::Result;
use crate::operation::OPERATION;
use mpr_otel_core::abi::{
    NOTIFY_POST, NOTIFY_PRE, NetResource, NotifyAdd, NotifyInfo, RESOURCETYPE_DISK,
};
use std::path::Path;
use std::ptr::{null, null_mut};

type AddConnectNotify = unsafe extern "system" fn(*mut NotifyInfo, *const NotifyAdd) -> u32;

/// The loaded library, and the strings that it is given.
#[derive(Debug)]
pub struct Library {
    add: AddConnectNotify,
    remote: Vec<u16>,
    local: Vec<u16>,
    provider: Vec<u16>,
    _library: libloading::Library,
}

impl Library {
    /// Loads the library at `path`.
    pub fn load(path: &Path) -> Result<Self> {
        let wide = |text: &str| text.encode_utf16().chain([0]).collect();
        // SAFETY: the library's initialisers do nothing.
        let library = unsafe { libloading::Library::new(path) }?;
        // SAFETY: npapi.h gives this function this signature.
        let add = *unsafe { library.get::<AddConnectNotify>(b"AddConnectNotify\0") }?;
        Ok(Self {
            add,
            remote: wide(OPERATION.remote),
            local: wide(OPERATION.local),
            provider: wide(OPERATION.provider),
            _library: library,
        })
    }

    /// Plays `operations` operations, PRE and POST of each.
    pub fn play(&self, operations: usize) {
        let before = self.notification(null());
        let after = self.notification(self.provider.as_ptr());
        for _ in 0..operations {
            let mut info =
                NotifyInfo { notify_status: NOTIFY_PRE, operation_status: 0, context: null_mut() };
            // SAFETY: both structures and the strings they point to are valid for the call.
            unsafe { (self.add)(&mut info, &before) };
            info.notify_status = NOTIFY_POST;
            // SAFETY: as above.
            unsafe { (self.add)(&mut info, &after) };
        }
    }

    fn notification(&self, provider: *const u16) -> NotifyAdd {
        NotifyAdd {
            hwnd_owner: null_mut(),
            net_resource: NetResource {
                scope: 0,
                resource_type: RESOURCETYPE_DISK,
                display_type: 0,
                usage: 0,
                local_name: self.local.as_ptr(),
                remote_name: self.remote.as_ptr(),
                comment: null(),
                provider,
            },
            add_flags: 0,
        }
    }
}
