//! deploy/alertmanager: where each alert goes, which ones are one notification, and which ones stay
//! quiet because another speaks for them. In the real Alertmanager, in time-lapse.
//!
//! `cargo xtask test` builds Alertmanager and amtool, names their folder in `MPR_OTEL_TEST_FLEET` and
//! runs this; a plain `cargo test` leaves it out (Cargo.toml).

mod server;
mod servers;
mod webhook;

use mpr_otel_fleet::{LOOKBACK, Lapse, Stack, Tools};
use mpr_otel_lab::equipment::repository;
use serde_json::{Value, json};
use server::{Alertmanager, configuration};
use servers::Servers;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;
use webhook::{Notification, Webhook};

/// A page waits for less than a second, and a ticket for three.
const LAPSE: Lapse = Lapse(100);
/// A page waits for five seconds, and that of a server that fails for fifteen.
const SLOWER: Lapse = Lapse(20);
/// Rules are evaluated once a second.
const RULES_LAPSE: Lapse = Lapse(60);
/// How often gateways push (collector-config/gateway.yaml).
const FLUSH: Duration = Duration::from_secs(15);

/// Name and severity of each alert that ships.
fn alerts() -> Vec<(String, String)> {
    let file = fs::read_to_string(repository().join("dashboards/rules/mpr-otel.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .filter_map(|rule| {
            let name = rule["alert"].as_str()?.to_owned();
            Some((name, rule["labels"]["severity"].as_str().unwrap().to_owned()))
        })
        .collect()
}

/// An alert that fires now, as Prometheus sends it.
fn firing(name: &str, labels: &[(&str, &str)]) -> Value {
    let known = alerts();
    let (_, severity) = known.iter().find(|(known, _)| known == name).expect(name);
    let of = labels.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(" ");
    let mut alert = json!({
        "labels": { "alertname": name, "severity": severity, "fleet": "main" },
        "annotations": {
            "summary": format!("{name} {of}"),
            "description": format!("What is known of {of}"),
            "dashboard": format!("https://grafana.example/{of}"),
            "runbook_url": format!("https://wiki.example/{name}.md"),
        },
    });
    for (label, value) in labels {
        alert["labels"][label] = json!(value);
    }
    alert
}

/// The same of a server.
fn of_server(name: &str, server: &str) -> Value {
    firing(name, &[("server_address", server)])
}

/// Names of servers.
fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("files{number:02}.corp.example")).collect()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    mpr_otel_fleet::until(what, || Ok(look())).unwrap()
}

/// Waits until this many notifications have arrived.
fn arrive(count: usize, webhook: &Webhook) -> Vec<Notification> {
    let mut arrived = Vec::new();
    until(&format!("{count} notifications"), || {
        arrived.extend(webhook.arrived());
        (arrived.len() >= count).then_some(())
    });
    arrived
}

/// The receivers of notifications, and the first lines of their texts.
fn said(notifications: &[Notification]) -> BTreeSet<(&str, &str)> {
    notifications
        .iter()
        .map(|notification| {
            let first = notification.text.lines().next().unwrap_or_default();
            (notification.receiver.as_str(), first)
        })
        .collect()
}

/// Waits until it is decided about every alert that Alertmanager has, and returns those that are
/// inhibited: names and servers.
fn inhibited(alertmanager: &Alertmanager) -> BTreeSet<(String, String)> {
    let alerts = until("it is decided about every alert", || {
        let alerts = alertmanager.alerts();
        alerts.iter().all(|alert| alert.status.state != "unprocessed").then_some(alerts)
    });
    let inhibited = alerts.iter().filter(|alert| alert.status.state == "suppressed");
    inhibited
        .map(|alert| {
            let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
            (label("alertname"), label("server_address"))
        })
        .collect()
}

/// Names of alerts, each of the same server.
fn all_of(names: &[&str], server: &str) -> BTreeSet<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), server.to_owned())).collect()
}

#[test]
fn each_alert_goes_where_its_severity_says_and_amtool_accepts_the_configuration() {
    let tools = Tools::find().unwrap();
    let check = tools.command("amtool").arg("check-config").arg(configuration()).output().unwrap();
    assert!(check.status.success(), "{check:?}");

    let mut expected = alerts();
    assert!(!expected.is_empty());
    // Of no severity that is known, and of another project.
    expected.push(("MprServerUnreachable".to_owned(), "critcal".to_owned()));
    expected.push(("NodeDown".to_owned(), "critical".to_owned()));
    for (alert, severity) in expected {
        let receiver = match severity.as_str() {
            "critical" if alert.starts_with("Mpr") => "page",
            "info" => "nobody",
            _ => "ticket",
        };
        let route = tools
            .command("amtool")
            .args(["config", "routes", "test"])
            .arg(format!("--config.file={}", configuration().display()))
            .args([format!("alertname={alert}"), format!("severity={severity}")])
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&route.stdout);
        assert_eq!(found.trim(), receiver, "{alert}, {severity}: {route:?}");
    }
}

#[test]
fn twenty_dead_servers_of_a_branch_are_one_notification() {
    let (all, marker) = (names(21), "files21.corp.example");
    let branch = all.split_last().unwrap().1;
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(RULES_LAPSE, &webhook);
    let stack = Stack::new(&repository(), RULES_LAPSE).unwrap().alerting(alertmanager.address());
    let store = stack.prometheus(RULES_LAPSE.of(LOOKBACK)).unwrap();
    let mut servers = Servers::new(&all, &store.prometheus, RULES_LAPSE.of(FLUSH));
    until("Prometheus knows all servers", || {
        servers.push();
        let known = "count(server_address:mpr_server_known:bool == 1)";
        (store.prometheus.number(known, None).unwrap() == all.len() as f64).then_some(())
    });

    servers.cut_off(branch);
    let mut arrived = Vec::new();
    until("a notification", || {
        servers.push();
        arrived.extend(webhook.arrived());
        (!arrived.is_empty()).then_some(())
    });
    let [first] = arrived.as_slice() else { panic!("{arrived:?}") };
    assert_eq!(first.receiver, "page");
    assert_eq!(first.title, "MprServerUnreachable (20 firing), fleet main");
    for server in branch {
        let summary = format!("{server} cannot be reached");
        assert_eq!(first.text.matches(&summary).count(), 1, "{server}: {}", first.text);
    }
    for part in [
        "\nConnects to files07.corp.example find no server.",
        "\nhttps://grafana.corp.example/d/mpr-otel-server?var-server=files07.corp.example\n",
        "\nWhat to do: https://wiki.corp.example/mpr-otel/runbooks/MprServerUnreachable.md",
    ] {
        assert!(first.text.contains(part), "{part}: {}", first.text);
    }
    assert!(!first.text.contains(marker), "{}", first.text);

    // What is notified next is that one more is down. So there was nothing between.
    servers.cut_off(&all);
    until("another notification", || {
        servers.push();
        arrived.extend(webhook.arrived());
        (arrived.len() > 1).then_some(())
    });
    let [_, second] = arrived.as_slice() else { panic!("{arrived:?}") };
    assert_eq!(second.receiver, "page");
    assert_eq!(second.title, "MprServerUnreachable (21 firing), fleet main");
    assert!(second.text.contains(marker), "{}", second.text);
    assert_eq!(alertmanager.notifications(), 2.0);
}

#[test]
fn a_server_that_is_down_has_one_notification_and_its_other_alerts_have_none() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(LAPSE, &webhook);
    alertmanager.send(&[of_server("MprServerUnreachable", "files01")]);
    let page = arrive(1, &webhook);
    assert_eq!(said(&page), [("page", "MprServerUnreachable files01")].into());
    assert_eq!(page[0].title, "MprServerUnreachable files01, fleet main");

    let others =
        ["MprServerFailing", "MprServerErrorBudget", "MprServerSlow", "MprOperationsUnfinished"];
    let fired = others.map(|name| [of_server(name, "files01"), of_server(name, "files02")]);
    alertmanager.send(&fired.concat());
    assert_eq!(inhibited(&alertmanager), all_of(&others, "files01"));
    let arrived = arrive(others.len(), &webhook);
    let expected = BTreeSet::from([
        ("page", "MprServerFailing files02"),
        ("ticket", "MprServerErrorBudget files02"),
        ("ticket", "MprServerSlow files02"),
        ("ticket", "MprOperationsUnfinished files02"),
    ]);
    assert_eq!(said(&arrived), expected);
    assert!(arrived.iter().all(|one| !one.text.contains("files01")), "{arrived:?}");
    assert_eq!(alertmanager.notifications(), 5.0);
}

#[test]
fn a_server_that_fails_before_it_is_down_has_one_notification() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(SLOWER, &webhook);
    let marker = firing("MprAuthenticationFailures", &[]);
    alertmanager.send(&[of_server("MprServerFailing", "files01"), marker]);
    // The wait of other pages is over, and that of a server that fails is not.
    assert_eq!(said(&arrive(1, &webhook)), [("page", "MprAuthenticationFailures ")].into());
    alertmanager.send(&[of_server("MprServerUnreachable", "files01")]);
    assert_eq!(said(&arrive(1, &webhook)), [("page", "MprServerUnreachable files01")].into());
    assert_eq!(inhibited(&alertmanager), all_of(&["MprServerFailing"], "files01"));
    assert_eq!(alertmanager.notifications(), 2.0);
}

#[test]
fn without_telemetry_only_what_is_known_without_it_is_notified() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(LAPSE, &webhook);
    alertmanager.send(&[firing("MprNoData", &[])]);
    arrive(1, &webhook);

    let silent =
        ["MprServerUnreachable", "MprGatewayDropping", "MprHostsAbsent", "MprSeriesOverflow"];
    let heard = [
        firing("MprRulesFailing", &[("rule_group", "servers")]),
        firing("MprGatewayCertificateEnding", &[("instance", "gateway-1")]),
        // Another fleet's.
        firing("MprServerUnreachable", &[("server_address", "files09"), ("fleet", "north")]),
    ];
    let sent = silent.map(|name| of_server(name, "files01"));
    alertmanager.send(&[&sent[..], &heard[..]].concat());
    assert_eq!(inhibited(&alertmanager), all_of(&silent, "files01"));
    let arrived = arrive(heard.len(), &webhook);
    let expected = BTreeSet::from([
        ("ticket", "MprRulesFailing servers"),
        ("ticket", "MprGatewayCertificateEnding gateway-1"),
        ("page", "MprServerUnreachable files09 north"),
    ]);
    assert_eq!(said(&arrived), expected);
    assert_eq!(alertmanager.notifications(), 4.0);
}

#[test]
fn a_silent_fleet_speaks_for_its_machines_and_an_overflow_for_nothing() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(LAPSE, &webhook);
    alertmanager.send(&[firing("MprFleetSilent", &[]), firing("MprSeriesOverflow", &[])]);
    arrive(2, &webhook);
    alertmanager.send(&[
        firing("MprHostsAbsent", &[]),
        firing("MprFleetFailing", &[]),
        of_server("MprServerFailing", "files01"),
    ]);
    assert_eq!(inhibited(&alertmanager), all_of(&["MprHostsAbsent"], ""));
    let arrived = arrive(2, &webhook);
    let expected = [("page", "MprFleetFailing "), ("page", "MprServerFailing files01")];
    assert_eq!(said(&arrived), expected.into());
    assert_eq!(alertmanager.notifications(), 4.0);
}

#[test]
fn information_notifies_nobody() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(LAPSE, &webhook);
    alertmanager.send(&[firing("MprUnknownServer", &[]), firing("MprClientNetwork", &[])]);
    let arrived = arrive(1, &webhook);
    assert_eq!(said(&arrived), [("ticket", "MprClientNetwork ")].into());
    let alerts = alertmanager.alerts();
    let information = alerts.iter().find(|alert| alert.labels["alertname"] == "MprUnknownServer");
    let receivers = information.unwrap().receivers.iter().map(|receiver| receiver.name.as_str());
    assert_eq!(receivers.collect::<Vec<_>>(), ["nobody"]);
    assert_eq!(alertmanager.notifications(), 1.0);
}
