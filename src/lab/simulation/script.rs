//! One operation, as it is scripted.
//!
//! How it ends is drawn when it begins. So all that a host would record of it is known at once.

use super::batch::{Finished, Process};
use super::curve::{self, SECOND};
use super::failure_rates;
use super::fleet::{Fleet, ServerKind, Share};
use super::incidents::{IncidentFate, Incidents};
use super::latency::{self, Path};
use super::place::Place;
use super::plan::{self, Ask, Errand, Mode, PlannedCall, Program, Visit};
use super::random::Rng;
use super::record::Recorded;
use super::routine::Routine;
use super::truth::{Scripted, Series};
use mpr_otel_core::abi::{RESOURCETYPE_ANY, RESOURCETYPE_DISK};
use mpr_otel_core::ledger::{ELEVATION_FULL, ELEVATION_LIMITED};

/// Each use of random numbers has a word of its own, so that no two share their numbers.
const OPERATION: u64 = 30;
const PROCESS: u64 = 31;
const WAITED: u64 = 32;
const LOGON: u64 = 33;

/// Operations of machines that were offline, and sent them when they were back: so many, and so long
/// after they ended, in nanoseconds. The gateway calls an operation late after five minutes.
const WAITED_SHARE: f64 = 0.01;
const WAITED_FOR: u64 = 600 * SECOND;

/// What operations are made from.
pub(super) struct Script<'run> {
    pub(super) fleet: &'run Fleet,
    pub(super) incidents: &'run Incidents,
    pub(super) routines: &'run [Routine],
    /// An operation that takes this long, in nanoseconds, is given up and counts as unfinished.
    pub(super) limit: u64,
}

/// What is drawn for an operation.
struct Drawn {
    /// How it ends, and when; without a status it is given up at the limit.
    fate: IncidentFate,
    /// The remote name of the share that it is about.
    remote: Option<String>,
    thread_id: u32,
    /// Nanoseconds from its end to the program's next operation.
    gap: u64,
    /// How long it waits on a machine that is offline, in nanoseconds.
    waited: u64,
}

/// What an operation names, as the functions of WNet have it.
struct Names {
    remote: Option<String>,
    local: Option<String>,
    resource_type: u32,
    force: bool,
}

impl Script<'_> {
    /// The operation at `place` if it begins at `now`, and how many nanoseconds after its end the
    /// program asks for the next one, if it does. `None` if the plan has no operation there.
    pub(super) fn operation(&self, place: Place, now: u64) -> Option<(Finished, Option<u64>)> {
        let Place { machine, day, step, .. } = place;
        let seed = self.fleet.seed;
        let (planned, program, calls) = match place.routine {
            None => self.planned(place, now)?,
            Some(number) => self.routine(number, day, now)?,
        };
        let last = usize::from(step) + 1 >= calls.len();
        let call = calls.into_iter().nth(step.into())?;
        let drawn = self.drawn(place, planned.at, &call, now);
        let (add, share) = (call.ask.is_add(), call.ask.share());
        let IncidentFate { status, takes } = drawn.fate;
        let ended = now + takes;
        let names = names(&call.ask, drawn.remote);
        let recorded = Recorded {
            add,
            remote: names.remote.as_deref().unwrap_or_default(),
            local: names.local.as_deref().unwrap_or_default(),
            provider: provider(share),
            flags: call.flags,
            resource_type: names.resource_type,
            force: names.force,
            logon_id: logon_id(seed, place, call.elevated),
            elevation: if call.elevated { ELEVATION_FULL } else { ELEVATION_LIMITED },
            thread_id: drawn.thread_id,
            started: now,
            ended,
            status,
        };
        let server = share.map(|share| share.server);
        let series = Series { server, program, add, status, mode: call.mode, late: false };
        let finished = Finished {
            record: recorded.record(place.number()),
            process: process(seed, place, program, planned.errand),
            ends_process: !program.stays() && (last || status.is_none()),
            sent: ended,
            waited: drawn.waited,
            anchor: 0,
            scripted: Scripted { machine, series, takes, lost: 0 },
        };
        // A program whose operation never returns asks for nothing more.
        Some((finished, (status.is_some() && !last).then_some(drawn.gap)))
    }

    /// Draws what becomes of a call of a visit that was to begin at `planned`. In another order the
    /// same seed would make other operations.
    fn drawn(&self, place: Place, planned: u64, call: &PlannedCall, now: u64) -> Drawn {
        let fleet = self.fleet;
        let (share, add) = (call.ask.share(), call.ask.is_add());
        let [a, b, c, d] = place.name();
        let mut rng = Rng::of(&[fleet.seed, OPERATION, a, b, c, d]);
        let usual =
            if add { failure_rates::add(&mut rng) } else { failure_rates::cancel(&mut rng) };
        let status = call.ends.unwrap_or(usual);
        let path = Path {
            server: share.map(|share| share.kind).filter(|_| add),
            first: call.first,
            distance: fleet.distance(place.machine),
            load: curve::LOGON.load(planned),
        };
        let remote = share.map(|share| fleet.remote_name(share, status == 67, &mut rng));
        let takes = latency::draw(status, path, &mut rng);
        let gap = (rng.between(0.02, 0.4) * SECOND as f64) as u64;
        let thread_id = 4 * (1_000 + rng.below(5_000) as u32);
        let usual = IncidentFate { status: Some(status), takes };
        let fate = self.fate(place, call, usual, now, &mut rng);
        let waits = Rng::of(&[fleet.seed, WAITED, a, b, c, d]).happens(WAITED_SHARE);
        Drawn { fate, remote, thread_id, gap, waited: if waits { WAITED_FOR } else { 0 } }
    }

    /// How a call ends that would usually end so: by its mode, the incidents and the limit.
    fn fate(
        &self,
        place: Place,
        call: &PlannedCall,
        usual: IncidentFate,
        now: u64,
        rng: &mut Rng,
    ) -> IncidentFate {
        let fate = match call.mode {
            // No server has a part in it.
            Mode::Deferred => IncidentFate { status: Some(0), takes: latency::deferred(rng) },
            Mode::Prompt => {
                let fate = self.incidents.bend(place, &call.ask, usual, now);
                IncidentFate { takes: fate.takes.saturating_add(latency::prompt(rng)), ..fate }
            }
            Mode::Plain => self.incidents.bend(place, &call.ask, usual, now),
        };
        match fate.status.filter(|_| fate.takes < self.limit) {
            Some(_) => fate,
            None => IncidentFate { status: None, takes: self.limit },
        }
    }
}

/// What an operation names that asks for this, of a share with this remote name.
fn names(ask: &Ask, remote: Option<String>) -> Names {
    let device = |drive: char| format!("{drive}:");
    match *ask {
        Ask::Add { drive, resource_type, .. } => {
            Names { remote, local: drive.map(device), resource_type, force: false }
        }
        Ask::CancelDrive { drive, force } => Names {
            remote: Some(device(drive)),
            local: None,
            resource_type: RESOURCETYPE_ANY,
            force,
        },
        Ask::CancelShare { .. } => {
            Names { remote, local: None, resource_type: RESOURCETYPE_ANY, force: false }
        }
    }
}

/// The provider that connects a share; SMB's for what names none.
fn provider(share: Option<&Share>) -> &'static str {
    match share.map(|share| share.kind) {
        Some(ServerKind::Dav) => "Web Client Network",
        _ => "Microsoft Windows Network",
    }
}

impl Script<'_> {
    /// A visit of the machine's day.
    fn planned(&self, place: Place, now: u64) -> Option<(Visit, Program, Vec<PlannedCall>)> {
        let Place { machine, day, visit, .. } = place;
        let planned = *plan::visits(self.fleet, machine, day).get(usize::from(visit))?;
        let (program, calls) = plan::calls(self.fleet, machine, day, visit.into(), planned.errand);
        let calls = self.incidents.habits(machine, now, planned.errand, calls);
        let doubled = calls.iter().any(|call| call.elevated);
        Some((planned, if doubled { Program::Policy } else { program }, calls))
    }

    /// What a routine asks for.
    fn routine(
        &self,
        number: u16,
        done: u32,
        now: u64,
    ) -> Option<(Visit, Program, Vec<PlannedCall>)> {
        let routine = self.routines.get(usize::from(number))?;
        let ask = Ask::Add {
            share: self.fleet.first_share(routine.server(done)?),
            drive: None,
            resource_type: RESOURCETYPE_DISK,
        };
        let call = PlannedCall {
            ask,
            flags: 0,
            mode: Mode::Plain,
            first: true,
            ends: routine.ends,
            elevated: false,
        };
        // At night nobody is there to be in the way.
        Some((Visit { at: now, errand: Errand::Night }, Program::Net, vec![call]))
    }
}

/// The LUID of the logon in which an operation is asked for: a user's of the day, and its elevated
/// twin.
fn logon_id(seed: u64, place: Place, elevated: bool) -> u64 {
    let mut rng = Rng::of(&[seed, LOGON, place.machine.into(), place.day.into()]);
    1 + (rng.bits() >> 34 << 1) + u64::from(elevated)
}

/// The process in which an operation is asked for.
fn process(seed: u64, place: Place, program: Program, errand: Errand) -> Process {
    let Place { machine, day, visit, .. } = place;
    let visit = if program.stays() { u64::from(u16::MAX) } else { visit.into() };
    let mut rng = Rng::of(&[seed, PROCESS, machine.into(), day.into(), visit, program as u64]);
    let id_seed = [rng.bits(), rng.bits(), rng.bits()];
    let pid = 4 * (500 + rng.below(8_000) as u32);
    // Scripts at night run in the session of the services.
    let session = if errand == Errand::Night || program == Program::Spooler { 0 } else { 1 };
    Process { program, pid, session, id_seed }
}

#[cfg(test)]
mod tests {
    use super::super::incident::Incident;
    use super::*;
    use mpr_otel_core::operation::{Kind, Operation, Outcome};

    const LIMIT: u64 = 600 * SECOND;

    /// Every operation of 200 machines in a day, scripted and decoded.
    fn day(incidents: &[Incident]) -> Vec<(Finished, Operation)> {
        let fleet = Fleet::new(1, 200, 24);
        let incidents = Incidents::new(&fleet, incidents, 0).expect("servers of the fleet");
        let script = Script { fleet: &fleet, incidents: &incidents, routines: &[], limit: LIMIT };
        let visits = (0..200).flat_map(|machine| {
            (0..).zip(plan::visits(&fleet, machine, 0)).map(move |(visit, planned)| {
                (Place { machine, day: 0, visit, step: 0, routine: None }, planned.at)
            })
        });
        let operations = visits.flat_map(|(place, at)| {
            let script = &script;
            (0..4).map_while(move |step| {
                let (finished, _) = script.operation(Place { step, ..place }, at)?;
                let operation = Operation::decode(&finished.record).expect("a record");
                Some((finished, operation))
            })
        });
        operations.collect()
    }

    #[test]
    fn what_is_scripted_is_what_is_decoded() {
        let fleet = Fleet::new(1, 200, 24);
        let day = day(&[]);
        assert!(day.len() > 1_000, "{}", day.len());
        for (finished, operation) in &day {
            let Scripted { series, takes, .. } = finished.scripted;
            let server = series.server.map(|server| fleet.servers[server].name.as_str());
            assert_eq!(operation.remote.server.as_deref(), server);
            assert_eq!(operation.kind == Kind::Add, series.add);
            assert_eq!(operation.status, series.status);
            assert_eq!(operation.ended - operation.started, takes);
            assert_eq!(operation.provider.is_some(), operation.outcome == Outcome::Success);
            assert!(!operation.truncated);
        }
    }

    #[test]
    fn what_never_ends_is_given_up_at_the_limit() {
        let hangs: Incident = "server-hangs@0:server=1".parse().expect("an incident");
        let day = day(&[hangs]);
        // A connect that Windows puts off asks no server.
        let hangs = |series: &Series| series.server == Some(0) && series.mode != Mode::Deferred;
        let hanging = day.iter().filter(|(finished, _)| hangs(&finished.scripted.series));
        assert!(hanging.clone().count() > 50);
        for (_, operation) in hanging {
            assert_eq!(operation.outcome, Outcome::Unfinished);
            assert_eq!(operation.ended - operation.started, LIMIT);
        }
    }
}
