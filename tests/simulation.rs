//! `mpr-otel-lab simulate`: a collector gets the true operations, whatever happens on the way.

use mpr_otel_lab::equipment::stage::{PATIENCE, Received, Stage, received, show, spawn};
use mpr_otel_lab::receiver::{Answer, Behaviour, Receiver, Request, Stream};
use mpr_otel_lab::simulation::SeriesFile;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The facts by which operations are counted together: server, operation, outcome, class, error.
type Series = (String, String, String, String, String);
/// The number of operations, their nanoseconds together, and their number by rounded duration.
type Sum = (u64, u128, BTreeMap<u64, u64>);

fn truth_file(stage: &Stage) -> PathBuf {
    stage.folder.path().join("truth.json")
}

fn command(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = stage.lab();
    command.arg("simulate").args(arguments).arg("--truth").arg(truth_file(stage));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn read_truth(stage: &Stage) -> Value {
    serde_json::from_slice(&std::fs::read(truth_file(stage)).unwrap()).unwrap()
}

/// Runs a simulation to its end, which must be a success, and returns the truth.
fn simulate(stage: &Stage, arguments: &[&str]) -> Value {
    let output = command(stage, arguments).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    read_truth(stage)
}

/// The truth of a simulation whose spans the test does not read.
fn truth_of(arguments: &[&str]) -> Value {
    simulate(&Stage::new(), arguments)
}

/// Every span that arrived, each once.
fn arrived(stage: &Stage) -> Vec<Received> {
    let mut spans: HashMap<Vec<u8>, Received> = HashMap::new();
    for request in stage.receiver.requests().try_iter() {
        for span in received(request) {
            spans.insert(span.span.span_id.clone(), span);
        }
    }
    spans.into_values().collect()
}

/// Rounds up to two digits in another way than the program does: by the decimal digits.
fn two_digits_up(nanos: u64) -> u64 {
    let ms = nanos / 1_000_000 + u64::from(!nanos.is_multiple_of(1_000_000));
    let zeros = ms.to_string().len().saturating_sub(2) as u32;
    let step = 10_u64.pow(zeros);
    ms / step * step + if ms.is_multiple_of(step) { 0 } else { step }
}

fn series_of_spans(spans: &[Received]) -> BTreeMap<Series, Sum> {
    let mut sums: BTreeMap<Series, Sum> = BTreeMap::new();
    for span in spans {
        let get = |key: &str| span.get(key).unwrap_or_default();
        let series = (
            get("server.address"),
            get("mpr.operation.name"),
            get("mpr.outcome"),
            get("mpr.error.class"),
            get("error.type"),
        );
        let nanos = span.duration().as_nanos() as u64;
        let sum = sums.entry(series).or_default();
        sum.0 += 1;
        sum.1 += u128::from(nanos);
        *sum.2.entry(two_digits_up(nanos)).or_default() += 1;
    }
    sums
}

fn series_of_truth(truth: &Value) -> BTreeMap<Series, Sum> {
    let word = |series: &Value, key: &str| series[key].as_str().unwrap_or_default().to_owned();
    let mut sums: BTreeMap<Series, Sum> = BTreeMap::new();
    for series in truth["series"].as_array().unwrap() {
        let durations = series["durations_ms"].as_object().unwrap().iter();
        let key = (
            word(series, "server"),
            word(series, "operation"),
            word(series, "outcome"),
            word(series, "error_class"),
            word(series, "error_type"),
        );
        let sum = sums.entry(key).or_default();
        sum.0 += series["count"].as_u64().unwrap();
        sum.1 += (series["seconds"].as_f64().unwrap() * 1e9).round() as u128;
        for (ms, count) in durations {
            *sum.2.entry(ms.parse().unwrap()).or_default() += count.as_u64().unwrap();
        }
    }
    sums
}

/// Ten minutes: a late span ends so long before it is sent.
const LATE_MS: u64 = 600_000;

/// When a span was sent, in milliseconds since 1970: at its end, or ten minutes later if it is
/// late.
fn sent_ms(span: &Received, truth: &Value) -> u64 {
    let ended = span.span.end_time_unix_nano / 1_000_000;
    if is_late(span, truth) { ended + LATE_MS } else { ended }
}

fn is_late(span: &Received, truth: &Value) -> bool {
    span.span.end_time_unix_nano / 1_000_000 < truth["begun_unix_ms"].as_u64().unwrap()
}

/// Checks that what arrived is the truth.
fn check(spans: &[Received], truth: &Value) {
    assert_eq!(truth["operations"], spans.len());
    let (arrived, truly) = (series_of_spans(spans), series_of_truth(truth));
    assert_eq!(arrived.keys().collect::<Vec<_>>(), truly.keys().collect::<Vec<_>>());
    for (series, (count, nanos, durations)) in &arrived {
        let (true_count, true_nanos, true_durations) = &truly[series];
        assert_eq!((count, durations), (true_count, true_durations), "{series:?}");
        // The file has seconds as a floating-point number.
        assert!(nanos.abs_diff(*true_nanos) <= nanos / 1_000_000_000_000 + 1, "{series:?}");
    }
}

/// The operations of a truth whose series `of` selects.
fn count(truth: &Value, of: impl Fn(&Series) -> bool) -> u64 {
    series_of_truth(truth).iter().filter(|(series, _)| of(series)).map(|(_, sum)| sum.0).sum()
}

#[test]
fn the_spans_that_arrive_are_the_truth_series_by_series_with_every_duration() {
    let stage = Stage::new();
    let truth = simulate(&stage, &["--machines", "300"]);
    let spans = arrived(&stage);
    assert!(spans.len() > 2_000, "{}", spans.len());
    check(&spans, &truth);
    assert_eq!(truth["refused"], 0);
    assert_eq!(truth["exact"], true);
    assert_eq!(truth["agents"], Value::Null);
    let failed = |span: &&Received| span.get("mpr.outcome").as_deref() == Some("failure");
    assert_eq!(truth["failures"], spans.iter().filter(failed).count());
    assert_ne!(truth["failures"], 0);
}

#[test]
fn a_thousand_machines_have_every_class_of_error_in_a_day_and_few_of_each() {
    let truth = truth_of(&[]);
    let operations = truth["operations"].as_u64().unwrap();
    assert!((7_000..9_000).contains(&operations), "{operations}");
    let classes: BTreeSet<String> =
        series_of_truth(&truth).keys().map(|series| series.3.clone()).collect();
    // Eight classes, and the operations without one.
    assert_eq!(classes.len(), 9, "{classes:?}");
    let failures = truth["failures"].as_u64().unwrap();
    assert!(failures * 200 > operations && failures * 67 < operations, "{failures}");
    let servers: BTreeSet<String> =
        series_of_truth(&truth).keys().map(|series| series.0.clone()).collect();
    // 24 servers, and the operations without one: cancels by drive letter.
    assert_eq!(servers.len(), 25, "{servers:?}");
    assert!(count(&truth, |series| series.2 == "cancelled") > 10);
    assert_eq!(truth["unfinished"], 0);
}

#[test]
fn every_span_comes_under_its_machines_resource() {
    let stage = Stage::new();
    let truth = simulate(&stage, &["--machines", "50"]);
    let spans = arrived(&stage);
    let mut by_machine: BTreeMap<String, Vec<&Received>> = BTreeMap::new();
    for span in &spans {
        assert_eq!(span.resource("service.name").as_deref(), Some("mpr-otel"));
        assert_eq!(span.resource("os.type").as_deref(), Some("windows"));
        assert_eq!(span.resource("host.id").map(|id| id.len()), Some(64));
        assert!(span.resource.iter().all(|attribute| !attribute.key.starts_with("process.")));
        by_machine.entry(span.resource("host.name").unwrap()).or_default().push(span);
    }
    assert_eq!(by_machine.len(), 50);
    let sample = truth["machines_sample"].as_array().unwrap();
    assert_eq!(sample.len(), 20);
    for machine in sample {
        let spans = &by_machine[machine["host_name"].as_str().unwrap()];
        assert_eq!(machine["operations"], spans.len());
        let failed = spans.iter().filter(|span| span.get("mpr.error.class").is_some());
        assert_eq!(machine["failures"], failed.count());
    }
    let programs: BTreeSet<String> =
        spans.iter().filter_map(|span| span.get("process.executable.name")).collect();
    assert!(programs.contains("explorer.exe") && programs.contains("net.exe"), "{programs:?}");
}

/// What a span says, but for the date: ids, machine, name, attributes, duration.
fn told(stage: &Stage) -> BTreeSet<String> {
    let tell = |received: &Received| {
        let span = &received.span;
        let attributes: Vec<String> = span
            .attributes
            .iter()
            .map(|attribute| {
                format!("{}={}", attribute.key, show(attribute.value.as_ref().unwrap()))
            })
            .collect();
        format!(
            "{:?} {:?} {:?} {} {attributes:?} {:?}",
            span.trace_id,
            span.span_id,
            received.resource("host.name"),
            span.name,
            received.duration()
        )
    };
    arrived(stage).iter().map(tell).collect()
}

#[test]
fn a_seed_gives_the_same_spans_at_any_speed_with_any_number_of_senders_and_another_seed_others() {
    let of = |arguments: &[&str]| {
        let stage = Stage::new();
        let incident = "access-revoked@4h:server=1";
        let mut all = vec!["--machines", "60", "--hours", "8", "--incident", incident];
        all.extend(arguments);
        simulate(&stage, &all);
        told(&stage)
    };
    let usual = of(&[]);
    assert!(usual.len() > 200);
    assert_eq!(of(&["--senders", "5", "--direct"]), usual);
    assert_eq!(of(&["--speed", "40000", "--agents"]), usual);
    assert!(of(&["--seed", "2"]).is_disjoint(&usual));
}

#[test]
fn machines_share_requests_unless_they_send_themselves() {
    let shared = Stage::new();
    simulate(&shared, &["--machines", "50"]);
    // The first request is empty: it tries the collector.
    let requests: Vec<Request> = shared.receiver.requests().try_iter().skip(1).collect();
    assert!(requests.iter().any(|request| request.export.resource_spans.len() > 10));
    for request in requests {
        let machines: Vec<String> = request
            .export
            .resource_spans
            .iter()
            .map(|spans| {
                assert_eq!(spans.scope_spans.len(), 1);
                format!("{:?}", spans.resource)
            })
            .collect();
        assert_eq!(
            machines.iter().collect::<BTreeSet<_>>().len(),
            machines.len(),
            "a machine is there twice"
        );
        assert!(received(request).len() <= 512);
    }
    let direct = Stage::new();
    let truth = simulate(&direct, &["--machines", "50", "--direct"]);
    let mut spans = 0;
    // The first request is empty: it asks whether the collector is there.
    for request in direct.receiver.requests().try_iter().skip(1) {
        assert_eq!(request.export.resource_spans.len(), 1);
        spans += received(request).len();
    }
    assert_eq!(truth["operations"], spans);
}

#[test]
fn a_paced_span_ends_when_it_is_sent_and_lasts_as_long_as_it_was_simulated() {
    let stage = Stage::new();
    let arguments = ["--machines", "100", "--from", "08:00", "--hours", "1", "--speed", "1800"];
    let truth =
        simulate(&stage, &[&arguments[..], &["--incident", "server-down@0:server=1"]].concat());
    let spans = arrived(&stage);
    check(&spans, &truth);
    let ms = |key: &str| truth[key].as_u64().unwrap();
    // Two seconds by the clock. This is the pace of the run and does not measure speed.
    assert!(ms("ended_unix_ms") - ms("begun_unix_ms") >= 2_000);
    for span in &spans {
        let sent = sent_ms(span, &truth);
        assert!((ms("begun_unix_ms")..=ms("ended_unix_ms")).contains(&sent));
    }
    assert!(spans.iter().any(|span| span.duration() > Duration::from_secs(19)));
}

#[test]
fn at_full_speed_too_an_operation_ends_when_it_is_sent() {
    let stage = Stage::new();
    let truth = simulate(&stage, &["--machines", "100", "--hours", "10"]);
    let ms = |key: &str| truth[key].as_u64().unwrap();
    for span in arrived(&stage) {
        let sent = sent_ms(&span, &truth);
        assert!((ms("begun_unix_ms")..=ms("ended_unix_ms")).contains(&sent));
    }
}

#[test]
fn some_spans_come_late_and_some_connects_prompt_or_are_put_off() {
    let stage = Stage::new();
    let truth = simulate(&stage, &["--machines", "300"]);
    let spans = arrived(&stage);
    let of_truth = |is: &dyn Fn(&Value) -> bool| -> u64 {
        let series = truth["series"].as_array().unwrap().iter();
        series.filter(|series| is(series)).map(|series| series["count"].as_u64().unwrap()).sum()
    };
    let late = spans.iter().filter(|span| is_late(span, &truth)).count() as u64;
    assert_eq!(of_truth(&|series| series["late"] == true), late);
    assert!(late > 10, "{late}");
    for (mode, flag) in [("prompt", "PROMPT"), ("deferred", "DEFERRED")] {
        let flagged = spans.iter().filter(|span| {
            let flags = span.get("mpr.connect.flags").unwrap_or_default();
            flags.split(['[', ',', ']']).any(|word| word == flag)
        });
        let flagged = flagged.count() as u64;
        assert_eq!(of_truth(&|series| series["connect_mode"] == mode), flagged, "{mode}");
        assert!(flagged > 5, "{mode}: {flagged}");
    }
}

/// Does what is listed, one after the other, with requests that have spans, and accepts everything
/// else.
struct Moody {
    requests: AtomicUsize,
    /// The spans of requests that it accepted, once for each.
    accepted: Arc<Mutex<Vec<Received>>>,
    moods: Vec<Mood>,
}

#[derive(Clone)]
enum Mood {
    Answer(Answer),
    /// Closes the connection without an answer.
    Close,
}

impl Behaviour for Moody {
    fn answer(&self, request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        if request.path.ends_with("/v1/metrics") {
            return Some(Answer::ok());
        }
        let answer = match self.moods.get(self.requests.fetch_add(1, Ordering::SeqCst)) {
            None => Some(Answer::ok()),
            Some(Mood::Answer(answer)) => Some(answer.clone()),
            Some(Mood::Close) => None,
        };
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            self.accepted.lock().unwrap().extend(received(request.clone()));
        }
        answer
    }
}

/// A stage with a collector that does this, and what the collector has accepted.
fn moody(moods: &[Mood]) -> (Stage, Arc<Mutex<Vec<Received>>>) {
    // The first request is empty: it asks whether the collector is there.
    let moods = [&[Mood::Answer(Answer::ok())], moods].concat();
    let accepted = Arc::new(Mutex::default());
    let moody = Moody { requests: AtomicUsize::new(0), accepted: Arc::clone(&accepted), moods };
    (Stage::behaving(moody), accepted)
}

fn status(code: u16) -> Mood {
    Mood::Answer(Answer::status(code))
}

#[test]
fn a_collector_that_is_busy_or_breaks_off_for_a_while_loses_nothing() {
    let (stage, accepted) = moody(&[
        Mood::Answer(Answer::ok()),
        status(503),
        status(503),
        status(429),
        Mood::Close,
        Mood::Close,
    ]);
    let truth = simulate(&stage, &["--machines", "300"]);
    // None twice: what was broken off was not taken.
    check(&accepted.lock().unwrap(), &truth);
    assert_eq!(truth["refused"], 0);
    // A request whose connection was closed without an answer may have been taken.
    let repeated = truth["repeated"].as_u64().unwrap();
    assert!((2..=1_024).contains(&repeated), "{repeated}");
    // The Collector counts each time what its queue of traces refuses.
    let put_off = truth["put_off"].as_u64().unwrap();
    assert!((3..=1_536).contains(&put_off), "{put_off}");
    assert_eq!(truth["exact"], false);
}

#[test]
fn a_collector_that_is_away_and_comes_back_gets_everything() {
    let gone = Arc::new(AtomicBool::new(false));
    let behaviour = |gone: Arc<AtomicBool>| {
        struct Going(Arc<AtomicBool>);
        impl Behaviour for Going {
            fn answer(&self, _: &Request, _: &mut dyn Stream) -> Option<Answer> {
                (!self.0.load(Ordering::SeqCst)).then(Answer::ok)
            }
        }
        Going(gone)
    };
    let stage = Stage::behaving(behaviour(Arc::clone(&gone)));
    let arguments = ["--machines", "500", "--from", "08:00", "--hours", "2", "--speed", "3600"];
    let running = spawn(&mut command(&stage, &arguments));
    // The first request asks whether the collector is there; the second has spans.
    let first = stage.request();
    let second = stage.request();
    let Stage { folder, receiver } = stage;
    let address = receiver.address();
    let (requests, closing) = (receiver.requests().try_iter().collect::<Vec<_>>(), receiver);
    gone.store(true, Ordering::SeqCst);
    // The connection of a request that comes while the collector is away is closed.
    let unheard = closing.requests().recv_timeout(PATIENCE).unwrap();
    let mut late: Vec<Request> = closing.requests().try_iter().collect();
    closing.close().unwrap();
    let back = Receiver::serving(TcpListener::bind(address).unwrap(), |_: &Request| Answer::ok());
    let stage = Stage { folder, receiver: back.unwrap() };
    let (status, _, errors) = running.end();
    assert!(status.success(), "{errors}");
    late.extend([first, second, unheard]);
    late.extend(requests);
    late.extend(stage.receiver.requests().try_iter());
    let mut spans: HashMap<Vec<u8>, Received> = HashMap::new();
    for span in late.into_iter().flat_map(received) {
        spans.insert(span.span.span_id.clone(), span);
    }
    let spans: Vec<Received> = spans.into_values().collect();
    check(&spans, &read_truth(&stage));
}

#[test]
fn spans_that_the_collector_refuses_are_counted_and_not_in_the_truth() {
    let (stage, accepted) = moody(&[Mood::Answer(Answer::ok()), status(400)]);
    let day = ["--machines", "100", "--from", "08:00", "--hours", "1"];
    let mut command = command(&stage, &[&day[..], &["--senders", "1", "--agents"]].concat());
    let output = command.env("MPR_OTEL_BATCH_MAX", "50").output().unwrap();
    let requests = stage.receiver.requests().try_iter().skip(1);
    let sizes: Vec<u64> = requests.map(|request| received(request).len() as u64).collect();
    let truth = read_truth(&stage);
    assert!(sizes.len() > 2, "{sizes:?}");
    assert_eq!(truth["refused"], sizes[1]);
    assert_eq!(truth["agents"]["lost"]["rejected"], sizes[1]);
    check(&accepted.lock().unwrap(), &truth);
    assert_eq!(truth["operations"], count(&truth, |_| true));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("refused: status 400"), "{}", text(&output.stdout));
}

#[test]
fn a_collector_that_accepts_a_part_makes_the_truth_inexact_and_the_output_says_so() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 3,
            error_message: "too old".to_owned(),
        }),
    };
    let (stage, _) =
        moody(&[Mood::Answer(Answer { body: partial.encode_to_vec(), ..Answer::ok() })]);
    let output = command(&stage, &["--machines", "50"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let truth = read_truth(&stage);
    assert_eq!(truth["exact"], false);
    assert_eq!(truth["refused"], 3);
    assert_eq!(truth["operations"].as_u64().unwrap() + 3, arrived(&stage).len() as u64);
    assert!(text(&output.stdout).contains("too old"));
}

/// The truths of the same day without and with an incident, except for operations in which servers
/// take no part: connects that are put off, and those whose user is asked first.
fn without_and_with(incident: &str) -> (Value, Value) {
    let plain = |mut truth: Value| {
        let series = truth["series"].as_array_mut().unwrap();
        series.retain(|series| series["connect_mode"] == "plain");
        truth
    };
    let usual = truth_of(&["--machines", "300"]);
    let struck = truth_of(&["--machines", "300", "--incident", incident]);
    assert_eq!(struck["incidents"].as_array().unwrap().len(), 1);
    (plain(usual), plain(struck))
}

/// The series of a truth that are not a server's.
fn others(truth: &Value, server: &str) -> BTreeMap<Series, Sum> {
    series_of_truth(truth).into_iter().filter(|(series, _)| series.0 != server).collect()
}

const THIRD: &str = "files03.corp.example";

#[test]
fn a_server_that_is_down_fails_everything_after_twenty_seconds_and_changes_no_other() {
    let (usual, struck) = without_and_with("server-down@0:server=3");
    assert_eq!(others(&usual, THIRD), others(&struck, THIRD));
    let of_third = |truth: &Value| count(truth, |series| series.0 == THIRD);
    assert!(of_third(&usual) > 50);
    assert_eq!(of_third(&usual), of_third(&struck));
    assert_eq!(count(&struck, |series| series.0 == THIRD && series.3 != "unreachable"), 0);
    let series = series_of_truth(&struck);
    for (_, (_, _, durations)) in series.iter().filter(|(series, _)| series.0 == THIRD) {
        assert!(durations.keys().all(|ms| (19_000..=22_000).contains(ms)), "{durations:?}");
    }
    let incident = &struck["incidents"][0];
    assert_eq!(incident["kind"], "server-down");
    assert_eq!(incident["server"], THIRD);
    assert_eq!(incident["alert"], "MprServerUnreachable");
    assert_eq!((&incident["from_s"], &incident["to_s"]), (&0.0.into(), &86_400.0.into()));
}

#[test]
fn a_slow_server_succeeds_as_often_and_later() {
    let (usual, struck) = without_and_with("server-slow@0:server=files03,factor=20");
    assert_eq!(others(&usual, THIRD), others(&struck, THIRD));
    let (usual, struck) = (series_of_truth(&usual), series_of_truth(&struck));
    for (series, (count, nanos, durations)) in usual.iter().filter(|(key, _)| key.0 == THIRD) {
        let (slow_count, slow_nanos, slow_durations) = &struck[series];
        assert_eq!(count, slow_count);
        if series.2 == "success" {
            assert!(slow_nanos.abs_diff(nanos * 20) < 1_000_000, "{series:?}");
        } else {
            assert_eq!(durations, slow_durations);
        }
    }
}

#[test]
fn an_expired_account_fails_its_part_of_the_adds_on_every_server_and_quickly() {
    let (usual, struck) = without_and_with("account-expired@0:share=0.2");
    assert_eq!(usual["operations"], struck["operations"]);
    let adds = count(&usual, |series| series.1 == "add");
    let denied = count(&struck, |series| series.3 == "authentication");
    assert!((adds * 17 / 100..adds * 23 / 100).contains(&denied), "{denied} of {adds}");
    let servers: BTreeSet<String> = series_of_truth(&struck)
        .into_keys()
        .filter(|series| series.3 == "authentication")
        .map(|series| series.0)
        .collect();
    assert_eq!(servers.len(), 24);
    assert!(count(&struck, |series| series.4 == "ERROR_ACCOUNT_EXPIRED") > denied / 2);
    let cancels = |truth: &Value| count(truth, |series| series.1 == "cancel");
    assert_eq!(cancels(&usual), cancels(&struck));
    for (series, (_, _, durations)) in series_of_truth(&struck) {
        if series.3 == "authentication" {
            assert!(durations.keys().all(|ms| *ms < 10_000), "{series:?} {durations:?}");
        }
    }
}

#[test]
fn revoked_rights_and_a_flaky_server_fail_their_part_of_its_adds_each_in_its_way() {
    for (incident, part, classes) in [
        ("access-revoked@0:server=1,share=0.6", 60, &["authorization"][..]),
        ("server-flaky@0:server=1,share=0.3", 30, &["resource", "other"]),
    ] {
        let (usual, struck) = without_and_with(incident);
        let first = "files01.corp.example";
        assert_eq!(others(&usual, first), others(&struck, first));
        let adds = count(&usual, |series| series.0 == first && series.1 == "add");
        let failed = count(&struck, |series| {
            series.0 == first && series.1 == "add" && classes.contains(&series.3.as_str())
        });
        assert!(
            failed * 100 > adds * (part - 9) && failed * 100 < adds * (part + 9),
            "{failed} of {adds}"
        );
        let rest = |truth: &Value| {
            count(truth, |series| {
                series.0 == first && series.2 == "failure" && !classes.contains(&series.3.as_str())
            })
        };
        assert!(rest(&struck) <= rest(&usual));
    }
}

#[test]
fn operations_on_a_server_that_hangs_are_given_up_after_ten_minutes() {
    let stage = Stage::new();
    let arguments = ["--machines", "300", "--incident", "server-hangs@0:server=3"];
    let truth = simulate(&stage, &arguments);
    check(&arrived(&stage), &truth);
    let hung = count(&truth, |series| series.0 == THIRD);
    assert!(hung > 50);
    assert_eq!(truth["unfinished"], hung);
    for (series, (_, _, durations)) in series_of_truth(&truth) {
        assert_eq!(series.0 == THIRD, series.2 == "unfinished", "{series:?}");
        if series.0 == THIRD {
            assert_eq!(durations.keys().collect::<Vec<_>>(), [&600_000]);
        }
    }
}

#[test]
fn an_incident_begins_and_ends_when_it_was_ordered() {
    // An hour passes in a second.
    let arguments = "--machines 300 --from 08:00 --hours 2 --speed 3600 --incident";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let stage = Stage::new();
    let truth = simulate(&stage, &[&arguments[..], &["server-down@20m-40m:server=1"]].concat());
    let begun = truth["begun_unix_ms"].as_u64().unwrap();
    let (mut down, mut up) = (0, 0);
    for span in arrived(&stage) {
        let flags = span.get("mpr.connect.flags").unwrap_or_default();
        if span.get("server.address").as_deref() != Some("files01.corp.example")
            || flags.contains("DEFERRED")
        {
            continue;
        }
        // In simulated milliseconds, to a few seconds.
        let ended = (sent_ms(&span, &truth) - begun) * 3_600;
        let at = ended.saturating_sub(span.duration().as_millis() as u64);
        if (1_205_000..2_395_000).contains(&at) {
            assert_eq!(span.get("mpr.error.class").as_deref(), Some("unreachable"));
            down += 1;
        } else if span.get("mpr.outcome").as_deref() == Some("success") {
            up += 1;
        }
    }
    assert!(down > 5 && up > 20, "{down} {up}");
}

#[test]
fn lost_operations_are_reported_by_the_next_span_and_by_the_agent() {
    let stage = Stage::new();
    let day = ["--machines", "200", "--from", "08:00", "--hours", "3"];
    let usual = truth_of(&day);
    let lossy = ["--agents", "--incident", "losses@0:share=0.3"];
    let truth = simulate(&stage, &[&day[..], &lossy].concat());
    let lost = truth["lost"].as_u64().unwrap();
    assert!(lost > 50, "{lost}");
    assert_eq!(truth["operations"].as_u64().unwrap() + lost, usual["operations"].as_u64().unwrap());
    let spans = arrived(&stage);
    check(&spans, &truth);
    let told: Vec<u64> =
        spans.iter().filter_map(|span| span.get("mpr.lost")?.parse().ok()).collect();
    assert_eq!(truth["spans_with_loss"], told.len());
    let mut told_by: BTreeMap<String, i64> = BTreeMap::new();
    for span in &spans {
        let told: i64 = span.get("mpr.lost").map_or(0, |told| told.parse().unwrap());
        *told_by.entry(span.resource("host.name").unwrap()).or_default() += told;
    }
    let (mut lost_by, mut lost_for) = (BTreeMap::<String, i64>::new(), BTreeMap::new());
    for ((machine, name, reason), points) in points(&stage) {
        if name == "mpr.operation.lost" {
            let lost = points.last().unwrap().1;
            *lost_by.entry(machine).or_default() += lost;
            *lost_for.entry(reason).or_insert(0) += lost;
        }
    }
    let mut told_in_full = 0;
    for (machine, lost) in lost_by {
        let told = told_by.get(&machine).copied().unwrap_or_default();
        // What a machine lost last has no span after it. Nothing is reported twice.
        assert!(told <= lost, "{machine} reported {told} losses and had {lost}");
        told_in_full += usize::from(told == lost && lost > 0);
    }
    assert!(told_in_full > 10, "{told_in_full}");
    // All eight reasons are reported, and seven occur: no span was refused.
    assert_eq!(lost_for.len(), 8);
    lost_for.retain(|_, lost| *lost > 0);
    assert_eq!(lost_for.len(), 7, "{lost_for:?}");
    assert_eq!(truth["agents"]["lost"], serde_json::to_value(&lost_for).unwrap());
    assert_eq!(lost_for.values().sum::<i64>() as u64, lost);
    assert_eq!(truth["agents"]["seen"], usual["operations"]);
    assert_eq!(truth["agents"]["exported"], truth["operations"]);
    assert_eq!(truth["agents"]["pending"], 0);
}

#[test]
fn losses_of_an_agent_have_the_given_reason_and_are_reported_by_no_span() {
    let stage = Stage::new();
    let lossy = "losses@0:share=0.3,reason=expired";
    let day = ["--machines", "200", "--from", "08:00", "--hours", "3", "--agents"];
    let truth = simulate(&stage, &[&day[..], &["--incident", lossy]].concat());
    let lost = truth["lost"].as_u64().unwrap();
    assert!(lost > 50, "{lost}");
    assert_eq!(truth["agents"]["lost"], serde_json::json!({ "expired": lost }));
    assert_eq!(truth["spans_with_loss"], 0);
}

/// A machine's points of a metric, by its attributes: date and value.
type Points = BTreeMap<(String, String, String), Vec<(u64, i64)>>;

/// The page that says what the product sends.
const TELEMETRY: &str = include_str!("../docs/TELEMETRY.md");

/// All points that agents reported, of metrics that the page documents.
fn points(stage: &Stage) -> Points {
    let mut points = Points::new();
    for request in stage.receiver.metrics().try_iter() {
        for of_machine in request.metrics.resource_metrics {
            let resource = of_machine.resource.unwrap().attributes;
            let get = |key: &str| {
                let found = resource.iter().find(|attribute| attribute.key == key);
                show(found.unwrap_or_else(|| panic!("no {key}")).value.as_ref().unwrap())
            };
            assert_eq!(get("service.name"), "mpr-otel-agent");
            assert_eq!(get("service.instance.id"), get("host.id"));
            let machine = get("host.name");
            for metric in of_machine.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let (kind, data) = match metric.data.unwrap() {
                    metric::Data::Sum(sum) => {
                        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                        ("counter", sum.data_points)
                    }
                    metric::Data::Gauge(gauge) => ("gauge", gauge.data_points),
                    other => panic!("{other:?}"),
                };
                let unit = match metric.unit.as_str() {
                    "" => String::new(),
                    unit => format!("`{unit}`"),
                };
                let row = format!("| `{}` | {kind} | {unit} |", metric.name).replace("|  |", "| |");
                assert!(TELEMETRY.contains(&row), "{row}");
                for point in data {
                    assert!(point.start_time_unix_nano < point.time_unix_nano);
                    let value = match point.value {
                        Some(number_data_point::Value::AsInt(value)) => value,
                        Some(number_data_point::Value::AsDouble(value)) => value as i64,
                        None => panic!("{point:?}"),
                    };
                    let attributes = point.attributes.iter();
                    let reason =
                        attributes.map(|attribute| show(attribute.value.as_ref().unwrap()));
                    let key = (machine.clone(), metric.name.clone(), reason.collect());
                    points.entry(key).or_default().push((point.time_unix_nano / 1_000_000, value));
                }
            }
        }
    }
    points
}

#[test]
fn every_agent_reports_each_minute_and_ends_with_the_truth() {
    let stage = Stage::new();
    let truth = simulate(&stage, &["--machines", "90", "--hours", "10", "--agents"]);
    let points = points(&stage);
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    let mut ended: BTreeMap<&str, i64> = BTreeMap::new();
    let mut always = 0;
    for ((_, name, attributes), points) in &points {
        assert!(points.is_sorted_by(|one, other| one.0 < other.0), "a date is there twice");
        if !["mpr.operation.pending", "mpr.store.size"].contains(&name.as_str()) {
            assert!(points.is_sorted_by(|one, other| one.1 <= other.1), "{name} fell");
        }
        let last = points.last().unwrap().1;
        *sums.entry(name).or_default() += last;
        // An outcome is reported from the first operation on that has it.
        if name == "mpr.operation.ended" {
            *ended.entry(attributes).or_default() += last;
        } else {
            // Once in each minute, and at the end.
            assert_eq!(points.len(), 601);
            always += 1;
        }
    }
    // Eleven metrics, one of which has eight reasons.
    assert_eq!(always, 90 * 18);
    let agents = &truth["agents"];
    assert_eq!((&agents["reporting"], &agents["absent_count"]), (&90.into(), &0.into()));
    assert_eq!(agents["seen"], sums["mpr.operation.seen"]);
    assert_eq!(agents["exported"], sums["mpr.operation.exported"]);
    assert_eq!(agents["exported"], truth["operations"]);
    assert_eq!(sums["mpr.operation.pending"] + sums["mpr.operation.lost"], 0);
    assert_eq!(sums["mpr.operation.ended"], sums["mpr.operation.seen"]);
    let failures: i64 =
        ended.iter().filter(|(key, _)| key.starts_with("failure")).map(|(_, count)| count).sum();
    assert_eq!(truth["failures"], failures);
    assert_eq!(agents["repeated"], sums["mpr.operation.repeated"]);
    assert_eq!(agents["removed"], sums["mpr.ledger.removed"]);
    assert_eq!(agents["deferred"], sums["mpr.owner.deferred"]);
    let of_kinds = |count: &str| -> u64 {
        let kinds = agents["kinds"].as_array().unwrap().iter();
        kinds.map(|kind| kind[count].as_u64().unwrap()).sum()
    };
    assert_eq!((of_kinds("machines"), sums["mpr.agent.info"]), (90, 90));
    assert_eq!(40 * of_kinds("slow") as i64, sums["mpr.agent.last_round"]);
    let failing: BTreeSet<&str> = points
        .keys()
        .filter(|(_, name, key)| name == "mpr.operation.ended" && key.starts_with("failure"))
        .map(|(machine, ..)| machine.as_str())
        .collect();
    assert_eq!(of_kinds("failing"), failing.len() as u64);
    assert!(sums.contains_key("mpr.ledger.quarantined"));
    assert!(truth["operations"].as_u64().unwrap() > 200);
}

#[test]
fn agents_report_every_metric_that_a_gateway_keeps() {
    let stage = Stage::new();
    simulate(&stage, &["--machines", "1", "--agents"]);
    let names: BTreeSet<String> = points(&stage).into_keys().map(|(_, name, _)| name).collect();
    let gateway = include_str!("../collector-config/gateway.yaml");
    let unescaped = gateway.replace("\\\\", "");
    for alternatives in [
        "mpr.(operation.(seen|exported|lost|ended|repeated)|ledger.(removed|quarantined))",
        "mpr.(operation.pending|store.size|owner.deferred|agent.(info|last_round))",
    ] {
        assert!(unescaped.contains(alternatives), "the gateway keeps other metrics");
    }
    assert_eq!(names.len(), 12, "{names:?}");
}

#[test]
fn machines_that_vanish_stop_with_their_agents_and_the_truth_names_them() {
    let stage = Stage::new();
    // An hour passes in a second.
    let arguments = "--machines 100 --from 08:00 --hours 3 --agents --speed 3600";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let truth = simulate(
        &stage,
        &[&arguments[..], &["--incident", "machines-vanish@1h:share=0.3"]].concat(),
    );
    let agents = &truth["agents"];
    let absent: BTreeSet<&str> = agents["absent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|machine| machine.as_str().unwrap())
        .collect();
    assert!((15..45).contains(&absent.len()), "{}", absent.len());
    assert_eq!(agents["absent_count"], absent.len());
    assert_eq!(agents["reporting"], 100 - absent.len());
    let vanished = truth["begun_unix_ms"].as_u64().unwrap() + 1_000;
    let spans = arrived(&stage);
    check(&spans, &truth);
    for span in spans {
        if absent.contains(span.resource("host.name").unwrap().as_str()) {
            assert!(sent_ms(&span, &truth) <= vanished);
        }
    }
    let mut seen = 0;
    for ((machine, name, _), points) in points(&stage) {
        let reports = if absent.contains(machine.as_str()) { 60 } else { 181 };
        if name != "mpr.operation.ended" {
            assert_eq!(points.len(), reports, "{machine}");
        }
        if name == "mpr.operation.seen" {
            seen += points.last().unwrap().1;
        }
    }
    assert_eq!(agents["seen"], seen);
}

#[test]
fn during_the_incident_silence_no_host_sends_anything() {
    let stage = Stage::new();
    // An hour passes in a second.
    let arguments = "--machines 100 --from 08:00 --hours 3 --agents --speed 3600";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let truth = simulate(&stage, &[&arguments[..], &["--incident", "silence@1h-2h"]].concat());
    let begun = truth["begun_unix_ms"].as_u64().unwrap();
    let silence = begun + 1_001..begun + 2_000;
    let spans = arrived(&stage);
    check(&spans, &truth);
    let ended = |span: &Received| sent_ms(span, &truth);
    assert!(spans.iter().all(|span| !silence.contains(&ended(span))));
    assert!(spans.iter().any(|span| ended(span) < silence.start));
    assert!(spans.iter().any(|span| ended(span) > silence.end));
    for ((_, name, _), points) in points(&stage) {
        if name != "mpr.operation.ended" {
            assert_eq!(points.len(), 121);
        }
    }
    let to_the_end = simulate(&stage, &[&arguments[..], &["--incident", "silence@1h"]].concat());
    assert_eq!(to_the_end["agents"]["reporting"], 0);
    assert_eq!(to_the_end["agents"]["absent_count"], 100);
}

#[test]
#[cfg(unix)]
fn a_run_that_is_stopped_writes_the_truth_of_what_was_sent() {
    let stage = Stage::new();
    let arguments =
        ["--machines", "2000", "--from", "08:00", "--speed", "60", "--agents", "--json"];
    let running = spawn(&mut command(&stage, &arguments));
    stage.request();
    let mut spans = received(stage.request());
    assert!(!spans.is_empty());
    running.interrupt();
    spans.extend(arrived(&stage));
    let truth = read_truth(&stage);
    check(&spans, &truth);
    let agents = &truth["agents"];
    let number = |key: &str| agents[key].as_u64().unwrap();
    assert_eq!(agents["exported"], truth["operations"]);
    assert_eq!(number("seen"), number("exported") + number("pending"));
}

#[test]
fn a_stopped_run_does_not_wait_for_a_collector_that_is_away() {
    #[cfg(unix)]
    {
        let (stage, _) = moody(&vec![status(503); 10_000]);
        let running = spawn(&mut command(&stage, &["--machines", "2000"]));
        stage.request();
        assert!(!received(stage.request()).is_empty());
        running.interrupt();
        let truth = read_truth(&stage);
        assert_eq!(truth["operations"], 0);
        assert!(truth["unsent"].as_u64().unwrap() > 0);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn ten_times_the_machines_take_hardly_more_memory() {
    let most = |machines: &str| {
        let stage = Stage::new();
        let arguments = ["--machines", machines, "--from", "08:00", "--hours", "1", "--json"];
        let running = spawn(&mut command(&stage, &arguments));
        let status = format!("/proc/{}/status", running.pid());
        let reader = std::thread::spawn(move || running.end());
        let mut most = 0;
        while !reader.is_finished() {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
            most = most.max(kib.unwrap_or(0_u64));
            // The receiver drops what arrives, because this process' memory is not the one that is
            // tested.
            stage.receiver.requests().try_iter().for_each(drop);
        }
        let (status, output, errors) = reader.join().unwrap();
        assert!(status.success(), "{errors}");
        let summary: Value = serde_json::from_str(&output).unwrap();
        (most, summary["most_open"].as_u64().unwrap(), summary["operations"].as_u64().unwrap())
    };
    let (small, small_open, small_operations) = most("1000");
    let (large, large_open, large_operations) = most("10000");
    assert!(large_operations > 8 * small_operations);
    assert!(small > 0 && large < 2 * small, "{small} KiB and {large} KiB");
    // Operations under way are those of so many users at the busiest time, not those of a day.
    assert!(small_open < 100 && large_open < 1_000, "{small_open} and {large_open}");
}

#[test]
fn the_summary_is_a_table_for_people_and_json_for_programs() {
    let stage = Stage::new();
    let output = command(&stage, &["--machines", "100"]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    let shown = text(&output.stdout);
    for expected in ["SERVER", "UNFINISHED", "files01.corp.example", "(by drive letter)", "spans/s"]
    {
        assert!(shown.contains(expected), "no {expected:?} in:\n{shown}");
    }
    let output = command(&stage, &["--machines", "100", "--json"]).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["operations"], read_truth(&stage)["operations"]);
    assert!(summary["spans_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_endpoint_on_the_command_line_wins() {
    let stage = Stage::new();
    let other = Stage::new();
    let truth = simulate(&stage, &["--machines", "10", "--endpoint", &other.receiver.endpoint()]);
    assert!(stage.receiver.requests().try_recv().is_err());
    check(&arrived(&other), &truth);
}

#[test]
fn help_has_examples_and_every_kind_of_incident() {
    let stage = Stage::new();
    let output = stage.lab().args(["simulate", "--help"]).output().unwrap();
    let help = text(&output.stdout);
    for expected in [
        "mpr-otel-lab simulate --machines 10000",
        "server-down@10m-40m:server=3",
        "server-slow:server=N,factor=20",
        "server-hangs:",
        "server-flaky:",
        "access-revoked:",
        "account-expired:",
        "losses:",
        "machines-vanish:",
        "silence ",
        "off-vpn:",
        "client-network:",
        "noisy-machine:",
        "misspelt:",
        "bursts:",
        "nights:",
        "scheduled-shutdown ",
        "branch-cut ",
        "mapped-twice:",
        "cancel-first:",
        "doubled:",
        "forged-names:",
        "names-overflow:",
        "gateway-down,",
        "gateways-down,",
        "logs-dropped",
    ] {
        assert!(help.contains(expected), "no {expected:?} in:\n{help}");
    }
}

#[test]
fn series_are_written_without_a_collector_and_the_same_each_time() {
    let stage = Stage::new();
    let write = |name: &str, seed: &str| {
        let path = stage.folder.path().join(name);
        let mut command = stage.lab();
        command.args([
            "simulate",
            "--machines",
            "20",
            "--hours",
            "3",
            "--from",
            "08:00",
            "--agents",
        ]);
        let output = command.args(["--seed", seed, "--series"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read(path).unwrap()
    };
    let once = write("once.json", "1");
    assert!(write("again.json", "1") == once);
    assert!(write("other.json", "2") != once);
    let file: SeriesFile = serde_json::from_slice(&once).unwrap();
    assert_eq!(file.interval, "1m");
    for name in ["mpr_calls_total{", "mpr_operation_seen_total{", "otelcol_process_uptime"] {
        assert!(file.input_series.iter().any(|series| series.series.starts_with(name)), "{name}");
    }
    assert!(arrived(&stage).is_empty());
}

#[test]
fn wrong_input_is_refused_with_what_to_write_instead() {
    let stage = Stage::new();
    let away = "http://127.0.0.1:1";
    for (arguments, code, words) in [
        (&["--speed", "fast"][..], 2, "such as 60"),
        (&["--machines", "0"], 2, "1..=1000000"),
        (&["--servers", "0"], 2, "1..=500"),
        (&["--hours", "0"], 2, "such as 24 or 0.5"),
        (&["--from", "5 am"], 2, "such as 05:00"),
        (&["--incident", "fire@10m"], 2, "write one of server-down, account-expired"),
        (&["--incident", "server-down@10m"], 2, "such as `server-down@10m-40m:server=3`"),
        (&["--incident", "server-down@10m:server=99"], 1, "write a number from 1 to 24"),
        (&["--hours", "2", "--incident", "server-down@2h:server=3"], 1, "make the run longer"),
        (&["--endpoint", "nowhere"], 1, "such as http://127.0.0.1:4318"),
        (&["--endpoint", "http://127.0.0.1:1/v1/traces"], 1, "leave it out"),
        (&["--endpoint", away], 1, "start one, or name another with --endpoint"),
        (&["--truth", "/no/such/folder/truth.json"], 1, "name another file"),
        (&["--series", "/no/such/folder/series.json"], 1, "name another file"),
        (&["--series", "series.json", "--endpoint", away], 2, "cannot be used with"),
        (&["--series-limit", "300"], 2, "--series <FILE>"),
        (&["--incident", "gateway-down@1h"], 1, "gateway-down happens to gateways"),
        (&["--incident", "gateways-down@1h"], 1, "simulated only with --series"),
        (&["--incident", "logs-dropped@1h"], 1, "simulated only with --series"),
        (&["--incident", "losses@1h:reason=age"], 2, "is no reason for a loss"),
    ] {
        let output: Output = stage.lab().arg("simulate").args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(text(&output.stdout), "");
    }
    // Nothing was sent.
    assert!(arrived(&stage).is_empty());
    let mut traces_only = stage.lab();
    traces_only
        .env_remove("MPR_OTEL_ENDPOINT")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/traces")
        .args(["simulate", "--agents"]);
    let output = traces_only.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--agents needs"), "{}", text(&output.stderr));
}
