//! The C side of the Connection Notification API, as `npapi.h` and `winnetwk.h` declare it.
//!
//! The structures are declared here and not taken from `windows-sys`, which gives
//! `NOTIFYADD::NetResource` the ANSI type (`NETRESOURCEA`) although MPR passes UTF-16 strings.
//! Names follow the headers in Rust's spelling; sizes and offsets are asserted at compile time
//! for 32- and 64-bit hosts.

use core::ffi::c_void;

/// `NOTIFY_PRE`: the call comes before the operation.
pub const NOTIFY_PRE: u32 = 1;
/// `NOTIFY_POST`: the call comes after the operation.
pub const NOTIFY_POST: u32 = 2;

/// `WN_SUCCESS`: the only value that this library returns to MPR.
pub const WN_SUCCESS: u32 = 0;

/// `RESOURCETYPE_ANY`.
pub const RESOURCETYPE_ANY: u32 = 0;
/// `RESOURCETYPE_DISK`.
pub const RESOURCETYPE_DISK: u32 = 1;
/// `RESOURCETYPE_PRINT`.
pub const RESOURCETYPE_PRINT: u32 = 2;

/// The `CONNECT_*` flags of `winnetwk.h`, by bit, without their prefix.
pub const CONNECT_FLAGS: [(u32, &str); 19] = [
    (0x0000_0001, "UPDATE_PROFILE"),
    (0x0000_0002, "UPDATE_RECENT"),
    (0x0000_0004, "TEMPORARY"),
    (0x0000_0008, "INTERACTIVE"),
    (0x0000_0010, "PROMPT"),
    (0x0000_0020, "NEED_DRIVE"),
    (0x0000_0040, "REFCOUNT"),
    (0x0000_0080, "REDIRECT"),
    (0x0000_0100, "LOCALDRIVE"),
    (0x0000_0200, "CURRENT_MEDIA"),
    (0x0000_0400, "DEFERRED"),
    (0x0000_0800, "COMMANDLINE"),
    (0x0000_1000, "CMD_SAVECRED"),
    (0x0000_2000, "CRED_RESET"),
    (0x0000_4000, "REQUIRE_INTEGRITY"),
    (0x0000_8000, "REQUIRE_PRIVACY"),
    (0x0001_0000, "WRITE_THROUGH_SEMANTICS"),
    (0x0002_0000, "COMPRESS_NETWORK_TRAFFIC"),
    (0x0004_0000, "GLOBAL_MAPPING"),
];

/// `NOTIFYINFO`: the side of the operation, the operation's status, and the library's context.
#[repr(C)]
#[derive(Debug)]
pub struct NotifyInfo {
    /// [`NOTIFY_PRE`] or [`NOTIFY_POST`].
    pub notify_status: u32,
    /// `WN_SUCCESS` in PRE; the operation's own Win32 status in POST.
    pub operation_status: u32,
    /// NULL when PRE begins. POST gets the value that PRE leaves here. If PRE leaves NULL, no POST
    /// comes.
    pub context: *mut c_void,
}

/// `NETRESOURCEW`: the resource that is being connected.
#[repr(C)]
#[derive(Debug)]
pub struct NetResource {
    /// `RESOURCE_*` scope; not defined in a notification.
    pub scope: u32,
    /// `RESOURCETYPE_*`.
    pub resource_type: u32,
    /// `RESOURCEDISPLAYTYPE_*`; not defined in a notification.
    pub display_type: u32,
    /// `RESOURCEUSAGE_*`; not defined in a notification.
    pub usage: u32,
    /// The local device, such as `Z:`; may be NULL or empty.
    pub local_name: *const u16,
    /// The network resource, such as `\\server\share`.
    pub remote_name: *const u16,
    /// Not defined in a notification.
    pub comment: *const u16,
    /// The provider; defined only after a success.
    pub provider: *const u16,
}

/// `NOTIFYADD`: the argument of `AddConnectNotify`.
#[repr(C)]
#[derive(Debug)]
pub struct NotifyAdd {
    /// Window that owns dialogs.
    pub hwnd_owner: *mut c_void,
    /// The resource, by value.
    pub net_resource: NetResource,
    /// `CONNECT_*` flags.
    pub add_flags: u32,
}

/// `NOTIFYCANCEL`: the argument of `CancelConnectNotify`.
#[repr(C)]
#[derive(Debug)]
pub struct NotifyCancel {
    /// The local device or the remote name that is being disconnected.
    pub name: *const u16,
    /// Undefined in PRE; the provider after a success.
    pub provider: *const u16,
    /// `CONNECT_UPDATE_PROFILE` or 0.
    pub flags: u32,
    /// `BOOL`: disconnect although files are open.
    pub force: i32,
}

/// Asserts a structure's size and its fields' offsets, in bytes, for one pointer width.
macro_rules! layout {
    ($width:literal, $type:ident = $size:literal { $($field:ident: $offset:literal),* }) => {
        #[cfg(target_pointer_width = $width)]
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(core::mem::offset_of!($type, $field) == $offset);)*
        };
    };
}

layout!("64", NotifyInfo = 16 { notify_status: 0, operation_status: 4, context: 8 });
layout!("32", NotifyInfo = 12 { notify_status: 0, operation_status: 4, context: 8 });
layout!("64", NetResource = 48 { scope: 0, resource_type: 4, display_type: 8, usage: 12,
    local_name: 16, remote_name: 24, comment: 32, provider: 40 });
layout!("32", NetResource = 32 { scope: 0, resource_type: 4, display_type: 8, usage: 12,
    local_name: 16, remote_name: 20, comment: 24, provider: 28 });
layout!("64", NotifyAdd = 64 { hwnd_owner: 0, net_resource: 8, add_flags: 56 });
layout!("32", NotifyAdd = 40 { hwnd_owner: 0, net_resource: 4, add_flags: 36 });
layout!("64", NotifyCancel = 24 { name: 0, provider: 8, flags: 16, force: 20 });
layout!("32", NotifyCancel = 16 { name: 0, provider: 4, flags: 8, force: 12 });

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::NetworkManagement::WNet;

    #[test]
    fn constants_agree_with_the_windows_headers() {
        assert_eq!(NOTIFY_PRE, WNet::NOTIFY_PRE);
        assert_eq!(NOTIFY_POST, WNet::NOTIFY_POST);
        assert_eq!(RESOURCETYPE_ANY, WNet::RESOURCETYPE_ANY);
        assert_eq!(RESOURCETYPE_DISK, WNet::RESOURCETYPE_DISK);
        assert_eq!(RESOURCETYPE_PRINT, WNet::RESOURCETYPE_PRINT);
    }

    #[test]
    fn every_connect_flag_agrees_with_the_windows_headers() {
        let header = [
            ("UPDATE_PROFILE", WNet::CONNECT_UPDATE_PROFILE),
            ("UPDATE_RECENT", WNet::CONNECT_UPDATE_RECENT),
            ("TEMPORARY", WNet::CONNECT_TEMPORARY),
            ("INTERACTIVE", WNet::CONNECT_INTERACTIVE),
            ("PROMPT", WNet::CONNECT_PROMPT),
            ("NEED_DRIVE", WNet::CONNECT_NEED_DRIVE),
            ("REFCOUNT", WNet::CONNECT_REFCOUNT),
            ("REDIRECT", WNet::CONNECT_REDIRECT),
            ("LOCALDRIVE", WNet::CONNECT_LOCALDRIVE),
            ("CURRENT_MEDIA", WNet::CONNECT_CURRENT_MEDIA),
            ("DEFERRED", WNet::CONNECT_DEFERRED),
            ("COMMANDLINE", WNet::CONNECT_COMMANDLINE),
            ("CMD_SAVECRED", WNet::CONNECT_CMD_SAVECRED),
            ("CRED_RESET", WNet::CONNECT_CRED_RESET),
            ("REQUIRE_INTEGRITY", WNet::CONNECT_REQUIRE_INTEGRITY),
            ("REQUIRE_PRIVACY", WNet::CONNECT_REQUIRE_PRIVACY),
            ("WRITE_THROUGH_SEMANTICS", WNet::CONNECT_WRITE_THROUGH_SEMANTICS),
            // The current SDK's winnetwk.h has this flag; windows-sys 0.61 does not.
            ("COMPRESS_NETWORK_TRAFFIC", 0x0002_0000),
            ("GLOBAL_MAPPING", WNet::CONNECT_GLOBAL_MAPPING),
        ];
        assert_eq!(CONNECT_FLAGS.len(), header.len());
        for ((ours, name), (header_name, header_value)) in CONNECT_FLAGS.iter().zip(header) {
            assert_eq!((*name, *ours), (header_name, header_value));
        }
    }
}
