//! docs/TELEMETRY.md against what the library really sends.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use mpr_otel::double::{Add, Cancel, Host, Request, Step};
use mpr_otel::ledger::Loss;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use support::{Received, Stage, add, add_ending, lane, start};

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

/// Operations that between them show every attribute.
fn script() -> Host {
    let everything = Step {
        request: Request::Add(Add {
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
        request: Request::Cancel(Cancel { name: Some("Z:".into()), flags: 1, force: true }),
        ..add("")
    };
    let mut steps = vec![everything, cancel, add(&format!(r"\\server\{}", "x".repeat(300)))];
    for (resource_type, code) in
        [53, 67, 1326, 5, 1219, 71, 87, 31, 1223, 2108, 0].iter().enumerate()
    {
        let mut step = add_ending(r"\\server\share", *code);
        if let Request::Add(add) = &mut step.request {
            add.resource_type = resource_type as u32;
        }
        steps.push(step);
    }
    steps.push(Step { no_post: true, ..add(r"\\server\hangs") });
    lane(steps)
}

fn outcome(span: &Received) -> String {
    span.get("mpr.outcome").unwrap()
}

/// Whether an attribute that is "present on" these spans must be on this one; `None`: it may be.
fn required(present_on: &str, span: &Received) -> Option<bool> {
    let outcome = outcome(span);
    Some(match present_on {
        "every span" => true,
        "finished spans" => outcome != "unfinished",
        "failures and unfinished" => matches!(outcome.as_str(), "failure" | "unfinished"),
        "failures" => outcome == "failure",
        "add spans" => span.get("mpr.operation").unwrap() == "add",
        "cancel spans" => span.get("mpr.operation").unwrap() == "cancel",
        "Windows" => cfg!(windows),
        "where it can be told" | "where a name was cut" | "the first span after a loss" => {
            return None;
        }
        other => panic!("the test does not know what {other:?} means"),
    })
}

#[test]
fn what_is_sent_is_what_is_documented() {
    // The first request is refused, so that a span tells of a loss.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let stage = Stage::behaving(move |_: &mpr_otel::receiver::Request| {
        let first = !refused.swap(true, std::sync::atomic::Ordering::Relaxed);
        mpr_otel::receiver::Answer::status(if first { 400 } else { 200 })
    });
    let mut command = stage.host();
    command.env("MPR_OTEL_UNFINISHED_AFTER_MS", "500").env("MPR_OTEL_BATCH_MAX", "3");
    let host = script();
    let operations = host.operations();
    let (host, report) = start(command, &host);
    assert_eq!(report.breaches, Vec::<String>::new());
    let spans = stage.spans(operations);
    host.end_quietly();

    let documented: BTreeMap<String, Vec<String>> =
        table("Attributes of the span").into_iter().map(|row| (row[0].clone(), row)).collect();
    let mut shown = BTreeSet::new();
    for span in &spans {
        assert_eq!(span.span.kind, SpanKind::Client as i32);
        for attribute in &span.span.attributes {
            let row = documented
                .get(&attribute.key)
                .unwrap_or_else(|| panic!("{} is not documented", attribute.key));
            let value = attribute.value.as_ref().unwrap();
            let kind = match value.value.as_ref().unwrap() {
                Value::StringValue(_) => "string",
                Value::IntValue(_) => "int",
                Value::BoolValue(_) => "boolean",
                Value::ArrayValue(_) => "string[]",
                other => panic!("{other:?}"),
            };
            assert_eq!(row[1], kind, "type of {}", attribute.key);
            shown.insert(attribute.key.clone());
        }
        for (key, row) in &documented {
            if let Some(required) = required(&row[2], span) {
                assert_eq!(span.get(key).is_some(), required, "{key} on {:?}", span.span);
            }
        }
        let failed = matches!(outcome(span).as_str(), "failure" | "unfinished");
        let status = span.span.status.clone().unwrap_or_default();
        let expected = if failed { StatusCode::Error } else { StatusCode::Unset };
        assert_eq!(status.code, expected as i32);
        assert_eq!(status.message, span.get("error.type").unwrap_or_default());
    }
    let missing: Vec<_> = documented
        .iter()
        .filter(|(key, row)| !shown.contains(*key) && (row[2] != "Windows" || cfg!(windows)))
        .collect();
    assert!(missing.is_empty(), "documented and never sent: {missing:?}");

    for attribute in ["mpr.operation", "mpr.outcome", "mpr.error.class", "mpr.resource.type"] {
        let sent: BTreeSet<String> = spans.iter().filter_map(|span| span.get(attribute)).collect();
        assert_eq!(sent, named_values(attribute), "values of {attribute}");
    }
    let names: BTreeSet<String> = spans.iter().map(|span| span.span.name.clone()).collect();
    let documented_names = table("The span").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, documented_names);
    assert!(!format!("{spans:?}").contains("user:pw"), "a credential was sent");
}

#[test]
fn the_resource_is_what_is_documented() {
    let stage = Stage::new();
    let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\share")]));
    let span = stage.spans(1).remove(0);
    host.end_quietly();
    let mut sent: BTreeSet<String> =
        span.resource.iter().map(|attribute| attribute.key.clone()).collect();
    // The one that a machine may not have.
    sent.insert("host.id".into());
    let documented = table("The resource").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(sent, documented);
}

#[test]
fn every_reason_of_a_loss_is_documented() {
    let documented: Vec<String> =
        table("Accounting").into_iter().map(|row| row[0].clone()).collect();
    let reasons: Vec<&str> = Loss::ALL.iter().map(|loss| loss.name()).collect();
    assert_eq!(documented, reasons);
}
