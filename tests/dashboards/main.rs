//! The dashboards, rules and runbooks that ship, linted; the rules by promtool, too.
//!
//! `cargo xtask test` builds promtool and jsonnet, names their folder in `MPR_OTEL_TEST_FLEET` and runs this; a
//! plain `cargo test` leaves it out (Cargo.toml). Whether the figures are true is another test's
//! business.

mod lint;
mod names;
mod promql;

use lint::{Around, LINTS};
use mpr_otel_dashboards::source::Source;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

const CASES: [&str; 2] = ["firing", "silent"];
/// What links begin with: external labels of Prometheus, which its owner wrote.
const RUNBOOKS: &str =
    "{{ with $externalLabels.runbooks }}{{ . }}{{ else }}docs/runbooks/{{ end }}";
const GRAFANA: &str = "{{ $externalLabels.grafana }}";

fn root() -> PathBuf {
    mpr_otel_lab::equipment::repository()
}

/// The files of a folder with an ending, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect(folder);
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).expect("YAML")
}

fn dashboards() -> Vec<(String, Value)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (stem(&path), serde_json::from_str(&text).expect("JSON"))
    };
    files("dashboards", "json").into_iter().map(read).collect()
}

fn rules() -> Vec<Value> {
    let file = yaml(&root().join("dashboards/rules/mpr-otel.yaml"));
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string()).collect()
}

fn around() -> Around {
    let uid = |(_, dashboard): (String, Value)| dashboard["uid"].as_str().unwrap().to_owned();
    let recorded = |rule: Value| rule["record"].as_str().map(str::to_owned);
    Around {
        uids: dashboards().into_iter().map(uid).collect(),
        recorded: rules().into_iter().filter_map(recorded).collect(),
    }
}

/// A program that xtask built.
fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("MPR_OTEL_TEST_FLEET")
        .expect("MPR_OTEL_TEST_FLEET names the folder of promtool: run `cargo xtask test`");
    Path::new(&folder).join(name)
}

fn promtool(arguments: &[&str], paths: &[PathBuf]) {
    let program = tool("promtool");
    let output = Command::new(&program).args(arguments).args(paths).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// A query as Grafana asks it.
fn substituted(query: &str) -> String {
    let values = [
        ("$__rate_interval", "1m"),
        ("$__range", "1h"),
        ("$__interval", "1m"),
        ("${job}", ".+"),
        ("$job", ".+"),
        ("$gateway_job", ".+"),
        ("$server", ".*"),
        ("$operation", ".*"),
        ("$mode", ".*"),
        ("$host", "pc-00001"),
    ];
    values.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

#[test]
fn every_dashboard_passes_every_lint() {
    let around = around();
    for (file, dashboard) in dashboards() {
        for (name, lint) in LINTS {
            assert_eq!(lint(&dashboard, &around), [""; 0], "{name} on {file}");
        }
    }
}

/// How each lint is provoked: what is put where in which dashboard.
fn provocations() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let calls = "mpr_calls_total";
    vec![
        ("template-datasource-rule", "overview", "/templating/list/0/name", json!("datasource")),
        ("template-datasource-rule", "overview", "/templating/list/1/label", json!("Traces")),
        ("template-job-rule", "overview", "/templating/list/3/multi", json!(false)),
        ("template-job-rule", "overview", "/templating/list/3/name", json!("service")),
        ("template-label-promql-rule", "overview", "/templating/list/3/query", json!("job")),
        ("template-on-time-change-reload-rule", "host", "/templating/list/4/refresh", json!(1)),
        ("panel-datasource-rule", "overview", "/panels/1/datasource/uid", json!("mine")),
        (
            "panel-datasource-rule",
            "overview",
            "/panels/1/targets/0/datasource/uid",
            json!("P1809F7CD0C75ACF3"),
        ),
        ("panel-title-description-rule", "server", "/panels/1/description", json!("")),
        ("panel-title-description-rule", "server", "/panels/1/title", json!("")),
        ("panel-units-rule", "server", "/panels/1/fieldConfig/defaults/unit", json!("seconds")),
        ("panel-units-rule", "server", "/panels/10/options/yAxis/unit", json!(null)),
        ("panel-no-targets-rule", "health", "/panels/1/targets", json!([])),
        (
            "target-rate-interval-rule",
            "overview",
            "/panels/8/targets/0/expr",
            json!("rate(x_total[5m])"),
        ),
        (
            "target-rate-interval-rule",
            "overview",
            "/panels/1/targets/0/expr",
            json!("increase(x_total[1d])"),
        ),
        ("target-job-rule", "overview", "/panels/1/targets/0/expr", json!(calls)),
        (
            "target-job-rule",
            "health",
            "/panels/1/targets/0/expr",
            json!(r#"mpr_operation_pending{job=~"$job"}"#),
        ),
        (
            "target-counter-agg-rule",
            "overview",
            "/panels/1/targets/0/expr",
            json!(format!("sum({calls}{{job=~\"$job\"}})")),
        ),
        ("uneditable-dashboard", "overview", "/editable", json!(true)),
        ("panel-id", "overview", "/panels/1/id", json!(1)),
        ("panel-place", "overview", "/panels/1/gridPos/y", json!(0)),
        ("panel-place", "overview", "/panels/1/gridPos/w", json!(25)),
        ("variable-defined", "overview", "/templating/list/4/name", json!("servers")),
        ("variable-defined", "host", "/panels/1/targets/0/expr", json!("x{a=\"${hots:raw}\"}")),
        ("link", "overview", "/links/0/url", json!("/d/mpr-otel-sever")),
        ("link", "overview", "/links/0/keepTime", json!(false)),
        (
            "trace-link",
            "overview",
            "/panels/11/fieldConfig/defaults/links/0/url",
            json!("/explore?x&panes={}"),
        ),
        ("trace-search", "host", "/panels/12/targets/0/tags", json!("host=$host")),
        ("trace-search", "host", "/panels/12/targets/0/service", json!("mpr")),
        ("name", "overview", "/panels/1/targets/0/expr", json!("traces_spanmetrics_calls_total")),
        ("name", "overview", "/annotations/list/1/expr", json!("ALERTS{alert=\"x\"}")),
        (
            "name",
            "host",
            "/templating/list/4/query",
            json!("label_values(mpr_operation_pending, host)"),
        ),
        ("latency-exemplars", "overview", "/panels/11/targets/0/exemplar", json!(false)),
        (
            "heatmap-adds-up",
            "server",
            "/panels/10/targets/0/expr",
            json!("sum by (le) (increase(x_bucket[$__interval]))"),
        ),
        (
            "link-encoded",
            "overview",
            "/panels/15/fieldConfig/overrides/0/properties/0/value/0/url",
            json!("/d/mpr-otel-server?var-server=${__data.fields.Server}"),
        ),
        ("markup", "overview", "/panels/1/type", json!("text")),
        ("events", "host", "/panels/17/targets/0/expr", json!("{job=\"x\"}")),
    ]
}

#[test]
fn every_lint_finds_what_it_is_for() {
    let around = around();
    let dashboards = dashboards();
    let provocations = provocations();
    for (name, file, pointer, value) in &provocations {
        let (_, dashboard) = dashboards.iter().find(|(stem, _)| stem == file).unwrap();
        let mut broken = dashboard.clone();
        *broken.pointer_mut(pointer).unwrap_or_else(|| panic!("{file} has no {pointer}")) =
            value.clone();
        let (_, lint) = LINTS.iter().find(|(lint, _)| lint == name).expect(name);
        assert!(!lint(&broken, &around).is_empty(), "{name} did not see {pointer} = {value}");
    }
    for (name, _) in LINTS {
        assert!(provocations.iter().any(|(provoked, ..)| provoked == name), "{name}");
    }
}

#[test]
fn every_query_of_the_dashboards_is_promql() {
    let mut rules = Vec::new();
    for (_, dashboard) in dashboards() {
        let panels = lint::queries(&dashboard).map(|(_, query)| query.to_owned());
        for query in panels.chain(lint::other_queries(&dashboard)) {
            let record = format!("query:{}", rules.len());
            rules.push(json!({ "record": record, "expr": substituted(&query) }));
        }
    }
    assert!(rules.len() > 50, "{} queries", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.yaml");
    // JSON is YAML.
    fs::write(&path, json!({ "groups": [{ "name": "queries", "rules": rules }] }).to_string())
        .unwrap();
    promtool(&["check", "rules"], &[path]);
}

#[test]
fn promtool_finds_the_rules_sound() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &files("dashboards/rules", "yaml"));
}

#[test]
fn the_unit_tests_of_the_rules_pass() {
    // promtool itself tests one file after the other.
    let tests = files("dashboards/rules/tests", "yaml");
    let cores = thread::available_parallelism().unwrap().get().min(tests.len());
    thread::scope(|scope| {
        for first in 0..cores {
            let part: Vec<PathBuf> = tests.iter().skip(first).step_by(cores).cloned().collect();
            scope.spawn(move || promtool(&["test", "rules"], &part));
        }
    });
}

#[test]
fn every_alert_is_explained() {
    let uids = around().uids;
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let said = |key: &str| alert["annotations"][key].as_str().unwrap_or_default().to_owned();
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name} is {severity:?}");
        assert!(!said("summary").is_empty() && !said("description").is_empty(), "{name}");
        assert_eq!(said("runbook_url"), format!("{RUNBOOKS}{name}.md"));
        let dashboard = said("dashboard");
        let path = dashboard.strip_prefix(GRAFANA).and_then(|path| path.strip_prefix("/d/"));
        let uid = path.expect(name).split('?').next().unwrap();
        assert!(uids.iter().any(|known| known == uid), "{name} leads to {uid}");
    }
}

/// A name of a server or a machine is what anybody wrote into a path: mails and messengers render
/// it.
#[test]
fn no_name_reaches_the_text_or_the_link_of_an_alert_as_it_is() {
    for alert in alerts() {
        for (key, text) in alert["annotations"].as_object().unwrap() {
            let text = text.as_str().unwrap().replace(RUNBOOKS, "").replace(GRAFANA, "");
            let actions = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
            let actions = actions.map(|(action, _)| action.trim());
            let shown = actions.filter(|action| {
                !["with ", "if ", "range ", "else", "end"].iter().any(|k| action.starts_with(k))
                    && !action.starts_with("$value")
                    && !action.starts_with(".Value")
                    && !action.contains("| value |")
            });
            let escape = if key == "dashboard" { "| urlquery" } else { "| html" };
            for action in shown {
                assert!(action.ends_with(escape), "{}: {key}: {action}", alert["alert"]);
            }
        }
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts: BTreeSet<String> =
        alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    let index = fs::read_to_string(root().join("docs/runbooks/README.md")).unwrap();
    let mut pages: BTreeSet<String> =
        files("docs/runbooks", "md").iter().map(|path| stem(path)).collect();
    assert!(pages.remove("README"));
    assert_eq!(pages, alerts);
    for alert in alerts {
        assert!(index.contains(&format!("({alert}.md)")), "README.md does not list {alert}");
        let page = fs::read_to_string(root().join(format!("docs/runbooks/{alert}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {alert}\n")), "{alert}");
        for heading in ["What it means", "Confirm", "Likely causes", "What to do", "Silence it"] {
            assert!(page.contains(&format!("\n## {heading}\n")), "{alert} has no {heading:?}");
        }
    }
}

#[test]
fn every_alert_is_tested_firing_and_silent() {
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let file = yaml(&root().join(format!("dashboards/rules/tests/{name}.yaml")));
        let tests = file["tests"].as_array().unwrap();
        for case in CASES {
            let of_case = tests
                .iter()
                .filter(|test| test["name"].as_str().unwrap().starts_with(&format!("{case}: ")));
            let mut count = 0;
            for test in of_case {
                count += 1;
                let text = test.to_string();
                let asks = text.contains("alertstate") || text.contains("alertname");
                assert!(asks, "{name}: {case} asks for no alert");
                // What is to fire, fires in the test.
                if case == "firing" {
                    assert!(text.contains("exp_"), "{name}: {case} expects nothing");
                }
            }
            assert!(count > 0, "{name} is not tested {case}");
        }
    }
}

#[test]
fn every_recording_rule_is_used_and_names_what_it_is() {
    let expressions: Vec<String> = rules()
        .iter()
        .map(|rule| rule["expr"].to_string() + &rule["annotations"].to_string())
        .chain(dashboards().iter().map(|(_, dashboard)| dashboard.to_string()))
        .collect();
    for name in around().recorded {
        assert_eq!(name.split(':').count(), 3, "{name} is not level:metric:operations");
        let used = expressions.iter().any(|expression| expression.contains(&name));
        assert!(used, "nothing uses {name}");
    }
}

#[test]
fn rules_ask_only_for_what_there_is() {
    let recorded = around().recorded;
    for rule in rules() {
        let query = promql::read(rule["expr"].as_str().unwrap());
        assert_eq!(names::unknown(&query, &recorded), [""; 0], "{rule}");
    }
}

/// Jsonnet is what mixins are written in.
#[test]
fn the_mixin_has_every_dashboard_and_every_rule() {
    let mixin = root().join("dashboards/mixin.libsonnet");
    let parts =
        "{ boards: m.grafanaDashboards, alerts: m.prometheusAlerts, records: m.prometheusRules }";
    let output = Command::new(tool("jsonnet"))
        .args(["-e", &format!("local m = import '{}'; {parts}", mixin.display())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mixin: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (stem, dashboard) in dashboards() {
        let there = &mixin["boards"][format!("mpr-otel-{stem}.json")];
        assert_eq!(there["uid"], dashboard["uid"]);
        assert!(lint::queries(there).eq(lint::queries(&dashboard)), "{stem}");
    }
    let groups =
        [&mixin["records"], &mixin["alerts"]].map(|file| file["groups"].as_array().unwrap());
    let there = groups.into_iter().flatten().flat_map(|g| g["rules"].as_array().unwrap());
    assert_eq!(there.count(), rules().len());
}

/// The signals' `bounds` are the gateway's.
#[test]
fn seconds_above_a_bound_are_read_from_buckets_that_the_gateway_has() {
    let gateway = yaml(&root().join("collector-config/gateway.yaml"));
    let buckets = &gateway["connectors"]["span_metrics"]["histogram"]["explicit"]["buckets"];
    let seconds = buckets.as_array().unwrap().iter().map(|bucket| {
        let bucket = bucket.as_str().unwrap();
        match bucket.strip_suffix("ms") {
            Some(milliseconds) => milliseconds.parse::<f64>().unwrap() / 1e3,
            None => bucket.trim_end_matches('s').parse().unwrap(),
        }
    });
    let source = Source::read(&root()).unwrap();
    assert_eq!(source.signals.bounds, seconds.collect::<Vec<f64>>());
    assert!(source.signals.bounds.contains(&source.number("slow_seconds").unwrap()));
}

#[test]
fn what_is_provisioned_is_what_the_dashboards_ask() {
    let sources = yaml(&root().join("dashboards/provisioning/datasources.yaml"));
    let sources = sources["datasources"].as_array().unwrap();
    let kinds: Vec<_> = sources.iter().map(|source| source["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["prometheus", "jaeger", "loki"]);
    let exemplars = &sources[0]["jsonData"]["exemplarTraceIdDestinations"][0];
    assert_eq!(exemplars["datasourceUid"], sources[1]["uid"]);
    let providers = yaml(&root().join("dashboards/provisioning/dashboards.yaml"));
    assert_eq!(providers["providers"][0]["type"], "file");
}
