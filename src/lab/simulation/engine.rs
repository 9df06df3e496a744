//! The simulated time: one event after another.
//!
//! One thread, and every random number belongs to what it is for, so a seed gives the same
//! operations at any speed and with any number of senders.

use super::agent_report::{self, Reporter};
use super::batch::Finished;
use super::curve::{DAY, SECOND};
use super::incidents::Incidents;
use super::outbox::Outbox;
use super::pace::Timeline;
use super::place::Place;
use super::plan;
use super::random::Rng;
use super::routine::Routine;
use super::script::Script;
use super::sender::{Gone, SenderShared};
use super::truth::AgentsTruth;
use super::{RunProgress, nanos};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Once in a simulated minute every agent reports.
const MINUTE: u64 = 60;
/// A span that comes so long after its end, in nanoseconds, is late: collector-config/gateway.yaml.
const LATE: u64 = 300 * SECOND;
/// Progress is reported no more often.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Each use of random numbers has a word of its own, so that no two share their numbers.
const LOSS: u64 = 40;
const AGAIN: u64 = 41;
/// How many operations an agent finds again that it had before: its machine crashed in between.
const AGAIN_SHARE: f64 = 0.005;
/// Events between two looks at the clock.
const LOOK_EVERY: u32 = 64;

enum Event {
    /// A program asks.
    Begin(Place),
    /// An operation returns, or has been open for too long.
    End(Box<Finished>),
    /// Its machine sends it.
    Sent(Box<Finished>),
    /// The agents whose turn it is in this second report.
    AgentReports(u64),
    /// A minute is over.
    Minute(u32),
    /// The run is over, but for what is under way.
    Close,
}

pub(super) struct Engine<'run> {
    shared: &'run SenderShared,
    incidents: &'run Incidents,
    routines: &'run [Routine],
    timeline: Timeline,
    script: Script<'run>,
    /// Simulated time 0, in nanoseconds after midnight.
    from: u64,
    /// When nothing begins any more.
    end: u64,
    now: u64,
    /// By time and number.
    queue: BTreeMap<(u64, u64), Event>,
    /// Events so far: those of one time come in the order in which they were made.
    events: u64,
    /// Operations under way.
    open: usize,
    outbox: Outbox<'run>,
    reporter: Option<Reporter>,
    /// By machine: operations lost since one of its spans last reported losses.
    unreported: HashMap<u32, u64>,
    lost: u64,
    most_open: usize,
    reported_at: Instant,
    report: &'run mut dyn FnMut(&RunProgress),
}

impl<'run> Engine<'run> {
    pub(super) fn new(
        shared: &'run SenderShared,
        (incidents, routines): (&'run Incidents, &'run [Routine]),
        timeline: Timeline,
        outbox: Outbox<'run>,
        (from, end): (u64, u64),
        report: &'run mut dyn FnMut(&RunProgress),
    ) -> Self {
        let machines = shared.fleet.machines;
        let limit = nanos(shared.settings.unfinished_after).max(SECOND / 1000);
        Self {
            shared,
            incidents,
            routines,
            timeline,
            script: Script { fleet: &shared.fleet, incidents, routines, limit },
            from,
            end,
            now: 0,
            queue: BTreeMap::new(),
            events: 0,
            open: 0,
            outbox,
            reporter: (shared.meters.as_ref())
                .map(|_| Reporter::new(machines, timeline.begun_unix_nanos())),
            unreported: HashMap::new(),
            lost: 0,
            most_open: 0,
            reported_at: Instant::now(),
            report,
        }
    }

    /// Plays the whole run, or what there is of it until it is stopped, and waits until everything is
    /// accepted or refused.
    pub(super) fn run(&mut self) -> Result<(), Gone> {
        for machine in 0..self.shared.fleet.machines {
            self.expect_visit(machine, 0, 0);
        }
        for number in (0..).take(self.routines.len()) {
            self.expect_routine(number, 0);
        }
        if self.reporter.is_some() {
            self.push(0, Event::AgentReports(0));
        }
        if self.outbox.counts_minutes() {
            self.push(0, Event::Minute(0));
        }
        self.push(self.end, Event::Close);
        let mut events = 0_u32;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.wait_for(at)?;
            if self.shared.stop.is_asked() {
                break;
            }
            self.now = at;
            match event {
                Event::Begin(place) => self.begin(place),
                Event::End(finished) => self.end(finished),
                Event::Sent(finished) => self.send(*finished),
                Event::AgentReports(second) => self.agent_reports(second),
                Event::Minute(minute) => self.minute_is_over(minute)?,
                Event::Close => {}
            }
            if self.outbox.is_full() {
                self.flush()?;
            }
            events = events.wrapping_add(1);
            if events.is_multiple_of(LOOK_EVERY) {
                self.report_progress();
            }
        }
        self.flush()?;
        let Self { shared, outbox, report, now, end, .. } = self;
        outbox.settle(&mut || report(&progress(shared, *now, *end)))
    }

    /// Once everything is sent: the last reports of all agents, and what they reported.
    pub(super) fn close(&mut self) -> Result<Option<AgentsTruth>, Gone> {
        let (Some(reporter), Some(meters)) = (&mut self.reporter, &self.shared.meters) else {
            return Ok(None);
        };
        let fleet = &self.shared.fleet;
        let (incidents, at) = (self.incidents, self.now);
        // All machines' counters get the same timestamp, so that Prometheus' `increase` has nothing
        // to extrapolate.
        let now = self.timeline.now_unix_nanos(at);
        for machine in 0..fleet.machines {
            if incidents.is_silent(fleet, machine, at) {
                continue;
            }
            let report = reporter.report(machine, u64::MAX, now, meters);
            self.outbox.add_report(report);
            if self.outbox.is_full() {
                self.outbox.flush(&self.shared.stop, &mut || ())?;
            }
        }
        let truth = reporter.truth(fleet, |machine| incidents.is_silent(fleet, machine, at));
        self.flush()?;
        Ok(Some(truth))
    }

    /// Operations that machines had no room for.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Spans that were finished and not handed over when the run was stopped.
    pub(super) fn dropped(&self) -> u64 {
        self.outbox.dropped
    }

    /// The most operations that were under way at a time.
    pub(super) fn most_open(&self) -> usize {
        self.most_open
    }

    fn push(&mut self, at: u64, event: Event) {
        self.events += 1;
        self.queue.insert((at, self.events), event);
    }

    /// Waits until simulated time `at` comes, and hands over meanwhile what there is.
    fn wait_for(&mut self, at: u64) -> Result<(), Gone> {
        let Some(due) = self.timeline.due(at) else { return Ok(()) };
        loop {
            let now = Instant::now();
            if self.outbox.due().is_some_and(|flush_at| flush_at <= now) {
                self.flush()?;
                continue;
            }
            if now >= due || self.shared.stop.is_asked() {
                return Ok(());
            }
            self.report_progress();
            let wake_at = due.min(now + REPORT_EVERY);
            let wake_at = self.outbox.due().map_or(wake_at, |flush_at| wake_at.min(flush_at));
            self.shared.stop.wait(wake_at.saturating_duration_since(now));
        }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let Self { shared, outbox, report, now, end, .. } = self;
        outbox.flush(&shared.stop, &mut || report(&progress(shared, *now, *end)))
    }

    fn report_progress(&mut self) {
        if self.reported_at.elapsed() >= REPORT_EVERY {
            self.reported_at = Instant::now();
            (self.report)(&progress(self.shared, self.now, self.end));
        }
    }

    /// Queues the machine's first visit at or after visit `index` of `day`.
    fn expect_visit(&mut self, machine: u32, day: u32, index: usize) {
        let (mut day, mut index) = (day, index);
        while u64::from(day) * DAY < self.from + self.end {
            let visits = plan::visits(&self.shared.fleet, machine, day);
            for (visit, plan::Visit { at, .. }) in visits.iter().enumerate().skip(index) {
                let Some(at) = (u64::from(day) * DAY + at).checked_sub(self.from) else { continue };
                if at < self.end {
                    let visit = u16::try_from(visit).unwrap_or(u16::MAX);
                    let routine = None;
                    self.push(at, Event::Begin(Place { machine, day, visit, step: 0, routine }));
                }
                return;
            }
            (day, index) = (day + 1, 0);
        }
    }

    /// Queues a routine that was done so often.
    fn expect_routine(&mut self, number: u16, done: u32) {
        let Some(routine) = self.routines.get(usize::from(number)) else { return };
        if let Some((day, at)) = routine.next(done, number, self.from, self.end) {
            let (machine, routine) = (routine.machine, Some(number));
            self.push(at, Event::Begin(Place { machine, day, visit: 0, step: 0, routine }));
        }
    }

    /// A program asks for an operation.
    fn begin(&mut self, place: Place) {
        let Place { machine, day, visit, step, routine } = place;
        match routine {
            Some(number) => self.expect_routine(number, day + 1),
            None if step == 0 => self.expect_visit(machine, day, usize::from(visit) + 1),
            None => {}
        }
        if self.incidents.is_absent(&self.shared.fleet, machine, self.now) {
            return;
        }
        let Some((finished, gap)) = self.script.operation(place, self.now) else { return };
        let ended = finished.record.body.ended;
        if let Some(gap) = gap {
            self.push(ended + gap, Event::Begin(Place { step: step + 1, ..place }));
        }
        if let Some(reason) = self.incidents.loss(place, self.now) {
            self.lost += 1;
            self.shared.count().lose(machine);
            if reason.is_none_or(agent_report::is_of_hosts) {
                *self.unreported.entry(machine).or_default() += 1;
            }
            if let Some(meters) = &self.shared.meters {
                let [a, b, c, d] = place.name();
                let rng = &mut Rng::of(&[self.shared.fleet.seed, LOSS, a, b, c, d]);
                meters.lost(machine, reason, rng);
            }
            return;
        }
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
        self.push(ended, Event::End(Box::new(finished)));
    }

    /// An operation ends. The agent takes it over, and it becomes a span, if its machine is still
    /// there, and comes back to the network before the run is over.
    fn end(&mut self, mut finished: Box<Finished>) {
        let machine = finished.scripted.machine;
        let sent = self.incidents.sent(machine, self.now);
        if self.incidents.is_absent(&self.shared.fleet, machine, self.now) {
            self.open -= 1;
            return;
        }
        if let Some(meters) = &self.shared.meters {
            let name = [self.shared.fleet.seed, AGAIN, machine.into(), finished.record.number];
            meters.took_over(&finished, Rng::of(&name).happens(AGAIN_SHARE));
        }
        match sent.filter(|sent| *sent == self.now || *sent < self.end) {
            None => self.open -= 1,
            Some(sent) => {
                finished.scripted.lost = self.unreported.remove(&machine).unwrap_or_default();
                finished.sent = sent;
                finished.scripted.series.late = sent - self.now + finished.waited > LATE;
                self.push(sent, Event::Sent(finished));
            }
        }
    }

    /// An operation's machine sends its span.
    fn send(&mut self, mut finished: Finished) {
        self.open -= 1;
        finished.anchor = self.timeline.anchor(finished.sent) - finished.waited;
        self.outbox.add(finished);
    }

    /// What was sent in the minute is counted.
    fn minute_is_over(&mut self, minute: u32) -> Result<(), Gone> {
        self.flush()?;
        self.outbox.minute_is_over(minute);
        let next = self.now + MINUTE * SECOND;
        if self.now < self.end || self.open > 0 {
            self.push(next, Event::Minute(minute + 1));
        }
        Ok(())
    }

    /// The agents whose turn it is in this second of the minute report.
    fn agent_reports(&mut self, second: u64) {
        let (Some(reporter), Some(meters)) = (&mut self.reporter, &self.shared.meters) else {
            return;
        };
        let fleet = &self.shared.fleet;
        let first = (second % MINUTE) as u32;
        for machine in (first..fleet.machines).step_by(MINUTE as usize) {
            if !self.incidents.is_silent(fleet, machine, self.now) {
                let now = self.timeline.now_unix_nanos(self.now);
                let minute = second / MINUTE;
                self.outbox.add_report(reporter.report(machine, minute, now, meters));
            }
        }
        let next = self.now + SECOND;
        if next < self.end || self.open > 0 {
            self.push(next, Event::AgentReports(second + 1));
        }
    }
}

fn progress(shared: &SenderShared, now: u64, end: u64) -> RunProgress {
    let count = shared.count();
    RunProgress {
        simulated: Duration::from_nanos(now),
        length: Duration::from_nanos(end),
        accepted: count.operations,
        refused: count.refused,
        put_off: count.repeated + count.put_off,
        trouble: shared.trouble(),
    }
}
