//! What a collector refuses: an answer that is about the endpoint costs nothing, and one that is about
//! the spans costs no other span.

#![cfg(unix)]

use mpr_otel_lab::double::Step;
use mpr_otel_lab::equipment::stage::{Running, Stage, add, lane, received, spawn, start};
use mpr_otel_lab::receiver::{Answer, Request};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const POISON: &str = "poison";

/// Answers that say nothing about the spans.
fn about_the_endpoint() -> Vec<Answer> {
    let statuses = [301, 401, 403, 404, 405, 407, 408, 421, 429, 451, 500, 501, 502, 503, 504];
    let page = |body: Vec<u8>| Answer { body, ..Answer::ok() };
    statuses
        .into_iter()
        .map(Answer::status)
        .chain([page(b"<html>Welcome to our network".to_vec()), page(vec![b'x'; 100_000])])
        .collect()
}

/// Whether a request has the span of an operation on the share that a collector does not take.
fn is_poisoned(request: &Request) -> bool {
    let spans = request.export.resource_spans.iter().flat_map(|group| &group.scope_spans);
    let spans: Vec<&Span> = spans.flat_map(|scope| &scope.spans).collect();
    spans.iter().any(|span| {
        let mut attributes = span.attributes.iter();
        attributes.any(|one| one.key == "mpr.share.name" && format!("{one:?}").contains(POISON))
    })
}

fn drain(stage: &Stage) -> (Option<i32>, Value) {
    let output = stage.program().args(["drain", "--json"]).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn an_exporter_keeps_what_an_endpoint_refuses_and_sends_it_when_it_is_taken() {
    for answer in about_the_endpoint() {
        let told = format!("{answer:?}").chars().take(80).collect::<String>();
        let refused = AtomicUsize::new(0);
        let stage = Stage::behaving(move |_: &Request| {
            if refused.fetch_add(1, Ordering::Relaxed) < 2 { answer.clone() } else { Answer::ok() }
        });
        let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\share"); 3]));
        let tally = stage.tally_when(|tally| tally.exported == 3);
        assert_eq!((tally.seen, tally.lost_in_all()), (3, 0), "{told}");
        assert_ne!(stage.last_errors(), [""], "{told}");
        host.end_quietly();
    }
}

#[test]
fn drain_keeps_what_an_endpoint_refuses_and_fails() {
    for answer in about_the_endpoint() {
        let told = format!("{answer:?}").chars().take(80).collect::<String>();
        let well = Arc::new(AtomicBool::new(false));
        let taken = Arc::clone(&well);
        let stage = Stage::behaving(move |_: &Request| {
            if taken.load(Ordering::Relaxed) { Answer::ok() } else { answer.clone() }
        });
        for _ in 0..3 {
            let mut command = stage.c("exit");
            command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
            assert!(spawn(&mut command).end().0.success());
        }
        let (code, summary) = drain(&stage);
        assert_eq!((code, &summary["waiting"], &summary["lost"]), (Some(1), &3.into(), &0.into()));
        assert_eq!(stage.tally().seen, 0, "taken over: {told}");
        well.store(true, Ordering::Relaxed);
        let (code, summary) = drain(&stage);
        assert_eq!((code, &summary["exported"]), (Some(0), &3.into()), "{told}");
    }
}

#[test]
fn a_span_that_is_refused_costs_no_other_one_and_few_requests() {
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
    let (host, _) = start(command, &lane(steps));
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
fn a_span_at_which_the_collector_fails_keeps_no_other_one_in_its_host() {
    const SPANS: usize = 100;
    let stage = Stage::behaving(move |request: &Request| {
        Answer::status(if is_poisoned(request) { 500 } else { 200 })
    });
    let mut steps = vec![add(r"\\server\share"); SPANS];
    steps[SPANS / 3] = add(&format!(r"\\server\{POISON}"));
    let (host, report) = start(stage.host(), &lane(steps));
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
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    assert!(spawn(&mut command).end().0.success());
    let (code, summary) = drain(&stage);
    assert_eq!((code, &summary["waiting"], &summary["lost"]), (Some(1), &0.into(), &1.into()));
}

/// Operations of a live host that leaves them to an agent of the stage.
fn agent_and_host(stage: &Stage, steps: Vec<Step>) -> (Running, Running) {
    let agent = spawn(&mut stage.agent());
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    let (host, report) = start(command, &lane(steps));
    assert_eq!(report.untracked, 0);
    (agent, host)
}

#[test]
fn an_agent_keeps_what_an_endpoint_refuses_and_sends_it_when_it_is_taken() {
    for answer in about_the_endpoint() {
        let told = format!("{answer:?}").chars().take(80).collect::<String>();
        let refused = AtomicUsize::new(0);
        let stage = Stage::behaving(move |_: &Request| {
            if refused.fetch_add(1, Ordering::Relaxed) < 2 { answer.clone() } else { Answer::ok() }
        });
        let (agent, host) = agent_and_host(&stage, vec![add(r"\\server\share"); 3]);
        stage.report_when(3, 3, 0);
        assert!(stage.logged().contains("will send again"), "{told}");
        host.end_quietly();
        agent.interrupt();
    }
}

/// A collector that answers with `status` as long as a request has the poisoned span.
fn poisoned_among_a_thousand(status: u16) {
    const SPANS: usize = 1000;
    let stage = Stage::behaving(move |request: &Request| {
        Answer::status(if is_poisoned(request) { status } else { 200 })
    });
    let slow = |name: &str| Step { takes_ms: 1, ..add(name) };
    let mut steps = vec![slow(r"\\server\share"); SPANS];
    steps[SPANS / 3] = slow(&format!(r"\\server\{POISON}"));
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
fn a_span_that_is_refused_among_a_thousand_costs_no_other_one() {
    poisoned_among_a_thousand(400);
}

#[test]
fn a_span_at_which_the_collector_fails_keeps_no_other_one_waiting() {
    poisoned_among_a_thousand(500);
}

#[test]
fn a_collector_that_fails_at_every_span_costs_none_though_it_takes_empty_batches() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let failed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&failed);
    let stage = Stage::behaving(move |request: &Request| {
        let is_empty = request.export.resource_spans.is_empty();
        if is_empty || !failing.load(Ordering::Relaxed) {
            return Answer::ok();
        }
        count.fetch_add(1, Ordering::Relaxed);
        Answer::status(503)
    });
    let (agent, host) = agent_and_host(&stage, vec![add(r"\\server\share"); 10]);
    // So often that some are suspected.
    stage.until(|| failed.load(Ordering::Relaxed) >= 5);
    stage.report_when(10, 0, 0);
    fails.store(false, Ordering::Relaxed);
    stage.report_when(10, 10, 0);
    host.end_quietly();
    agent.interrupt();
}
