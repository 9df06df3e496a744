//! When a machine is on that is switched off for the night.

use super::curve::{DAY, SECOND};
use super::fleet::Fleet;
use super::plan::{self, Errand};
use super::random::Rng;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

/// A machine is on so long before its user logs on.
const BOOT: u64 = 60 * SECOND;
/// Users switch off between these hours.
const EVENING: (f64, f64) = (17.0, 19.5);
/// Each use of random numbers has a word of its own, so that no two share their numbers.
const SWITCHED_OFF: u64 = 24;

/// One day of a machine.
#[derive(Clone, Debug)]
struct WorkingDay {
    day: u64,
    /// When it is on, in nanoseconds after midnight.
    on: Range<u64>,
}

/// The days of all machines; of each, the one that was last asked for is remembered.
#[derive(Clone, Debug)]
pub(super) struct WorkingDays {
    /// Simulated time 0, in nanoseconds after midnight.
    from: u64,
    known: RefCell<HashMap<u32, WorkingDay>>,
}

impl WorkingDays {
    /// Simulated time begins `from` nanoseconds after midnight.
    pub(super) fn new(from: u64) -> Self {
        Self { from, known: RefCell::default() }
    }

    /// Whether a machine is on: from its user's logon to the evening, and not on days without one.
    pub(super) fn is_on(&self, fleet: &Fleet, machine: u32, at: u64) -> bool {
        let (day, time) = ((self.from + at) / DAY, (self.from + at) % DAY);
        let mut known = self.known.borrow_mut();
        let drawn = || WorkingDay { day, on: on(fleet, machine, day) };
        let known = known.entry(machine).or_insert_with(drawn);
        if known.day != day {
            *known = drawn();
        }
        known.on.contains(&time)
    }
}

fn on(fleet: &Fleet, machine: u32, day: u64) -> Range<u64> {
    let visits =
        u32::try_from(day).map(|day| plan::visits(fleet, machine, day)).unwrap_or_default();
    let Some(logon) = visits.iter().find(|visit| visit.errand == Errand::Logon) else {
        return 0..0;
    };
    let mut rng = Rng::of(&[fleet.seed, SWITCHED_OFF, machine.into(), day]);
    let evening = (rng.between(EVENING.0, EVENING.1) * 3600.0) as u64 * SECOND;
    logon.at.saturating_sub(BOOT)..evening
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_on_from_the_logon_to_the_evening_of_a_working_day() {
        let fleet = Fleet::new(1, 100, 4);
        let days = WorkingDays::new(0);
        let on_at = |day: u64, hour: u64| {
            let at = day * DAY + hour * 3600 * SECOND;
            (0..100).filter(|machine| days.is_on(&fleet, *machine, at)).count()
        };
        assert!(on_at(0, 12) > 85 && on_at(4, 12) > 85, "{} {}", on_at(0, 12), on_at(4, 12));
        assert_eq!((on_at(0, 3), on_at(0, 21)), (0, 0));
        assert!(on_at(5, 12) < 20, "{}", on_at(5, 12));
    }
}
