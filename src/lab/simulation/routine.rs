//! Programs that ask for the same again and again, beside what users do in a day.

use super::curve::{DAY, SECOND};
use super::fleet::Fleet;
use super::incident::{Incident, Kind};
use super::incidents::Incidents;
use super::plan;
use super::random::Rng;

/// Who asks, for what, and how often.
#[derive(Clone, Debug)]
pub(super) struct Routine {
    /// When it begins, in nanoseconds of simulated time.
    from: u64,
    /// When it ends.
    to: u64,
    /// Between two operations.
    every: u64,
    /// How far from its turn an operation may come, as a part of the time between two.
    spread: f64,
    /// Whether it rests at night and at weekends.
    is_office: bool,
    /// Who asks.
    pub(super) machine: u32,
    /// The servers, which are asked one after the other.
    servers: Vec<usize>,
    /// What the operations end with; `None`: as usual.
    pub(super) ends: Option<u32>,
}

/// Each use of random numbers has a word of its own, so that no two share their numbers.
const MACHINE: u64 = 50;
const TIME: u64 = 51;

/// The part of that which is drawn anew each time.
const JITTER: f64 = 0.2;
/// Machines of a branch, and between two connects of one of them.
const BRANCH_MACHINES: u32 = 5;
const BRANCH_EVERY: u64 = 10 * 60 * SECOND;
/// Users who try together, and within which part of the time between two tries.
const BURST_MACHINES: u32 = 12;
const BURST_SPREAD: f64 = 0.1;
/// When a branch works.
const OFFICE: std::ops::Range<u64> = 7 * 3600 * SECOND..19 * 3600 * SECOND;

/// Names that are no names of servers.
const FORGED: [&str; 6] =
    ["a b", "<b>files01</b>", "x\"y", "{{ $value }}", "-files01", "files01;drop"];
/// A server whose first letters changed places.
const MISSPELT: &str = "fiels01.corp.example";
/// Programs that make names up, and how many each: more than a gateway has room for.
const PROGRAMS: usize = 8;
const NAMES: usize = 3_000;

impl Routine {
    /// The routines of a fleet's branches and of the incidents, with the names that they ask for.
    pub(super) fn all(fleet: &mut Fleet, incidents: &Incidents) -> Vec<Self> {
        let mut routines = Vec::new();
        for (branch, server) in (0..).zip(fleet.branches()) {
            routines.extend(Self::of_branch(branch, server, fleet.machines));
        }
        for (index, (incident, server)) in (0_u64..).zip(incidents.all()) {
            if let (Kind::Bursts, Some(server)) = (incident.kind, server) {
                routines.extend(Self::of_burst(incident, *server, fleet.machines));
            }
            if let Some((programs, ends)) = asked(fleet, incident, *server) {
                let machine = awake(fleet, incidents, index);
                let of_program =
                    |servers| Self::of_incident(incident, machine, servers, Some(ends));
                routines.extend(programs.into_iter().map(of_program));
            }
        }
        routines
    }

    /// The users of a branch, who connect to its server, in a fleet of so many machines.
    fn of_branch(branch: u32, server: usize, machines: u32) -> impl Iterator<Item = Self> {
        (0..BRANCH_MACHINES).map(move |user| Self {
            from: 0,
            to: u64::MAX,
            every: BRANCH_EVERY,
            spread: 1.0,
            is_office: true,
            machine: (branch * BRANCH_MACHINES + user) % machines,
            servers: vec![server],
            ends: None,
        })
    }

    /// The users who try together, in a fleet of so many machines.
    fn of_burst(incident: &Incident, server: usize, machines: u32) -> impl Iterator<Item = Self> {
        (0..BURST_MACHINES).map(move |user| Self {
            spread: BURST_SPREAD,
            ..Self::of_incident(incident, user % machines, vec![server], None)
        })
    }

    /// A routine that goes on as long as an incident, day and night.
    fn of_incident(
        incident: &Incident,
        machine: u32,
        servers: Vec<usize>,
        ends: Option<u32>,
    ) -> Self {
        Self {
            from: incident.from,
            to: incident.to.unwrap_or(u64::MAX),
            every: incident.every,
            spread: 1.0,
            is_office: false,
            machine,
            servers,
            ends,
        }
    }

    /// When it is done for the first time after it was done `done` times, and how often it will have
    /// been done then, if days begin `midnight` nanoseconds after simulated time 0. `None`: not before
    /// `end`.
    pub(super) fn next(&self, done: u32, number: u16, from: u64, end: u64) -> Option<(u32, u64)> {
        let mut done = done;
        loop {
            let of = [TIME, number.into(), self.machine.into()];
            let phase = Rng::of(&of).unit() * (1.0 - JITTER);
            let jitter = Rng::of(&[&of[..], &[done.into()]].concat()).unit() * JITTER;
            let offset = ((phase + jitter) * self.spread * self.every as f64) as u64;
            let at = self.from + u64::from(done) * self.every + offset;
            if at >= self.to.min(end) {
                return None;
            }
            let (day, time) = ((from + at) / DAY, (from + at) % DAY);
            let weekend = u32::try_from(day).is_ok_and(plan::is_weekend);
            if !self.is_office || OFFICE.contains(&time) && !weekend {
                return Some((done, at));
            }
            done += 1;
        }
    }

    /// The server that is asked for after it was done `done` times.
    pub(super) fn server(&self, done: u32) -> Option<usize> {
        self.servers.get(done as usize % self.servers.len().max(1)).copied()
    }
}

/// What programs of one machine ask for in an incident: the servers of each, and what all their
/// operations end with. `None`: it is another kind of incident.
fn asked(
    fleet: &mut Fleet,
    incident: &Incident,
    server: Option<usize>,
) -> Option<(Vec<Vec<usize>>, u32)> {
    Some(match incident.kind {
        Kind::NoisyMachine => (vec![server.into_iter().collect()], incident.code),
        Kind::Misspelt => (vec![vec![fleet.add_name(MISSPELT)]], 53),
        Kind::ForgedNames => (vec![FORGED.iter().map(|name| fleet.add_name(name)).collect()], 1203),
        Kind::NamesOverflow => ((0..PROGRAMS).map(|program| made_up(fleet, program)).collect(), 53),
        _ => return None,
    })
}

/// The names that a program makes up.
fn made_up(fleet: &mut Fleet, program: usize) -> Vec<usize> {
    let name = |number| format!("name{program}-{number:04}.corp.example");
    (0..NAMES).map(|number| fleet.add_name(&name(number))).collect()
}

/// A machine that is drawn for an incident: one that is never switched off, if there is one.
fn awake(fleet: &Fleet, incidents: &Incidents, index: u64) -> u32 {
    let drawn = Rng::of(&[fleet.seed, MACHINE, index]).below(fleet.machines as usize) as u32;
    let mut machines = (drawn..fleet.machines).chain(0..drawn);
    machines.find(|machine| incidents.is_always_on(*machine)).unwrap_or(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a routine is done within a week that begins with a Monday's midnight.
    fn times(routine: &Routine) -> Vec<u64> {
        let next = |done: u32| routine.next(done, 0, 0, 7 * DAY);
        let first = next(0);
        std::iter::successors(first, |(done, _)| next(done + 1)).map(|(_, at)| at).collect()
    }

    fn routines(branches: usize, incident: &str) -> Vec<Routine> {
        let mut fleet = Fleet::new(1, 50, 4).with_branches(branches);
        let ordered = [incident.parse().expect("an incident")];
        let incidents = Incidents::new(&fleet, &ordered, 0).expect("servers");
        Routine::all(&mut fleet, &incidents)
    }

    #[test]
    fn a_branch_is_asked_thirty_times_in_an_hour_of_work_and_never_else() {
        let routines = routines(1, "silence@6h");
        let all: Vec<u64> = routines.iter().flat_map(times).collect();
        assert!((5 * 12 * 28..=5 * 12 * 32).contains(&all.len()), "{}", all.len());
        assert!(all.iter().all(|at| OFFICE.contains(&(at % DAY)) && at / DAY < 5));
    }

    #[test]
    fn one_machine_asks_day_and_night_in_its_time() {
        let routines = routines(0, "misspelt@1h-31h:every=60s");
        let [routine] = &routines[..] else { panic!("{routines:?}") };
        let times = times(routine);
        assert!((1_799..=1_800).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted());
    }

    #[test]
    fn more_names_are_made_up_than_a_gateway_has_room_for() {
        let routines = routines(0, "names-overflow@0:every=1s");
        let names: std::collections::BTreeSet<usize> =
            routines.iter().flat_map(|routine| routine.servers.clone()).collect();
        assert_eq!(names.len(), PROGRAMS * NAMES);
    }
}
