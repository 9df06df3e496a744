//! What keeps the agent from taking over or from sending.

use std::time::SystemTime;

/// Why the collector or the store takes nothing.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) since: SystemTime,
    pub(super) reason: String,
}

impl Trouble {
    /// The trouble now, with this `reason`. It keeps the beginning of the trouble `before`.
    pub(super) fn go_on(before: Option<Self>, reason: Option<String>) -> Option<Self> {
        let since = before.map_or_else(SystemTime::now, |trouble| trouble.since);
        reason.map(|reason| Self { since, reason })
    }
}
