//! What each query of each dashboard shows.

use crate::expect::{
    Expect,
    Per::{Minute, Second},
    What::{Count, Quantile, Seconds, Share},
    any, ended, failed, same, succeeded, unfinished,
};
use mpr_otel_fleet::{Labels, Sample, Truth, label};
use mpr_otel_lab::simulation::{AgentsTruth, HostTruth, SeriesTruth};
use std::collections::BTreeMap;

/// What really happened, as far as the variables of a dashboard let it show.
pub struct View<'a> {
    /// All of it.
    pub truth: &'a Truth,
    /// The one host that is looked at.
    pub host: &'a HostTruth,
    /// The time that is looked at.
    pub seconds: f64,
}

/// What a query shows.
#[derive(Clone, Copy)]
pub enum Shows {
    /// Operations.
    Operations(Expect),
    /// One number.
    Number(fn(&View<'_>) -> f64),
    /// Rows that this compares with what happened.
    Rows(fn(&View<'_>, &[Sample]) -> Result<(), String>),
    /// What a recording rule of this name recorded of the last minutes.
    Recorded(&'static str),
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

use Shows::{Between, Never, Number, Operations, Recorded, Rows};

const JOB: &[&str] = &["job"];
const OUTCOME: &[&str] = &["mpr_outcome"];
const SERVER: &[&str] = &["server_address"];
const CLASS: &[&str] = &["mpr_error_class"];
const TYPE: &[&str] = &["error_type"];
const ERROR: &[&str] = &["mpr_error_class", "error_type"];
const SERVER_ERROR: &[&str] = &["server_address", "mpr_error_class", "error_type"];
const KIND: &[&str] = &["mpr_operation_name", "mpr_outcome"];

const COUNT: Expect = Expect::new(Count);
const SECONDS: Expect = Expect::new(Seconds);
const FAILED: Expect = COUNT.of(failed);
const FAILURE_SHARE: Expect = Expect::new(Share).of(failed);
const UNFINISHED: Expect = COUNT.of(unfinished);

const fn quantile(quantile: f64) -> Expect {
    Expect::new(Quantile(quantile)).among(ended)
}

const fn quantile_of_successes(quantile: f64) -> Expect {
    Expect::new(Quantile(quantile)).among(succeeded)
}

/// By dashboard, panel and letter of the query.
#[rustfmt::skip] // A table.
pub const QUERIES: &[(&str, &str, &str, Shows)] = &[
    ("mpr-otel-overview", "Operations", "A", Operations(COUNT)),
    ("mpr-otel-overview", "Failure ratio", "A", Operations(FAILURE_SHARE)),
    ("mpr-otel-overview", "Failures", "A", Operations(FAILED)),
    ("mpr-otel-overview", "Unfinished", "A", Operations(UNFINISHED)),
    ("mpr-otel-overview", "Duration", "A", Operations(quantile(0.5))),
    ("mpr-otel-overview", "Duration", "B", Operations(quantile(0.95))),
    ("mpr-otel-overview", "Duration", "C", Operations(quantile(0.99))),
    ("mpr-otel-overview", "Operations by outcome", "A", Operations(COUNT.per(Minute).by(OUTCOME))),
    ("mpr-otel-overview", "Failure ratio over time", "A", Operations(FAILURE_SHARE)),
    ("mpr-otel-overview", "Failure ratio over time", "B", Operations(Expect::new(Share).of(unfinished))),
    ("mpr-otel-overview", "Duration over time", "A", Operations(quantile(0.5))),
    ("mpr-otel-overview", "Duration over time", "B", Operations(quantile(0.95))),
    ("mpr-otel-overview", "Duration over time", "C", Operations(quantile(0.99))),
    ("mpr-otel-overview", "Users waiting at a time", "A", Operations(SECONDS.per(Second).by(OUTCOME))),
    ("mpr-otel-overview", "Time lost waiting", "A", Operations(SECONDS.by(OUTCOME))),
    ("mpr-otel-overview", "Worst servers", "A", Operations(COUNT.by(SERVER))),
    ("mpr-otel-overview", "Worst servers", "B", Operations(FAILED.by(SERVER))),
    ("mpr-otel-overview", "Worst servers", "C", Operations(FAILURE_SHARE.by(SERVER))),
    ("mpr-otel-overview", "Worst servers", "D", Operations(UNFINISHED.by(SERVER))),
    ("mpr-otel-overview", "Worst servers", "E", Operations(quantile(0.95).by(SERVER))),
    ("mpr-otel-overview", "Worst servers", "F", Operations(SECONDS.by(SERVER))),
    ("mpr-otel-overview", "Failures by class", "A", Operations(COUNT.per(Minute).among(failed).by(CLASS))),
    ("mpr-otel-overview", "Failures by error", "A", Operations(COUNT.among(failed).by(ERROR))),
    ("mpr-otel-overview", "Unfinished by server", "A", Operations(COUNT.per(Minute).among(unfinished).by(SERVER))),

    ("mpr-otel-server", "Operations", "A", Operations(COUNT)),
    ("mpr-otel-server", "Failure ratio", "A", Operations(FAILURE_SHARE)),
    ("mpr-otel-server", "Unfinished", "A", Operations(UNFINISHED)),
    ("mpr-otel-server", "Duration", "A", Operations(quantile(0.5))),
    ("mpr-otel-server", "Duration", "B", Operations(quantile(0.95))),
    ("mpr-otel-server", "Duration", "C", Operations(quantile(0.99))),
    ("mpr-otel-server", "Time lost waiting", "A", Operations(SECONDS)),
    ("mpr-otel-server", "Operations by outcome", "A", Operations(COUNT.per(Minute).by(OUTCOME))),
    ("mpr-otel-server", "Failures by error over time", "A", Operations(COUNT.per(Minute).among(failed).by(TYPE))),
    ("mpr-otel-server", "Duration of successes", "A", Operations(quantile_of_successes(0.5))),
    ("mpr-otel-server", "Duration of successes", "B", Operations(quantile_of_successes(0.95))),
    ("mpr-otel-server", "Duration of successes", "C", Operations(quantile_of_successes(0.99))),
    ("mpr-otel-server", "Durations", "A", Rows(buckets)),
    ("mpr-otel-server", "Failures by error", "A", Operations(COUNT.among(failed).by(SERVER_ERROR))),
    ("mpr-otel-server", "By operation and outcome", "A", Operations(COUNT.by(KIND))),
    ("mpr-otel-server", "By operation and outcome", "B", Operations(SECONDS.by(KIND))),
    ("mpr-otel-server", "Error budget", "A", Recorded("server_address:mpr_connects_failed:ratio5m")),
    ("mpr-otel-server", "Error budget", "B", Recorded("server_address:mpr_connects_failed:ratio30m")),
    ("mpr-otel-server", "Error budget", "C", Recorded("server_address:mpr_connects_failed:ratio1h")),
    ("mpr-otel-server", "Error budget", "D", Recorded("server_address:mpr_connects_failed:ratio6h")),
    ("mpr-otel-server", "Unreachable, unauthenticated, unfinished", "A", Recorded("server_address:mpr_connects_unreachable:ratio5m")),
    ("mpr-otel-server", "Unreachable, unauthenticated, unfinished", "B", Recorded("server_address:mpr_connects_unauthenticated:ratio15m")),
    ("mpr-otel-server", "Unreachable, unauthenticated, unfinished", "C", Recorded("server_address:mpr_connects_unfinished:ratio15m")),

    ("mpr-otel-health", "Hosts reporting", "A", Number(|view| agents(view).reporting as f64)),
    ("mpr-otel-health", "Hosts absent", "A", Number(|view| agents(view).absent_count as f64)),
    ("mpr-otel-health", "Lost", "A", Number(lost)),
    ("mpr-otel-health", "Spans that told of losses", "A", Number(|view| view.truth.spans_with_loss as f64)),
    ("mpr-otel-health", "Pending", "A", Number(|view| agents(view).pending as f64)),
    ("mpr-otel-health", "Quarantined ledgers", "A", Never),
    ("mpr-otel-health", "Hosts reporting over time", "A", Number(|view| agents(view).reporting as f64)),
    ("mpr-otel-health", "Accounting", "A", Number(|view| per_minute(view, agents(view).seen as f64))),
    ("mpr-otel-health", "Accounting", "B", Number(|view| per_minute(view, agents(view).exported as f64))),
    ("mpr-otel-health", "Losses by reason", "A", Rows(losses_by_reason)),
    ("mpr-otel-health", "Pending over time", "A", Number(|view| agents(view).pending as f64)),
    ("mpr-otel-health", "Losses by host", "A", Rows(|view, rows| same(sum(rows), lost(view)))),
    ("mpr-otel-health", "Most pending", "A", Rows(|view, rows| same(sum(rows), agents(view).pending as f64))),
    ("mpr-otel-health", "Absent hosts", "A", Rows(absent)),
    ("mpr-otel-health", "Spans received", "A", Number(spans_per_second)),
    ("mpr-otel-health", "Spans received", "B", Never),
    ("mpr-otel-health", "Spans received", "C", Never),
    ("mpr-otel-health", "Sent onward", "A", Rows(|view, rows| same(sum(rows), spans_per_second(view)))),
    ("mpr-otel-health", "Sent onward", "B", Between(0.1, 1e6)),
    ("mpr-otel-health", "Dropped or refused by a queue", "A", Never),
    ("mpr-otel-health", "Dropped or refused by a queue", "B", Never),
    ("mpr-otel-health", "Dropped or refused by a queue", "C", Never),
    ("mpr-otel-health", "Dropped or refused by a queue", "D", Never),
    ("mpr-otel-health", "Queues", "A", Between(0.0, 1.0)),
    ("mpr-otel-health", "Memory", "A", Between(1e7, 4e9)),
    ("mpr-otel-health", "Processor", "A", Between(1e-3, 64.0)),
    ("mpr-otel-health", "Gateways reporting", "A", Number(|_| 1.0)),
    ("mpr-otel-health", "Started last", "A", Between(0.1, 3600.0)),
    ("mpr-otel-health", "Series of the operation metrics", "A", Rows(|view, rows| same(sum(rows), series(view, true)))),
    ("mpr-otel-health", "Series of the operation metrics", "B", Rows(|view, rows| same(sum(rows), series(view, false)))),
    ("mpr-otel-health", "Operations in the overflow series", "A", Never),
    ("mpr-otel-health", "Servers with the most series", "A", Rows(most_series)),

    ("mpr-otel-host", "Seen", "A", Number(|view| seen(view.host))),
    ("mpr-otel-host", "Exported", "A", Number(|view| view.host.operations as f64)),
    ("mpr-otel-host", "Pending", "A", Never),
    ("mpr-otel-host", "Lost", "A", Number(|view| view.host.lost as f64)),
    ("mpr-otel-host", "Quarantined ledgers", "A", Never),
    ("mpr-otel-host", "Last report", "A", Rows(last_report)),
    ("mpr-otel-host", "Operations", "A", Number(|view| per_minute(view, seen(view.host)))),
    ("mpr-otel-host", "Operations", "B", Number(|view| per_minute(view, view.host.operations as f64))),
    ("mpr-otel-host", "Operations", "C", Rows(|view, rows| same(sum(rows), per_minute(view, view.host.lost as f64)))),
    ("mpr-otel-host", "Pending over time", "A", Never),
];

fn sum(rows: &[Sample]) -> f64 {
    rows.iter().map(|row| row.value).sum()
}

fn agents<'a>(view: &View<'a>) -> &'a AgentsTruth {
    view.truth.agents.as_ref().expect("the hosts of this run have agents")
}

fn lost(view: &View<'_>) -> f64 {
    agents(view).lost.values().sum::<u64>() as f64
}

fn seen(host: &HostTruth) -> f64 {
    (host.operations + host.lost) as f64
}

fn per_minute(view: &View<'_>, count: f64) -> f64 {
    60.0 * count / view.seconds
}

fn spans_per_second(view: &View<'_>) -> f64 {
    view.truth.operations as f64 / view.seconds
}

/// How many series there are, with the exact error or without it.
fn series(view: &View<'_>, exact: bool) -> f64 {
    const ALL: &[&str] =
        &["server_address", "mpr_operation_name", "mpr_outcome", "mpr_error_class", "error_type"];
    let labels = if exact { ALL } else { &ALL[..4] };
    view.truth.groups(labels, any).len() as f64
}

fn most_series(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    for row in rows {
        let server = row.labels.get("server_address").map(String::as_str);
        let labels = &["mpr_operation_name", "mpr_outcome", "mpr_error_class", "error_type"];
        let groups = view.truth.groups(labels, |series| label(series, "server_address") == server);
        same(row.value, groups.len() as f64).map_err(|why| format!("{server:?}: {why}"))?;
    }
    same(rows.len() as f64, view.truth.groups(SERVER, any).len().min(20) as f64)
}

fn buckets(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let all = view.truth.groups(&[], any).remove(&Labels::new()).unwrap_or_default();
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
    match named.iter().find(|host| !told.contains(host)) {
        Some(host) => Err(format!("{host} is absent and not shown")),
        None => same(rows.len() as f64, agents(view).absent_count as f64),
    }
}

fn last_report(view: &View<'_>, rows: &[Sample]) -> Result<(), String> {
    let [row] = rows else { return Err(format!("{rows:?}")) };
    let (begun, ended) = (view.truth.begun_unix_ms as f64, view.truth.ended_unix_ms as f64);
    match begun <= row.value && row.value <= ended + 60e3 {
        true => Ok(()),
        false => Err(format!("{} is not between {begun} and {ended}", row.value)),
    }
}

/// What each recording rule records, if its windows are as long as the run.
#[rustfmt::skip] // A table.
pub const RECORDS: &[(&str, Shows)] = &[
    ("server_address:mpr_connects_failed:ratio5m", Operations(FAILED_CONNECTS)),
    ("server_address:mpr_connects_failed:ratio30m", Operations(FAILED_CONNECTS)),
    ("server_address:mpr_connects_failed:ratio1h", Operations(FAILED_CONNECTS)),
    ("server_address:mpr_connects_failed:ratio6h", Operations(FAILED_CONNECTS)),
    ("server_address:mpr_connects_failed:increase1h", Operations(COUNT.by(SERVER).among(failed_connect))),
    ("server_address:mpr_connects_failed:increase6h", Operations(COUNT.by(SERVER).among(failed_connect))),
    ("server_address:mpr_connects_unreachable:ratio5m", Operations(CONNECTS.of(unreachable))),
    ("server_address:mpr_connects_unreachable:increase15m", Operations(COUNT.by(SERVER).among(unreachable))),
    ("job:mpr_connects_unauthenticated:ratio15m", Operations(Expect::new(Share).by(JOB).among(add).of(unauthenticated).positive())),
    ("job:mpr_connects_unauthenticated:increase15m", Operations(COUNT.by(JOB).among(unauthenticated))),
    ("server_address:mpr_connects_unauthenticated:ratio15m", Operations(CONNECTS.of(unauthenticated))),
    ("server_address:mpr_connects_unauthenticated:increase15m", Operations(COUNT.by(SERVER).among(|series| connect(series) && unauthenticated(series)))),
    ("error_type:mpr_connects_unauthenticated:increase15m", Operations(COUNT.by(TYPE).among(unauthenticated))),
    ("server_address:mpr_connects_unfinished:ratio15m", Operations(CONNECTS.of(unfinished))),
    ("server_address:mpr_connects_unfinished:increase15m", Operations(COUNT.by(SERVER).among(|series| connect(series) && unfinished(series)))),
    ("server_address:mpr_connect_duration_seconds:p90_15m", Operations(Expect::new(Quantile(0.9)).by(SERVER).among(succeeded_connect))),
    ("server_address:mpr_connects_succeeded:increase15m", Operations(COUNT.by(SERVER).among(succeeded_connect))),
    ("job:mpr_calls:increase30m", Operations(COUNT.by(JOB))),
    ("job:mpr_hosts_reporting:count15m", Number(|view| agents(view).reporting as f64)),
    ("job:mpr_hosts_absent:count15m", Never),
    ("mpr_loss_reason:mpr_operation_lost:increase15m", Rows(|view, rows| same(sum(rows), lost(view)))),
    ("host_name:mpr_ledger_quarantined:increase15m", Never),
];

const CONNECTS: Expect = Expect::new(Share).by(SERVER).among(connect).positive();
const FAILED_CONNECTS: Expect = CONNECTS.of(failed_connect);

fn add(series: &SeriesTruth) -> bool {
    series.operation == "add"
}

/// A connect to a server that is known by name.
fn connect(series: &SeriesTruth) -> bool {
    add(series) && series.server.is_some()
}

fn of_class(series: &SeriesTruth, class: &str) -> bool {
    series.error_class.as_deref() == Some(class)
}

fn unauthenticated(series: &SeriesTruth) -> bool {
    add(series) && of_class(series, "authentication")
}

fn unreachable(series: &SeriesTruth) -> bool {
    connect(series) && of_class(series, "unreachable")
}

/// What the burn of the error budget counts.
fn failed_connect(series: &SeriesTruth) -> bool {
    connect(series) && failed(series) && !unauthenticated(series)
}

fn succeeded_connect(series: &SeriesTruth) -> bool {
    connect(series) && succeeded(series)
}
