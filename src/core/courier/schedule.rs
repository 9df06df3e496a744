//! When the next batch may go, and how large it may be.

use super::backoff::{Backoff, random};
use std::time::{Duration, Instant};

/// The longest pause between two batches of a backlog, in batch delays.
///
/// The average pause is half of that, which is five seconds with the default delay. So when two
/// hundred agents come back together, forty of them send in each second. With the default batch
/// size each agent sends about a hundred operations a second, far more than a machine makes. A
/// store with 200,000 operations is empty after about 33 minutes.
const LONGEST_PAUSE: u32 = 10;

/// When one sender may send. It has no clock: the caller passes the time.
///
/// After a failure the sender waits and then sends one item, so that a failing endpoint gets few
/// requests. After each batch that was taken the next may be twice as large. While there is a
/// backlog, a random pause lies between two batches, so that the senders of a fleet do not all send
/// at the same time when their collector comes back.
#[derive(Debug)]
pub(super) struct Schedule {
    backoff: Backoff,
    /// No batch goes before this time. `None` if the next batch may go at once.
    not_before: Option<Instant>,
    /// The most items that the next batch may have.
    at_most: usize,
    /// The most items that the settings let a batch have.
    batch_max: usize,
    /// The longest pause between two batches of the backlog; zero if there is no backlog. It is
    /// never longer than the longest wait of the outage, so a short outage causes only short
    /// pauses.
    pause: Duration,
    longest_pause: Duration,
}

impl Schedule {
    /// The schedule of a sender that has had no failure.
    pub(super) fn new(batch_max: usize, batch_delay: Duration) -> Self {
        Self {
            backoff: Backoff::default(),
            not_before: None,
            at_most: usize::MAX,
            batch_max,
            pause: Duration::ZERO,
            longest_pause: batch_delay.saturating_mul(LONGEST_PAUSE),
        }
    }

    /// How long to wait before the next batch; zero if it may go at once.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(now))
    }

    /// The most items that the next batch may have.
    pub(super) fn at_most(&self) -> usize {
        self.at_most
    }

    /// A batch was not taken. Returns how long to wait: at least what the server `asked` for.
    pub(super) fn failed(&mut self, asked: Option<Duration>, now: Instant) -> Duration {
        let wait = self.backoff.next(asked);
        self.not_before = Some(now + wait);
        self.at_most = 1;
        self.pause = self.pause.max(wait.min(self.longest_pause));
        wait
    }

    /// A batch of `items` was taken. A batch that is not full was the last of the backlog.
    pub(super) fn taken(&mut self, items: usize, now: Instant) {
        if items < self.at_most.min(self.batch_max) {
            self.pause = Duration::ZERO;
        }
        self.answered();
        self.at_most = self.at_most.saturating_mul(2);
        if !self.pause.is_zero() {
            self.not_before = Some(now + self.pause.mul_f64(random()));
        }
    }

    /// A batch of `items` was refused. The next is half as large and may go at once.
    pub(super) fn refused(&mut self, items: usize) {
        self.answered();
        self.at_most = (items / 2).max(1);
    }

    /// The collector answered.
    fn answered(&mut self) {
        self.backoff.reset();
        self.not_before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::{BTreeMap, BinaryHeap};

    /// The default of the setting BatchMax.
    const BATCH_MAX: usize = 512;
    const BATCH_DELAY: Duration = Duration::from_secs(1);
    /// How long a request takes.
    const REQUEST: Duration = Duration::from_millis(20);
    const AGENTS: usize = 200;
    const HOUR: Duration = Duration::from_secs(3600);

    /// Simulates senders that have a backlog of so many operations each when their collector comes
    /// back after `outage`. During the outage the collector asks them to wait. Returns the number
    /// of requests in each second, until all backlogs are empty.
    fn come_back(
        agents: usize,
        backlog: usize,
        outage: Duration,
        asked: Option<Duration>,
    ) -> BTreeMap<u64, usize> {
        let began = Instant::now();
        let back = began + outage;
        let mut fleet: Vec<_> =
            (0..agents).map(|_| (Schedule::new(BATCH_MAX, BATCH_DELAY), backlog)).collect();
        let first = |_| began + BATCH_DELAY.mul_f64(random());
        let mut turns: BinaryHeap<_> =
            (0..agents).map(|agent| Reverse((first(agent), agent))).collect();
        let mut requests = BTreeMap::new();
        while let Some(Reverse((now, agent))) = turns.pop() {
            let (schedule, left) = &mut fleet[agent];
            let answered = now + REQUEST;
            if now < back {
                schedule.failed(asked, answered);
            } else {
                *requests.entry((now - back).as_secs()).or_default() += 1;
                let items = schedule.at_most().min(BATCH_MAX).min(*left);
                schedule.taken(items, answered);
                *left -= items;
            }
            if *left > 0 {
                turns.push(Reverse((answered + schedule.wait(answered), agent)));
            }
        }
        requests
    }

    #[test]
    fn when_a_fleet_comes_back_no_second_has_more_than_a_tenth_of_its_requests() {
        for (outage, asked) in [(5, None), (60, None), (3600, None), (60, Some(30)), (600, Some(5))]
        {
            let asked = asked.map(Duration::from_secs);
            let requests = come_back(AGENTS, 5000, Duration::from_secs(outage), asked);
            let (all, most) = (requests.values().sum::<usize>(), requests.values().max().unwrap());
            println!("{outage} s, asked for {asked:?}: {most} of {all} requests in one second");
            assert!(most * 10 <= all, "{outage} s, {asked:?}: {requests:?}");
        }
    }

    #[test]
    fn a_store_of_two_hundred_thousand_operations_is_empty_within_an_hour() {
        let requests = come_back(1, 200_000, HOUR, None);
        let last = *requests.keys().next_back().unwrap();
        println!("the last of {} requests after {last} s", requests.values().sum::<usize>());
        assert!(last < HOUR.as_secs(), "{last} s");
    }

    #[test]
    fn batches_grow_from_one_after_a_failure_and_the_pauses_end_with_the_backlog() {
        let now = Instant::now();
        let mut schedule = Schedule::new(8, BATCH_DELAY);
        assert_eq!((schedule.at_most(), schedule.wait(now)), (usize::MAX, Duration::ZERO));
        for _ in 0..20 {
            schedule.failed(None, now);
        }
        let mut pauses = Duration::ZERO;
        for items in [1, 2, 4, 8, 8, 8] {
            assert_eq!(schedule.at_most().min(8), items);
            schedule.taken(items, now);
            let pause = schedule.wait(now);
            assert!(pause <= BATCH_DELAY * LONGEST_PAUSE);
            pauses += pause;
        }
        assert!(!pauses.is_zero());
        schedule.taken(7, now);
        assert_eq!(schedule.wait(now), Duration::ZERO);
        schedule.taken(8, now);
        assert_eq!(schedule.wait(now), Duration::ZERO);
    }

    #[test]
    fn no_pause_is_longer_than_the_longest_wait_of_the_outage() {
        let now = Instant::now();
        for _ in 0..100 {
            let mut schedule = Schedule::new(512, BATCH_DELAY);
            let wait = schedule.failed(None, now);
            schedule.taken(1, now);
            assert!(schedule.wait(now) <= wait);
        }
    }

    #[test]
    fn a_refused_batch_is_halved_and_its_halves_go_at_once() {
        let now = Instant::now();
        let mut schedule = Schedule::new(512, BATCH_DELAY);
        schedule.refused(100);
        assert_eq!((schedule.at_most(), schedule.wait(now)), (50, Duration::ZERO));
        schedule.refused(1);
        assert_eq!(schedule.at_most(), 1);
    }
}
