//! Whether a process' environment counts on Windows, where the user who starts a process sets it.

/// The registry value that lets the environment count.
pub const ALLOW_ENVIRONMENT: &str = "AllowEnvironment";

/// The facts that decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The registry's AllowEnvironment.
    pub allowed: bool,
    /// Whether the process has an administrator's full rights.
    pub elevated: bool,
    /// Whether the process is a service.
    pub service: bool,
    /// Whether the thread acts for another user.
    pub impersonating: bool,
}

impl Circumstances {
    /// Whether the environment counts.
    pub fn environment_counts(self) -> bool {
        self.allowed && !self.elevated && !self.service && !self.impersonating
    }
}

/// Whether a process of this user (a SID) in this session is a service. Since Windows Vista only
/// services run in session 0.
#[cfg_attr(not(windows), allow(dead_code))] // Elsewhere the environment always counts.
pub(super) fn is_service(session: u32, user: &str) -> bool {
    // SYSTEM, LocalService, NetworkService, and the services' own accounts (Microsoft: Well-known
    // SIDs).
    session == 0
        || matches!(user, "S-1-5-18" | "S-1-5-19" | "S-1-5-20")
        || user.starts_with("S-1-5-80-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_counts_in_one_of_sixteen_circumstances() {
        let each = |bit: u32| (0..16_u32).map(move |row| row >> bit & 1 == 1);
        let rows = each(0).zip(each(1)).zip(each(2)).zip(each(3));
        let counts: Vec<Circumstances> = rows
            .map(|(((allowed, elevated), service), impersonating)| Circumstances {
                allowed,
                elevated,
                service,
                impersonating,
            })
            .filter(|circumstances| circumstances.environment_counts())
            .collect();
        let ordinary =
            Circumstances { allowed: true, elevated: false, service: false, impersonating: false };
        assert_eq!(counts, [ordinary]);
    }

    #[test]
    fn a_service_is_recognised_by_its_session_or_its_user() {
        let user = "S-1-5-21-1-2-3-1001";
        assert!(!is_service(1, user));
        assert!(is_service(0, user));
        for service in ["S-1-5-18", "S-1-5-19", "S-1-5-20", "S-1-5-80-1-2-3-4-5"] {
            assert!(is_service(1, service), "{service}");
        }
        for no_service in ["S-1-5-180", "S-1-5-8", "S-1-5-2"] {
            assert!(!is_service(1, no_service), "{no_service}");
        }
    }
}
