//! A file in the folder, and what is known of it.

use super::foreign::ForeignLedger;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the folder is listed, and how often a file is looked at that may have become ready.
pub const SWEEP: Duration = Duration::from_secs(30);
/// How long a ledger that could not be written to or removed is left alone.
pub(super) const STUCK_FOR: Duration = Duration::from_secs(3600);
/// How long the first wait is before a file is looked at again. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A file whose name is a ledger's.
#[derive(Debug)]
pub(super) struct Watched {
    /// The file's number in the file system, once it was listed. Another file of the same name has
    /// another number.
    pub id: Option<u64>,
    /// When it was first seen.
    pub since: Instant,
    /// When it is looked at again.
    pub due: Instant,
    wait: Duration,
    /// The user whom the file belongs to, once it could be opened.
    pub owner: Option<Arc<str>>,
    /// What the file was when it was last looked at.
    pub sight: Sight,
    /// Whether there is room to keep the file open.
    pub may_be_held: bool,
    /// The open ledger of a live host.
    pub held: Option<ForeignLedger>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The file has not been looked at, or could not be concluded.
    Unknown,
    /// A ledger whose host lives.
    Live,
    /// The file is not a ledger, has a newer version, or cannot be opened.
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

    /// Delays the next look: by a second, then two, four, and so on up to `longest`.
    pub fn put_off(&mut self, sight: Sight, now: Instant, longest: Duration) {
        self.sight = sight;
        self.due = now + self.wait.min(longest);
        self.wait = (self.wait * 2).min(longest);
    }
}
