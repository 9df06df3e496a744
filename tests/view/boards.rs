//! What each query of each dashboard shows, by the table of signals.

use crate::expect::{
    Expect, Per,
    What::{Count, Quantile, Seconds, SecondsAbove, Share},
    Which, any, failed, same,
};
use mpr_otel_dashboards::grafana;
use mpr_otel_dashboards::promql::Shape;
use mpr_otel_dashboards::source::{Over, Panel, Series, Source, Truth};
use mpr_otel_fleet::{Labels, Sample, label};
use mpr_otel_lab::simulation::{AgentsTruth, MachineKindTruth, MachineTruth, SeriesTruth};
use std::collections::BTreeMap;

/// What really happened, as far as the variables of a dashboard let it show.
pub struct View<'a> {
    /// All of it.
    pub truth: &'a mpr_otel_fleet::Truth,
    /// The one machine that is looked at.
    pub machine: &'a MachineTruth,
    /// The time that is looked at.
    pub seconds: f64,
}

/// What a query shows.
#[derive(Clone)]
pub enum Shows {
    /// Operations.
    Operations(Expect),
    /// One number.
    Number(Number),
    /// Rows that this compares with what happened.
    Rows(Compare),
    /// What a recording rule of this name recorded of the last minutes.
    Recorded(String),
    /// Numbers that are measured and cannot be foretold, but lie between these.
    Between(f64, f64),
    /// What did not happen: no series, or 0.
    Never,
}

impl Shows {
    /// Compares an answer; says what is wrong. `strict` if what has no rows is wrong.
    pub fn check(&self, view: &View<'_>, answer: &[Sample], strict: bool) -> Result<(), String> {
        let one = |value: f64| match answer {
            [row] => same(row.value, value),
            rows => Err(format!("not one number: {rows:?}")),
        };
        match self {
            Self::Operations(expected) => expected.check(view.truth, answer, view.seconds, strict),
            Self::Number(number) => one(number(view)),
            Self::Rows(check) => check(view, answer),
            // What it records is compared where rules are, and that it does where alerts are.
            Self::Recorded(_) => Ok(()),
            Self::Between(..) if answer.is_empty() => Err("no number".to_owned()),
            Self::Between(least, most) => {
                match answer.iter().find(|row| row.value < *least || *most < row.value) {
                    Some(row) => Err(format!("{row:?} is not between {least} and {most}")),
                    None => Ok(()),
                }
            }
            Self::Never => match answer.iter().find(|row| row.value != 0.0) {
                Some(row) => Err(format!("{row:?} did not happen")),
                None => Ok(()),
            },
        }
    }
}

/// A query of a dashboard, and what it shows.
pub struct Known {
    /// The dashboard's id.
    pub board: String,
    /// The panel's title.
    pub panel: String,
    /// The query's letter.
    pub letter: String,
    /// What it shows.
    pub shows: Shows,
}

/// Every query of metrics of every dashboard.
pub fn queries(source: &Source) -> Vec<Known> {
    let mut known = Vec::new();
    for board in &source.boards {
        for Panel(_, signal, ..) in board.rows.iter().flat_map(|row| &row.panels) {
            let signal = source.signal(signal).unwrap();
            known.extend(signal.series.iter().enumerate().map(|(index, series)| Known {
                board: board.uid.clone(),
                panel: signal.title.clone(),
                letter: grafana::letter(index),
                shows: Shows::of(series),
            }));
        }
    }
    known
}

/// What each recording rule records, if its windows are as long as the run.
pub fn records(source: &Source) -> Vec<(String, Shows)> {
    let records = source.rules.groups.iter().flat_map(|group| &group.records);
    let rules = records.flat_map(|record| record.rules());
    rules.map(|(name, shows)| (name, Shows::of(&shows))).collect()
}

impl Shows {
    /// What a series of the table of signals says that it shows.
    fn of(series: &Series) -> Self {
        match &series.truth {
            Some(Truth::Number(name)) => return Self::Number(named(NUMBERS, name)),
            Some(Truth::Rows(name)) => return Self::Rows(named(ROWS, name)),
            Some(Truth::Between(least, most)) => return Self::Between(*least, *most),
            Some(Truth::Never) => return Self::Never,
            None => {}
        }
        let expect = |what| {
            let expected = Expect::new(what).by(&series.by).positive(series.positive);
            let expected = match &series.within {
                Some(part) => expected.within(named(WITHIN, part)),
                None => expected,
            };
            expected.among(named(BASES, series.base.as_deref().unwrap_or("chosen")))
        };
        let per = match series.over {
            Over::Minute => Per::Minute,
            Over::Second => Per::Second,
            Over::Range | Over::Last(_) => Per::Range,
        };
        let selection = |name| named(SELECTIONS, name);
        Self::Operations(match series.shape().unwrap() {
            Shape::Count(which, Some(of)) => {
                expect(Count).per(per).among(selection(of)).of(selection(which))
            }
            Shape::Count(which, None) | Shape::Counter("mpr_duration_seconds_count", which) => {
                expect(Count).per(per).among(selection(which))
            }
            Shape::Share(which, of) => expect(Share).among(selection(of)).of(selection(which)),
            Shape::Seconds(which) => expect(Seconds).per(per).among(selection(which)),
            Shape::SecondsAbove(which) => expect(SecondsAbove(2.5)).among(selection(which)),
            Shape::Quantile(quantile, among) => expect(Quantile(quantile)).among(selection(among)),
            Shape::Recorded(rule) => return Self::Recorded(rule.to_owned()),
            Shape::Counter(..) | Shape::Expression(_) => panic!("{series:?} has no truth"),
        })
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> T {
    let row = table.iter().find(|(known, _)| *known == name);
    row.unwrap_or_else(|| panic!("the tests do not know {name:?}")).1
}

/// The selections of signals.yaml.
const SELECTIONS: &[(&str, Which)] = &[
    ("any", |_| true),
    ("failed", failed),
    ("unfinished", |series| series.outcome == "unfinished"),
    ("late", |series| series.late),
    ("succeeded", |series| series.outcome == "success"),
    ("unprompted", |series| series.outcome != "cancelled"),
    ("ended", ended),
    ("unreachable", |series| of_class(series, "unreachable")),
    ("unauthenticated", |series| of_class(series, "authentication")),
    ("budget", spends_budget),
    ("mistaken", |series| of_class(series, "conflict") || of_class(series, "request")),
    ("without_network", |series| of_class(series, "client_network")),
];

/// Its parts that say whose series. What is chosen are plain connects: see run.rs.
const BASES: &[(&str, Which)] = &[
    ("all", |_| true),
    ("chosen", plain),
    ("now", in_time),
    ("other_connects", |series| connect(series) && series.connect_mode != "plain"),
    ("connects", in_time),
    ("servers", of_servers),
    ("named_servers", of_named_servers),
];

/// Its parts that say which rows.
const WITHIN: &[(&str, &[Which])] = &[
    ("failing", &[plain, is_named, |series| failed(series) || series.outcome == "unfinished"]),
    ("known", &[of_servers, |series| series.outcome == "success"]),
    (
        "slow",
        &[plain, is_named, ended, |series| {
            series.durations_ms.range(2_501..).any(|(_, count)| *count > 0)
        }],
    ),
];

fn connect(series: &SeriesTruth) -> bool {
    series.operation == "add"
}

/// A connect that did not prompt and was not put off.
fn plain(series: &SeriesTruth) -> bool {
    connect(series) && series.connect_mode == "plain"
}

/// One that did not come late.
fn in_time(series: &SeriesTruth) -> bool {
    plain(series) && !series.late
}

fn of_servers(series: &SeriesTruth) -> bool {
    in_time(series) && is_named(series)
}

fn of_named_servers(series: &SeriesTruth) -> bool {
    connect(series) && is_named(series) && series.connect_mode != "deferred"
}

fn is_named(series: &SeriesTruth) -> bool {
    series.server.is_some()
}

/// Those that did something.
fn ended(series: &SeriesTruth) -> bool {
    failed(series) || series.outcome == "success"
}

/// A number that happened.
type Number = fn(&View<'_>) -> f64;

/// Numbers that signals.yaml names.
const NUMBERS: &[(&str, Number)] = &[
    ("one", |_| 1.0),
    ("machines_reporting", |view| agents(view).reporting as f64),
    ("machines_absent", |view| agents(view).absent_count as f64),
    ("lost", lost),
    ("spans_with_loss", |view| view.truth.spans_with_loss as f64),
    ("pending", |view| agents(view).pending as f64),
    ("seen_per_minute", |view| per_minute(view, agents(view).seen as f64)),
    ("exported_per_minute", |view| per_minute(view, agents(view).exported as f64)),
    ("spans_per_second", spans_per_second),
    ("budget_left", budget_left),
    ("all", |view| view.truth.operations as f64),
    ("all_seen", |view| agents(view).seen as f64),
    ("all_budget", |view| fleet_connects(view, spends_budget)),
    ("all_budget_share", |view| fleet_connects(view, spends_budget) / fleet_connects(view, any)),
    ("machines", |view| machines(view, |kind| kind.machines)),
    ("machines_failing", |view| machines(view, |kind| kind.failing)),
    ("repeated", |view| agents(view).repeated as f64),
    ("deferred", |view| agents(view).deferred as f64),
    ("store_bytes", |view| agents(view).store_bytes as f64),
    ("largest_store", |view| agents(view).largest_store as f64),
    ("removed_per_minute", |view| per_minute(view, agents(view).removed as f64)),
    ("machine_seen", |view| seen(view.machine)),
    ("machine_exported", |view| view.machine.operations as f64),
    ("machine_lost", |view| view.machine.lost as f64),
    ("machine_seen_per_minute", |view| per_minute(view, seen(view.machine))),
    ("machine_exported_per_minute", |view| per_minute(view, view.machine.operations as f64)),
];

/// Comparisons of rows.
type Compare = fn(&View<'_>, &[Sample]) -> Result<(), String>;

/// Those that signals.yaml names.
const ROWS: &[(&str, Compare)] = &[
    ("buckets", buckets),
    ("losses_by_reason", losses_by_reason),
    ("losses_by_machine", |view, rows| same(sum(rows), lost(view))),
    ("lost", |view, rows| same(sum(rows), lost(view))),
    ("most_pending", |view, rows| same(sum(rows), agents(view).pending as f64)),
    ("absent_machines", absent),
    ("spans_per_second", |view, rows| same(sum(rows), spans_per_second(view))),
    ("series_of_calls", |view, rows| same(sum(rows), series(view, true))),
    ("series_of_durations", |view, rows| same(sum(rows), series(view, false))),
    ("most_series", most_series),
    ("firing_alerts", |_, rows| {
        let alert = |row: &&Sample| !row.labels["alertname"].starts_with("Mpr");
        rows.iter().find(alert).map_or(Ok(()), |row| Err(format!("{row:?} is no alert")))
    }),
    ("last_success", last_success),
    ("never_reached", never_reached),
    ("machine_lost_per_minute", |view, rows| {
        same(sum(rows), per_minute(view, view.machine.lost as f64))
    }),
    ("machine_last_report", last_report),
    ("machines_failing_by_class", failing_by_class),
    ("machines_by_site", |view, rows| by_kind(view, rows, &[SITE], |kind| kind.machines)),
    ("failing_machines_by_site", |view, rows| by_kind(view, rows, &[SITE], |kind| kind.failing)),
    ("machines_by_build", |view, rows| by_kind(view, rows, &[BUILD], |kind| kind.machines)),
    ("failing_machines_by_build", |view, rows| by_kind(view, rows, &[BUILD], |kind| kind.failing)),
    ("versions", |view, rows| {
        let machines = |kind: &MachineKindTruth| if kind.reporting { kind.machines } else { 0 };
        by_kind(view, rows, &[VERSION, BUILD], machines)
    }),
    ("stuck_agents", stuck_agents),
    ("failures_by_machine", failures_by_machine),
    ("failures_by_program", |view, rows| by_program(view, rows, failed)),
    ("operations_by_program", |view, rows| by_program(view, rows, any)),
    ("machine_outcomes", machine_outcomes),
    ("machine_versions", machine_versions),
];

/// A label of machines, and what it says of machines that are alike.
type KindLabel = (&'static str, fn(&MachineKindTruth) -> &str);

const SITE: KindLabel = ("mpr_site", |kind| &kind.site);
const BUILD: KindLabel = ("os_build_id", |kind| &kind.os_build);
const VERSION: KindLabel = ("service_version", |kind| &kind.version);

/// The sum of something over all kinds of machines.
fn machines(view: &View<'_>, count: fn(&MachineKindTruth) -> u64) -> f64 {
    agents(view).kinds.iter().map(count).sum::<u64>() as f64
}

/// Which part of the failures that the objective allows is left.
fn budget_left(view: &View<'_>) -> f64 {
    let count = |which: Which| {
        let groups = view.truth.groups(&[], |series| plain(series) && which(series));
        groups.values().map(|part| part.count()).sum::<u64>() as f64
    };
    1.0 - count(spends_budget) / (0.01 * count(any))
}

/// A failure that a server's budget is charged with.
fn spends_budget(series: &SeriesTruth) -> bool {
    const OTHERS: [&str; 4] = ["authentication", "client_network", "conflict", "request"];
    failed(series) && !OTHERS.iter().any(|class| of_class(series, class))
}

/// Connects that the rules judge: what is counted without servers.
fn fleet_connects(view: &View<'_>, which: Which) -> f64 {
    let groups = view.truth.groups(&[], |series| in_time(series) && which(series));
    groups.values().map(|part| part.count()).sum::<u64>() as f64
}

/// Machines in groups by labels; groups of none have no row.
fn by_kind(
    view: &View<'_>,
    rows: &[Sample],
    labels: &[KindLabel],
    count: impl Fn(&MachineKindTruth) -> u64,
) -> Result<(), String> {
    let mut expected = BTreeMap::<Labels, u64>::new();
    for kind in &agents(view).kinds {
        let labels = labels.iter().map(|(name, of)| ((*name).to_owned(), of(kind).to_owned()));
        *expected.entry(labels.collect()).or_default() += count(kind);
    }
    expected.retain(|_, count| *count > 0);
    same_rows(rows, &expected)
}

fn failing_by_class(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let mut expected = BTreeMap::<Labels, u64>::new();
    for (class, machines) in agents(view).kinds.iter().flat_map(|kind| &kind.failing_by_class) {
        let labels = Labels::from([("mpr_error_class".to_owned(), class.clone())]);
        *expected.entry(labels).or_default() += machines;
    }
    same_rows(rows, &expected)
}

/// Each row that there should be, with its number, and no other.
fn same_rows(rows: &[Sample], expected: &BTreeMap<Labels, u64>) -> Result<(), String> {
    for row in rows {
        let count = expected.get(&row.labels).ok_or(format!("{row:?} should not be there"))?;
        same(row.value, *count as f64).map_err(|why| format!("{:?}: {why}", row.labels))?;
    }
    match rows.len() == expected.len() {
        true => Ok(()),
        false => Err(format!("{} rows instead of {expected:?}", rows.len())),
    }
}

fn stuck_agents(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    same(rows.len() as f64, machines(view, |kind| kind.slow).min(50.0))?;
    rows.iter().try_for_each(|row| same(row.value, 40.0))
}

/// Programs that failed at some connects.
fn by_program(view: &View<'_>, rows: &[Sample], which: Which) -> Result<(), String> {
    let of = |which: Which| {
        let passes = |series: &SeriesTruth| connect(series) && which(series);
        view.truth.groups(&["process_executable_name"], passes)
    };
    let (failing, counts) = (of(failed), of(which));
    same(rows.len() as f64, failing.len() as f64)?;
    for row in rows {
        if !failing.contains_key(&row.labels) {
            return Err(format!("{row:?} never failed"));
        }
        same(row.value, counts[&row.labels].count() as f64)?;
    }
    Ok(())
}

/// The machines of the sample are known one by one. A machine that should be among the first 50 is
/// there.
fn failures_by_machine(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let failing = machines(view, |kind| kind.failing);
    same(rows.len() as f64, failing.min(50.0))?;
    let least = rows.iter().map(|row| row.value).fold(f64::INFINITY, f64::min);
    for machine in &view.truth.machines_sample {
        let row = rows.iter().find(|row| row.labels["host_name"] == machine.host_name);
        match row {
            Some(row) => same(row.value, machine.failures as f64)?,
            None if machine.failures == 0 || failing > 50.0 && machine.failures as f64 <= least => {
            }
            None => return Err(format!("{machine:?} is missing")),
        }
    }
    Ok(())
}

fn machine_outcomes(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let machine = view.machine;
    let of = |outcome: &str| {
        let row = rows.iter().find(|row| row.labels["mpr_outcome"] == outcome);
        row.map_or(0.0, |row| row.value)
    };
    same(of("failure"), per_minute(view, machine.failures as f64))?;
    same(of("unfinished"), per_minute(view, machine.unfinished as f64))?;
    same(sum(rows), per_minute(view, machine.operations as f64))
}

/// One version, build and site, which machines have.
fn machine_versions(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    last_report(view, rows)?;
    let is_of = |kind: &MachineKindTruth| {
        [SITE, BUILD, VERSION].iter().all(|(name, of)| rows[0].labels[*name] == of(kind))
    };
    match agents(view).kinds.iter().any(is_of) {
        true => Ok(()),
        false => Err(format!("there is no such machine: {rows:?}")),
    }
}

fn of_class(series: &SeriesTruth, class: &str) -> bool {
    series.error_class.as_deref() == Some(class)
}

fn sum(rows: &[Sample]) -> f64 {
    rows.iter().map(|row| row.value).sum()
}

fn agents<'a>(view: &View<'a>) -> &'a AgentsTruth {
    view.truth.agents.as_ref().expect("the machines of this run have agents")
}

fn lost(view: &View<'_>) -> f64 {
    agents(view).lost.values().sum::<u64>() as f64
}

fn seen(machine: &MachineTruth) -> f64 {
    (machine.operations + machine.lost) as f64
}

fn per_minute(view: &View<'_>, count: f64) -> f64 {
    60.0 * count / view.seconds
}

fn spans_per_second(view: &View<'_>) -> f64 {
    view.truth.operations as f64 / view.seconds
}

/// The labels of operations; the last is that of counters alone.
const ALL: &[&str] = &[
    "server_address",
    "mpr_operation_name",
    "mpr_outcome",
    "mpr_error_class",
    "mpr_connect_mode",
    "mpr_late",
    "error_type",
];

/// How many series there are, with the exact error or without it.
fn series(view: &View<'_>, exact: bool) -> f64 {
    let labels = if exact { ALL } else { &ALL[..ALL.len() - 1] };
    view.truth.groups(labels, any).len() as f64
}

fn most_series(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    for row in rows {
        let server = row.labels.get("server_address").map(String::as_str);
        let groups = view.truth.groups(ALL, |series| label(series, "server_address") == server);
        same(row.value, groups.len() as f64).map_err(|why| format!("{server:?}: {why}"))?;
    }
    same(rows.len() as f64, view.truth.groups(&["server_address"], any).len().min(20) as f64)
}

fn buckets(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let all = view.truth.groups(&[], in_time).remove(&Labels::new()).unwrap_or_default();
    let expected: BTreeMap<String, u64> = all.buckets();
    for row in rows {
        let le = &row.labels["le"];
        let count = expected.get(le).ok_or(format!("no bucket should end at {le}"))?;
        same(row.value, *count as f64).map_err(|why| format!("le {le}: {why}"))?;
    }
    same(rows.len() as f64, expected.len() as f64)
}

fn losses_by_reason(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    for row in rows {
        let count = agents(view).lost.get(&row.labels["mpr_loss_reason"]).copied().unwrap_or(0);
        same(row.value, per_minute(view, count as f64))?;
    }
    same(sum(rows), per_minute(view, lost(view)))
}

fn absent(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let named = &agents(view).absent;
    let told: Vec<&String> = rows.iter().map(|row| &row.labels["host_name"]).collect();
    match named.iter().find(|machine| !told.contains(machine)) {
        Some(machine) => Err(format!("{machine} is absent and not shown")),
        None => same(rows.len() as f64, agents(view).absent_count as f64),
    }
}

/// Servers that a connect succeeded to, each within the time of the run.
fn last_success(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let succeeded = |series: &SeriesTruth| of_servers(series) && series.outcome == "success";
    let servers = view.truth.groups(&["server_address"], succeeded);
    for row in rows {
        if !servers.contains_key(&row.labels) {
            return Err(format!("{row:?} was never connected to"));
        }
        last_report(view, std::slice::from_ref(row))?;
    }
    if rows.is_empty() { Err("no rows".to_owned()) } else { Ok(()) }
}

/// Failures of servers that no connect succeeded to.
fn never_reached(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let of = |which: Which| {
        let groups = |series: &SeriesTruth| of_named_servers(series) && which(series);
        view.truth.groups(&["server_address"], groups)
    };
    let reached = of(|series| series.outcome == "success");
    let mut failures = of(failed);
    failures.retain(|server, _| !reached.contains_key(server));
    let count: u64 = failures.values().map(|part| part.count()).sum();
    same(sum(rows), count as f64)
}

fn last_report(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let [row] = rows else { return Err(format!("{rows:?}")) };
    let (begun, ended) = (view.truth.begun_unix_ms as f64, view.truth.ended_unix_ms as f64);
    match begun <= row.value && row.value <= ended + 60e3 {
        true => Ok(()),
        false => Err(format!("{} is not between {begun} and {ended}", row.value)),
    }
}
