//! Refusals of a collector: an answer about the endpoint loses nothing, and an answer about the
//! spans loses no other span.

#![cfg(unix)]

use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_lab::double::Step;
use mpr_otel_lab::equipment::graveyard::Graveyard;
use mpr_otel_lab::equipment::stage::{Running, Stage, add, lane, received, spawn, start};
use mpr_otel_lab::receiver::{Answer, Behaviour, Request, Stream};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const POISON: &str = "poison";
/// Operations that are recorded for each answer.
const OPERATIONS: u64 = 3;

/// Answers that are not about the spans; `None` is no answer.
fn about_the_endpoint() -> Vec<Option<Answer>> {
    let statuses = [
        300, 301, 302, 307, 308, 401, 403, 404, 405, 407, 408, 421, 425, 429, 451, 500, 501, 502,
        503, 504,
    ];
    let page = |kind: &str, body: &[u8]| {
        Answer { body: body.to_vec(), ..Answer::ok() }.header("content-type", kind)
    };
    let portals = [
        page("text/html", b"<html>Welcome to our network"),
        page("text/html", &[b'x'; 100_000]),
        page("text/plain", b"OK"),
        page("application/json", br#"{"login":"https://gate.example/"}"#),
        page("application/x-protobuf", b"<html>Welcome to our network"),
        Answer { status: 201, ..page("text/html", b"<html>Welcome") },
    ];
    let statuses = statuses.into_iter().map(Answer::status);
    statuses.chain(portals).map(Some).chain([None]).collect()
}

/// What is on the disk: operations in ledgers, and operations in the store of the process that took
/// them over.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    ledgers: u64,
    store: u64,
}

/// What a collector does with spans now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Lets each request wait for an answer.
    Holds,
    Refuses,
    Takes,
}

struct State {
    mood: Mutex<Mood>,
    refused: AtomicUsize,
    /// The ids of the spans that it took.
    taken: Mutex<Vec<Vec<u8>>>,
}

/// A collector that gives one answer to every request that it refuses.
#[derive(Clone)]
struct Refusing {
    answer: Option<Answer>,
    state: Arc<State>,
}

impl Refusing {
    fn with(answer: Option<Answer>, mood: Mood) -> Self {
        let (refused, taken) = (AtomicUsize::default(), Mutex::default());
        Self { answer, state: Arc::new(State { mood: Mutex::new(mood), refused, taken }) }
    }

    fn mood(&self) -> Mood {
        *self.state.mood.lock().unwrap()
    }

    fn be(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    fn refused(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// Checks that it took each of so many operations exactly once.
    fn has_each_once(&self, operations: u64, which: &str) {
        let taken = self.state.taken.lock().unwrap();
        let ids: HashSet<_> = taken.iter().collect();
        assert_eq!((taken.len() as u64, ids.len() as u64), (operations, operations), "{which}");
    }
}

impl Behaviour for Refusing {
    fn answer(&self, request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        let spans = received(request.clone());
        while self.mood() == Mood::Holds && !spans.is_empty() {
            std::thread::yield_now();
        }
        if self.mood() != Mood::Takes {
            self.state.refused.fetch_add(usize::from(!spans.is_empty()), Ordering::SeqCst);
            return self.answer.clone();
        }
        let ids = spans.into_iter().map(|span| span.span.span_id);
        self.state.taken.lock().unwrap().extend(ids);
        Some(Answer::ok())
    }
}

/// Runs `scene` for each answer that is about the endpoint, with its name.
fn for_each_answer(mood: Mood, scene: impl Fn(&Stage, &Refusing, &str)) {
    for answer in about_the_endpoint() {
        let which = format!("{answer:?}").chars().take(80).collect::<String>();
        let collector = Refusing::with(answer, mood);
        scene(&Stage::behaving(collector.clone()), &collector, &which);
    }
}

/// Ledgers that are files in the stage's folder.
fn ledger_files(stage: &Stage) -> usize {
    LedgerFolder::new(stage.ledgers()).list().unwrap().len()
}

/// Whether a request contains the span of the share that the collector does not take.
fn is_poisoned(request: &Request) -> bool {
    let spans = request.export.resource_spans.iter().flat_map(|group| &group.scope_spans);
    let spans: Vec<&Span> = spans.flat_map(|scope| &scope.spans).collect();
    spans.iter().any(|span| {
        let mut attributes = span.attributes.iter();
        attributes.any(|one| one.key == "mpr.share.name" && format!("{one:?}").contains(POISON))
    })
}

/// A host that records one operation and ends before it has sent it.
fn dead_host(stage: &Stage) {
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    assert!(spawn(&mut command).end().0.success());
}

/// Where `drain` keeps what a collector does not take.
fn drain_store(stage: &Stage) -> PathBuf {
    stage.folder.path().join("state/mpr-otel/drain.redb")
}

fn drain(stage: &Stage) -> (Option<i32>, Value) {
    let output = stage.program().args(["drain", "--json"]).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// A live host with these operations, which leaves them to an agent of the stage.
fn agent_and_host(stage: &Stage, steps: Vec<Step>) -> (Running, Running) {
    let agent = spawn(&mut stage.agent());
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    let (host, report) = stage.start_in_parts(command, &steps, Stage::seen_by_agent);
    assert_eq!(report.untracked, 0);
    (agent, host)
}

#[test]
fn an_exporter_keeps_spans_that_an_endpoint_refuses_and_sends_them_later() {
    for_each_answer(Mood::Holds, |stage, collector, which| {
        let kept = || Kept { ledgers: stage.tally().pending(), store: 0 };
        let steps = vec![add(r"\\server\share"); OPERATIONS as usize];
        let (host, _) = start(stage.host(), &lane(steps));
        stage.tally_when(|tally| tally.seen == OPERATIONS);
        let before = kept();
        assert_eq!(before, Kept { ledgers: OPERATIONS, store: 0 }, "{which}");
        collector.be(Mood::Refuses);
        stage.until(|| stage.last_errors() != [""]);
        assert_eq!((kept(), collector.refused() > 0), (before, true), "{which}");
        collector.be(Mood::Takes);
        let tally = stage.tally_when(|tally| tally.exported == OPERATIONS);
        assert_eq!((tally.seen, tally.lost_in_all()), (OPERATIONS, 0), "{which}");
        assert_eq!(kept(), Kept { ledgers: 0, store: 0 }, "{which}");
        collector.has_each_once(OPERATIONS, which);
        host.end_quietly();
    });
}

#[test]
fn an_agent_keeps_spans_that_an_endpoint_refuses_and_sends_them_later() {
    for_each_answer(Mood::Holds, |stage, collector, which| {
        let kept = || Kept {
            ledgers: stage.tally().pending(),
            store: stage.report()["pending"].as_u64().unwrap(),
        };
        let steps = vec![add(r"\\server\share"); OPERATIONS as usize];
        let (agent, host) = agent_and_host(stage, steps);
        stage.report_when(OPERATIONS, 0, 0);
        let before = kept();
        assert_eq!(before, Kept { ledgers: 0, store: OPERATIONS }, "{which}");
        collector.be(Mood::Refuses);
        stage.until(|| stage.report()["trouble"].is_string());
        assert_eq!((kept(), collector.refused() > 0), (before, true), "{which}");
        assert!(stage.logged().contains("will send again"), "{which}");
        collector.be(Mood::Takes);
        stage.report_when(OPERATIONS, OPERATIONS, 0);
        assert_eq!(kept(), Kept { ledgers: 0, store: 0 }, "{which}");
        collector.has_each_once(OPERATIONS, which);
        host.end_quietly();
        stage.until(|| ledger_files(stage) == 0);
        agent.interrupt();
    });
}

#[test]
fn drain_keeps_spans_that_an_endpoint_refuses_and_fails() {
    for_each_answer(Mood::Refuses, |stage, collector, which| {
        for _ in 0..OPERATIONS {
            dead_host(stage);
        }
        assert_eq!((ledger_files(stage) as u64, stage.tally().pending()), (OPERATIONS, OPERATIONS));
        // A second attempt loses nothing either.
        for _ in 0..2 {
            let (code, summary) = drain(stage);
            let waiting = summary["waiting"].as_u64().unwrap();
            let kept = Kept { ledgers: stage.tally().pending(), store: waiting };
            assert_eq!((code, kept), (Some(1), Kept { ledgers: 0, store: OPERATIONS }), "{which}");
            assert_eq!((&summary["exported"], &summary["lost"]), (&0.into(), &0.into()), "{which}");
            assert!(summary["trouble"].is_string(), "{which}");
        }
        assert_eq!((ledger_files(stage), collector.refused()), (0, 2), "{which}");
        collector.be(Mood::Takes);
        let (code, summary) = drain(stage);
        assert_eq!((code, &summary["exported"]), (Some(0), &OPERATIONS.into()), "{which}");
        assert_eq!((&summary["waiting"], &summary["store"]), (&0.into(), &Value::Null), "{which}");
        assert!(!drain_store(stage).exists(), "{which}");
        collector.has_each_once(OPERATIONS, which);
    });
}

/// Drains so many operations, twice while the collector answers 401, and then when it takes them.
/// Prints what was on the disk, and how long it took.
fn drain_with_a_wrong_token(stage: &Stage, collector: &Refusing, operations: u64) {
    let pending = stage.tally().pending();
    println!("before: {} ledgers with {pending} operations", ledger_files(stage));
    assert_eq!(pending, operations);
    for drained in ["401", "401 again", "taken"] {
        if drained == "taken" {
            collector.be(Mood::Takes);
        }
        let began = Instant::now();
        let (code, summary) = drain(stage);
        println!(
            "{drained}: exit code {code:?} after {:.1} s, {} ledgers with {} operations, {summary}",
            began.elapsed().as_secs_f64(),
            ledger_files(stage),
            stage.tally().pending()
        );
        let (waiting, exported) =
            if drained == "taken" { (0, operations) } else { (operations, 0) };
        assert_eq!(code, Some(i32::from(waiting > 0)), "{drained}");
        assert_eq!(
            (&summary["waiting"], &summary["exported"], &summary["lost"]),
            (&waiting.into(), &exported.into(), &0.into()),
            "{drained}"
        );
        assert_eq!((ledger_files(stage), drain_store(stage).exists()), (0, waiting > 0));
    }
    collector.has_each_once(operations, "401");
}

#[test]
fn drain_loses_nothing_with_a_wrong_token() {
    let collector = Refusing::with(Some(Answer::status(401)), Mood::Refuses);
    let stage = Stage::behaving(collector.clone());
    for _ in 0..20 {
        dead_host(&stage);
    }
    drain_with_a_wrong_token(&stage, &collector, 20);
}

/// `cargo test -p mpr-otel-tests --test refused two_hundred_thousand -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: 1250 full ledgers, and minutes"]
fn drain_loses_nothing_of_two_hundred_thousand_operations_with_a_wrong_token() {
    const LEDGERS: u64 = 1250;
    let collector = Refusing::with(Some(Answer::status(401)), Mood::Refuses);
    let stage = Stage::behaving(collector.clone());
    std::fs::create_dir_all(stage.ledgers()).unwrap();
    let each = vec![r"\\files01\projects"; 160];
    let yard = Graveyard::within(&stage.ledgers());
    for _ in 0..LEDGERS {
        yard.dead(&each);
    }
    drop(yard);
    drain_with_a_wrong_token(&stage, &collector, LEDGERS * each.len() as u64);
}

/// Drains while one span is refused with `status`: that span is lost, and the others arrive.
fn drained_with_a_poisoned_span(status: u16) {
    const HOSTS: u64 = 6;
    let stage = Stage::behaving(move |request: &Request| {
        Answer::status(if is_poisoned(request) { status } else { 200 })
    });
    for host in 0..HOSTS {
        let name = if host == 2 { POISON } else { "share" };
        let mut command = stage.host();
        command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
        let (host, _) = start(command, &lane(vec![add(&format!(r"\\server\{name}"))]));
        host.kill();
    }
    let (code, summary) = drain(&stage);
    let counts = ["exported", "lost", "waiting"].map(|count| summary[count].as_u64().unwrap());
    assert_eq!((code, counts), (Some(1), [HOSTS - 1, 1, 0]), "{summary}");
    let taken = stage.receiver.requests().try_iter().filter(|request| !is_poisoned(request));
    let ids: Vec<_> = taken.flat_map(received).map(|span| span.span.span_id).collect();
    assert_eq!(ids.len() as u64, HOSTS - 1);
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len() as u64, HOSTS - 1);
    // Everything is settled, so nothing can fail any more.
    let (code, summary) = drain(&stage);
    assert_eq!((code, &summary["operations"]), (Some(0), &0.into()), "{summary}");
}

#[test]
fn drain_goes_on_after_a_span_that_is_refused() {
    drained_with_a_poisoned_span(400);
}

#[test]
fn drain_goes_on_after_a_span_at_which_the_collector_fails() {
    drained_with_a_poisoned_span(500);
}

#[test]
fn a_refused_span_loses_no_other_one_and_needs_few_requests() {
    const SPANS: usize = 150;
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let stage = Stage::behaving(move |request: &Request| {
        count.fetch_add(1, Ordering::Relaxed);
        Answer::status(if is_poisoned(request) { 400 } else { 200 })
    });
    let mut steps = vec![add(r"\\server\share"); SPANS];
    steps[SPANS / 3] = add(&format!(r"\\server\{POISON}"));
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_MAX", SPANS.to_string()).env("MPR_OTEL_BATCH_DELAY_MS", "3000");
    let (host, _) = stage.start_in_parts(command, &steps, Stage::seen_by_hosts);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.exported, tally.lost[3], tally.lost_in_all()), (SPANS as u64 - 1, 1, 1));
    let taken = stage.receiver.requests().try_iter().filter(|request| !is_poisoned(request));
    let ids: HashSet<_> = taken.flat_map(received).map(|span| span.span.span_id).collect();
    assert_eq!(ids.len(), SPANS - 1);
    let requests = requests.load(Ordering::Relaxed);
    assert!(requests < 30, "{requests} requests");
    host.end_quietly();
}

#[test]
fn a_span_at_which_the_collector_fails_does_not_keep_others_in_their_host() {
    const SPANS: usize = 100;
    let stage = Stage::behaving(move |request: &Request| {
        Answer::status(if is_poisoned(request) { 500 } else { 200 })
    });
    let mut steps = vec![add(r"\\server\share"); SPANS];
    steps[SPANS / 3] = add(&format!(r"\\server\{POISON}"));
    let (host, report) = stage.start_in_parts(stage.host(), &steps, Stage::seen_by_hosts);
    assert_eq!(report.untracked, 0);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.exported, tally.lost[3], tally.lost_in_all()), (SPANS as u64 - 1, 1, 1));
    let taken = stage.receiver.requests().try_iter().filter(|request| !is_poisoned(request));
    let ids: Vec<_> = taken.flat_map(received).map(|span| span.span.span_id).collect();
    assert_eq!(ids.len(), SPANS - 1);
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), SPANS - 1);
    host.end_quietly();
}

#[test]
fn drain_fails_if_a_span_was_refused() {
    let stage = Stage::behaving(|_: &Request| Answer::status(400));
    dead_host(&stage);
    let (code, summary) = drain(&stage);
    assert_eq!((code, &summary["waiting"], &summary["lost"]), (Some(1), &0.into(), &1.into()));
}

/// A collector that answers with `status` to each request that contains the poisoned span.
fn poisoned_among_a_thousand(status: u16) {
    const SPANS: usize = 1000;
    let stage = Stage::behaving(move |request: &Request| {
        Answer::status(if is_poisoned(request) { status } else { 200 })
    });
    let mut steps = vec![add(r"\\server\share"); SPANS];
    steps[SPANS / 3] = add(&format!(r"\\server\{POISON}"));
    let (agent, host) = agent_and_host(&stage, steps);
    let report = stage.report_when(SPANS as u64, SPANS as u64 - 1, 1);
    assert_eq!(report["lost"]["rejected"], 1, "{report}");
    let taken = stage.receiver.requests().try_iter().filter(|request| !is_poisoned(request));
    let ids: HashSet<_> = taken.flat_map(received).map(|span| span.span.span_id).collect();
    assert_eq!(ids.len(), SPANS - 1);
    host.end_quietly();
    agent.interrupt();
}

#[test]
fn a_refused_span_among_a_thousand_loses_no_other_one() {
    poisoned_among_a_thousand(400);
}

#[test]
fn a_span_at_which_the_collector_fails_does_not_delay_others() {
    poisoned_among_a_thousand(500);
}

/// A collector that takes empty batches, and fails at every other batch while the flag is set.
fn failing_at_every_span() -> (Stage, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (fails, failed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (failing, count) = (Arc::clone(&fails), Arc::clone(&failed));
    let stage = Stage::behaving(move |request: &Request| {
        let is_empty = request.export.resource_spans.is_empty();
        if is_empty || !failing.load(Ordering::Relaxed) {
            return Answer::ok();
        }
        count.fetch_add(1, Ordering::Relaxed);
        Answer::status(503)
    });
    (stage, fails, failed)
}

/// More failures than are needed to suspect some spans.
const MANY: usize = 5;

#[test]
fn an_agent_loses_no_span_if_a_collector_takes_only_empty_batches() {
    let (stage, fails, failed) = failing_at_every_span();
    let (agent, host) = agent_and_host(&stage, vec![add(r"\\server\share"); 10]);
    stage.until(|| failed.load(Ordering::Relaxed) >= MANY);
    stage.report_when(10, 0, 0);
    fails.store(false, Ordering::Relaxed);
    stage.report_when(10, 10, 0);
    host.end_quietly();
    agent.interrupt();
}

#[test]
fn a_host_loses_no_span_if_a_collector_takes_only_empty_batches() {
    let (stage, fails, failed) = failing_at_every_span();
    let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\share"); 10]));
    stage.until(|| failed.load(Ordering::Relaxed) >= MANY);
    let tally = stage.tally();
    assert_eq!((tally.pending(), tally.lost_in_all()), (10, 0));
    fails.store(false, Ordering::Relaxed);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.exported, tally.lost_in_all()), (10, 0));
    host.end_quietly();
}
