//! Time of one process: durations from the monotonic clock without sleep, dates from one anchor.

use crate::platform;
use std::time::{Duration, SystemTime};

/// Counts nanoseconds of the machine's monotonic clock, and knows the date of its zero.
///
/// Every date is `anchor + elapsed`, so setting the wall clock moves no span and no duration,
/// and another process that knows the anchor computes the same dates. The anchor is the clock's
/// own zero and not the process' start, so that what happened before the anchor was taken has a
/// time as well.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The date of the monotonic clock's zero, in nanoseconds since 1970.
    anchor: u64,
}

impl Clock {
    /// Anchors the monotonic clock to the wall clock, now.
    pub fn start() -> Self {
        Self { anchor: unix_nanos(SystemTime::now()).saturating_sub(platform::awake_nanos()) }
    }

    /// Nanoseconds of the monotonic clock.
    pub fn now(&self) -> u64 {
        platform::awake_nanos()
    }

    /// The anchor by the monotonic clock, which all processes share until the machine restarts.
    pub fn anchor_monotonic(&self) -> u64 {
        0
    }

    /// The anchor's date in nanoseconds since the Unix epoch; 0 for a clock before it.
    pub fn anchor_unix_nanos(&self) -> u64 {
        self.anchor
    }
}

/// A date in nanoseconds since the Unix epoch; 0 for one before it.
pub fn unix_nanos(date: SystemTime) -> u64 {
    date.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The date `nanos` after an anchor that is given in nanoseconds since the Unix epoch.
///
/// Saturates instead of overflowing: both values may come from a damaged file.
pub fn date(anchor_unix_nanos: u64, nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_nanos(anchor_unix_nanos.saturating_add(nanos)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
