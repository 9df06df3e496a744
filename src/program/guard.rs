//! Decides which process of this machine may get the agent's secrets in clear text.

#[cfg(any(windows, test))]
use crate::listener::Listener;
use mpr_otel_core::courier::Cause;

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
    fn one_of_several_that_is_no_service_is_too_much_and_nobody_is_too_few() {
        let (service, user) = (listener(Some("LocalSystem")), listener(Some(r".\user")));
        assert_eq!(judge(&[service.clone(), service.clone()], 1), Ok(()));
        assert_eq!(judge(&[service, user], 1).unwrap_err().0, Cause::Withheld);
        assert_eq!(judge(&[], 1), Err((Cause::Busy, "nobody listens on port 1".to_owned())));
    }
}
