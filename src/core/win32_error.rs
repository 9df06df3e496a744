//! The codes that end a connection operation: each code's name, its meaning, and an advice.
//!
//! Most are Win32 codes. SMB adds a few `NTSTATUS` values, which have the high bit set. MPR passes
//! them on unchanged.

use std::borrow::Cow;

/// `winerror.h`: the connection does not exist. On a cancel, nothing was left to do.
pub const ERROR_NOT_CONNECTED: u32 = 2250;

/// The kind of failure, which says what an operator can do: the value of `mpr.error.class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The server, or the network between, cannot be reached.
    Unreachable,
    /// The client has no network: its adapter, route or VPN, or the service for it, fails. The
    /// servers work.
    ClientNetwork,
    /// The server answers, but the share or the connection does not exist.
    NotFound,
    /// The user could not be identified.
    Authentication,
    /// The user is known but is not allowed to.
    Authorization,
    /// A security setting of the client or the server forbids the connection for every user.
    SecurityPolicy,
    /// The drive letter or the connection is in use.
    Conflict,
    /// Memory, quota or a connection limit is used up.
    Resource,
    /// The request itself is wrong.
    Request,
    /// A code that is not in the table, or one that does not say what failed.
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::ClientNetwork,
        Self::NotFound,
        Self::Authentication,
        Self::Authorization,
        Self::SecurityPolicy,
        Self::Conflict,
        Self::Resource,
        Self::Request,
        Self::Other,
    ];

    /// The value of `mpr.error.class`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ClientNetwork => "client_network",
            Self::NotFound => "not_found",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::SecurityPolicy => "security_policy",
            Self::Conflict => "conflict",
            Self::Resource => "resource",
            Self::Request => "request",
            Self::Other => "other",
        }
    }
}

/// What a code says about the operation that it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The operation succeeded. Some codes of successes look like errors.
    Success,
    /// The user cancelled the operation. This is not a failure to alert on.
    Cancelled,
    /// The operation failed.
    Failure(Class),
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Win32Error {
    /// The code, as in `mpr.status.code`.
    pub code: u32,
    /// The symbolic name in `winerror.h`, `lmerr.h` or `ntstatus.h`, as in `error.type`.
    pub name: &'static str,
    /// What the code says about the operation.
    pub meaning: Meaning,
    /// The advice, in a sentence.
    pub advice: &'static str,
}

macro_rules! table {
    ($($code:literal, $name:ident, $meaning:expr, $advice:literal;)*) => {
        /// The codes that are known to end connection operations, in ascending order.
        pub const TABLE: &[Win32Error] = &[
            $(Win32Error {
                code: $code,
                name: stringify!($name),
                meaning: $meaning,
                advice: $advice,
            }),*
        ];

        #[cfg(test)]
        const WINDOWS: &[(u32, &str)] =
            &[$((tests::windows::$name as u32, stringify!($name))),*];
    };
}

use Class::{
    Authentication, Authorization, ClientNetwork, Conflict, NotFound, Other, Request, Resource,
    SecurityPolicy, Unreachable,
};
use Meaning::{Cancelled, Failure, Success};

table! {
    2, ERROR_FILE_NOT_FOUND, Failure(NotFound),
        "The server answers, but what the path names is not there: check the path, and the target of a DFS link in it.";
    3, ERROR_PATH_NOT_FOUND, Failure(NotFound),
        "A part of the path is not there: check the folders below the share, and the target of a DFS link among them.";
    5, ERROR_ACCESS_DENIED, Failure(Authorization),
        "The user is known but may not use the share: check share and file permissions.";
    8, ERROR_NOT_ENOUGH_MEMORY, Failure(Resource),
        "The client or the server is out of memory: find the process that takes it, and free or add memory.";
    14, ERROR_OUTOFMEMORY, Failure(Resource),
        "The client or the server is out of memory: find the process that takes it, and free or add memory.";
    15, ERROR_INVALID_DRIVE, Failure(NotFound),
        "The drive is not there: check the letter in the script, and on the server the volume behind the share.";
    50, ERROR_NOT_SUPPORTED, Failure(Request),
        "The server or provider does not support this request: check the SMB dialect and what kind of resource it is.";
    51, ERROR_REM_NOT_LIST, Failure(Unreachable),
        "The server answers but Windows cannot reach the share: check name resolution, the Workstation service and the firewall between.";
    52, ERROR_DUP_NAME, Failure(Unreachable),
        "The server does not accept this name, as with a DNS alias it does not know: add the alias on the server with netdom computername, or map by its own name.";
    53, ERROR_BAD_NETPATH, Failure(Unreachable),
        "The server was not found on the network: check that it is up, that its name resolves, and that TCP 445 is open.";
    54, ERROR_NETWORK_BUSY, Failure(Unreachable),
        "The network was too busy to answer: look for an overloaded link or server.";
    55, ERROR_DEV_NOT_EXIST, Failure(NotFound),
        "The share or device is gone: check that it still exists on the server.";
    56, ERROR_TOO_MANY_CMDS, Failure(Resource),
        "The client has too many network commands under way: look for a program that floods the network, then for a server that does not answer.";
    57, ERROR_ADAP_HDW_ERR, Failure(ClientNetwork),
        "The client's network adapter reports a fault: check adapter, driver and cable.";
    58, ERROR_BAD_NET_RESP, Failure(Unreachable),
        "The server's answer cannot be used: check its SMB version and firmware, and devices between that change packets.";
    59, ERROR_UNEXP_NET_ERR, Failure(Unreachable),
        "The network failed in the middle: look at the server's and the switch's logs, and at SMB signing and dialect settings.";
    60, ERROR_BAD_REM_ADAP, Failure(Unreachable),
        "The server's network adapter does not fit the client's: check adapter and driver of the server.";
    64, ERROR_NETNAME_DELETED, Failure(Unreachable),
        "The connection was cut by the server or something between: look for a restart, a failover or an idle time-out.";
    65, ERROR_NETWORK_ACCESS_DENIED, Failure(Authorization),
        "The server denies network access: check share permissions and policies for guest access.";
    66, ERROR_BAD_DEV_TYPE, Failure(Request),
        "The resource is of another type, as when a printer is mapped as a drive: correct the type in the script.";
    67, ERROR_BAD_NET_NAME, Failure(NotFound),
        "The server is there but has no share of that name: check the spelling and whether the share was removed.";
    68, ERROR_TOO_MANY_NAMES, Failure(Resource),
        "The client's network adapter has no room for another NetBIOS name: remove names, or map by DNS name.";
    69, ERROR_TOO_MANY_SESS, Failure(Resource),
        "The limit of NetBIOS sessions is reached: close sessions, or map by DNS name.";
    70, ERROR_SHARING_PAUSED, Failure(Unreachable),
        "The server is paused or still starting: wait, or continue its Server service.";
    71, ERROR_REQ_NOT_ACCEP, Failure(Resource),
        "The server accepts no more connections: raise its limit or move load away.";
    72, ERROR_REDIR_PAUSED, Failure(ClientNetwork),
        "The client's redirection of this drive or printer is paused: continue the Workstation service.";
    85, ERROR_ALREADY_ASSIGNED, Failure(Conflict),
        "The drive letter is in use for another connection: cancel that or take another letter.";
    86, ERROR_INVALID_PASSWORD, Failure(Authentication),
        "The password is wrong: look for stored or outdated credentials.";
    87, ERROR_INVALID_PARAMETER, Failure(Request),
        "A parameter is not valid: check the script or program that asks.";
    88, ERROR_NET_WRITE_FAULT, Failure(Unreachable),
        "Sending over the network failed: look for packet loss, then at the server's and the switch's logs.";
    121, ERROR_SEM_TIMEOUT, Failure(Unreachable),
        "The server took the connection and then did not answer in time: look for a hung server or a dropped packet path.";
    123, ERROR_INVALID_NAME, Failure(Request),
        "The name has characters or a form that are not allowed: check the path in the script, quotes and slashes included.";
    161, ERROR_BAD_PATHNAME, Failure(Request),
        "The path is not valid: check its spelling in the script; it is \\\\server\\share.";
    170, ERROR_BUSY, Failure(Conflict),
        "The resource is busy: try again.";
    206, ERROR_FILENAME_EXCED_RANGE, Failure(Request),
        "The path or a name in it is too long: map a folder nearer to the share.";
    234, ERROR_MORE_DATA, Failure(Request),
        "The buffer given was too small: report it to the maker of the calling program.";
    240, ERROR_VC_DISCONNECTED, Failure(Unreachable),
        "The session with the server was cut: look for a restart, a failover, or a firewall that drops idle connections.";
    384, ERROR_SMB1_NOT_AVAILABLE, Failure(SecurityPolicy),
        "The server speaks only SMB 1, which is off on the client: update the server to SMB 2 or later, or replace it.";
    487, ERROR_INVALID_ADDRESS, Failure(Request),
        "An address given was not valid: report it to the maker of the calling program.";
    1058, ERROR_SERVICE_DISABLED, Failure(ClientNetwork),
        "A service that the network provider needs is disabled on the client: enable Workstation, or WebClient for WebDAV.";
    1060, ERROR_SERVICE_DOES_NOT_EXIST, Failure(ClientNetwork),
        "A service that the network provider needs is not installed on the client: install the feature that brings it, such as the WebDAV Redirector.";
    1062, ERROR_SERVICE_NOT_ACTIVE, Failure(ClientNetwork),
        "A service that the network provider needs is not running on the client: start Workstation, or WebClient for WebDAV.";
    1068, ERROR_SERVICE_DEPENDENCY_FAIL, Failure(ClientNetwork),
        "A service on the client did not start because one that it needs did not: look at the System event log, Service Control Manager.";
    1130, ERROR_NOT_ENOUGH_SERVER_MEMORY, Failure(Resource),
        "The server is out of memory for requests: look at its nonpaged pool and IRPStackSize, and move load away.";
    1168, ERROR_NOT_FOUND, Failure(NotFound),
        "What was asked for is not there: check share, path and stored credentials.";
    1200, ERROR_BAD_DEVICE, Failure(Request),
        "The local device name is not valid: use a free drive letter such as Z:.";
    1201, ERROR_CONNECTION_UNAVAIL, Failure(Unreachable),
        "The device is remembered but not connected now, because the server could not be reached: check the server, then connect again.";
    1202, ERROR_DEVICE_ALREADY_REMEMBERED, Failure(Conflict),
        "The letter is remembered for another connection: remove the remembered one first.";
    1203, ERROR_NO_NET_OR_BAD_PATH, Failure(Unreachable),
        "No provider accepted the path: check its spelling, then whether the server is up and its name resolves.";
    1204, ERROR_BAD_PROVIDER, Failure(Request),
        "The network provider's name is not valid: check the caller and the providers installed.";
    1205, ERROR_CANNOT_OPEN_PROFILE, Failure(Request),
        "The list of remembered connections cannot be opened: check the user's profile.";
    1206, ERROR_BAD_PROFILE, Failure(Request),
        "The list of remembered connections is damaged: check the user's profile.";
    1208, ERROR_EXTENDED_ERROR, Failure(Other),
        "The provider has an error of its own, which only the calling program can ask for: look at its message and at the provider's log.";
    1210, ERROR_INVALID_COMPUTERNAME, Failure(Request),
        "The server's name has a form that is not allowed: correct it in the script.";
    1214, ERROR_INVALID_NETNAME, Failure(Request),
        "The network name has a form that is not allowed: correct it in the script.";
    1215, ERROR_INVALID_SHARENAME, Failure(Request),
        "The share's name has a form that is not allowed: correct it in the script.";
    1219, ERROR_SESSION_CREDENTIAL_CONFLICT, Failure(Conflict),
        "There is a connection to this server with other credentials: cancel it, or use one set per server.";
    1220, ERROR_REMOTE_SESSION_LIMIT_EXCEEDED, Failure(Resource),
        "The server has as many sessions as it allows: close idle ones, or raise its limit.";
    1222, ERROR_NO_NETWORK, Failure(ClientNetwork),
        "The client has no network, or no network provider is started: check the adapter and the Workstation service.";
    1223, ERROR_CANCELLED, Cancelled,
        "The user closed the prompt for credentials: not a failure.";
    1225, ERROR_CONNECTION_REFUSED, Failure(Unreachable),
        "The machine is up but refuses the port: check that its Server service runs and listens on TCP 445.";
    1226, ERROR_GRACEFUL_DISCONNECT, Failure(Unreachable),
        "The server closed the connection: look for its restart, and for a limit on connections.";
    1229, ERROR_CONNECTION_INVALID, Failure(Unreachable),
        "The connection was gone when it was to be used: look for a restart of the server, or a client that slept.";
    1231, ERROR_NETWORK_UNREACHABLE, Failure(ClientNetwork),
        "The client has no route to the server's network: check its VPN, adapter and routes.";
    1232, ERROR_HOST_UNREACHABLE, Failure(Unreachable),
        "The server's network is reached but not the server: check that it is up and not firewalled.";
    1233, ERROR_PROTOCOL_UNREACHABLE, Failure(Unreachable),
        "The machine is there but does not speak the protocol: check what the name resolves to, and that file sharing is on there.";
    1234, ERROR_PORT_UNREACHABLE, Failure(Unreachable),
        "No service listens on the server's port: check that its Server service runs and listens on TCP 445.";
    1235, ERROR_REQUEST_ABORTED, Failure(Unreachable),
        "The request was broken off before the server answered: look for a connection that was cut, or a program that was closed.";
    1236, ERROR_CONNECTION_ABORTED, Failure(Unreachable),
        "The client's network stack gave the connection up: look for packet loss, a VPN that changed, or a client that slept.";
    1238, ERROR_CONNECTION_COUNT_LIMIT, Failure(Resource),
        "The server's limit of connections for this account or service is reached: close idle ones, or raise the limit.";
    1240, ERROR_LOGIN_WKSTA_RESTRICTION, Failure(Authentication),
        "The account may not log on from this machine: check the machines that the account is restricted to.";
    1244, ERROR_NOT_AUTHENTICATED, Failure(Authentication),
        "The operation needs an authenticated user: log on to the domain or give credentials.";
    1245, ERROR_NOT_LOGGED_ON, Failure(Authentication),
        "The user is not logged on to the network: log on again.";
    1256, ERROR_HOST_DOWN, Failure(Unreachable),
        "The server is known to be down: check that it is up and on the network.";
    1260, ERROR_ACCESS_DISABLED_BY_POLICY, Failure(SecurityPolicy),
        "Group Policy blocks this on the client: find the policy with gpresult, and allow it there if it is wanted.";
    1262, ERROR_CSCSHARE_OFFLINE, Failure(Unreachable),
        "Offline Files holds the share as offline: check that the server is reached, then choose Work online.";
    1263, ERROR_PKINIT_FAILURE, Failure(Authentication),
        "Kerberos could not use the smart card's certificate: check the certificates of card and domain controller.";
    1264, ERROR_SMARTCARD_SUBSYSTEM_FAILURE, Failure(Authentication),
        "The smart card could not be used: check card, reader and the Smart Card service.";
    1265, ERROR_DOWNGRADE_DETECTED, Failure(Authentication),
        "The authentication protocol was downgraded: check the domain controller's reachability and Kerberos.";
    1272, ERROR_SMB_GUEST_LOGON_BLOCKED, Failure(SecurityPolicy),
        "The server lets users in as guests only, and the client's policy forbids that: give the users accounts on the server.";
    1311, ERROR_NO_LOGON_SERVERS, Failure(Authentication),
        "No domain controller could be reached to check the credentials: check the DCs, DNS and VPN.";
    1312, ERROR_NO_SUCH_LOGON_SESSION, Failure(Authentication),
        "The logon session is gone: log off and on; for tasks and services check stored credentials.";
    1314, ERROR_PRIVILEGE_NOT_HELD, Failure(Authorization),
        "The account lacks a right that the operation needs: check the user rights assignment of client and server.";
    1317, ERROR_NO_SUCH_USER, Failure(Authentication),
        "The account does not exist: check the user name and its domain, and stored credentials.";
    1323, ERROR_WRONG_PASSWORD, Failure(Authentication),
        "The password given is not the current one: look for stored or outdated credentials.";
    1326, ERROR_LOGON_FAILURE, Failure(Authentication),
        "User name or password is wrong: look for stored or expired credentials, and for a service account whose password changed.";
    1327, ERROR_ACCOUNT_RESTRICTION, Failure(Authentication),
        "The account may not log on this way: check for a blank password and for policy restrictions.";
    1328, ERROR_INVALID_LOGON_HOURS, Failure(Authentication),
        "The account may not log on at this hour: check its logon hours.";
    1329, ERROR_INVALID_WORKSTATION, Failure(Authentication),
        "The account may not log on from this machine: check the machines that the account is restricted to.";
    1330, ERROR_PASSWORD_EXPIRED, Failure(Authentication),
        "The account's password has expired: change it.";
    1331, ERROR_ACCOUNT_DISABLED, Failure(Authentication),
        "The account is disabled: enable it or use another.";
    1346, ERROR_BAD_IMPERSONATION_LEVEL, Failure(Authorization),
        "A service asks for a user whom it may identify but not impersonate: check delegation, and how the service logs the user on.";
    1355, ERROR_NO_SUCH_DOMAIN, Failure(Authentication),
        "The domain was not found: check DNS, the VPN, and the domain in the user name.";
    1384, ERROR_TOO_MANY_CONTEXT_IDS, Failure(Authentication),
        "The user is in too many groups for one token: remove groups, nested ones included.";
    1385, ERROR_LOGON_TYPE_NOT_GRANTED, Failure(Authentication),
        "The account lacks the right to log on over the network to this server: check the server's user rights assignment.";
    1394, ERROR_NO_USER_SESSION_KEY, Failure(Authentication),
        "The logon gave no session key, which signing needs: look for a guest or anonymous logon, and give real credentials.";
    1396, ERROR_WRONG_TARGET_NAME, Failure(Authentication),
        "The server is known to Kerberos by another name: check SPNs and DNS aliases.";
    1397, ERROR_MUTUAL_AUTH_FAILED, Failure(Authentication),
        "The server could not prove who it is: check its computer account, SPNs and DNS aliases, and which paths the policy Hardened UNC Paths names.";
    1398, ERROR_TIME_SKEW, Failure(Authentication),
        "The clocks of client and server differ too much for Kerberos: check time synchronisation.";
    1450, ERROR_NO_SYSTEM_RESOURCES, Failure(Resource),
        "The client or the server has used up a resource of its kernel: look at paged and nonpaged pool, then restart what leaks.";
    1455, ERROR_COMMITMENT_LIMIT, Failure(Resource),
        "The paging file is too small for the memory in use: find the process that takes it, or enlarge the file.";
    1460, ERROR_TIMEOUT, Failure(Unreachable),
        "The server did not answer in time: look for a hung server, packet loss or a slow link.";
    1717, RPC_S_UNKNOWN_IF, Failure(Unreachable),
        "The machine answers, but the service that is asked for does not run: check the Print Spooler, or the Workstation and Server services.";
    1722, RPC_S_SERVER_UNAVAILABLE, Failure(Unreachable),
        "The machine does not answer remote procedure calls: check that it is up and that the firewall lets RPC and TCP 445 through.";
    1726, RPC_S_CALL_FAILED, Failure(Unreachable),
        "A remote procedure call broke off: look for a service that stopped on the server, or a connection that was cut.";
    1727, RPC_S_CALL_FAILED_DNE, Failure(Unreachable),
        "A remote procedure call was not carried out: look for a service that stopped on the server, or a connection that was cut.";
    1786, ERROR_NO_TRUST_LSA_SECRET, Failure(Authentication),
        "The machine has lost its secret of the domain: repair it with Test-ComputerSecureChannel -Repair.";
    1787, ERROR_NO_TRUST_SAM_ACCOUNT, Failure(Authentication),
        "The domain has no account for this machine: check that it was not deleted, or join the domain again.";
    1788, ERROR_TRUSTED_DOMAIN_FAILURE, Failure(Authentication),
        "The trust between the two domains failed: check it with nltest /sc_query, and reset it if need be.";
    1789, ERROR_TRUSTED_RELATIONSHIP_FAILURE, Failure(Authentication),
        "The machine and its domain no longer agree on the machine's password: repair it with Test-ComputerSecureChannel -Repair.";
    1790, ERROR_TRUST_FAILURE, Failure(Authentication),
        "The logon over a trust failed: check the secure channels of client, server and domains with nltest /sc_query.";
    1792, ERROR_NETLOGON_NOT_STARTED, Failure(Authentication),
        "The Netlogon service is not started: start it on the client, then look on the server and the domain controller.";
    1793, ERROR_ACCOUNT_EXPIRED, Failure(Authentication),
        "The account has expired: extend it or use another.";
    1808, ERROR_NOLOGON_WORKSTATION_TRUST_ACCOUNT, Failure(Authentication),
        "The credentials are those of a computer account: use a user's account.";
    1809, ERROR_NOLOGON_SERVER_TRUST_ACCOUNT, Failure(Authentication),
        "The credentials are those of a domain controller's account: use a user's account.";
    1810, ERROR_DOMAIN_TRUST_INCONSISTENT, Failure(Authentication),
        "Name or SID of the domain does not fit what the trust says: check for a domain that was rebuilt, and make the trust again.";
    1816, ERROR_NOT_ENOUGH_QUOTA, Failure(Resource),
        "A quota is used up: check the server's quotas and the client's session space.";
    1907, ERROR_PASSWORD_MUST_CHANGE, Failure(Authentication),
        "The password must be changed before the first logon: let the user change it.";
    1908, ERROR_DOMAIN_CONTROLLER_NOT_FOUND, Failure(Authentication),
        "No domain controller was found: check DNS, the VPN and the site's domain controllers with nltest /dsgetdc.";
    1909, ERROR_ACCOUNT_LOCKED_OUT, Failure(Authentication),
        "The account is locked out: find what keeps trying an old password.";
    1920, ERROR_CANT_ACCESS_FILE, Failure(NotFound),
        "The path leads over a link that Windows cannot follow: check the DFS link, symbolic link or mount point on the server.";
    1935, ERROR_AUTHENTICATION_FIREWALL_FAILED, Failure(Authentication),
        "Selective authentication of the trust keeps the account out: grant it Allowed to Authenticate on the server's computer account.";
    1937, ERROR_NTLM_BLOCKED, Failure(SecurityPolicy),
        "Policy blocks NTLM and Kerberos was not possible: map by the server's name with an SPN and not by address, or except the server from the policy.";
    1938, ERROR_PASSWORD_CHANGE_REQUIRED, Failure(Authentication),
        "The password must be changed before the account can be used: let the user change it.";
    2108, ERROR_CONNECTED_OTHER_PASSWORD, Success,
        "Connected, with another password than the one given: a success.";
    2109, ERROR_CONNECTED_OTHER_PASSWORD_DEFAULT, Success,
        "Connected, with the default password: a success.";
    2138, NERR_WkstaNotStarted, Failure(ClientNetwork),
        "The Workstation service is not started on the client: start it, and see in the System event log why it stopped.";
    2202, ERROR_BAD_USERNAME, Failure(Authentication),
        "The user name is not valid: check its spelling and domain in the script or in stored credentials.";
    2250, ERROR_NOT_CONNECTED, Failure(NotFound),
        "There is no such connection. On a cancel there was nothing to do; on an add check the name in the script.";
    2401, ERROR_OPEN_FILES, Failure(Conflict),
        "Files are open on the connection: close them or force the disconnection.";
    2402, ERROR_ACTIVE_CONNECTIONS, Failure(Conflict),
        "The connection is still in use: close what uses it.";
    2404, ERROR_DEVICE_IN_USE, Failure(Conflict),
        "A process uses the device: close it first.";
    2453, NERR_DCNotFound, Failure(Authentication),
        "No domain controller of the domain was found: check DNS, the VPN and the domain's name.";
    0xC000_A000, STATUS_INVALID_SIGNATURE, Failure(SecurityPolicy),
        "The server's answer is not signed as it has to be: turn SMB signing on at the server, or update it.";
    0xC05D_0000, STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP, Failure(SecurityPolicy),
        "Client and server have no hash for SMB 3.1.1's preauthentication integrity in common: update the server's SMB.";
    0xC05D_0001, STATUS_SMB_BAD_CLUSTER_DIALECT, Failure(SecurityPolicy),
        "The cluster's functional level does not allow this SMB dialect: raise it with Update-ClusterFunctionalLevel, and check which dialects the client is limited to.";
    // winerror.h has the same number as the HRESULT ERROR_SMB_NO_SIGNING_ALGORITHM_OVERLAP.
    0xC05D_0002, STATUS_SMB_GUEST_LOGON_BLOCKED, Failure(SecurityPolicy),
        "The server lets users in as guests only, and the client's policy forbids that: give the users accounts on the server.";
    0xC05D_0003, STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP, Failure(SecurityPolicy),
        "The client requires SMB signing and the server does not sign, as with guest access or an old NAS: turn signing on there, and give the users accounts.";
    0xC05D_0004, STATUS_NETWORK_AUTHENTICATION_PROMPT_CANCELED, Cancelled,
        "The user closed the prompt for credentials: not a failure.";
}

/// The row of `code`, if there is one.
pub fn find(code: u32) -> Option<&'static Win32Error> {
    TABLE.binary_search_by_key(&code, |row| row.code).ok().map(|index| &TABLE[index])
}

/// What `code` says about the operation that it ended.
pub fn meaning(code: u32) -> Meaning {
    match (code, find(code)) {
        (0, _) => Success,
        (_, Some(row)) => row.meaning,
        (_, None) => Failure(Other),
    }
}

/// Whether `code` has the high bit set: then it is an `NTSTATUS` or `HRESULT` and not a Win32 code.
fn is_status(code: u32) -> bool {
    code >> 31 == 1
}

/// `code` as Windows' documents write it: a Win32 code in decimal, another code as `0x` and eight
/// digits.
pub fn number(code: u32) -> String {
    if is_status(code) { format!("0x{code:08X}") } else { code.to_string() }
}

/// The name of `code` for `error.type`. A code without a row is `WIN32_<code>`, or `0x…` if it is
/// not a Win32 code.
pub fn name(code: u32) -> Cow<'static, str> {
    match find(code) {
        Some(row) => Cow::Borrowed(row.name),
        None if is_status(code) => Cow::Owned(number(code)),
        None => Cow::Owned(format!("WIN32_{code}")),
    }
}

/// The advice for `code`, in a sentence. For a code without a row, where to look it up.
pub fn advice(code: u32) -> Cow<'static, str> {
    match find(code) {
        Some(row) => Cow::Borrowed(row.advice),
        None if is_status(code) => Cow::Owned(format!(
            "This code has no advice here: look up {} among the NTSTATUS values of Microsoft's [MS-ERREF].",
            number(code)
        )),
        None => Cow::Owned(format!(
            "This code has no advice here: `net helpmsg {code}` on Windows prints its meaning."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the headers' constants are.
    pub(super) mod windows {
        pub(in super::super) use windows_sys::Win32::Foundation::*;
        pub(in super::super) use windows_sys::Win32::NetworkManagement::NetManagement::*;
        pub(in super::super) use windows_sys::Win32::System::Rpc::*;
    }

    #[test]
    fn every_row_agrees_with_the_windows_headers() {
        assert_eq!(TABLE.len(), WINDOWS.len());
        for (row, (code, name)) in TABLE.iter().zip(WINDOWS) {
            assert_eq!((row.code, row.name), (*code, *name));
        }
        assert_eq!(ERROR_NOT_CONNECTED, windows::ERROR_NOT_CONNECTED);
    }

    #[test]
    fn rows_are_in_ascending_order_and_found_by_code() {
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code), "the rows go by code, ascending");
        for row in TABLE {
            assert_eq!(find(row.code), Some(row));
            assert_eq!((name(row.code), advice(row.code)), (row.name.into(), row.advice.into()));
            assert!(row.advice.ends_with('.'), "{}", row.name);
            assert!(!row.advice.contains("  "), "{}", row.name);
        }
        assert_eq!(find(0), None);
        assert_eq!(find(u32::MAX), None);
    }

    #[test]
    fn every_class_has_a_row() {
        for class in Class::ALL {
            assert!(TABLE.iter().any(|row| row.meaning == Failure(class)), "{class:?}");
        }
        for row in TABLE {
            if let Failure(class) = row.meaning {
                assert!(Class::ALL.contains(&class), "{class:?} of {}", row.name);
            }
        }
    }

    #[test]
    fn successes_that_look_like_errors_are_successes() {
        for code in [0, 2108, 2109] {
            assert_eq!(meaning(code), Success);
        }
        for code in [1223, 0xC05D_0004] {
            assert_eq!(meaning(code), Cancelled);
        }
        assert_eq!(meaning(53), Failure(Unreachable));
        assert_eq!(meaning(12345), Failure(Other));
    }

    #[test]
    fn a_code_without_a_row_has_a_name_and_says_where_to_look_it_up() {
        for (code, expected, number) in [
            (12345, "WIN32_12345", "12345"),
            (0x7FFF_FFFF, "WIN32_2147483647", "2147483647"),
            (0x8000_0000, "0x80000000", "0x80000000"),
            (0xC000_00CC, "0xC00000CC", "0xC00000CC"),
            (u32::MAX, "0xFFFFFFFF", "0xFFFFFFFF"),
        ] {
            assert_eq!(name(code), expected);
            assert!(advice(code).contains(number), "{}", advice(code));
        }
        assert!(advice(12345).contains("net helpmsg 12345"));
        assert!(!advice(0x8000_0000).contains("net helpmsg"));
    }
}
