//! What is checked in is what the tables make, and other parameters make what they should.
#![allow(clippy::unwrap_used, clippy::panic)]

use mpr_otel_dashboards::promql::Shape;
use mpr_otel_dashboards::source::{Over, Source};
use mpr_otel_dashboards::{File, dashboards, docs};
use promql_parser::parser;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn with(parameters: &[(&str, &str)]) -> Vec<File> {
    let mut source = Source::read(&root()).unwrap();
    parameters.iter().for_each(|(name, value)| source.set(name, value).unwrap());
    dashboards(&source).unwrap()
}

#[test]
fn what_is_checked_in_is_what_the_tables_make() {
    let source = Source::read(&root()).unwrap();
    let made = dashboards(&source).unwrap().into_iter();
    for (path, text) in made.chain(docs::files(&source, &root()).unwrap()) {
        let there = fs::read_to_string(root().join(&path)).unwrap_or_default();
        assert!(there == text, "{} is not current: `cargo xtask dashboards`", path.display());
    }
}

#[test]
fn with_other_parameters_nothing_is_left_of_the_defaults() {
    let made = with(&[
        ("job", "other-job"),
        ("gateway_job", "other-gateways"),
        ("service", "other-service"),
        ("traces", "tempo"),
        ("runbooks", "https://wiki.example/"),
        ("dashboards", "https://grafana.example/d/"),
        ("site_label", "site"),
    ]);
    let text: String = made.into_iter().map(|(_, text)| text).collect();
    for old in ["\"mpr-otel\\", "jaeger", "otelcol-mpr", "docs/runbooks", "'/d/"] {
        assert!(!text.contains(old), "{old} is left");
    }
    for new in
        ["other-job", "other-gateways", "other-service", "traceql", "https://wiki.example/Mpr"]
    {
        assert!(text.contains(new), "{new} is missing");
    }
    let calls = text.matches("{job=~\\\"$job\\\"").count();
    let of_a_site = text.matches("{job=~\\\"$job\\\", site=~\\\"$site\\\"").count();
    // The variable of sites does not depend on itself: twice on each of five dashboards.
    assert_eq!(calls, of_a_site + 2 * 5);
}

#[test]
fn no_default_names_an_address() {
    for (path, text) in with(&[]) {
        assert!(!text.contains("://"), "{}", path.display());
    }
}

#[test]
fn another_objective_moves_alerts_and_colours() {
    let [default, other] = [&[][..], &[("failure_objective", "0.05")]].map(with);
    let differ = default.iter().zip(&other).filter(|(one, other)| one.1 != other.1);
    let differ: Vec<_> = differ.map(|((path, _), _)| path.file_stem().unwrap()).collect();
    assert_eq!(differ, ["mpr-otel", "overview", "server"]);
}

#[test]
fn every_expression_of_the_rules_is_promql() {
    let source = Source::read(&root()).unwrap();
    for group in &source.rules.groups {
        for alert in &group.alerts {
            parser::parse(&source.expand(&alert.expr).unwrap()).unwrap();
        }
    }
}

#[test]
fn every_unit_is_that_of_what_is_shown() {
    let source = Source::read(&root()).unwrap();
    for (name, signal) in &source.signals.signals {
        for series in &signal.series {
            let unit = series.unit.as_deref().or(signal.unit.as_deref()).unwrap_or("short");
            let expected = match (series.shape().unwrap(), &series.over) {
                (Shape::Share(..) | Shape::Recorded(_), _) => "percentunit",
                (Shape::Quantile(..) | Shape::SecondsAbove(_), _) => "s",
                // Seconds in each second.
                (Shape::Seconds(_), Over::Second) => "short",
                (Shape::Seconds(_), _) => "s",
                (Shape::Count(..) | Shape::Counter(..), Over::Minute) => "opm",
                (Shape::Count(..) | Shape::Counter(..), Over::Range) => "short",
                (Shape::Counter(metric, _), Over::Second) if metric.contains("seconds") => "short",
                (Shape::Counter(..), Over::Second) => "cps",
                (Shape::Count(..) | Shape::Counter(..), _) | (Shape::Expression(_), _) => continue,
            };
            assert_eq!(unit, expected, "{name}: {series:?}");
        }
    }
}
