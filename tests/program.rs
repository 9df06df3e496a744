//! The `mpr-otel` program, as people and scripts use it.

use mpr_otel_lab::equipment::library;
use mpr_otel_lab::equipment::stage::{Stage, received, spawn};
use mpr_otel_lab::receiver::{Answer, Request};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
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
    // The demo does not send to the stage's own receiver.
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
    assert!(text(&all.stdout).lines().count() > 100);
    let unknown = program(&stage, &["errors", "no-such-error"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("no-such-error"));
}

#[test]
fn errors_are_found_by_the_text_that_a_dashboard_shows() {
    let stage = Stage::new();
    for (wanted, name) in [
        ("0xC05D0003", "STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP"),
        ("-1067646973", "STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP"),
        ("3227320323", "STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP"),
        ("STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP", "STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP"),
        ("WIN32_1272", "ERROR_SMB_GUEST_LOGON_BLOCKED"),
        ("client_network", "ERROR_NETWORK_UNREACHABLE"),
        ("unfinished", "mpr-otel inflight"),
    ] {
        let output = program(&stage, &["errors", wanted]);
        assert!(output.status.success(), "{wanted}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(name), "{wanted}: {}", text(&output.stdout));
    }
    let unknown = program(&stage, &["errors", "WIN32_12345"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("net helpmsg 12345"), "{}", text(&unknown.stderr));
    let misspelt = program(&stage, &["errors", "ERROR_BAD_NETPTAH"]);
    assert!(text(&misspelt.stderr).contains("did you mean ERROR_BAD_NETPATH?"));
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
    assert_eq!(report["endpoint"]["collector"], "accepts");
    // The batch is empty: no operation is invented to try the endpoint.
    assert!(received(stage.request()).is_empty());
    // A default time-out does not keep operations from arriving.
    assert_eq!(verdict(&output), (Some(0), "arrives".into(), vec!["malformed_setting".into()]));
}

/// Exit code, arrival and problems that `status --json` gives.
fn verdict(output: &Output) -> (Option<i32>, String, Vec<String>) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = &report["verdict"];
    assert_eq!(verdict["exit_code"], Value::from(output.status.code()), "{verdict}");
    let problems = verdict["problems"].as_array().unwrap().iter();
    let names = problems.map(|problem| problem["name"].as_str().unwrap().to_owned());
    (output.status.code(), verdict["arrival"].as_str().unwrap().to_owned(), names.collect())
}

/// The verdict of `status` with these variables in its environment.
fn verdict_with(stage: &Stage, variables: &[(&str, &str)]) -> (Option<i32>, String, Vec<String>) {
    let mut command = stage.program();
    command.args(["status", "--json"]).envs(variables.iter().copied());
    verdict(&command.output().unwrap())
}

#[test]
fn status_ends_with_a_verdict_and_its_exit_code() {
    let stage = Stage::new();
    let well = program(&stage, &["status"]);
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stdout));
    let last = "Verdict: all is well: this machine's operations arrive\n";
    assert!(text(&well.stdout).ends_with(last), "{}", text(&well.stdout));

    let judged = |code, arrival: &str, problem: &str| {
        (Some(code), arrival.to_owned(), vec![problem.to_owned()])
    };
    for (variable, value, expected) in [
        ("MPR_OTEL_ENDPOINT", "http://127.0.0.1:1", judged(3, "waits", "collector_away")),
        ("MPR_OTEL_DISABLED", "true", judged(1, "never", "disabled")),
        ("MPR_OTEL_DELIVERY", "agent", judged(1, "never", "no_agent")),
    ] {
        assert_eq!(verdict_with(&stage, &[(variable, value)]), expected, "{variable}={value}");
    }
    // Spans would go to the default endpoint, where any program may listen.
    let (code, arrival, problems) =
        verdict_with(&stage, &[("MPR_OTEL_ENDPOINT", "collector:4318")]);
    assert_eq!((code, &*arrival, &*problems[0]), (Some(1), "never", "malformed_setting"));
}

#[test]
fn status_says_that_a_collector_refuses() {
    let stage = Stage::behaving(|_: &Request| Answer::status(401));
    let expected = (Some(1), "never".to_owned(), vec!["collector_refuses".to_owned()]);
    assert_eq!(verdict_with(&stage, &[]), expected);
}

#[test]
fn status_shows_the_last_round_of_the_agent_that_sends_for_all() {
    let stage = Stage::new();
    let delivery = ("MPR_OTEL_DELIVERY", "agent");
    let agent = spawn(stage.agent().envs([delivery]));
    stage.until(|| verdict_with(&stage, &[delivery]).0 == Some(0));
    let round = || stage.status()["ledgers"]["agent"]["last_round_unix_ms"].as_u64();
    let first = round().unwrap();
    // The agent goes on with its rounds.
    stage.until(|| round().unwrap() > first);
    agent.kill();
    assert_eq!(verdict_with(&stage, &[delivery]).2, ["no_agent"]);
}

#[test]
fn a_failed_command_gives_its_reason_in_json_if_json_was_asked_for() {
    let stage = Stage::new();
    let output = program(&stage, &["errors", "no-such-error", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let failure: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = failure["error"].as_str().unwrap();
    assert!(said.starts_with("no-such-error is not in the table"), "{said}");
    assert_eq!(failure.as_object().unwrap().len(), 1);
}

#[test]
fn status_says_that_the_endpoint_does_not_answer() {
    let stage = Stage::new();
    let mut command = stage.program();
    let output =
        command.arg("status").env("MPR_OTEL_ENDPOINT", "http://127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let shown = text(&output.stdout);
    assert!(shown.contains("http://127.0.0.1:1/v1/traces FAILED: does not answer"), "{shown}");
    assert!(shown.contains("Verdict: the collector is away"), "{shown}");
}

/// A right-to-left override, ESC, the C1 character that begins a control sequence, and a line end.
const HOSTILE: &str = "\u{202e}\u{1b}[31m\u{9b}31m\u{2028}";

/// Checks that a terminal, or a program that reads JSON, gets no control characters. `text` may
/// have the program's own line ends.
fn assert_harmless(output: &Output) {
    for stream in [&output.stdout, &output.stderr] {
        let shown = text(stream);
        assert!(!shown.contains(['\u{202e}', '\u{1b}', '\u{9b}', '\u{2028}']), "{shown:?}");
        // JSON may escape a character.
        if let Ok(json) = serde_json::from_str::<Value>(&shown) {
            assert_harmless_value(&json);
        }
    }
}

fn assert_harmless_value(value: &Value) {
    match value {
        Value::String(text) => {
            assert!(!text.contains(['\u{202e}', '\u{1b}', '\u{9b}', '\u{2028}']), "{text:?}");
        }
        Value::Array(items) => items.iter().for_each(assert_harmless_value),
        Value::Object(fields) => fields.values().for_each(assert_harmless_value),
        _ => {}
    }
}

#[test]
#[cfg(unix)] // Windows allows no such file name.
fn names_are_shown_without_characters_that_control_a_terminal() {
    use mpr_otel_lab::equipment::stage::{add, lane, play};

    let stage = Stage::new();
    // A program's file name is in its ledger.
    let copy = stage.folder.path().join(format!("host{HOSTILE}.exe"));
    std::fs::copy(mpr_otel_lab::equipment::lab(), &copy).unwrap();
    let mut command = stage.command(&copy);
    command.arg("play").arg("--library").arg(library());
    let mut endless = add(&format!(r"\\files\share{HOSTILE}s"));
    endless.takes_ms = 60_000;
    let host = play(command, &lane(vec![endless]));
    // With whole names, because by default no such share is shown.
    let inflight = |arguments: &[&str]| {
        let mut command = stage.program();
        command.arg("inflight").args(arguments).env("MPR_OTEL_PRIVACY", "full").output().unwrap()
    };
    stage.until(|| text(&inflight(&[]).stdout).contains("files"));

    let table = inflight(&[]);
    assert_harmless(&table);
    // A head and the operation.
    assert_eq!(text(&table.stdout).lines().count(), 2, "{}", text(&table.stdout));
    let json = inflight(&["--json"]);
    assert_harmless(&json);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let row = &report["operations"][0];
    assert_eq!(row["executable"], "host\u{fffd}\u{fffd}[31m\u{fffd}31m\u{fffd}.exe");
    assert_eq!(row["share"], "share\u{fffd}\u{fffd}[31m\u{fffd}31m\u{fffd}s");
    host.kill();
}

#[test]
fn status_shows_settings_and_a_collectors_message_without_characters_that_control_a_terminal() {
    let stage = Stage::behaving(|_: &Request| {
        let partial_success = ExportTracePartialSuccess {
            rejected_spans: 0,
            error_message: format!("welcome{HOSTILE}"),
        };
        let body = ExportTraceServiceResponse { partial_success: Some(partial_success) };
        Answer { body: body.encode_to_vec(), ..Answer::ok() }
    });
    for arguments in [&["status"][..], &["status", "--json"]] {
        let mut command = stage.program();
        command
            .args(arguments)
            .env("MPR_OTEL_TIMEOUT_MS", format!("soon{HOSTILE}"))
            .env("MPR_OTEL_SERVICE_NAME", format!("files{HOSTILE}"));
        let output = command.output().unwrap();
        let shown = text(&output.stdout);
        for said in ["welcome", "soon", "files"] {
            assert!(shown.contains(said), "no {said} in:\n{shown}");
        }
        assert_harmless(&output);
    }
    // A failure repeats the text that a person typed.
    assert_harmless(&program(&stage, &["errors", HOSTILE]));
}

#[test]
fn wrong_usage_has_another_exit_code_than_a_failure() {
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
fn on_other_systems_windows_commands_say_what_they_need() {
    let stage = Stage::new();
    for (command, code) in [("install", 1), ("uninstall", 1), ("probe", 2)] {
        let output = program(&stage, &[command]);
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output.stderr).contains("Windows"), "{}", text(&output.stderr));
    }
}
