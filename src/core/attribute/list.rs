//! Every attribute, in one place. The tables in docs/TELEMETRY.md are made from this list; if the
//! page differs, a test prints the right table.

use super::{Attribute, AttributeValue, Presence, Row, Text};
use std::marker::PhantomData;

/// Makes a module of [`Attribute`]s and its [`Row`]s. The comment above each attribute says what it
/// means. Then come its name here, the type of its values, its key, where it is present, and an
/// example.
macro_rules! attributes {
    ($(#[doc = $title:literal])+ $module:ident, $rows:ident: $(
        $(#[doc = $about:literal])+
        $name:ident: $type:ty = $key:literal, $presence:ident, $example:literal;
    )+) => {
        $(#[doc = $title])+
        pub mod $module {
            use super::*;
            $(
                $(#[doc = $about])+
                pub const $name: Attribute<$type> = Attribute { key: $key, value: PhantomData };
            )+
        }

        $(#[doc = $title])+
        ///
        /// In the order of the documentation.
        pub const $rows: &[Row] = &[$(Row {
            key: $key,
            kind: <$type as AttributeValue>::NAME,
            presence: Presence::$presence,
            example: $example,
            about: concat!($($about),+).trim_ascii(),
        }),+];
    };
}

attributes! {
    /// The attributes of a span.
    span, SPAN:

    /// `add` or `cancel`
    OPERATION_NAME: Text = "mpr.operation.name", Always, "add";

    /// `success`, `failure`, `cancelled`, `nothing_to_do` or `unfinished`
    OUTCOME: Text = "mpr.outcome", Always, "failure";

    /// the provider's result as MPR reports it; a Win32 code, and 0 is success
    STATUS_CODE: i64 = "mpr.status.code", Finished, "53";

    /// the code's name in Windows' headers, or `unfinished`. A code that is not in `mpr-otel
    /// errors` has the name `WIN32_<code>`; from 0x80000000 on, the name is `0x` and eight digits,
    /// such as `0xC00000CC`
    ERROR_TYPE: Text = "error.type", FailedOrUnfinished, "ERROR_BAD_NETPATH";

    /// what to do about it: `unreachable`, `client_network`, `not_found`, `authentication`, `authorization`, `security_policy`, `conflict`, `resource`, `request` or `other`
    ERROR_CLASS: Text = "mpr.error.class", Failed, "unreachable";

    /// the server in the remote name if it can be a host name, in lower case. An IPv6 literal
    /// becomes the address that it spells. `\\tsclient`, `\\wsl$`, `\\wsl.localhost` and
    /// `\\vmware-host` are not servers. `other` if the agent took over more than 200 servers' names
    /// of this user in an hour
    SERVER_ADDRESS: Text = "server.address", Known, "files01.corp.example";

    /// the port, if the remote name contains one (WebDAV)
    SERVER_PORT: i64 = "server.port", Known, "8443";

    /// `webdav` or `rdp` if the remote name shows it; `smb`, `webdav` or `rdp` if a cancel names
    /// the provider
    NETWORK_PROTOCOL_NAME: Text = "network.protocol.name", Known, "webdav";

    /// the first part of the remote name's path; `***` if it matches `PrivateShares` or cannot be a
    /// share's name
    SHARE_NAME: Text = "mpr.share.name", Known, "projects";

    /// the next part of the path, if the share is one of `DfsRoots`
    DFS_LINK: Text = "mpr.dfs.link", Known, "sales";

    /// the remote name up to the share, without credentials; with `Privacy=full` the whole name as the program gave it
    REMOTE_NAME: Text = "mpr.remote.name", Known, r"\\FILES01.corp.example\projects";

    /// the drive or port
    LOCAL_NAME: Text = "mpr.local.name", Known, "Z:";

    /// `any`, `disk`, `print` or `unknown`
    RESOURCE_TYPE: Text = "mpr.resource.type", Adds, "disk";

    /// the network provider; Windows names it only for a cancel that succeeded
    PROVIDER_NAME: Text = "mpr.provider.name", Known, "Microsoft Windows Network";

    /// the `CONNECT_` flags that were set; unknown bits as one hexadecimal number
    CONNECT_FLAGS: Vec<Text> = "mpr.connect.flags", Known, "[UPDATE_PROFILE]";

    /// whether the disconnection was forced although files were open
    FORCE: bool = "mpr.force", Cancels, "true";

    /// the program's process id
    PROCESS_PID: i64 = "process.pid", Always, "4711";

    /// the program's file name
    PROCESS_EXECUTABLE_NAME: Text = "process.executable.name", Known, "explorer.exe";

    /// the thread that called MPR
    THREAD_ID: i64 = "thread.id", Always, "12";

    /// the session (console or remote desktop) of the thread's effective token
    SESSION_ID: i64 = "mpr.session.id", Windows, "2";

    /// the logon of the thread's effective token, and so whose drive letters are meant: 16
    /// hexadecimal digits of the SHA-256 of `host.id`, the machine's boot and the logon's LUID
    LOGON_ID: Text = "mpr.logon.id", Known, "5c0e0f3a9b7d4421";

    /// elevation of the effective token: `full` (elevated), `limited` (an administrator's token
    /// that is not elevated) or `default` (the user has only one token). One user's `full` and
    /// `limited` tokens are two logons with separate drive letters
    ELEVATION: Text = "mpr.elevation", Known, "limited";

    /// the thread used another user's token
    IMPERSONATED: bool = "mpr.impersonated", Impersonated, "true";

    /// the service, if the command line of svchost.exe names one
    SERVICE: Text = "mpr.service", Known, "Schedule";

    /// how many seconds the machine slept during the operation, if it was at least one; they are
    /// not in the duration
    SUSPENDED: i64 = "mpr.suspended", Slept, "28800";

    /// the program had ended when the agent or `mpr-otel drain` took the operation out of its ledger
    RECOVERED: bool = "mpr.recovered", Recovered, "true";

    /// a name was longer than its place in the ledger: 256 units of UTF-16 for a remote name, 24 for a local one, 64 for a provider
    TRUNCATED: bool = "mpr.truncated", Truncated, "true";

    /// how many operations of this process were lost since the last span with this attribute, as
    /// far as its sender counts them
    LOST: i64 = "mpr.lost", AfterLoss, "3";
}

attributes! {
    /// The attributes of the resource.
    resource, RESOURCE:

    /// `MPR_OTEL_SERVICE_NAME`
    SERVICE_NAME: Text = "service.name", Always, "mpr-otel";

    /// version of the library
    SERVICE_VERSION: Text = "service.version", Always, "0.1.0";

    /// the machine's `host.id`
    SERVICE_INSTANCE_ID: Text = "service.instance.id", Agent, "9e4b…";

    /// the machine's DNS name
    HOST_NAME: Text = "host.name", Known, "desk-17.corp.example";

    /// 64 hexadecimal digits: SHA-256 of Windows' MachineGuid (on Linux the machine id), one byte
    /// 0, and the computer's DNS host name; both texts in lower case and UTF-8. Machines cloned
    /// from one image have the same MachineGuid and different names. A new name makes a new id
    HOST_ID: Text = "host.id", Known, "9e4b…";

    /// the machine's architecture, also if the program is a 32-bit or an emulated one: `amd64`,
    /// `arm64`, `x86`, `arm32`
    HOST_ARCH: Text = "host.arch", Known, "amd64";

    /// `windows` or `linux`
    OS_TYPE: Text = "os.type", Always, "windows";

    /// Windows' version and build, from the registry; on Linux the VERSION_ID of os-release
    OS_VERSION: Text = "os.version", Known, "10.0.26100";

    /// Windows' build and its revision (UBR); on Linux the BUILD_ID of os-release, else the release of the kernel
    OS_BUILD_ID: Text = "os.build_id", Known, "26100.2314";

    /// the Active Directory site that Netlogon found last (DynamicSiteName). The sender reads it
    /// once, so a laptop that moves keeps it until the program or the agent starts again
    SITE: Text = "mpr.site", Known, "Branch-North";

    /// always `opentelemetry`
    TELEMETRY_SDK_NAME: Text = "telemetry.sdk.name", Always, "opentelemetry";

    /// always `rust`
    TELEMETRY_SDK_LANGUAGE: Text = "telemetry.sdk.language", Always, "rust";

    /// version of the SDK that encodes the spans
    TELEMETRY_SDK_VERSION: Text = "telemetry.sdk.version", Always, "0.33.1";
}
