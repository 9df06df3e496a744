//! When things happen in a working day.

use super::random::Rng;

/// Nanoseconds of a second.
pub(super) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds of a day.
pub(super) const DAY: u64 = 24 * 60 * 60 * SECOND;
const HALF_HOURS: usize = 48;
const HALF_HOUR: u64 = DAY / HALF_HOURS as u64;

/// How often something happens in each half hour from midnight on, as weights.
#[derive(Debug)]
pub(super) struct Curve([u16; HALF_HOURS]);

/// Users log on: a storm between eight and nine, few later, shift workers before.
#[rustfmt::skip]
pub(super) const LOGON: Curve = Curve([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 6, 10, 25, 70,
    300, 260, 60, 25, 12, 8, 6, 8, 8, 12, 8, 6, 4, 3, 3, 2,
    2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
]);

/// Users work: two humps with the lunch between them.
#[rustfmt::skip]
pub(super) const OFFICE: Curve = Curve([
    1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 6, 12, 25,
    50, 75, 95, 100, 100, 95, 90, 75, 40, 35, 70, 85, 90, 90, 85, 80,
    70, 55, 35, 20, 12, 8, 6, 5, 4, 4, 3, 3, 2, 2, 1, 1,
]);

/// Users leave.
#[rustfmt::skip]
pub(super) const DEPARTURE: Curve = Curve([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 1, 2, 3, 10, 6, 5, 5, 10, 15, 30, 50,
    90, 100, 80, 50, 25, 15, 8, 6, 5, 4, 4, 3, 2, 2, 1, 1,
]);

/// Scripts run while nobody is there.
#[rustfmt::skip]
pub(super) const NIGHT: Curve = Curve([
    20, 20, 40, 50, 50, 50, 40, 40, 25, 20, 5, 2, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 2, 4, 5, 8, 10, 15, 20, 20, 20, 20,
]);

impl Curve {
    /// A random time of the day, in nanoseconds after midnight.
    pub(super) fn draw(&self, rng: &mut Rng) -> u64 {
        let half_hour = rng.weighted(self.0.iter().map(|weight| f64::from(*weight)));
        half_hour as u64 * HALF_HOUR + (rng.unit() * HALF_HOUR as f64) as u64
    }

    /// How busy it is at a time, as a share of the busiest half hour.
    pub(super) fn load(&self, after_midnight: u64) -> f64 {
        let half_hour = (after_midnight % DAY / HALF_HOUR) as usize;
        let most = self.0.iter().copied().max().unwrap_or(1);
        f64::from(self.0[half_hour]) / f64::from(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 10,000 draws fall between two hours.
    fn between(curve: &Curve, from: u64, to: u64) -> usize {
        let mut rng = Rng::of(&[1]);
        let hour = 3600 * SECOND;
        (0..10_000)
            .map(|_| curve.draw(&mut rng))
            .filter(|at| (from * hour..to * hour).contains(at))
            .count()
    }

    #[test]
    fn most_users_log_on_between_eight_and_nine() {
        assert!(between(&LOGON, 8, 9) > 5_500);
        assert!(between(&LOGON, 9, 10) < 1_500);
        assert_eq!(between(&LOGON, 0, 5), 0);
    }

    #[test]
    fn at_lunch_less_happens_than_before_and_after() {
        let lunch = between(&OFFICE, 12, 13);
        assert!(lunch * 3 < between(&OFFICE, 10, 11) * 2);
        assert!(lunch * 3 < between(&OFFICE, 14, 15) * 2);
    }

    #[test]
    fn scripts_run_at_night() {
        assert_eq!(between(&NIGHT, 6, 19), 0);
        assert!(between(&NIGHT, 0, 5) > 6_000);
    }

    #[test]
    fn the_load_is_highest_in_the_storm() {
        assert_eq!(LOGON.load(8 * 3600 * SECOND), 1.0);
        assert_eq!(LOGON.load(DAY + 8 * 3600 * SECOND), 1.0);
        assert!(LOGON.load(11 * 3600 * SECOND) < 0.1);
    }
}
