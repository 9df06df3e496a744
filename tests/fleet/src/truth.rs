//! What really happened, as `mpr-otel-lab simulate --truth` wrote it.

use crate::{Labels, Result};
use mpr_otel_lab::simulation::SeriesTruth;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::Path;

/// Bounds of the duration histogram, in milliseconds (collector-config/gateway.yaml).
const BOUNDS_MS: [u64; 18] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 45_000,
    60_000, 90_000, 120_000,
];

/// What the lab wrote, with the questions that tests ask of it.
#[derive(Clone, Debug)]
pub struct Truth(mpr_otel_lab::simulation::Truth);

impl Deref for Truth {
    type Target = mpr_otel_lab::simulation::Truth;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The value of a metric's label; `None` where the series has none.
pub fn label<'series>(series: &'series SeriesTruth, name: &str) -> Option<&'series str> {
    match name {
        "job" => Some("mpr-otel"),
        "server_address" => Some(series.server.as_deref().unwrap_or("none")),
        "mpr_operation_name" => Some(&series.operation),
        "mpr_outcome" => Some(&series.outcome),
        "mpr_error_class" => series.error_class.as_deref(),
        "error_type" => series.error_type.as_deref(),
        "mpr_connect_mode" => Some(&series.connect_mode),
        "process_executable_name" => Some(&series.program),
        "mpr_late" => series.late.then_some("true"),
        _ => None,
    }
}

/// Operations that took no longer than `bound`, in milliseconds.
fn within(series: &SeriesTruth, bound: u64) -> u64 {
    series.durations_ms.range(..=bound).map(|(_, count)| count).sum()
}

/// A group's part of the truth.
#[derive(Clone, Debug, Default)]
pub struct Part<'a>(pub Vec<&'a SeriesTruth>);

impl Part<'_> {
    /// How many operations.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|series| series.count).sum()
    }

    /// How long they took together.
    pub fn seconds(&self) -> f64 {
        self.0.iter().map(|series| series.seconds).sum()
    }

    /// Operations within the histogram's bound, in milliseconds.
    fn within(&self, bound: u64) -> u64 {
        self.0.iter().map(|series| within(series, bound)).sum()
    }

    /// By how much they took longer than `seconds`, a bound of the histogram: each up to the bound
    /// below it.
    pub fn seconds_above(&self, seconds: f64) -> f64 {
        let bounds = BOUNDS_MS.map(|bound| bound as f64 / 1e3);
        let beyond = |index: usize| (self.count() - self.within(BOUNDS_MS[index])) as f64;
        let steps = (1..bounds.len()).filter(|index| bounds[index - 1] >= seconds);
        steps.map(|index| (bounds[index] - bounds[index - 1]) * beyond(index)).sum()
    }

    /// The bounds, in seconds, of the histogram's bucket in which a quantile lies. What is beyond
    /// the last bound counts as that bound, as in Prometheus.
    pub fn quantile(&self, quantile: f64) -> (f64, f64) {
        let rank = quantile * self.count() as f64;
        let found = BOUNDS_MS.iter().position(|bound| self.within(*bound) as f64 >= rank);
        let seconds = |index: usize| BOUNDS_MS[index] as f64 / 1e3;
        match found {
            Some(0) => (0.0, seconds(0)),
            Some(index) => (seconds(index - 1), seconds(index)),
            None => (seconds(BOUNDS_MS.len() - 1), seconds(BOUNDS_MS.len() - 1)),
        }
    }

    /// Operations within each bound of the histogram, by the `le` that Prometheus shows.
    pub fn buckets(&self) -> BTreeMap<String, u64> {
        let buckets = BOUNDS_MS.iter().map(|bound| (le(*bound), self.within(*bound)));
        buckets.chain([("+Inf".to_owned(), self.count())]).collect()
    }
}

fn le(bound: u64) -> String {
    (bound as f64 / 1e3).to_string()
}

impl Truth {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self(serde_json::from_slice(&fs::read(path)?)?))
    }

    /// The same of one server only.
    pub fn of_server(&self, server: &str) -> Self {
        let mut truth = self.clone();
        truth.0.series.retain(|series| label(series, "server_address") == Some(server));
        truth
    }

    /// The series that pass, in groups by these labels.
    pub fn groups(
        &self,
        by: &[&str],
        passes: impl Fn(&SeriesTruth) -> bool,
    ) -> BTreeMap<Labels, Part<'_>> {
        let mut groups = BTreeMap::<Labels, Part<'_>>::new();
        for series in self.series.iter().filter(|series| passes(series)) {
            let labels = by.iter().filter_map(|name| {
                label(series, name).map(|value| ((*name).to_owned(), value.to_owned()))
            });
            groups.entry(labels.collect()).or_default().0.push(series);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(durations: &[(u64, u64)]) -> SeriesTruth {
        SeriesTruth {
            server: None,
            program: "net.exe".to_owned(),
            operation: "add".to_owned(),
            outcome: "success".to_owned(),
            error_class: None,
            error_type: None,
            connect_mode: "plain".to_owned(),
            late: false,
            count: durations.iter().map(|(_, count)| count).sum(),
            seconds: 0.0,
            durations_ms: durations.iter().copied().collect(),
        }
    }

    #[test]
    fn seconds_above_a_bound_are_read_from_the_buckets() {
        // 2 s, 4 s, 5 s, 7 s and an hour: the last two are above 5 s, and one above 120 s.
        let series = series(&[(2_000, 1), (4_000, 1), (5_000, 1), (7_000, 1), (3_600_000, 1)]);
        assert_eq!(Part(vec![&series]).seconds_above(2.5), 2.0 * 2.5 + 115.0);
    }

    #[test]
    fn a_quantile_is_in_the_bucket_that_reaches_its_rank() {
        let series = series(&[(3, 50), (100, 45), (110, 4), (130_000, 1)]);
        let part = Part(vec![&series]);
        assert_eq!(part.quantile(0.5), (0.0, 0.005));
        assert_eq!(part.quantile(0.51), (0.05, 0.1));
        assert_eq!(part.quantile(0.95), (0.05, 0.1));
        assert_eq!(part.quantile(0.99), (0.1, 0.25));
        assert_eq!(part.quantile(1.0), (120.0, 120.0));
        assert_eq!((part.buckets()["0.1"], part.buckets()["120"]), (95, 99));
        assert_eq!(part.buckets()["+Inf"], 100);
    }
}
