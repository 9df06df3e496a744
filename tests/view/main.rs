//! The fleet's view is true: a simulated fleet, and the library itself, send through the gateway
//! that ships to a real Prometheus; every query of every dashboard and rule that ships is asked,
//! and its answer is compared with what really happened.
//!
//! `cargo xtask test --fleet` builds the servers and runs this (Cargo.toml).
#![cfg(unix)]

mod alerts;
mod boards;
mod expect;
mod fleet;
mod run;
mod series;

use alerts::Firing;
use boards::{Shows, View, records};
use expect::failed;
use fleet::{demo, simulate};
use mpr_otel_dashboards::source::Source;
use mpr_otel_fleet::{LOOKBACK, Lapse, Stack, until, with_window};
use run::Run;
use serde_json::Value;
use std::path::PathBuf;

/// Fifteen seconds pass in 150 ms.
const LAPSE: Lapse = Lapse(100);
/// Nobody listens here: traces wait in the gateway's queue.
const NOWHERE: &str = "http://127.0.0.1:9";

fn root() -> PathBuf {
    mpr_otel_lab::equipment::repository()
}

#[test]
fn every_number_of_every_dashboard_and_rule_is_what_happened() {
    let run = Run::simulate(&[
        "--machines",
        "400",
        "--hours",
        "10",
        "--from",
        "06:00",
        "--seed",
        "7",
        "--agents",
        "--incident",
        "losses@1h-2h:share=0.1",
        "--incident",
        "client-network@3h-4h:share=0.1",
        "--incident",
        "server-hangs@90m-2h:server=2",
    ]);
    let truth = &run.truth;
    assert!(truth.failures > 0 && truth.unfinished > 0, "a day without trouble proves little");
    assert!(truth.spans_with_loss > 0);
    let mut wrong = run.look(None);
    let servers = truth.groups(&["server_address"], failed);
    let worst = servers.iter().max_by_key(|(_, part)| part.count()).unwrap().0;
    wrong.extend(run.look(Some(&worst["server_address"])));

    let view =
        View { truth, machine: &truth.machines_sample[0], seconds: run.window.as_secs_f64() };
    let rules = run.store.prometheus.data("/api/v1/rules?type=record", &[]).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    let records = records(&Source::read(&root()).unwrap());
    assert_eq!(rules.len(), records.len());
    for rule in rules {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        let shows = records.iter().find(|(record, _)| record == name);
        let Some((_, shows)) = shows else {
            wrong.push(format!("{name}: nothing is known of what it should record"));
            continue;
        };
        let query = with_window(query, run.window).unwrap();
        if let Err(why) = shows.check(&view, &run.ask(&query), true) {
            wrong.push(format!("{name}: {why}\n    {query}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Two hours of a fleet with troubles of every sort that a series shows.
const TWO_HOURS: &[&str] = &[
    "--machines",
    "150",
    "--servers",
    "12",
    "--hours",
    "2",
    "--from",
    "08:00",
    "--seed",
    "3",
    "--agents",
    "--incident",
    "losses@30m-1h:share=0.2",
    "--incident",
    "server-down@20m-40m:server=1",
    "--incident",
    "server-hangs@50m-70m:server=2",
    "--incident",
    "off-vpn@10m-80m:share=0.2",
    "--incident",
    "doubled@0:share=0.3",
    "--incident",
    "mapped-twice@0:share=0.3",
    "--incident",
    "forged-names@5m:every=60s",
    "--branches",
    "2",
];

#[test]
fn the_series_that_are_written_without_a_gateway_are_those_of_the_gateway() {
    let run = Run::simulate(TWO_HOURS);
    let folder = tempfile::tempdir().unwrap();
    let written = series::written(folder.path(), TWO_HOURS).unwrap();
    let prometheus = &run.store.prometheus;
    let metrics = series::metrics(prometheus).unwrap();
    let (seconds, at) = (run.window.as_secs_f64(), run.truth.ended_unix_ms as f64 / 1e3 + 60.0);
    let stored = series::stored(prometheus, &metrics, seconds, at).unwrap();
    let wrong = series::differences(&written, &stored);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), written.len(), wrong.join("\n"));
    assert!(written.len() > 1_000, "{} series prove little", written.len());
}

#[test]
fn machines_that_stopped_are_absent_by_name() {
    let run = Run::simulate(&[
        "--machines",
        "200",
        "--hours",
        "1",
        "--from",
        "08:00",
        "--speed",
        "100",
        "--agents",
        "--incident",
        "machines-vanish@20m:share=0.3",
    ]);
    assert!(run.truth.agents.as_ref().unwrap().absent_count > 0);
    let panels = [
        "Machines reporting",
        "Machines absent",
        "Machines reporting over time",
        "Absent machines",
        "Versions",
    ];
    for panel in panels {
        let wrong = run.look_at("mpr-otel-health", panel);
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// The incidents of the alerts' trial. Machines that vanish and a fleet that falls silent are
/// compared with the week before, which no trial has: dashboards/rules/tests show those.
const INCIDENTS: &[&str] = &[
    "server-flaky@0m:server=2,share=0.08",
    "server-down@30m-80m:server=1",
    "access-revoked@40m-90m:server=3,share=0.6",
    "server-slow@45m-85m:server=4,factor=40",
    "account-expired@60m-90m:share=0.12",
    "server-hangs@50m-80m:server=5",
    "losses@100m-110m:share=0.05,reason=rejected",
    // Too few for an alert.
    "client-network@120m-210m:share=0.03",
];

#[test]
fn each_incident_fires_its_alert_and_no_other() {
    let stack = Stack::new(&root(), LAPSE).unwrap();
    let store = stack.prometheus(LAPSE.of(LOOKBACK)).unwrap();
    let gateway = stack.gateway("gateway-1", &store.prometheus, NOWHERE).unwrap();
    let speed = LAPSE.0.to_string();
    let mut arguments = vec![
        "--machines",
        "1200",
        "--servers",
        "12",
        "--hours",
        "4",
        "--from",
        "07:30",
        "--agents",
    ];
    arguments.extend(["--speed", &speed, "--seed", "11"]);
    arguments.extend(INCIDENTS.iter().flat_map(|incident| ["--incident", incident]));
    let truth = simulate(&stack, &gateway.endpoint, &arguments).unwrap();
    assert_eq!(truth.incidents.len(), INCIDENTS.len());
    let wrong = alerts::compare(&truth, &Firing::all(&store.prometheus, &truth, LAPSE).unwrap());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    alerts::assert_well(&store.prometheus);
    // Dashboards show what rules recorded, so they must have recorded something.
    for (record, shows) in records(&Source::read(&root()).unwrap()) {
        let last = format!("last_over_time({record}[1h])");
        let recorded = store.prometheus.query(&last, None).unwrap();
        assert!(matches!(shows, Shows::Never) || !recorded.is_empty(), "{record}");
    }
}

#[test]
fn what_the_library_sends_is_what_the_overview_shows() {
    let stack = Stack::new(&root(), LAPSE).unwrap();
    let store = stack.prometheus(LAPSE.of(LOOKBACK)).unwrap();
    let prometheus = &store.prometheus;
    let gateway = stack.gateway("gateway-1", prometheus, NOWHERE).unwrap();
    // The demo does the same each time; without a collector it says what arrived.
    let told = demo(&["--json"]).unwrap();
    demo(&["--endpoint", &gateway.endpoint]).unwrap();
    let operations = told["operations"].as_f64().unwrap();
    until("the demo's operations are counted", || {
        let counted = prometheus.number("sum(mpr_calls_total)", None)?;
        Ok((counted == operations).then_some(()))
    })
    .unwrap();
    let mut total = 0.0;
    for server in told["servers"].as_array().unwrap() {
        // What has no server is called differently by people and by series.
        let name = server["server"].as_str().filter(|name| !name.starts_with('('));
        let calls = format!("{{server_address=\"{}\"", name.unwrap_or("none"));
        let sum = |more: &str| {
            let query = format!("sum(mpr_calls_total{calls}{more}}})");
            prometheus.number(&query, None).unwrap()
        };
        assert_eq!(sum(""), server["count"].as_f64().unwrap(), "{server}");
        assert_eq!(
            sum(", mpr_outcome=\"failure\""),
            server["failures"].as_f64().unwrap(),
            "{server}"
        );
        total += sum("");
    }
    assert_eq!(total, operations);
}
