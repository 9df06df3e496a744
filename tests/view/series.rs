//! The series that `mpr-otel-lab simulate --series` writes, beside those of a real gateway.

use mpr_otel_fleet::{Labels, Prometheus, Result};
use mpr_otel_lab::equipment::lab;
use mpr_otel_lab::simulation::SeriesFile;
use promql_parser::parser::{self, Expr};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The last value of each series, by name and labels.
pub type Last = BTreeMap<(String, Labels), f64>;

/// Runs a simulation that sends nothing; the last value of each series that it writes, but for what a
/// gateway says of itself.
pub fn written(folder: &Path, arguments: &[&str]) -> Result<Last> {
    let path = folder.join("series.json");
    let mut command = Command::new(lab());
    command.env_clear().args(["simulate", "--series"]).arg(&path).args(arguments);
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let file: SeriesFile = serde_json::from_slice(&std::fs::read(&path)?)?;
    let of_fleet = file.input_series.iter().filter(|series| series.series.starts_with("mpr_"));
    let last = of_fleet.map(|series| {
        let value = last(&series.values).ok_or_else(|| format!("{series:?} has no value"))?;
        Ok((identity(&series.series)?, value))
    });
    last.collect()
}

/// A series' name and labels.
fn identity(series: &str) -> Result<(String, Labels)> {
    let Ok(Expr::VectorSelector(selector)) = parser::parse(series) else {
        return Err(format!("{series} is no series").into());
    };
    let labels = selector.matchers.matchers.iter();
    let labels = labels.map(|label| (label.name.clone(), label.value.clone()));
    Ok((selector.name.unwrap_or_default(), labels.collect()))
}

/// The last number of a series in promtool's notation: words such as `7`, `7x3` and `7+2x3`.
fn last(values: &str) -> Option<f64> {
    let word = values.split(' ').rfind(|word| !word.starts_with('_'))?;
    let (number, more) = word.split_once('x').unwrap_or((word, "0"));
    let sign = number[1..].find(['+', '-']).map_or(number.len(), |sign| sign + 1);
    let (first, step) = number.split_at(sign);
    let step: f64 = if step.is_empty() { 0.0 } else { step.parse().ok()? };
    Some(first.parse::<f64>().ok()? + step * more.parse::<f64>().ok()?)
}

/// The last value of each series of these metrics in the seconds before the time `at`.
pub fn stored(prometheus: &Prometheus, metrics: &[String], seconds: f64, at: f64) -> Result<Last> {
    let mut all = Last::new();
    for metric in metrics {
        for track in prometheus.samples(metric, seconds, at)? {
            let last = track.points.last().map(|(_, value)| *value);
            all.insert((metric.clone(), track.labels), last.ok_or("a series without samples")?);
        }
    }
    Ok(all)
}

/// Names of all metrics of mpr-otel that a Prometheus has, without those that rules record.
pub fn metrics(prometheus: &Prometheus) -> Result<Vec<String>> {
    let names = prometheus.data("/api/v1/label/__name__/values", &[])?;
    let names = names.as_array().ok_or("no list of names")?.iter();
    let names = names.filter_map(|name| name.as_str());
    Ok(names
        .filter(|name| name.starts_with("mpr_") && !name.contains(':'))
        .map(str::to_owned)
        .collect())
}

/// What differs. Sums of seconds are added up in another order.
pub fn differences(written: &Last, stored: &Last) -> Vec<String> {
    let mut wrong = Vec::new();
    for (series, value) in written {
        match stored.get(series) {
            None => wrong.push(format!("the gateway has no {series:?}")),
            Some(other) if (value - other).abs() > value.abs() * 1e-9 => {
                wrong.push(format!("{series:?}: {value} is written, and the gateway has {other}"));
            }
            Some(_) => {}
        }
    }
    let unwritten = stored.keys().filter(|series| !written.contains_key(*series));
    wrong.extend(unwritten.map(|series| format!("only the gateway has {series:?}")));
    wrong
}
