//! Compares docs/JSON.md with the commands' output. tests/wine.rs compares the output that only
//! Windows has.

#![cfg(unix)]

use mpr_otel_lab::equipment::json_page::{compare, documented};
use mpr_otel_lab::equipment::stage::{Stage, add, lane, play, spawn, start};
use mpr_otel_lab::receiver::{Answer, Request};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn json(stage: &Stage, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = stage.program();
    let output =
        command.args(arguments).arg("--json").envs(variables.iter().copied()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// A host that ends before it has sent anything.
fn short_host(stage: &Stage) {
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (status, output, errors) = spawn(&mut command).end();
    assert!(status.success(), "{status}: {output}{errors}");
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn status_prints_the_fields_that_the_page_gives_it() {
    let (first, away) = (AtomicBool::new(true), Arc::new(AtomicBool::new(false)));
    let answers = Arc::clone(&away);
    let stage = Stage::behaving(move |_: &Request| {
        let refuses = first.swap(false, Ordering::Relaxed) || answers.load(Ordering::Relaxed);
        Answer::status(if refuses { 503 } else { 200 })
    });
    // A ledger whose span was refused and then sent, and an agent that sent one.
    let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\share")]));
    stage.request();
    stage.spans(1);
    short_host(&stage);
    let agent = spawn(&mut stage.agent());
    stage.until(|| {
        let status = json(&stage, &["status"], &[]);
        let (agent, page) = (&status["ledgers"]["agent"], &status["control_page"]);
        agent["last_export_unix_ms"].is_u64()
            && agent["last_round_unix_ms"].is_u64()
            && page["last_heartbeat_unix_ms"].is_u64()
    });
    // And an agent whose next span was refused.
    away.store(true, Ordering::Relaxed);
    short_host(&stage);
    stage.until(|| {
        json(&stage, &["status"], &[])["ledgers"]["agent"]["blocked_since_unix_ms"].is_u64()
    });
    let malformed = json(&stage, &["status"], &[("MPR_OTEL_TIMEOUT_MS", "soon")]);
    agent.kill();
    host.kill();
    // A folder that cannot be listed.
    let file = stage.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let unlisted = json(&stage, &["status"], &[("MPR_OTEL_LEDGER_DIR", file)]);
    let never = compare("mpr-otel status", &[malformed, unlisted]);
    assert_eq!(never, set(&["registration", "protections[]"]));
}

#[test]
fn inflight_prints_the_fields_that_the_page_gives_it() {
    let stage = Stage::new();
    let mut endless = add(r"\\server\share");
    endless.takes_ms = 60_000;
    if let mpr_otel_lab::double::ScriptedCall::Add(add) = &mut endless.request {
        add.local = Some("Z:".to_owned());
    }
    let host = play(stage.host(), &lane(vec![endless]));
    stage.until(|| json(&stage, &["inflight"], &[])["operations"][0].is_object());
    let never = compare("mpr-otel inflight", &[json(&stage, &["inflight"], &[])]);
    host.kill();
    assert_eq!(never, set(&["operations[].session_id"]), "only Windows has sessions");
}

#[test]
fn drain_prints_the_fields_that_the_page_gives_it() {
    let stage = Stage::behaving(|_: &Request| Answer::status(503));
    short_host(&stage);
    let never = compare("mpr-otel drain", &[json(&stage, &["drain"], &[])]);
    assert_eq!(never, set(&[]));
}

#[test]
fn errors_and_failures_print_the_fields_that_the_page_gives_them() {
    let stage = Stage::new();
    assert_eq!(compare("mpr-otel errors", &[json(&stage, &["errors"], &[])]), set(&[]));
    let failed = json(&stage, &["errors", "no-such-error"], &[]);
    assert_eq!(compare("If a command fails", &[failed]), set(&[]));
}

#[test]
fn the_page_has_a_section_for_each_command_that_prints_json() {
    let stage = Stage::new();
    let help = |arguments: &[&str]| {
        let output = stage.program().args(arguments).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&[]);
    let commands = all.split_once("Commands:\n").unwrap().1;
    let commands = commands.lines().map_while(|line| line.strip_prefix("  "));
    let commands = commands.filter_map(|line| line.split_whitespace().next());
    let with_json: Vec<_> = commands
        .filter(|command| *command != "help" && help(&[command]).contains("--json"))
        .collect();
    assert!(with_json.contains(&"status") && !with_json.contains(&"agent"), "{with_json:?}");
    for command in with_json {
        assert!(!documented(&format!("mpr-otel {command}")).is_empty(), "{command}");
    }
}
