//! The time in one process: durations from the monotonic clock without sleep, dates from one
//! anchor.

use crate::platform;
use std::time::{Duration, SystemTime};

/// Reads the machine's monotonic clock in nanoseconds, and knows the date of that clock's zero.
///
/// Every date is `anchor + elapsed`. So setting the wall clock changes no span and no duration, and
/// another process that knows the anchor computes the same dates. The anchor is the clock's zero
/// and not the process' start, so that an operation from before the anchor was taken has a time,
/// too.
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

    /// The time now, in nanoseconds of the monotonic clock.
    pub fn now(&self) -> u64 {
        platform::awake_nanos()
    }

    /// The anchor by the monotonic clock, in nanoseconds. All processes have the same until the
    /// machine restarts.
    pub fn anchor_monotonic(&self) -> u64 {
        0
    }

    /// The anchor's date in nanoseconds since 1970; 0 if the wall clock is before 1970.
    pub fn anchor_unix_nanos(&self) -> u64 {
        self.anchor
    }
}

/// A date in nanoseconds since 1970; 0 for an earlier date.
pub fn unix_nanos(date: SystemTime) -> u64 {
    date.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The date `nanos` nanoseconds after an anchor that is given in nanoseconds since 1970.
///
/// Saturates instead of overflowing: both values may come from a damaged file.
pub fn date(anchor_unix_nanos: u64, nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_nanos(anchor_unix_nanos.saturating_add(nanos)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
