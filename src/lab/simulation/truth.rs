//! What really happened, counted where the users sit.
//!
//! Nothing here is read back from a span: what was scripted is counted, once a collector has
//! accepted its span.

use super::fleet::Fleet;
use super::incidents::Incidents;
use super::plan::{Mode, Program};
use mpr_otel_core::operation::{Kind, Outcome};
use mpr_otel_core::win32_error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Machines whose operations are counted machine by machine.
const SAMPLE: usize = 20;
/// Absent machines that are named.
const ABSENT_NAMED: usize = 100;

/// What makes operations count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    /// The server's number; `None` for an operation that names none.
    pub(super) server: Option<usize>,
    /// Who asked.
    pub(super) program: Program,
    /// Whether it was an add.
    pub(super) add: bool,
    /// The code; `None` for an operation that did not end.
    pub(super) status: Option<u32>,
    /// How it was asked for.
    pub(super) mode: Mode,
    /// Whether it arrives long after it ended.
    pub(super) late: bool,
}

/// One operation, as it was scripted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scripted {
    /// Whose.
    pub(super) machine: u32,
    /// Which.
    pub(super) series: Series,
    /// How long the user waited, in nanoseconds.
    pub(super) takes: u64,
    /// Operations that the machine lost before, which the span reports.
    pub(super) lost: u64,
}

/// Operations of one series.
#[derive(Clone, Debug, Default)]
struct Sum {
    count: u64,
    nanos: u128,
    durations_ms: BTreeMap<u64, u64>,
}

/// Counts what collectors have accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    series: BTreeMap<Series, Sum>,
    sample: [MachineSum; SAMPLE],
    /// Spans accepted.
    pub(super) operations: u64,
    /// Spans refused for good.
    pub(super) refused: u64,
    /// Spans given up because the run was stopped.
    pub(super) unsent: u64,
    /// Spans sent again because no answer came: a collector may have them twice.
    pub(super) repeated: u64,
    /// Spans sent again because a collector was busy or failed (429, 5xx): it may have counted them.
    pub(super) put_off: u64,
    /// A collector accepted a part of a request and did not say which.
    pub(super) inexact: bool,
    spans_with_loss: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct MachineSum {
    operations: u64,
    failures: u64,
    unfinished: u64,
    lost: u64,
}

impl Count {
    /// A machine had no room for an operation.
    pub(super) fn lose(&mut self, machine: u32) {
        if let Some(machine) = self.sample.get_mut(machine as usize) {
            machine.lost += 1;
        }
    }

    /// A collector has the operation's span.
    pub(super) fn accept(&mut self, scripted: &Scripted) {
        self.operations += 1;
        self.spans_with_loss += u64::from(scripted.lost > 0);
        let sum = self.series.entry(scripted.series).or_default();
        sum.count += 1;
        sum.nanos += u128::from(scripted.takes);
        *sum.durations_ms.entry(two_digits_up(scripted.takes)).or_default() += 1;
        if let Some(machine) = self.sample.get_mut(scripted.machine as usize) {
            machine.operations += 1;
            machine.failures += u64::from(scripted.series.failed());
            machine.unfinished += u64::from(scripted.series.status.is_none());
        }
    }
}

impl Series {
    /// How it ended.
    pub(super) fn outcome(self) -> Outcome {
        let kind = if self.add { Kind::Add } else { Kind::Cancel };
        Outcome::of(kind, self.status)
    }

    fn failed(self) -> bool {
        matches!(self.outcome(), Outcome::Failure(_))
    }
}

/// Nanoseconds as milliseconds, rounded up to two significant digits, and to whole milliseconds.
///
/// A histogram's bound of at most two digits separates the rounded values exactly as it does the
/// real ones.
pub(super) fn two_digits_up(nanos: u64) -> u64 {
    let ms = nanos.div_ceil(1_000_000);
    let mut step = 1;
    while ms / step >= 100 {
        step *= 10;
    }
    // What is rounded up to three digits, as 995 to 1,000, has but one that is not zero.
    ms.div_ceil(step) * step
}

/// The truth about a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Truth {
    /// What the random numbers were made from.
    pub seed: u64,
    /// Machines of the fleet.
    pub machines: u32,
    /// `max`, or simulated seconds for a real one.
    pub speed: String,
    /// Real time of the beginning, in milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// Real time of the end.
    pub ended_unix_ms: u64,
    /// How long the run was to be, in simulated time.
    pub simulated_seconds: f64,
    /// Spans that a collector accepted.
    pub operations: u64,
    /// Spans that it refused for good.
    pub refused: u64,
    /// Spans that were finished and not sent when the run was stopped.
    pub unsent: u64,
    /// Spans that were sent again because no answer came: a collector may have counted them twice.
    pub repeated: u64,
    /// Spans that were sent again because a collector was busy or failed (429, 5xx). The Collector counts
    /// a span before its queue of traces refuses it, and counts it again each time it comes.
    pub put_off: u64,
    /// Whether `series` is exactly what a collector counted; false if spans were sent again, or if it
    /// accepted a part of a request, without saying which.
    pub exact: bool,
    /// Accepted operations that failed.
    pub failures: u64,
    /// Accepted operations that did not end.
    pub unfinished: u64,
    /// Accepted operations by what their metrics are keyed by.
    pub series: Vec<SeriesTruth>,
    /// The first machines.
    pub machines_sample: Vec<MachineTruth>,
    /// What the agents last reported; `None` without agents.
    pub agents: Option<AgentsTruth>,
    /// Accepted spans that reported a loss.
    pub spans_with_loss: u64,
    /// Operations that machines had no room for.
    pub lost: u64,
    /// What was ordered.
    pub incidents: Vec<IncidentTruth>,
}

/// Operations that count together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeriesTruth {
    /// `server.address`.
    pub server: Option<String>,
    /// `process.executable.name`.
    pub program: String,
    /// `mpr.operation.name`.
    pub operation: String,
    /// `mpr.outcome`.
    pub outcome: String,
    /// `mpr.error.class`.
    pub error_class: Option<String>,
    /// `error.type`.
    pub error_type: Option<String>,
    /// `mpr.connect.mode`.
    pub connect_mode: String,
    /// `mpr.late`.
    pub late: bool,
    /// How many.
    pub count: u64,
    /// Their durations' sum.
    pub seconds: f64,
    /// How many by duration, rounded up to two significant digits.
    pub durations_ms: BTreeMap<u64, u64>,
}

/// What happened on a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MachineTruth {
    /// `host.name`.
    pub host_name: String,
    /// Operations.
    pub operations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that did not end.
    pub unfinished: u64,
    /// Those that were lost, and are not among the others.
    pub lost: u64,
}

/// The sums over what each machine's agent reported last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AgentsTruth {
    /// Machines whose agents reported at the end.
    pub reporting: u64,
    /// Some of those whose agents did not.
    pub absent: Vec<String>,
    /// All of those.
    pub absent_count: u64,
    /// `mpr.operation.seen` of all machines.
    pub seen: u64,
    /// `mpr.operation.exported` of all machines.
    pub exported: u64,
    /// `mpr.operation.pending` of the machines that reported at the end.
    pub pending: u64,
    /// `mpr.operation.lost` of all machines, by reason; reasons without losses are left out.
    pub lost: BTreeMap<String, u64>,
    /// `mpr.operation.repeated` of all machines.
    pub repeated: u64,
    /// `mpr.ledger.removed` of all machines.
    pub removed: u64,
    /// `mpr.store.size` of the machines that reported at the end.
    pub store_bytes: u64,
    /// The largest of these.
    pub largest_store: u64,
    /// `mpr.owner.deferred` of the machines that reported at the end.
    pub deferred: u64,
    /// All machines, those of one kind together.
    pub kinds: Vec<MachineKindTruth>,
}

/// Machines that are alike.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MachineKindTruth {
    /// `service.version` of the agents.
    pub version: String,
    /// `os.build_id`.
    pub os_build: String,
    /// `mpr.site`.
    pub site: String,
    /// Whether their agents reported at the end.
    pub reporting: bool,
    /// How many.
    pub machines: u64,
    /// Of these, machines with a failure that their agent reported.
    pub failing: u64,
    /// The same by `mpr.error.class`.
    pub failing_by_class: BTreeMap<String, u64>,
    /// Of these, machines whose agents make progress every 40 s only: `mpr.agent.last_round`.
    pub slow: u64,
}

impl AgentsTruth {
    /// An agent is absent at the end.
    pub(super) fn add_absent(&mut self, machine: String) {
        self.absent_count += 1;
        if self.absent.len() < ABSENT_NAMED {
            self.absent.push(machine);
        }
    }
}

/// An incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentTruth {
    /// What happened.
    pub kind: String,
    /// To which server.
    pub server: Option<String>,
    /// From when on, in simulated seconds after the beginning.
    pub from_s: f64,
    /// Until when.
    pub to_s: f64,
    /// The alert that it must raise; `None`: none may fire because of it.
    pub alert: Option<String>,
}

impl Count {
    /// The series, named.
    pub(super) fn series(&self, fleet: &Fleet) -> Vec<SeriesTruth> {
        let named = self.series.iter().map(|(series, sum)| {
            let outcome = series.outcome();
            let class = outcome.class();
            let error_type = match series.status {
                None => Some("unfinished".to_owned()),
                Some(code) => class.map(|_| win32_error::name(code).into_owned()),
            };
            SeriesTruth {
                server: series.server.map(|server| fleet.servers[server].name.clone()),
                program: series.program.executable().to_owned(),
                operation: if series.add { "add" } else { "cancel" }.to_owned(),
                outcome: outcome.name().to_owned(),
                error_class: class.map(|class| class.name().to_owned()),
                error_type,
                connect_mode: series.mode.name().to_owned(),
                late: series.late,
                count: sum.count,
                seconds: sum.nanos as f64 / 1e9,
                durations_ms: sum.durations_ms.clone(),
            }
        });
        named.collect()
    }

    /// How many failed, and how many did not end.
    pub(super) fn failures(&self) -> (u64, u64) {
        let sum = |of: fn(&Series) -> bool| {
            self.series.iter().filter(|(series, _)| of(series)).map(|(_, sum)| sum.count).sum()
        };
        (sum(|series| series.failed()), sum(|series| series.status.is_none()))
    }

    /// The first machines.
    pub(super) fn machines_sample(&self, fleet: &Fleet) -> Vec<MachineTruth> {
        let machines = (0..fleet.machines).zip(&self.sample);
        machines
            .map(|(machine, sum)| MachineTruth {
                host_name: fleet.host_name(machine),
                operations: sum.operations,
                failures: sum.failures,
                unfinished: sum.unfinished,
                lost: sum.lost,
            })
            .collect()
    }

    /// Accepted spans that reported a loss.
    pub(super) fn spans_with_loss(&self) -> u64 {
        self.spans_with_loss
    }
}

/// The incidents, named. `end` is the run's.
pub(super) fn incidents(fleet: &Fleet, incidents: &Incidents, end: u64) -> Vec<IncidentTruth> {
    let named = incidents.all().iter().map(|(incident, server)| IncidentTruth {
        kind: incident.kind.name().to_owned(),
        server: server.map(|server| fleet.servers[server].name.clone()),
        from_s: incident.from as f64 / 1e9,
        to_s: incident.to.unwrap_or(end).min(end) as f64 / 1e9,
        alert: incident.kind.alert().map(str::to_owned),
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_to_two_digits_and_whole_milliseconds() {
        for (nanos, ms) in [
            (0, 0),
            (1, 1),
            (1_000_000, 1),
            (1_000_001, 2),
            (99_000_000, 99),
            (99_000_001, 100),
            (100_000_000, 100),
            (100_000_001, 110),
            (249_999_999, 250),
            (250_000_000, 250),
            (250_000_001, 260),
            (994_000_000, 1_000),
            (20_000_000_000, 20_000),
            (20_000_000_001, 21_000),
            (600_000_000_000, 600_000),
        ] {
            assert_eq!(two_digits_up(nanos), ms, "{nanos}");
        }
    }

    #[test]
    fn the_histograms_bounds_separate_rounded_durations_as_they_do_real_ones() {
        let bounds = [
            5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000,
            45_000, 60_000, 90_000, 120_000,
        ];
        for bound in bounds {
            for nanos in [bound * 1_000_000 - 1, bound * 1_000_000, bound * 1_000_000 + 1] {
                for other in bounds {
                    let real = nanos <= other * 1_000_000;
                    assert_eq!(two_digits_up(nanos) <= other, real, "{nanos} and {other}");
                }
            }
        }
    }

    #[test]
    fn what_is_accepted_is_counted_by_series_and_machine() {
        let fleet = Fleet::new(1, 2, 3);
        let mut count = Count::default();
        let scripted = |machine, status, takes| Scripted {
            machine,
            series: Series {
                server: Some(1),
                program: Program::Net,
                add: true,
                status,
                mode: Mode::Plain,
                late: false,
            },
            takes,
            lost: u64::from(status == Some(5)),
        };
        count.accept(&scripted(0, Some(0), 1_500_000));
        count.accept(&scripted(1, Some(0), 1_600_000));
        count.accept(&scripted(1, Some(5), 7_000_000));
        count.accept(&scripted(1, None, 600_000_000_000));
        assert_eq!((count.operations, count.failures()), (4, (1, 1)));
        assert_eq!(count.spans_with_loss(), 1);
        let series = count.series(&fleet);
        assert_eq!(series.len(), 3);
        let success = series.iter().find(|series| series.outcome == "success").expect("one");
        assert_eq!(success.server.as_deref(), Some("files02.corp.example"));
        assert_eq!((success.count, success.durations_ms[&2]), (2, 2));
        assert!((success.seconds - 0.0031).abs() < 1e-12);
        let unfinished = series.iter().find(|series| series.outcome == "unfinished").expect("one");
        assert_eq!(unfinished.error_type.as_deref(), Some("unfinished"));
        let sample = count.machines_sample(&fleet);
        assert_eq!(sample.len(), 2);
        assert_eq!(sample[1].operations, 3);
    }
    #[test]
    fn a_cancel_of_what_is_not_there_is_no_failure_and_an_add_that_ends_so_is_one() {
        let fleet = Fleet::new(1, 2, 3);
        let mut count = Count::default();
        for add in [true, false] {
            let status = Some(2250);
            let (server, program, mode) = (Some(0), Program::Net, Mode::Plain);
            let series = Series { server, program, add, status, mode, late: false };
            count.accept(&Scripted { machine: 0, series, takes: 1, lost: 0 });
        }
        assert_eq!(count.failures(), (1, 0));
        let series = count.series(&fleet);
        let of = |operation: &str| series.iter().find(|series| series.operation == operation);
        let (add, cancel) = (of("add").expect("one"), of("cancel").expect("one"));
        assert_eq!(
            (add.outcome.as_str(), add.error_class.as_deref()),
            ("failure", Some("not_found"))
        );
        assert_eq!(
            (cancel.outcome.as_str(), cancel.error_class.as_deref()),
            ("nothing_to_do", None)
        );
        assert_eq!(cancel.error_type, None);
    }
}
