//! Finds the process that listens where the agent would send its secrets in clear text. On this
//! machine any user may listen on any free port.

use mpr_otel_core::courier::Cause;
#[cfg(any(windows, test))]
use std::fmt;

/// A process that listens.
#[cfg(any(windows, test))]
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

#[cfg(any(windows, test))]
impl Listener {
    /// Whether it runs under the system's account, or under a service account that is not a user's.
    fn is_service(&self) -> bool {
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

#[cfg(any(windows, test))]
impl fmt::Display for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.as_deref().unwrap_or("a program that cannot be seen");
        let account = self.account.as_deref().unwrap_or("an account that cannot be seen");
        write!(out, "{program} (process {}, {account})", self.process)
    }
}

/// Whether the process that listens on this port of this machine may get secrets now. An error says
/// why not.
///
/// Another process may take the port over between this check and the request. While a service holds
/// the port, others cannot take it.
pub(crate) fn may_have_secrets(port: u16) -> Result<(), (Cause, String)> {
    #[cfg(windows)]
    return match crate::windows::listeners(port) {
        Ok(listeners) => judge(&listeners, port),
        Err(error) => Err((
            Cause::Withheld,
            format!("it cannot be found out who listens on port {port}: {error}"),
        )),
    };
    // On other systems nothing is installed: the same person sets the headers and the endpoint.
    #[cfg(not(windows))]
    {
        let _ = port;
        Ok(())
    }
}

/// Checks that at least one process listens, and that each one is a service.
#[cfg(any(windows, test))]
fn judge(listeners: &[Listener], port: u16) -> Result<(), (Cause, String)> {
    if listeners.is_empty() {
        // Without a listener nothing is sent: later a process could listen that was not checked.
        return Err((Cause::Busy, format!("nobody listens on port {port}")));
    }
    match listeners.iter().find(|listener| !listener.is_service()) {
        None => Ok(()),
        Some(listener) => Err((
            Cause::Withheld,
            format!(
                "{listener} listens on port {port} and is not a service, so it gets no headers"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(account: Option<&str>) -> Listener {
        let program = Some(r"C:\collector.exe".to_owned());
        Listener { process: 7, program, account: account.map(str::to_owned) }
    }

    #[test]
    fn the_system_and_services_without_a_users_account_may_have_secrets() {
        for account in [
            "LocalSystem",
            r"NT Authority\LocalService",
            r"NT AUTHORITY\NetworkService",
            r"NT SERVICE\otelcol",
            "S-1-5-18",
            "S-1-5-19",
            "S-1-5-20",
            "S-1-5-80-1-2-3-4-5",
        ] {
            assert_eq!(judge(&[listener(Some(account))], 4318), Ok(()), "{account}");
        }
        for account in [
            Some(r".\user"),
            Some(r"CORP\service"),
            Some("S-1-5-21-1-2-3-1001"),
            Some("S-1-5-180"),
            Some("S-1-5-8"),
            Some("LocalSystemX"),
            Some(""),
            None,
        ] {
            let (cause, said) = judge(&[listener(account)], 4318).unwrap_err();
            assert_eq!(cause, Cause::Withheld, "{account:?}");
            assert!(said.starts_with(r"C:\collector.exe (process 7, "), "{said}");
            assert!(said.contains(account.unwrap_or("cannot be seen")), "{said}");
        }
    }

    #[test]
    fn a_listener_that_is_not_a_service_is_refused_and_so_is_a_port_without_a_listener() {
        let (service, user) = (listener(Some("LocalSystem")), listener(Some(r".\user")));
        assert_eq!(judge(&[service.clone(), service.clone()], 1), Ok(()));
        assert_eq!(judge(&[service, user], 1).unwrap_err().0, Cause::Withheld);
        assert_eq!(judge(&[], 1), Err((Cause::Busy, "nobody listens on port 1".to_owned())));
    }
}
