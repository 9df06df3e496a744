//! What docs/ lists of the tables.

use crate::source::{Panel, Source};
use crate::{File, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The list of alerts.
const RUNBOOKS: &str = "docs/runbooks/README.md";
/// Where it begins.
const ALERTS: &str = "| alert | severity | fires when |\n|---|---|---|\n";

/// The files of docs/ that list what the tables have.
pub fn files(source: &Source, root: &Path) -> Result<Vec<File>> {
    let there = fs::read_to_string(root.join(RUNBOOKS))?;
    let runbooks =
        with_alerts(source, &there).ok_or(format!("{RUNBOOKS} has no table of alerts"))?;
    Ok(vec![("docs/SIGNALS.md".into(), signals(source)?), (RUNBOOKS.into(), runbooks)])
}

/// A text whose table of alerts is the one of the tables.
fn with_alerts(source: &Source, text: &str) -> Option<String> {
    let (before, old) = text.split_once(ALERTS)?;
    let (_, after) = old.split_once("\n\n")?;
    let alerts = source.rules.groups.iter().flat_map(|group| &group.alerts);
    let rows = alerts.map(|alert| {
        format!("| [{0}]({0}.md) | {1} | {2} |", alert.alert, alert.severity, alert.when)
    });
    let rows: Vec<String> = rows.collect();
    Some(format!("{before}{ALERTS}{}\n\n{after}", rows.join("\n")))
}

/// Every panel and every recording rule.
fn signals(source: &Source) -> Result<String> {
    let mut text = "# What the dashboards show\n\n\
        Made from [dashboards/source](../dashboards/source) by `cargo xtask dashboards`. The alerts are in\n\
        [runbooks](runbooks/README.md), the attributes and metrics in [TELEMETRY.md](TELEMETRY.md).\n"
        .to_owned();
    for board in &source.boards {
        add(&mut text, &format!("\n## {}\n\n{}\n", board.title, board.description));
        add(&mut text, "| panel | unit | what it shows |\n|---|---|---|");
        for Panel(kind, signal, ..) in board.rows.iter().flat_map(|row| &row.panels) {
            let signal = source.signal(signal)?;
            let unit = match kind.as_str() {
                "table" | "traces" | "logs" => "rows",
                _ => unit(signal.unit.as_deref().unwrap_or("short")),
            };
            let shows = source.expand(&signal.shows)?.replace('|', "\\|");
            add(&mut text, &format!("| {} | {unit} | {shows} |", signal.title));
        }
    }
    add(&mut text, "\n## What the rules record\n\n| rule | why |\n|---|---|");
    for record in source.rules.groups.iter().flat_map(|group| &group.records) {
        let rules = record.rules().into_iter();
        let names: Vec<String> = rules.map(|(name, _)| format!("`{name}`")).collect();
        let why = record.why.trim_end().replace('\n', " ");
        add(&mut text, &format!("| {} | {why} |", names.join(", ")));
    }
    Ok(text)
}

/// Grafana's name for a unit, in words.
fn unit(name: &str) -> &str {
    match name {
        "short" | "none" => "number",
        "percentunit" => "%",
        "opm" => "1/min",
        "cps" => "1/s",
        "dateTimeFromNow" => "time",
        other => other,
    }
}

fn add(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}
