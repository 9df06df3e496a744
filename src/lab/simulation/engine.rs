//! The simulated time: one event after another.
//!
//! One thread, and every chance belongs to what it is for, so a seed gives the same operations at
//! any speed and with any number of senders.

use super::Progress;
use super::agent_report::Reporter;
use super::batch::{Finished, Process};
use super::chance::Chance;
use super::curve::{self, DAY, SECOND};
use super::fleet::ServerKind;
use super::incident::{Fate, Incidents};
use super::latency::{self, Path};
use super::mishap;
use super::outbox::Outbox;
use super::pace::Timeline;
use super::plan::{self, Ask, Errand, Program, Request};
use super::record::Recorded;
use super::sender::{Gone, Office};
use super::truth::{AgentsTruth, Scripted, Series};
use mpr_otel_core::abi::RESOURCETYPE_ANY;
use mpr_otel_core::ledger::Record;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Once in a simulated minute every agent reports.
const MINUTE: u64 = 60;
/// Progress is told no more often.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Events between two looks at the clock.
const LOOK_EVERY: u32 = 64;

/// An operation's place: whose, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: u32,
    day: u32,
    visit: u16,
    step: u16,
}

impl Place {
    /// What chance knows it by.
    fn name(self) -> [u64; 4] {
        [self.host.into(), self.day.into(), self.visit.into(), self.step.into()]
    }

    /// Its number in its process: unique in its host.
    fn number(self) -> u64 {
        u64::from(self.day) << 32 | u64::from(self.visit) << 16 | u64::from(self.step)
    }
}

#[derive(Debug)]
enum Event {
    /// A program asks.
    Begin(Place),
    /// An operation returns, or has been open for too long.
    End(Box<UnderWay>),
    /// The agents whose turn it is in this second report.
    Report(u64),
    /// The run is over, but for what is under way.
    Close,
}

/// An operation as it is scripted.
struct Asked {
    request: Request,
    /// The remote name, if it has one.
    remote: Option<String>,
    process: Process,
    thread_id: u32,
    fate: Fate,
    /// Until the program asks again, in nanoseconds after the end; `None` if it does not.
    gap: Option<u64>,
}

/// An operation under way: how it ends is known when it begins.
#[derive(Debug)]
struct UnderWay {
    record: Record,
    process: Process,
    host: u32,
    series: Series,
    takes: u64,
}

/// An event in the queue. Events of one time come in the order in which they were made.
#[derive(Debug)]
struct Queued {
    at: u64,
    number: u64,
    event: Event,
}

impl Ord for Queued {
    /// The queue gives its greatest first: the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Queued {}

/// What a chance is for, so that none is drawn twice.
const OPERATION: u64 = 30;
const PROCESS: u64 = 31;

pub(super) struct Engine<'run> {
    office: &'run Office,
    incidents: &'run Incidents,
    timeline: Timeline,
    /// Simulated time 0, in nanoseconds after midnight.
    from: u64,
    /// When nothing begins any more.
    end: u64,
    now: u64,
    queue: BinaryHeap<Queued>,
    /// Events so far.
    events: u64,
    /// When an open operation is given up, in nanoseconds after its beginning.
    limit: u64,
    /// Operations under way.
    open: usize,
    outbox: Outbox<'run>,
    reporter: Option<Reporter>,
    /// Operations lost since a span of the host last told.
    untold: HashMap<u32, u64>,
    lost: u64,
    most_open: usize,
    told_at: Instant,
    told: &'run mut dyn FnMut(&Progress),
}

impl<'run> Engine<'run> {
    pub(super) fn new(
        office: &'run Office,
        incidents: &'run Incidents,
        timeline: Timeline,
        outbox: Outbox<'run>,
        (from, end): (u64, u64),
        told: &'run mut dyn FnMut(&Progress),
    ) -> Self {
        let hosts = office.fleet.hosts;
        let limit = office.settings.unfinished_after.as_nanos();
        Self {
            office,
            incidents,
            timeline,
            from,
            end,
            now: 0,
            queue: BinaryHeap::new(),
            events: 0,
            limit: u64::try_from(limit).unwrap_or(u64::MAX).max(SECOND / 1000),
            open: 0,
            outbox,
            reporter: (office.meters.as_ref())
                .map(|_| Reporter::new(hosts, timeline.begun_unix_nanos())),
            untold: HashMap::new(),
            lost: 0,
            most_open: 0,
            told_at: Instant::now(),
            told,
        }
    }

    /// Plays the whole run, or what there is of it until it is stopped, and waits until everything is
    /// accepted or refused.
    pub(super) fn run(&mut self) -> Result<(), Gone> {
        for host in 0..self.office.fleet.hosts {
            self.expect_visit(host, 0, 0);
        }
        if self.reporter.is_some() {
            self.push(0, Event::Report(0));
        }
        self.push(self.end, Event::Close);
        let mut events = 0_u32;
        while let Some(Queued { at, event, .. }) = self.queue.pop() {
            self.wait_for(at)?;
            if self.office.stop.is_asked() {
                break;
            }
            self.now = at;
            match event {
                Event::Begin(place) => self.begin(place),
                Event::End(operation) => {
                    self.open -= 1;
                    self.finish(*operation);
                }
                Event::Report(second) => self.report(second),
                Event::Close => {}
            }
            if self.outbox.is_full() {
                self.flush()?;
            }
            events = events.wrapping_add(1);
            if events.is_multiple_of(LOOK_EVERY) {
                self.tell();
            }
        }
        self.flush()?;
        let Self { office, outbox, told, now, end, .. } = self;
        outbox.settle(&mut || told(&progress(office, *now, *end)))
    }

    /// Once everything is sent: the last reports of all agents, and what they said.
    pub(super) fn close(&mut self) -> Result<Option<AgentsTruth>, Gone> {
        let (Some(reporter), Some(meters)) = (&mut self.reporter, &self.office.meters) else {
            return Ok(None);
        };
        let fleet = &self.office.fleet;
        let (incidents, at) = (self.incidents, self.now);
        // One date for all, at which whoever asks finds nothing to extrapolate.
        let now = self.timeline.now_unix_nanos();
        for host in 0..fleet.hosts {
            if incidents.is_absent(host, at) {
                continue;
            }
            let report = reporter.report(host, u64::MAX, now, meters);
            self.outbox.add_report(report);
            if self.outbox.is_full() {
                self.outbox.flush(&self.office.stop, &mut || ())?;
            }
        }
        let truth = reporter.truth(fleet, |host| incidents.is_absent(host, at));
        self.flush()?;
        Ok(Some(truth))
    }

    /// Operations that hosts had no room for.
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
        self.queue.push(Queued { at, number: self.events, event });
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
            if now >= due || self.office.stop.is_asked() {
                return Ok(());
            }
            self.tell();
            let wake_at = due.min(now + TELL_EVERY);
            let wake_at = self.outbox.due().map_or(wake_at, |flush_at| wake_at.min(flush_at));
            self.office.stop.wait(wake_at.saturating_duration_since(now));
        }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let Self { office, outbox, told, now, end, .. } = self;
        outbox.flush(&office.stop, &mut || told(&progress(office, *now, *end)))
    }

    fn tell(&mut self) {
        if self.told_at.elapsed() >= TELL_EVERY {
            self.told_at = Instant::now();
            (self.told)(&progress(self.office, self.now, self.end));
        }
    }

    /// Puts the first visit of a host that is from `index` of `day` on into the queue.
    fn expect_visit(&mut self, host: u32, day: u32, index: usize) {
        let (mut day, mut index) = (day, index);
        while u64::from(day) * DAY < self.from + self.end {
            let visits = plan::visits(&self.office.fleet, host, day);
            for (visit, plan::Visit { at, .. }) in visits.iter().enumerate().skip(index) {
                let Some(at) = (u64::from(day) * DAY + at).checked_sub(self.from) else { continue };
                if at < self.end {
                    let visit = u16::try_from(visit).unwrap_or(u16::MAX);
                    self.push(at, Event::Begin(Place { host, day, visit, step: 0 }));
                }
                return;
            }
            (day, index) = (day + 1, 0);
        }
    }

    /// A program asks for an operation.
    fn begin(&mut self, place: Place) {
        let Place { host, day, visit, step } = place;
        if step == 0 {
            self.expect_visit(host, day, usize::from(visit) + 1);
        }
        if self.incidents.is_absent(host, self.now) {
            return;
        }
        let Some(asked) = self.script(place) else { return };
        if let Some(gap) = asked.gap {
            let next = Place { step: step + 1, ..place };
            self.push(self.now + asked.fate.takes + gap, Event::Begin(next));
        }
        let meters = self.office.meters.as_ref();
        if let Some(meters) = meters {
            meters.seen(host);
        }
        if self.incidents.is_lost(host, self.now, &place.name()) {
            self.lost += 1;
            self.office.count().lose(host);
            *self.untold.entry(host).or_default() += 1;
            if let Some(meters) = meters {
                meters.table_full(host);
            }
            return;
        }
        let operation = self.under_way(place, &asked);
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
        self.push(self.now + operation.takes, Event::End(Box::new(operation)));
    }

    /// What is asked at a place, and how it ends if it begins now.
    fn script(&self, place: Place) -> Option<Asked> {
        let Place { host, day, visit, step } = place;
        let fleet = &self.office.fleet;
        let planned = *plan::visits(fleet, host, day).get(usize::from(visit))?;
        let (program, mut requests) =
            plan::requests(fleet, host, day, visit.into(), planned.errand);
        let last = usize::from(step) + 1 >= requests.len();
        let request = requests.drain(..).nth(step.into())?;
        let [a, b, c, d] = place.name();
        let mut chance = Chance::of(&[fleet.seed, OPERATION, a, b, c, d]);
        let share = request.ask.share();
        let add = request.ask.is_add();
        let status = if add { mishap::add(&mut chance) } else { mishap::cancel(&mut chance) };
        let path = Path {
            server: share.map(|share| share.kind).filter(|_| add),
            first: request.first,
            distance: fleet.distance(host),
            load: curve::LOGON.load(planned.at),
        };
        let remote = share.map(|share| fleet.remote_name(share, status == 67, &mut chance));
        let takes = latency::draw(status, path, &mut chance);
        let gap = (chance.between(0.02, 0.4) * SECOND as f64) as u64;
        let thread_id = 4 * (1_000 + chance.below(5_000) as u32);
        let usual = Fate { status: Some(status), takes };
        let mut fate = self.incidents.bend(&request, usual, self.now, &place.name());
        if fate.takes >= self.limit {
            fate.status = None;
        }
        // A program whose operation never returns asks for nothing more.
        let gap = (fate.status.is_some() && !last).then_some(gap);
        let process = process(fleet.seed, place, program, planned.errand);
        Some(Asked { request, remote, process, thread_id, fate, gap })
    }

    /// An operation that begins now.
    fn under_way(&self, place: Place, asked: &Asked) -> UnderWay {
        let ask = &asked.request.ask;
        let device = |drive: char| format!("{drive}:");
        let (remote, local, resource_type, force) = match ask {
            Ask::Add { drive, resource_type, .. } => {
                (asked.remote.clone(), drive.map(device), *resource_type, false)
            }
            Ask::CancelDrive { drive, force } => {
                (Some(device(*drive)), None, RESOURCETYPE_ANY, *force)
            }
            Ask::CancelShare { .. } => (asked.remote.clone(), None, RESOURCETYPE_ANY, false),
        };
        let Fate { status, takes } = asked.fate;
        let takes = if status.is_some() { takes } else { self.limit };
        let recorded = Recorded {
            add: ask.is_add(),
            remote: remote.as_deref().unwrap_or_default(),
            local: local.as_deref().unwrap_or_default(),
            provider: match ask.share().map(|share| share.kind) {
                Some(ServerKind::Dav) => "Web Client Network",
                _ => "Microsoft Windows Network",
            },
            flags: asked.request.flags,
            resource_type,
            force,
            thread_id: asked.thread_id,
            started: self.now,
            ended: self.now + takes,
            status,
        };
        UnderWay {
            record: recorded.record(place.number()),
            process: asked.process,
            host: place.host,
            series: Series {
                server: ask.share().map(|share| share.server),
                add: ask.is_add(),
                status,
            },
            takes,
        }
    }

    /// An operation is to be exported, if its host is still there.
    fn finish(&mut self, operation: UnderWay) {
        let UnderWay { record, process, host, series, takes } = operation;
        if self.incidents.is_absent(host, self.now) {
            return;
        }
        let lost = self.untold.remove(&host).unwrap_or_default();
        self.outbox.add(Finished {
            record,
            process,
            anchor: self.timeline.anchor(self.now),
            lost,
            scripted: Scripted { host, series, takes, tells_loss: lost > 0 },
        });
    }

    /// The agents whose turn it is in this second of the minute report.
    fn report(&mut self, second: u64) {
        let (Some(reporter), Some(meters)) = (&mut self.reporter, &self.office.meters) else {
            return;
        };
        let fleet = &self.office.fleet;
        let first = (second % MINUTE) as u32;
        for host in (first..fleet.hosts).step_by(MINUTE as usize) {
            if !self.incidents.is_absent(host, self.now) {
                let now = self.timeline.now_unix_nanos();
                let minute = second / MINUTE;
                self.outbox.add_report(reporter.report(host, minute, now, meters));
            }
        }
        let next = self.now + SECOND;
        if next < self.end || self.open > 0 {
            self.push(next, Event::Report(second + 1));
        }
    }
}

fn progress(office: &Office, now: u64, end: u64) -> Progress {
    let count = office.count();
    Progress {
        simulated: Duration::from_nanos(now),
        length: Duration::from_nanos(end),
        accepted: count.operations,
        refused: count.refused,
        trouble: office.trouble(),
    }
}

/// The process in which an operation is asked for.
fn process(seed: u64, place: Place, program: Program, errand: Errand) -> Process {
    let Place { host, day, visit, .. } = place;
    // Explorer and the spooler live all day, the others for a visit.
    let visit = match program {
        Program::Explorer | Program::Spooler => u64::from(u16::MAX),
        Program::Net | Program::GpScript => visit.into(),
    };
    let mut chance = Chance::of(&[seed, PROCESS, host.into(), day.into(), visit, program as u64]);
    let id_seed = [chance.bits(), chance.bits(), chance.bits()];
    let pid = 4 * (500 + chance.below(8_000) as u32);
    // Scripts at night run in the session of the services.
    let session = if errand == Errand::Night || program == Program::Spooler { 0 } else { 1 };
    Process { program, pid, session, id_seed }
}
