//! A file in the folder, and what is known of it.

use super::foreign::ForeignLedger;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the folder is listed, and a file is looked at that may have become one to take.
pub const SWEEP: Duration = Duration::from_secs(30);
/// How long a ledger that could not be written to is left alone.
pub(super) const STUCK_FOR: Duration = Duration::from_secs(3600);
/// The first wait of a file that is to be looked at again; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A file that is named as a ledger is.
#[derive(Debug)]
pub(super) struct Watched {
    /// Its number in the file system, once it was listed: another file of the same name has another.
    pub id: Option<u64>,
    /// When it was first seen.
    pub since: Instant,
    /// When it is looked at again.
    pub due: Instant,
    wait: Duration,
    /// Whom it belongs to, once it could be opened.
    pub owner: Option<Arc<str>>,
    /// What it was when it was last looked at.
    pub sight: Sight,
    /// Whether there is room to keep it open.
    pub may_be_held: bool,
    /// The open ledger of a live host.
    pub held: Option<ForeignLedger>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It has not been looked at, or could not be concluded.
    Unknown,
    /// A ledger whose host lives.
    Live,
    /// No ledger, one of a newer version, or one that cannot be opened.
    Refused,
}

impl Watched {
    pub fn new(now: Instant) -> Self {
        Self {
            id: None,
            since: now,
            due: now,
            wait: FIRST_WAIT,
            owner: None,
            sight: Sight::Unknown,
            may_be_held: false,
            held: None,
        }
    }

    /// Looks at it again later: after a second, two, four, and so on up to `longest`.
    pub fn put_off(&mut self, sight: Sight, now: Instant, longest: Duration) {
        self.sight = sight;
        self.due = now + self.wait.min(longest);
        self.wait = (self.wait * 2).min(longest);
    }
}
