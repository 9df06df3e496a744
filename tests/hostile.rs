//! Hosts that break the contract, in a C program that shares nothing with the library but the
//! ABI. With MPR_OTEL_TEST_VALGRIND set, the program runs under valgrind, which fails it for any
//! access to memory that is not the library's to touch.

#![cfg(unix)]

use mpr_otel_lab::equipment::stage::{Received, Stage, start_c};
use std::collections::HashSet;
use std::process::Command;

/// The C host in hostile mode, under valgrind if asked for.
fn hostile_host(stage: &Stage) -> Command {
    let mut command = stage.c("hostile");
    if std::env::var_os("MPR_OTEL_TEST_VALGRIND").is_some() {
        let plain = command;
        command = stage.command("valgrind");
        command
            .args(["--quiet", "--error-exitcode=99", "--exit-on-first-error=yes"])
            // The exporter's thread never ends and keeps its memory.
            .args(["--leak-check=no", "--fair-sched=yes"])
            .arg(plain.get_program())
            .args(plain.get_args());
    }
    command
}

#[test]
fn calls_that_break_the_contract_do_no_harm_and_are_counted() {
    let stage = Stage::new();
    // The names are kept as they came, so that this test sees what happens to each.
    let mut command = hostile_host(&stage);
    command.env("MPR_OTEL_PRIVACY", "full");
    let host = start_c(command);
    // See tests/c/host.c: 2 (POST twice, old handle), 7 names, 1 unknown flags, 64 x 2.
    let operations = 2 + 7 + 1 + 128;
    let spans = stage.spans(operations);
    let tally = stage.tally_when(|tally| tally.exported == operations as u64);
    host.end_quietly();

    assert_eq!(tally.seen, operations as u64);
    assert_eq!(tally.lost_in_all(), 0);
    assert_eq!(tally.malformed, 12);
    assert_eq!(tally.unmatched, 2 + 100_000 + 1 + 1 + 1);

    let spans = Spans(spans);
    the_first_of_two_posts_counts(&spans);
    null_and_empty_names_say_nothing(&spans);
    a_vast_name_is_cut(&spans);
    odd_names_arrive(&spans);
    unknown_types_codes_and_flags_are_numbers(&spans);
    each_thread_has_its_operations(&spans);
    let ids: HashSet<_> = spans.0.iter().map(|span| &span.span.span_id).collect();
    assert_eq!(ids.len(), operations);
}

/// What the hostile host's calls became.
struct Spans(Vec<Received>);

impl Spans {
    fn by(&self, key: &str, value: &str) -> Vec<&Received> {
        self.0.iter().filter(|span| span.get(key).as_deref() == Some(value)).collect()
    }

    fn one(&self, key: &str, value: &str) -> &Received {
        let found = self.by(key, value);
        assert_eq!(found.len(), 1, "{key} = {value}");
        found[0]
    }
}

fn the_first_of_two_posts_counts(spans: &Spans) {
    let shares = spans.by("mpr.remote.name", r"\\server\share");
    let mut codes: Vec<_> = shares.iter().map(|span| span.get("mpr.status.code")).collect();
    codes.sort();
    assert_eq!(codes, [Some("0".to_owned()), Some("67".to_owned())]);
}

fn null_and_empty_names_say_nothing(spans: &Spans) {
    let nameless = |operation: &str| {
        spans
            .by("mpr.operation.name", operation)
            .into_iter()
            .filter(|span| span.get("mpr.remote.name").is_none())
            .inspect(|span| {
                assert_eq!(span.get("mpr.local.name"), None);
                assert_eq!(span.get("server.address"), None);
            })
            .count()
    };
    assert_eq!(nameless("add"), 2);
    assert_eq!(nameless("cancel"), 1);
}

/// 40,000 units are cut, and the span says so.
fn a_vast_name_is_cut(spans: &Spans) {
    let vast = spans.one("mpr.truncated", "true");
    assert_eq!(vast.get("mpr.remote.name").unwrap().len(), 256);
    assert_eq!(vast.get("server.address").as_deref(), Some("xxxxxx"));
    assert_eq!(vast.get("mpr.local.name").unwrap().len(), 24);
}

fn odd_names_arrive(spans: &Spans) {
    // Unpaired surrogates are replaced; a well-formed UTF-8 string arrives.
    spans.one("mpr.remote.name", "\\\\\u{FFFD}a\u{FFFD}\\\u{FFFD}s");
    spans.one("mpr.remote.name", r"\\edge\share");
    spans.one("mpr.local.name", "X:");
    spans.one("server.address", "odd");
}

fn unknown_types_codes_and_flags_are_numbers(spans: &Spans) {
    let unknown = spans.one("mpr.remote.name", r"\\server\unknown");
    assert_eq!(unknown.get("mpr.resource.type").as_deref(), Some("unknown"));
    assert_eq!(unknown.get("error.type").as_deref(), Some("0xFFFFFFFF"));
    assert_eq!(unknown.get("mpr.error.class").as_deref(), Some("other"));
    let flags = unknown.get("mpr.connect.flags").unwrap();
    assert!(flags.ends_with(",0xFFF80000]"), "{flags}");
}

fn each_thread_has_its_operations(spans: &Spans) {
    let threads = spans.by("mpr.share.name", "threads");
    assert_eq!(threads.len(), 128);
    let ids: HashSet<_> = threads.iter().map(|span| span.get("thread.id")).collect();
    assert_eq!(ids.len(), 64);
}
