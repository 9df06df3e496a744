//! What a machine's programs ask for in a day.

use super::curve::{self, Curve};
use super::fleet::{Fleet, Share};
use super::random::Rng;
use mpr_otel_core::abi::{RESOURCETYPE_ANY, RESOURCETYPE_DISK, RESOURCETYPE_PRINT};
use mpr_otel_core::win32_error::ERROR_NOT_CONNECTED;

/// Why a program asks for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// The user logs on: all drives, one after the other.
    Logon,
    /// The user opens a share.
    Open,
    /// The user connects a printer.
    Print,
    /// A script maps a drive anew with `net use`.
    Script,
    /// The user disconnects a drive.
    Disconnect,
    /// A script at night connects, works and disconnects.
    Night,
}

/// A program's visit to the network: one or more operations, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// When it begins, in nanoseconds after midnight.
    pub(super) at: u64,
    /// Why.
    pub(super) errand: Errand,
}

/// The program that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    /// The shell, the same process all day.
    Explorer,
    /// Group Policy's scripts.
    GpScript,
    /// Group Policy itself, which maps drives by preferences.
    Policy,
    /// `net use`: a process for each visit.
    Net,
    /// The print spooler.
    Spooler,
}

impl Program {
    /// File name of the program.
    pub(super) fn executable(self) -> &'static str {
        match self {
            Self::Explorer => "explorer.exe",
            Self::GpScript => "gpscript.exe",
            Self::Policy => "svchost.exe",
            Self::Net => "net.exe",
            Self::Spooler => "spoolsv.exe",
        }
    }

    /// Whether it runs all day; the others end with a visit.
    pub(super) fn stays(self) -> bool {
        matches!(self, Self::Explorer | Self::Spooler)
    }

    /// The `CONNECT_` flags that it asks with.
    fn flags(self) -> u32 {
        match self {
            Self::Explorer => 0x8,
            Self::GpScript | Self::Policy => 0x1,
            Self::Net => 0x800,
            Self::Spooler => 0,
        }
    }
}

/// How a connect is asked for, by its flags: what the gateway calls `mpr.connect.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// Windows connects, and asks nobody if it need not.
    Plain,
    /// The user is asked for another account.
    Prompt,
    /// Windows makes the letter, and connects when it is used.
    Deferred,
}

impl Mode {
    /// The `CONNECT_` flags that say so.
    fn flags(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::Prompt => 0x18,
            Self::Deferred => 0x400,
        }
    }

    /// The label's value.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Prompt => "prompt",
            Self::Deferred => "deferred",
        }
    }
}

/// One operation, as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct PlannedCall {
    /// What is asked.
    pub(super) ask: Ask,
    /// `CONNECT_` flags.
    pub(super) flags: u32,
    /// What they say.
    pub(super) mode: Mode,
    /// Whether the program talks to this server for the first time in this visit.
    pub(super) first: bool,
    /// What it ends with, if that is sure: a Win32 code.
    pub(super) ends: Option<u32>,
    /// Whether it is made for the user's elevated logon.
    pub(super) elevated: bool,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Connect a share.
    Add {
        /// The share.
        share: Share,
        /// To this drive.
        drive: Option<char>,
        /// `RESOURCETYPE_*`.
        resource_type: u32,
    },
    /// Cancel what is connected to a drive. It names no server.
    CancelDrive {
        /// The drive.
        drive: char,
        /// Open files are no obstacle.
        force: bool,
    },
    /// Cancel a connection by its remote name.
    CancelShare {
        /// The share.
        share: Share,
    },
}

impl Ask {
    /// The share that it names.
    pub(super) fn share(&self) -> Option<&Share> {
        match self {
            Self::Add { share, .. } | Self::CancelShare { share } => Some(share),
            Self::CancelDrive { .. } => None,
        }
    }

    /// Whether it is an add.
    pub(super) fn is_add(&self) -> bool {
        matches!(self, Self::Add { .. })
    }
}

/// Each use of random numbers has a word of its own, so that no two share their numbers.
const DAY: u64 = 10;
const VISIT: u64 = 11;

/// So much of a working day's visits there is on a day of the weekend.
const AT_WEEKENDS: f64 = 0.04;

/// Whether nobody need work. Day 0 is a Monday.
pub(super) fn is_weekend(day: u32) -> bool {
    day % 7 >= 5
}

/// A machine's visits in a day, in order of time: between six and twelve operations on most days.
pub(super) fn visits(fleet: &Fleet, machine: u32, day: u32) -> Vec<Visit> {
    let mut rng = Rng::of(&[fleet.seed, DAY, machine.into(), day.into()]);
    let part = if is_weekend(day) { AT_WEEKENDS } else { 1.0 };
    let mut visits = Vec::with_capacity(12);
    let mut add = |errand, curve: &Curve, most: usize, probability: f64| {
        for _ in 0..most {
            let at = curve.draw(&mut rng);
            if rng.happens(probability * part) {
                visits.push(Visit { at, errand });
            }
        }
    };
    add(Errand::Logon, &curve::LOGON, 1, 0.97);
    add(Errand::Open, &curve::OFFICE, 4, 0.6);
    add(Errand::Print, &curve::OFFICE, 2, 0.3);
    add(Errand::Script, &curve::OFFICE, 1, 0.25);
    add(Errand::Disconnect, &curve::DEPARTURE, 1, 0.4);
    add(Errand::Night, &curve::NIGHT, 1, 0.15);
    visits.sort_by_key(|visit| visit.at);
    visits
}

/// The program of a visit, and what it asks for.
pub(super) fn calls(
    fleet: &Fleet,
    machine: u32,
    day: u32,
    index: usize,
    errand: Errand,
) -> (Program, Vec<PlannedCall>) {
    let mut rng = Rng::of(&[fleet.seed, VISIT, machine.into(), day.into(), index as u64]);
    let program = program(errand, &mut rng);
    let letter = char::from(b'T' + rng.below(6) as u8);
    let asks = asks(fleet, machine, errand, letter, &mut rng);
    // Drawn last, so that it moves no other draw.
    let mode = mode(program, errand, &mut rng);
    let mut known: Vec<usize> = Vec::new();
    let calls = asks.into_iter().map(|ask| {
        let server = ask.share().map(|share| share.server);
        let first = server.is_some_and(|server| !known.contains(&server));
        known.extend(server);
        // A cancel knows one flag: forget it.
        let flags = if ask.is_add() { program.flags() | mode.flags() } else { program.flags() & 1 };
        PlannedCall { ask, flags, mode, first, ends: None, elevated: false }
    });
    (program, calls.collect())
}

/// The program that goes on an errand.
fn program(errand: Errand, rng: &mut Rng) -> Program {
    match errand {
        Errand::Logon if rng.happens(0.6) => Program::GpScript,
        Errand::Script | Errand::Night => Program::Net,
        Errand::Print if rng.happens(0.3) => Program::Spooler,
        _ => Program::Explorer,
    }
}

/// What is asked for on an errand: `letter` is the drive of what has no other.
fn asks(fleet: &Fleet, machine: u32, errand: Errand, letter: char, rng: &mut Rng) -> Vec<Ask> {
    let add = |share: Share, drive: Option<char>| Ask::Add {
        share,
        drive,
        resource_type: if drive.is_some() { RESOURCETYPE_DISK } else { RESOURCETYPE_ANY },
    };
    match errand {
        Errand::Logon => fleet
            .drives(machine)
            .into_iter()
            .map(|(drive, share)| add(share, Some(drive)))
            .collect(),
        Errand::Open => {
            let drive = rng.happens(0.4).then_some(letter);
            vec![add(fleet.any_share(rng), drive)]
        }
        Errand::Print => vec![Ask::Add {
            share: fleet.printer(rng),
            drive: None,
            resource_type: RESOURCETYPE_PRINT,
        }],
        Errand::Script => {
            let share = fleet.any_share(rng);
            vec![Ask::CancelDrive { drive: letter, force: true }, add(share, Some(letter))]
        }
        Errand::Disconnect if rng.happens(0.8) => {
            vec![Ask::CancelDrive { drive: letter, force: false }]
        }
        Errand::Disconnect => vec![Ask::CancelShare { share: fleet.any_share(rng) }],
        Errand::Night => {
            let share = fleet.any_share(rng);
            vec![add(share.clone(), None), Ask::CancelShare { share }]
        }
    }
}

/// How connects are asked for: of what the user opens in the shell, a few prompt or are put off.
fn mode(program: Program, errand: Errand, rng: &mut Rng) -> Mode {
    match rng.unit() {
        draw if errand != Errand::Open || program != Program::Explorer || draw >= 0.05 => {
            Mode::Plain
        }
        draw if draw < 0.03 => Mode::Prompt,
        _ => Mode::Deferred,
    }
}

/// `ERROR_ALREADY_ASSIGNED`: the drive is connected.
const ALREADY_ASSIGNED: u32 = 85;

/// The first drive is mapped a second time: a script of the user's, and one of the department's.
pub(super) fn first_twice(mut calls: Vec<PlannedCall>) -> Vec<PlannedCall> {
    if let Some(first) = calls.first().cloned() {
        calls.insert(1, PlannedCall { first: false, ends: Some(ALREADY_ASSIGNED), ..first });
    }
    calls
}

/// A drive is cancelled before it is mapped, though nothing is connected to it.
pub(super) fn cancelled_first(calls: Vec<PlannedCall>) -> Vec<PlannedCall> {
    let both = calls.into_iter().flat_map(|call| {
        let cancel = match &call.ask {
            Ask::Add { drive: Some(drive), .. } => Some(PlannedCall {
                ask: Ask::CancelDrive { drive: *drive, force: true },
                flags: 0,
                first: false,
                ends: Some(ERROR_NOT_CONNECTED),
                ..call.clone()
            }),
            _ => None,
        };
        cancel.into_iter().chain([call])
    });
    both.collect()
}

/// All drives are mapped for the user, and then for the user's elevated logon.
pub(super) fn all_twice(mut calls: Vec<PlannedCall>) -> Vec<PlannedCall> {
    let again = calls.iter().map(|call| PlannedCall { elevated: true, ..call.clone() });
    let again: Vec<PlannedCall> = again.collect();
    calls.extend(again);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operations of all machines in a day.
    fn day(fleet: &Fleet) -> Vec<(u64, PlannedCall)> {
        let machines = 0..fleet.machines;
        let of = |machine| {
            visits(fleet, machine, 0).into_iter().enumerate().flat_map(move |(index, visit)| {
                let (_, asked) = calls(fleet, machine, 0, index, visit.errand);
                asked.into_iter().map(move |call| (visit.at, call))
            })
        };
        machines.flat_map(of).collect()
    }

    #[test]
    fn a_thousand_machines_ask_for_some_eight_thousand_operations_a_day() {
        let operations = day(&Fleet::new(1, 1000, 24));
        assert!((7_000..9_000).contains(&operations.len()), "{}", operations.len());
        let cancels = operations.iter().filter(|(_, call)| !call.ask.is_add()).count();
        assert!((400..1_200).contains(&cancels), "{cancels}");
    }

    #[test]
    fn every_server_is_asked_and_popular_ones_more() {
        let fleet = Fleet::new(1, 1000, 24);
        let mut counts = vec![0; 24];
        for (_, call) in day(&fleet) {
            if let Some(share) = call.ask.share() {
                counts[share.server] += 1;
            }
        }
        assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
        assert!(counts[0] > 2 * counts[13], "{counts:?}");
    }

    #[test]
    fn at_weekends_next_to_nothing_happens() {
        let fleet = Fleet::new(1, 1000, 24);
        let count =
            |day| (0..1000).map(|machine| visits(&fleet, machine, day).len()).sum::<usize>();
        let week: Vec<usize> = (0..9).map(count).collect();
        for (day, visits) in week.iter().enumerate() {
            let is_weekend = [5, 6].contains(&day);
            assert_eq!(*visits < 400, is_weekend, "{week:?}");
        }
    }

    #[test]
    fn habits_add_calls_and_take_none_away() {
        let fleet = Fleet::new(1, 10, 24);
        let (_, calls) = calls(&fleet, 3, 0, 0, Errand::Logon);
        let count = calls.len();
        let twice = first_twice(calls.clone());
        assert_eq!((twice.len(), twice[1].ends), (count + 1, Some(ALREADY_ASSIGNED)));
        let cancelled = cancelled_first(calls.clone());
        assert_eq!(cancelled.len(), 2 * count);
        assert!(cancelled.iter().step_by(2).all(|call| call.ends == Some(ERROR_NOT_CONNECTED)));
        assert!(cancelled.iter().skip(1).step_by(2).all(|call| call.ask.is_add()));
        let doubled = all_twice(calls);
        assert_eq!(doubled.iter().filter(|call| call.elevated).count(), count);
        assert_eq!(doubled.len(), 2 * count);
    }

    #[test]
    fn a_plan_is_the_same_every_time_and_in_order() {
        let fleet = Fleet::new(1, 10, 24);
        assert_eq!(visits(&fleet, 3, 0), visits(&fleet, 3, 0));
        assert_ne!(visits(&fleet, 3, 0), visits(&fleet, 3, 1));
        assert!(visits(&fleet, 3, 0).is_sorted_by_key(|visit| visit.at));
    }
}
