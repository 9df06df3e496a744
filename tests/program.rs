//! The `mpr-otel` program, as people and scripts call it.

use mpr_otel_lab::equipment::library;
use mpr_otel_lab::equipment::stage::{Stage, received};
use serde_json::Value;
use std::process::Output;

fn program(stage: &Stage, arguments: &[&str]) -> Output {
    stage.program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn demo(stage: &Stage, arguments: &[&str]) -> Output {
    stage.lab().args(["demo", "--library"]).arg(library()).args(arguments).output().unwrap()
}

#[test]
fn the_demo_turns_every_operation_into_one_span() {
    let stage = Stage::new();
    let output = demo(&stage, &["--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["operations"], 200);
    assert_eq!(summary["spans"], 200);
    assert_eq!(summary["lost"], 0);
    assert_eq!(summary["unfinished"], 2);
    let servers = summary["servers"].as_array().unwrap();
    let sum = |key: &str| -> u64 { servers.iter().map(|row| row[key].as_u64().unwrap()).sum() };
    assert_eq!(sum("count"), 200);
    assert_eq!(Value::from(sum("failures")), summary["failures"]);
    assert!(servers.len() >= 12);
    for row in servers {
        let quantile = |key: &str| row[key].as_f64().unwrap();
        assert!(quantile("p50_ms") <= quantile("p95_ms"));
        assert!(quantile("p95_ms") <= quantile("max_ms"));
    }
    // The stage's own receiver is not the demo's.
    assert!(stage.receiver.requests().try_recv().is_err());
}

#[test]
fn the_demo_shows_a_table_the_failures_a_span_and_the_accounting() {
    let stage = Stage::new();
    let output = demo(&stage, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let shown = text(&output.stdout);
    for expected in [
        "SERVER",
        "old-fs.corp.example",
        "ERROR_BAD_NETPATH",
        "unreachable",
        "One span in full: mpr.add_connection",
        "200 operations = 200 spans, 0 lost",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in:\n{shown}");
    }
}

#[test]
fn the_demo_sends_to_a_collector_and_says_where_to_look() {
    let stage = Stage::new();
    let output = demo(&stage, &["--endpoint", &stage.receiver.endpoint()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&stage.receiver.endpoint()));
    let spans: usize =
        stage.receiver.requests().try_iter().map(|request| received(request).len()).sum();
    assert_eq!(spans, 200);
}

#[test]
fn the_demo_fails_at_once_if_its_collector_does_not_answer() {
    let stage = Stage::new();
    let output = demo(&stage, &["--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("http://127.0.0.1:1"), "{}", text(&output.stderr));
}

#[test]
fn errors_are_explained_by_code_and_by_name() {
    let stage = Stage::new();
    for wanted in ["53", "ERROR_BAD_NETPATH"] {
        let output = program(&stage, &["errors", wanted, "--json"]);
        assert!(output.status.success());
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows[0]["code"], 53);
        assert_eq!(rows[0]["name"], "ERROR_BAD_NETPATH");
        assert_eq!(rows[0]["class"], "unreachable");
    }
    let all = program(&stage, &["errors"]);
    assert!(text(&all.stdout).lines().count() > 50);
    let unknown = program(&stage, &["errors", "no-such-error"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("no-such-error"));
}

#[test]
fn status_shows_each_setting_its_origin_and_what_is_malformed_and_tries_the_endpoint() {
    let stage = Stage::new();
    let mut command = stage.program();
    command
        .args(["status", "--json"])
        .env("MPR_OTEL_TIMEOUT_MS", "soon")
        .env("MPR_OTEL_HEADERS", "authorization=secret");
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let setting = |name: &str| -> Value {
        let settings = report["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(setting("MPR_OTEL_ENDPOINT")["origin"], "environment");
    assert_eq!(setting("MPR_OTEL_COMPRESSION")["origin"], "default");
    assert_eq!(setting("MPR_OTEL_TIMEOUT_MS")["value"], "10000");
    assert!(setting("MPR_OTEL_TIMEOUT_MS")["malformed"].as_str().unwrap().contains("soon"));
    assert!(!text(&output.stdout).contains("secret"));
    assert_eq!(report["endpoint"]["answers"], true);
    // An empty batch: nothing is invented to try the endpoint.
    assert!(received(stage.request()).is_empty());
    // Malformed and, off Windows, not registered.
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn status_says_that_the_endpoint_does_not_answer() {
    let stage = Stage::new();
    let mut command = stage.program();
    let output =
        command.arg("status").env("MPR_OTEL_ENDPOINT", "http://127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("http://127.0.0.1:1/v1/traces FAILED: does not answer"), "{shown}");
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let stage = Stage::new();
    for (mut command, wrong) in [
        (stage.program(), &["nonsense"][..]),
        (stage.program(), &["errors", "1", "2"]),
        (stage.program(), &["demo"]),
        (stage.program(), &[]),
        (stage.lab(), &["demo", "--nonsense"]),
    ] {
        let output = command.args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
#[cfg(not(windows))]
fn windows_commands_say_elsewhere_what_they_would_need() {
    let stage = Stage::new();
    for (command, code) in [("install", 1), ("uninstall", 1), ("probe", 2)] {
        let output = program(&stage, &[command]);
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output.stderr).contains("Windows"), "{}", text(&output.stderr));
    }
}
