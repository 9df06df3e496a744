//! The Win32 codes that end a connection operation: name, what it means, what to do about it.

/// What an operator does about a failure: the value of `mpr.error.class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The server or the network cannot be reached.
    Unreachable,
    /// The server answers; the share or connection is not there.
    NotFound,
    /// The user could not be identified.
    Authentication,
    /// The user is known and may not.
    Authorization,
    /// Something else holds the letter or the connection.
    Conflict,
    /// Memory, quota or a connection limit is used up.
    Resource,
    /// The request itself is wrong.
    Request,
    /// A code that is not in the table.
    Other,
}

impl Class {
    /// The value of `mpr.error.class`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NotFound => "not_found",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Conflict => "conflict",
            Self::Resource => "resource",
            Self::Request => "request",
            Self::Other => "other",
        }
    }
}

/// What a code says about the operation it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The operation succeeded. Some codes look like errors and are not.
    Success,
    /// The user cancelled it: no failure to alert on.
    Cancelled,
    /// It failed.
    Failure(Class),
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Win32Error {
    /// The code, as in `mpr.status.code`.
    pub code: u32,
    /// The symbolic name of `winerror.h`, as in `error.type`.
    pub name: &'static str,
    /// What it says about the operation.
    pub meaning: Meaning,
    /// What to do about it, in a sentence.
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
            &[$((windows_sys::Win32::Foundation::$name, stringify!($name))),*];
    };
}

use Class::{Authentication, Authorization, Conflict, NotFound, Request, Resource, Unreachable};
use Meaning::{Cancelled, Failure, Success};

table! {
    5, ERROR_ACCESS_DENIED, Failure(Authorization),
        "The user is known but may not use the share: check share and file permissions.";
    8, ERROR_NOT_ENOUGH_MEMORY, Failure(Resource),
        "The client or the server is out of memory.";
    14, ERROR_OUTOFMEMORY, Failure(Resource),
        "The client or the server is out of memory.";
    50, ERROR_NOT_SUPPORTED, Failure(Request),
        "The server or provider does not support this request: check the SMB dialect and what kind of resource it is.";
    51, ERROR_REM_NOT_LIST, Failure(Unreachable),
        "The server answers but Windows cannot reach the share: check name resolution, the Workstation service and the firewall between.";
    53, ERROR_BAD_NETPATH, Failure(Unreachable),
        "The server was not found on the network: check that it is up, that its name resolves, and that TCP 445 is open.";
    54, ERROR_NETWORK_BUSY, Failure(Unreachable),
        "The network was too busy to answer: look for an overloaded link or server.";
    55, ERROR_DEV_NOT_EXIST, Failure(NotFound),
        "The share or device is gone: check that it still exists on the server.";
    59, ERROR_UNEXP_NET_ERR, Failure(Unreachable),
        "The network failed in the middle: look at the server's and the switch's logs, and at SMB signing and dialect settings.";
    64, ERROR_NETNAME_DELETED, Failure(Unreachable),
        "The connection was cut by the server or something between: look for a restart, a failover or an idle time-out.";
    65, ERROR_NETWORK_ACCESS_DENIED, Failure(Authorization),
        "The server denies network access: check share permissions and policies for guest access.";
    66, ERROR_BAD_DEV_TYPE, Failure(Request),
        "The resource is of another type: a printer was mapped as a drive, or the reverse.";
    67, ERROR_BAD_NET_NAME, Failure(NotFound),
        "The server is there but has no share of that name: check the spelling and whether the share was removed.";
    71, ERROR_REQ_NOT_ACCEP, Failure(Resource),
        "The server accepts no more connections: raise its limit or move load away.";
    85, ERROR_ALREADY_ASSIGNED, Failure(Conflict),
        "The drive letter is in use for another connection: cancel that or take another letter.";
    86, ERROR_INVALID_PASSWORD, Failure(Authentication),
        "The password is wrong: look for stored or outdated credentials.";
    87, ERROR_INVALID_PARAMETER, Failure(Request),
        "A parameter is not valid: check the script or program that asks.";
    121, ERROR_SEM_TIMEOUT, Failure(Unreachable),
        "The server took the connection and then did not answer in time: look for a hung server or a dropped packet path.";
    170, ERROR_BUSY, Failure(Conflict),
        "The resource is busy: try again.";
    234, ERROR_MORE_DATA, Failure(Request),
        "The buffer given was too small: a fault of the calling program.";
    487, ERROR_INVALID_ADDRESS, Failure(Request),
        "An address given was not valid: a fault of the calling program.";
    1200, ERROR_BAD_DEVICE, Failure(NotFound),
        "The local device name is not valid: use a free drive letter such as Z:.";
    1201, ERROR_CONNECTION_UNAVAIL, Failure(Request),
        "The device is remembered but not connected now: the server could not be reached when it was restored.";
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
    1208, ERROR_EXTENDED_ERROR, Failure(Request),
        "The provider has an error of its own: look at its log.";
    1219, ERROR_SESSION_CREDENTIAL_CONFLICT, Failure(Conflict),
        "There is a connection to this server with other credentials: cancel it, or use one set per server.";
    1222, ERROR_NO_NETWORK, Failure(Unreachable),
        "No network, or no network provider is started: check the adapter and the Workstation service.";
    1223, ERROR_CANCELLED, Cancelled,
        "The user closed the prompt for credentials: not a failure.";
    1225, ERROR_CONNECTION_REFUSED, Failure(Unreachable),
        "The machine is up but refuses the port: check that its Server service runs and listens on TCP 445.";
    1231, ERROR_NETWORK_UNREACHABLE, Failure(Unreachable),
        "No route to the server's network: check VPN, adapter and routes.";
    1232, ERROR_HOST_UNREACHABLE, Failure(Unreachable),
        "The server's network is reached but not the server: check that it is up and not firewalled.";
    1244, ERROR_NOT_AUTHENTICATED, Failure(Authentication),
        "The operation needs an authenticated user: log on to the domain or give credentials.";
    1245, ERROR_NOT_LOGGED_ON, Failure(Authentication),
        "The user is not logged on to the network: log on again.";
    1265, ERROR_DOWNGRADE_DETECTED, Failure(Authentication),
        "The authentication protocol was downgraded: check the domain controller's reachability and Kerberos.";
    1311, ERROR_NO_LOGON_SERVERS, Failure(Authentication),
        "No domain controller could be reached to check the credentials: check the DCs, DNS and VPN.";
    1312, ERROR_NO_SUCH_LOGON_SESSION, Failure(Authentication),
        "The logon session is gone: log off and on; for tasks and services check stored credentials.";
    1326, ERROR_LOGON_FAILURE, Failure(Authentication),
        "User name or password is wrong: look for stored or expired credentials, and for a service account whose password changed.";
    1327, ERROR_ACCOUNT_RESTRICTION, Failure(Authentication),
        "The account may not log on this way: blank password, or a policy restriction.";
    1328, ERROR_INVALID_LOGON_HOURS, Failure(Authentication),
        "The account may not log on at this hour.";
    1329, ERROR_INVALID_WORKSTATION, Failure(Authentication),
        "The account may not log on from this machine.";
    1330, ERROR_PASSWORD_EXPIRED, Failure(Authentication),
        "The account's password has expired: change it.";
    1331, ERROR_ACCOUNT_DISABLED, Failure(Authentication),
        "The account is disabled: enable it or use another.";
    1385, ERROR_LOGON_TYPE_NOT_GRANTED, Failure(Authentication),
        "The account lacks the right to log on over the network to this server.";
    1396, ERROR_WRONG_TARGET_NAME, Failure(Authentication),
        "The server is known to Kerberos by another name: check SPNs and DNS aliases.";
    1398, ERROR_TIME_SKEW, Failure(Authentication),
        "The clocks of client and server differ too much for Kerberos: check time synchronisation.";
    1793, ERROR_ACCOUNT_EXPIRED, Failure(Authentication),
        "The account has expired: extend it or use another.";
    1816, ERROR_NOT_ENOUGH_QUOTA, Failure(Resource),
        "A quota is used up: check the server's quotas and the client's session space.";
    1907, ERROR_PASSWORD_MUST_CHANGE, Failure(Authentication),
        "The password must be changed before the first logon.";
    1909, ERROR_ACCOUNT_LOCKED_OUT, Failure(Authentication),
        "The account is locked out: find what keeps trying an old password.";
    2108, ERROR_CONNECTED_OTHER_PASSWORD, Success,
        "Connected, with another password than the one given: a success.";
    2109, ERROR_CONNECTED_OTHER_PASSWORD_DEFAULT, Success,
        "Connected, with the default password: a success.";
    2202, ERROR_BAD_USERNAME, Failure(Authentication),
        "The user name is not valid.";
    2250, ERROR_NOT_CONNECTED, Failure(NotFound),
        "There is no such connection to cancel: it was gone already.";
    2401, ERROR_OPEN_FILES, Failure(Conflict),
        "Files are open on the connection: close them or force the disconnection.";
    2402, ERROR_ACTIVE_CONNECTIONS, Failure(Conflict),
        "The connection is still in use: close what uses it.";
    2404, ERROR_DEVICE_IN_USE, Failure(Conflict),
        "A process uses the device: close it first.";
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
        (_, None) => Failure(Class::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_agrees_with_the_windows_headers() {
        assert_eq!(TABLE.len(), WINDOWS.len());
        for (row, (code, name)) in TABLE.iter().zip(WINDOWS) {
            assert_eq!((row.code, row.name), (*code, *name));
        }
    }

    #[test]
    fn rows_are_in_ascending_order_and_found_by_code() {
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code));
        for row in TABLE {
            assert_eq!(find(row.code), Some(row));
            assert!(row.advice.ends_with('.'));
        }
        assert_eq!(find(0), None);
        assert_eq!(find(u32::MAX), None);
    }

    #[test]
    fn successes_that_look_like_errors_are_successes() {
        for code in [0, 2108, 2109] {
            assert_eq!(meaning(code), Success);
        }
        assert_eq!(meaning(1223), Cancelled);
        assert_eq!(meaning(53), Failure(Unreachable));
        assert_eq!(meaning(12345), Failure(Class::Other));
    }
}
