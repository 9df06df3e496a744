//! What really happened, as `mpr-otel-lab simulate --truth` wrote it.

use crate::{Labels, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Bounds of the duration histogram, in milliseconds (collector-config/gateway.yaml).
const BOUNDS_MS: [u64; 18] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 45_000,
    60_000, 90_000, 120_000,
];

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
pub struct Truth {
    /// Spans that the collector accepted.
    pub operations: u64,
    /// Spans that it refused.
    pub refused: u64,
    /// Operations that failed.
    pub failures: u64,
    /// Operations that did not end.
    pub unfinished: u64,
    /// Operations by what metrics are kept by.
    pub series: Vec<Series>,
    /// Some of the hosts.
    pub hosts_sample: Vec<HostTruth>,
    /// What the hosts' agents told, if there were any.
    pub agents: Option<Agents>,
    /// Spans that reported operations lost before.
    pub spans_with_loss: u64,
    /// What went wrong, on order.
    pub incidents: Vec<Incident>,
    /// When it began, in real milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// When it ended.
    pub ended_unix_ms: u64,
}

/// Operations that have everything in common by which metrics are kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Series {
    /// `server.address`.
    pub server: Option<String>,
    /// `mpr.operation`.
    pub operation: String,
    /// `mpr.outcome`.
    pub outcome: String,
    /// `mpr.error.class`.
    pub error_class: Option<String>,
    /// `error.type`.
    pub error_type: Option<String>,
    /// How many.
    pub count: u64,
    /// How long they took together.
    pub seconds: f64,
    /// How many by duration in milliseconds, rounded up to two significant digits.
    durations_ms: BTreeMap<String, u64>,
}

/// What a host did.
#[derive(Clone, Debug, Deserialize)]
pub struct HostTruth {
    /// Its name.
    pub host: String,
    /// Its operations.
    pub operations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that did not end.
    pub unfinished: u64,
    /// Those that were lost, and are not among the others.
    pub lost: u64,
}

/// The agents' sums at the end.
#[derive(Clone, Debug, Deserialize)]
pub struct Agents {
    /// Agents that reported to the end.
    pub reporting: u64,
    /// Hosts whose agents had stopped by then, a hundred at most.
    pub absent: Vec<String>,
    /// How many those are.
    pub absent_count: u64,
    /// Operations seen.
    pub seen: u64,
    /// Operations exported.
    pub exported: u64,
    /// Operations under way.
    pub pending: u64,
    /// Operations lost, by reason.
    pub lost: BTreeMap<String, u64>,
}

/// Something that went wrong, on order.
#[derive(Clone, Debug, Deserialize)]
pub struct Incident {
    /// Its kind.
    pub kind: String,
    /// The server that it befell.
    pub server: Option<String>,
    /// When it began, in simulated seconds.
    pub from_s: f64,
    /// When it ended.
    pub to_s: f64,
    /// The alert that it is to fire.
    pub alert: String,
}

impl Series {
    /// The value of a metric's label; `None` where the series has none.
    pub fn label(&self, name: &str) -> Option<&str> {
        match name {
            "job" => Some("mpr-otel"),
            "server_address" => Some(self.server.as_deref().unwrap_or("none")),
            "mpr_operation" => Some(&self.operation),
            "mpr_outcome" => Some(&self.outcome),
            "mpr_error_class" => self.error_class.as_deref(),
            "error_type" => self.error_type.as_deref(),
            _ => None,
        }
    }

    /// Operations that took no longer than `bound`, in milliseconds.
    fn within(&self, bound: u64) -> u64 {
        let short = |(ms, count): (&String, &u64)| {
            ms.parse::<u64>().is_ok_and(|ms| ms <= bound).then_some(*count)
        };
        self.durations_ms.iter().filter_map(short).sum()
    }
}

/// A group's part of the truth.
#[derive(Clone, Debug, Default)]
pub struct Part<'a>(pub Vec<&'a Series>);

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
        self.0.iter().map(|series| series.within(bound)).sum()
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
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// The same of one server only.
    pub fn of_server(&self, server: &str) -> Self {
        let mut truth = self.clone();
        truth.series.retain(|series| series.label("server_address") == Some(server));
        truth
    }

    /// The series that pass, in groups by these labels.
    pub fn groups(
        &self,
        by: &[&str],
        passes: impl Fn(&Series) -> bool,
    ) -> BTreeMap<Labels, Part<'_>> {
        let mut groups = BTreeMap::<Labels, Part<'_>>::new();
        for series in self.series.iter().filter(|series| passes(series)) {
            let labels = by.iter().filter_map(|name| {
                series.label(name).map(|value| ((*name).to_owned(), value.to_owned()))
            });
            groups.entry(labels.collect()).or_default().0.push(series);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(durations: &[(&str, u64)]) -> Series {
        Series {
            server: None,
            operation: "add".to_owned(),
            outcome: "success".to_owned(),
            error_class: None,
            error_type: None,
            count: durations.iter().map(|(_, count)| count).sum(),
            seconds: 0.0,
            durations_ms: durations.iter().map(|(ms, count)| ((*ms).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_quantile_is_in_the_bucket_that_reaches_its_rank() {
        let series = series(&[("3", 50), ("100", 45), ("110", 4), ("130000", 1)]);
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
