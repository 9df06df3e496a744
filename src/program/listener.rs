//! A process that listens on a port of this machine: any user's may, on any port that is free.

use std::fmt;

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Its process id.
    pub(crate) process: u32,
    /// Its program; `None` if that cannot be found out.
    pub(crate) program: Option<String>,
    /// The account that it runs under: a service's account as the registry names it, or a SID.
    /// `None` if it cannot be found out.
    pub(crate) account: Option<String>,
}

impl Listener {
    /// Whether it runs under the system's account, or under a service account that is not a user's.
    pub(crate) fn is_service(&self) -> bool {
        const ACCOUNTS: [&str; 7] = [
            "LocalSystem",
            r"NT AUTHORITY\SYSTEM",
            r"NT AUTHORITY\LocalService",
            r"NT AUTHORITY\NetworkService",
            // Microsoft: Well-known SIDs.
            "S-1-5-18",
            "S-1-5-19",
            "S-1-5-20",
        ];
        let Some(account) = &self.account else { return false };
        let begins = |prefix: &str| {
            account.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        ACCOUNTS.iter().any(|known| account.eq_ignore_ascii_case(known))
            || begins(r"NT SERVICE\")
            || begins("S-1-5-80-")
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.as_deref().unwrap_or("a program that cannot be seen");
        let account = self.account.as_deref().unwrap_or("an account that cannot be seen");
        write!(out, "{program} (process {}, {account})", self.process)
    }
}
