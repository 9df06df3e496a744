//! Compares docs/TELEMETRY.md with what the library sends.

// The tests stop agents by a signal.
#![cfg(unix)]

use mpr_otel_core::attribute::{Presence, RESOURCE, SPAN};
use mpr_otel_core::intake::POWER_LOSS;
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::operation::UNFINISHED;
use mpr_otel_core::span::SCHEMA_URL;
use mpr_otel_core::win32_error;
use mpr_otel_lab::double::{Add, Cancel, Host, ScriptedCall, Step};
use mpr_otel_lab::equipment::stage::{
    PATIENCE, Received, Stage, add, add_ending, lane, received, show, spawn, start,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, number_data_point};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../docs/TELEMETRY.md");

/// The rows of the table under a heading: cells without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = PAGE.split_once(&format!("## {heading}\n")).expect(heading).1;
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

/// The values that a cell of prose names: its words in backticks.
fn named_values(attribute: &str) -> BTreeSet<String> {
    let line = PAGE.lines().find(|line| line.starts_with(&format!("| `{attribute}`"))).unwrap();
    let meaning = line.trim_end_matches('|').rsplit('|').next().unwrap();
    meaning.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Operations that together show every attribute.
fn script() -> Host {
    let everything = Step {
        request: ScriptedCall::Add(Add {
            remote: Some("https://user:pw@dav.corp.example:8443/plans".into()),
            local: Some("Z:".into()),
            resource_type: 1,
            flags: 0x8000_0009,
        }),
        takes_ms: 5,
        status: 0,
        provider: Some("Web Client Network".into()),
        no_post: false,
    };
    let cancel = Step {
        request: ScriptedCall::Cancel(Cancel { name: Some("Z:".into()), flags: 1, force: true }),
        provider: Some("Microsoft Windows Network".into()),
        ..add("")
    };
    let not_there = Step { status: 2250, ..cancel.clone() };
    let link = add(r"\\corp.example\dfs\sales\x");
    let long = add(&format!(r"\\server\{}", "x".repeat(300)));
    let mut steps = vec![everything, cancel, not_there, link, long];
    for (resource_type, code) in
        [53, 67, 1326, 5, 1219, 71, 87, 31, 1223, 2108, 1231, 1272, 0xC05D_0003, 0]
            .iter()
            .enumerate()
    {
        let mut step = add_ending(r"\\server\share", *code);
        if let ScriptedCall::Add(add) = &mut step.request {
            add.resource_type = resource_type as u32;
        }
        steps.push(step);
    }
    steps.push(Step { no_post: true, ..add(r"\\server\hangs") });
    lane(steps)
}

/// A host that ends before it sends its one operation.
fn leave_a_ledger(stage: &Stage) {
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (status, ..) = spawn(&mut command).end();
    assert!(status.success());
}

fn outcome(span: &Received) -> String {
    span.get("mpr.outcome").unwrap()
}

/// The sentence that this span's status must have; empty if the span is not an error.
fn advice(span: &Received) -> String {
    match outcome(span).as_str() {
        "failure" => {
            let code = span.get("mpr.status.code").unwrap().parse().unwrap();
            win32_error::advice(code).into_owned()
        }
        "unfinished" => UNFINISHED.to_owned(),
        _ => String::new(),
    }
}

/// Whether an attribute with this presence must be on this span. `None` if it may be there or not.
fn required(presence: Presence, span: &Received) -> Option<bool> {
    let outcome = outcome(span);
    let operation = || span.get("mpr.operation.name").unwrap();
    match presence {
        Presence::Always => Some(true),
        Presence::Finished => Some(outcome != "unfinished"),
        Presence::FailedOrUnfinished => Some(matches!(outcome.as_str(), "failure" | "unfinished")),
        Presence::Failed => Some(outcome == "failure"),
        Presence::Adds => Some(operation() == "add"),
        Presence::Cancels => Some(operation() == "cancel"),
        Presence::Windows => Some(cfg!(windows)),
        Presence::Impersonated | Presence::Slept if cfg!(not(windows)) => Some(false),
        Presence::Impersonated | Presence::Slept => None,
        Presence::Agent => Some(false),
        Presence::Known | Presence::Recovered | Presence::Truncated | Presence::AfterLoss => None,
    }
}

/// Whether only Windows provides this attribute.
fn of_windows(key: &str) -> bool {
    let tokens = ["session.id", "logon.id", "elevation", "impersonated", "service", "suspended"];
    tokens.iter().any(|name| key.strip_prefix("mpr.") == Some(name))
}

#[test]
fn the_attributes_that_are_sent_are_those_that_are_documented() {
    // The first request is refused, so that a span reports a loss.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let stage = Stage::behaving(move |_: &mpr_otel_lab::receiver::Request| {
        let first = !refused.swap(true, std::sync::atomic::Ordering::Relaxed);
        mpr_otel_lab::receiver::Answer::status(if first { 400 } else { 200 })
    });
    let mut command = stage.host();
    command.env("MPR_OTEL_UNFINISHED_AFTER_MS", "500").env("MPR_OTEL_BATCH_MAX", "1");
    command.env("MPR_OTEL_DFS_ROOTS", r"\\corp.example\dfs");
    leave_a_ledger(&stage);
    let host = script();
    let operations = host.operations();
    let (host, report) = start(command, &host);
    assert_eq!(report.breaches, Vec::<String>::new());
    let mut spans = stage.spans(operations);
    // All are sent except the operation that another host left; that one comes from the agent.
    stage.tally_when(|tally| tally.pending() == 1);
    host.end_quietly();
    let agent = spawn(&mut stage.agent());
    spans.extend(stage.spans(1));
    agent.interrupt();

    let mut shown = BTreeSet::new();
    for span in &spans {
        assert_eq!(span.span.kind, SpanKind::Client as i32);
        for attribute in &span.span.attributes {
            let kind = match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
                Value::StringValue(_) => "string",
                Value::IntValue(_) => "int",
                Value::BoolValue(_) => "boolean",
                Value::ArrayValue(_) => "string[]",
                other => panic!("{other:?}"),
            };
            let row = SPAN.iter().find(|row| row.key == attribute.key).unwrap();
            assert_eq!(row.kind, kind, "type of {}", attribute.key);
            shown.insert(attribute.key.clone());
        }
        for row in SPAN {
            if let Some(required) = required(row.presence, span) {
                assert_eq!(span.get(row.key).is_some(), required, "{row:?} on {:?}", span.span);
            }
        }
        let failed = matches!(outcome(span).as_str(), "failure" | "unfinished");
        let status = span.span.status.clone().unwrap_or_default();
        let expected = if failed { StatusCode::Error } else { StatusCode::Unset };
        assert_eq!(status.code, expected as i32);
        assert_eq!(status.message, advice(span));
    }
    let missing: Vec<_> = SPAN
        .iter()
        .filter(|row| !of_windows(row.key) || cfg!(windows))
        .filter(|row| !shown.contains(row.key))
        .collect();
    assert!(
        missing.is_empty(),
        "documented and never sent: {missing:?}; add an operation that has it to script()"
    );

    for attribute in ["mpr.operation.name", "mpr.outcome", "mpr.error.class", "mpr.resource.type"] {
        let sent: BTreeSet<String> = spans.iter().filter_map(|span| span.get(attribute)).collect();
        assert_eq!(sent, named_values(attribute), "values of {attribute}");
    }
    let names: BTreeSet<String> = spans.iter().map(|span| span.span.name.clone()).collect();
    let documented_names = table("The span").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, documented_names);
    assert!(!format!("{spans:?}").contains("user:pw"), "a credential was sent");
}

#[test]
fn the_resource_that_is_sent_is_the_one_that_is_documented() {
    let stage = Stage::new();
    let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\share")]));
    let request = stage.request();
    host.end_quietly();
    let group = &request.export.resource_spans[0];
    let scope = &group.scope_spans[0];
    assert_eq!(scope.schema_url, SCHEMA_URL);
    let sent: BTreeSet<&str> =
        group.resource.iter().flat_map(|it| &it.attributes).map(|pair| pair.key.as_str()).collect();
    let keys = |is: fn(&Presence) -> bool| RESOURCE.iter().filter(move |row| is(&row.presence));
    for row in keys(|presence| *presence == Presence::Always) {
        assert!(sent.contains(row.key), "{} was not sent", row.key);
    }
    let may: BTreeSet<&str> =
        keys(|presence| *presence != Presence::Agent).map(|row| row.key).collect();
    assert!(sent.is_subset(&may), "{sent:?}");
}

#[test]
fn every_reason_of_a_loss_is_documented() {
    let documented: Vec<String> =
        table("Accounting").into_iter().map(|row| row[0].clone()).collect();
    // A ledger's reasons, and the agent's own.
    let own = [POWER_LOSS, "store_full"];
    let reasons: Vec<&str> = Loss::ALL.iter().map(|loss| loss.name()).chain(own).collect();
    assert_eq!(documented, reasons);
}

/// The kind of a metric in the page's words, and its points' attributes.
fn describe(metric: &Metric) -> (&'static str, Vec<&[KeyValue]>) {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            let kind = if sum.is_monotonic { "counter" } else { "up-down counter" };
            (kind, sum.data_points.iter().map(|point| point.attributes.as_slice()).collect())
        }
        Data::Gauge(gauge) => {
            ("gauge", gauge.data_points.iter().map(|point| point.attributes.as_slice()).collect())
        }
        Data::Histogram(histogram) => (
            "histogram",
            histogram.data_points.iter().map(|point| point.attributes.as_slice()).collect(),
        ),
        other => panic!("a metric of an undocumented kind: {other:?}"),
    }
}

/// The latest values of a counter or gauge, by the text of its points' attributes.
fn values(metric: &Metric) -> BTreeMap<String, i64> {
    let points: &[NumberDataPoint] = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        _ => &[],
    };
    let value = |point: &NumberDataPoint| match point.value.unwrap() {
        number_data_point::Value::AsInt(value) => value,
        number_data_point::Value::AsDouble(value) => panic!("{value} is no count"),
    };
    let words = |point: &NumberDataPoint| {
        let words = point.attributes.iter().map(|pair| show(pair.value.as_ref().unwrap()));
        // Attributes come in any order.
        words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
    };
    points.iter().map(|point| (words(point), value(point))).collect()
}

/// Waits for metrics of the agent that satisfy `wanted`.
fn metrics_when(
    stage: &Stage,
    wanted: impl Fn(&BTreeMap<String, Metric>) -> bool,
) -> BTreeMap<String, Metric> {
    loop {
        let request = stage.receiver.metrics().recv_timeout(PATIENCE).expect("metrics");
        let groups = request.metrics.resource_metrics;
        let resource = groups[0].resource.as_ref().unwrap();
        let service = resource.attributes.iter().find(|pair| pair.key == "service.name").unwrap();
        assert_eq!(show(service.value.as_ref().unwrap()), "mpr-otel-agent");
        let metrics: BTreeMap<String, Metric> = groups
            .into_iter()
            .flat_map(|group| group.scope_metrics)
            .flat_map(|scope| scope.metrics)
            .map(|metric| (metric.name.clone(), metric))
            .collect();
        if wanted(&metrics) {
            return metrics;
        }
    }
}

fn count(metrics: &BTreeMap<String, Metric>, name: &str, attributes: &str) -> i64 {
    metrics.get(name).and_then(|metric| values(metric).get(attributes).copied()).unwrap_or(0)
}

#[test]
fn the_agents_metrics_are_those_that_are_documented_and_count_what_happened() {
    // The collector refuses the first operation for good and is away for the second.
    let answers = std::sync::Mutex::new(vec![503, 400]);
    let stage = Stage::behaving(move |request: &mpr_otel_lab::receiver::Request| {
        let operations = request.export.resource_spans.iter().any(|group| {
            let scopes = &group.scope_spans;
            scopes.iter().any(|spans| spans.scope.as_ref().is_some_and(|it| it.name == "mpr-otel"))
        });
        let answer = if operations { answers.lock().unwrap().pop() } else { None };
        mpr_otel_lab::receiver::Answer::status(answer.unwrap_or(200))
    });
    leave_a_ledger(&stage);
    let agent = spawn(&mut stage.agent());
    let lost = "mpr.operation.lost";
    metrics_when(&stage, |metrics| count(metrics, lost, "rejected") == 1);
    let mut failing = stage.host();
    failing.env("MPR_OTEL_DELIVERY", "agent");
    let (host, _) = start(failing, &lane(vec![add_ending(r"\\server\share", 53)]));
    host.end_quietly();
    let metrics = metrics_when(&stage, |metrics| {
        count(metrics, "mpr.operation.exported", "") == 1
            && count(metrics, "mpr.ledger.removed", "") == 2
    });
    assert_eq!(count(&metrics, "mpr.operation.seen", ""), 2);
    assert_eq!(count(&metrics, "mpr.operation.pending", ""), 0);
    assert_eq!(count(&metrics, "mpr.operation.repeated", ""), 0);
    assert_eq!(count(&metrics, "mpr.operation.ended", "success"), 1);
    assert_eq!(count(&metrics, "mpr.operation.ended", "failure unreachable"), 1);
    assert_eq!(count(&metrics, "mpr.ledger.removed", ""), 2);
    assert_eq!(count(&metrics, "otel.sdk.exporter.span.exported", ""), 1);
    assert_eq!(count(&metrics, "otel.sdk.exporter.span.exported", "rejected"), 1);
    assert_eq!(count(&metrics, "otel.sdk.exporter.span.exported", "unavailable"), 1);
    assert_eq!(count(&metrics, "otel.sdk.exporter.span.inflight", ""), 0);
    agent.interrupt();

    let documented = table("The agent's metrics");
    let names: BTreeSet<&str> = documented.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(metrics.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for row in documented {
        let metric = &metrics[&row[0]];
        let (kind, points) = describe(metric);
        assert_eq!((kind, metric.unit.as_str()), (row[1].as_str(), row[2].as_str()), "{}", row[0]);
        let keys: BTreeSet<&str> =
            points.into_iter().flatten().map(|pair| pair.key.as_str()).collect();
        let named: BTreeSet<&str> = row[3].split(", ").filter(|key| *key != "–").collect();
        assert_eq!(keys, named, "attributes of {}", row[0]);
    }

    // The next agent reports what is new, and nothing a second time.
    stage.receiver.metrics().try_iter().for_each(drop);
    leave_a_ledger(&stage);
    let agent = spawn(&mut stage.agent());
    let metrics = metrics_when(&stage, |metrics| count(metrics, "mpr.operation.exported", "") > 0);
    assert_eq!(count(&metrics, "mpr.operation.exported", ""), 1);
    assert_eq!(count(&metrics, lost, "rejected"), 0);
    agent.interrupt();
}

#[test]
fn a_batch_that_is_divided_is_neither_exported_nor_rejected() {
    let stage = Stage::behaving(|request: &mpr_otel_lab::receiver::Request| {
        let is_large = received(request.clone()).len() > 1;
        mpr_otel_lab::receiver::Answer::status(if is_large { 400 } else { 200 })
    });
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (host, _) = start(command, &lane(vec![add_ending(r"\\server\share", 0); 2]));
    host.kill();
    let agent = spawn(&mut stage.agent());
    let metrics = metrics_when(&stage, |metrics| count(metrics, "mpr.operation.exported", "") == 2);
    let exported = values(&metrics["otel.sdk.exporter.span.exported"]);
    assert_eq!(exported, BTreeMap::from([(String::new(), 2)]));
    assert_eq!(count(&metrics, "otel.sdk.exporter.span.inflight", ""), 0);
    // The agent's own spans come when it stops.
    agent.interrupt();
    let requests = stage.receiver.requests().try_iter();
    let scopes =
        requests.flat_map(|request| request.export.resource_spans).flat_map(|it| it.scope_spans);
    let own = scopes.filter(|scope| scope.scope.as_ref().unwrap().name == "mpr-otel-agent");
    let mut errors: Vec<_> = own
        .flat_map(|scope| scope.spans)
        .map(|span| {
            let mut attributes = span.attributes.iter();
            let error = attributes.find(|pair| pair.key == "error.type");
            error.map(|pair| show(pair.value.as_ref().unwrap()))
        })
        .collect();
    errors.sort();
    assert_eq!(errors, [None, None, Some("divided".to_owned())]);
}

#[test]
fn telemetry_about_the_agent_makes_no_telemetry() {
    let stage = Stage::new();
    let agent = spawn(&mut stage.agent());
    // Metrics are sent several times while there is no operation.
    for _ in 0..5 {
        metrics_when(&stage, |_| true);
    }
    agent.interrupt();
    let spans = stage.receiver.requests().try_iter().map(|request| request.export);
    assert_eq!(spans.map(|export| export.resource_spans.len()).sum::<usize>(), 0);
}
