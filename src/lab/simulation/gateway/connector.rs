//! A span_metrics connector: counts spans by what is said of them, and forgets what is long ago.

use super::{Tracks, series};
use std::collections::HashMap;

/// What one series counts, of the kind that the connector makes.
pub(super) trait Meter: Default {
    /// Counts one operation of so many nanoseconds.
    fn count(&mut self, nanos: u64);
    /// The series of the metric `name` with `labels`, and the values, in one order.
    fn series(name: &str, labels: &[(&str, &str)]) -> Vec<String>;
    fn values(&self) -> Vec<f64>;
}

/// A counter.
#[derive(Debug, Default)]
pub(super) struct Calls(u64);

impl Meter for Calls {
    fn count(&mut self, _: u64) {
        self.0 += 1;
    }

    fn series(name: &str, labels: &[(&str, &str)]) -> Vec<String> {
        vec![series(&format!("{name}_total"), labels)]
    }

    fn values(&self) -> Vec<f64> {
        vec![self.0 as f64]
    }
}

/// Bounds of the histogram, in milliseconds.
const BOUNDS_MS: [u64; 18] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 45_000,
    60_000, 90_000, 120_000,
];

/// A histogram.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// Each bound's own; the last is what is beyond.
    buckets: [u64; BOUNDS_MS.len() + 1],
    seconds: f64,
}

impl Meter for Durations {
    fn count(&mut self, nanos: u64) {
        let within = |bound: &u64| nanos <= bound * 1_000_000;
        let bucket = BOUNDS_MS.iter().position(within).unwrap_or(BOUNDS_MS.len());
        self.buckets[bucket] += 1;
        self.seconds += nanos as f64 / 1e9;
    }

    fn series(name: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let bounds = BOUNDS_MS.iter().map(|bound| (*bound as f64 / 1e3).to_string());
        let buckets = bounds.chain(["+Inf".to_owned()]).map(|bound| {
            let mut labels = labels.to_vec();
            labels.push(("le", bound.as_str()));
            series(&format!("{name}_bucket"), &labels)
        });
        let count = series(&format!("{name}_count"), labels);
        buckets.chain([count, series(&format!("{name}_sum"), labels)]).collect()
    }

    fn values(&self) -> Vec<f64> {
        let mut sum = 0;
        let cumulated = self.buckets.iter().map(|count| {
            sum += count;
            sum as f64
        });
        let mut values: Vec<f64> = cumulated.collect();
        values.extend([sum as f64, self.seconds]);
        values
    }
}

#[derive(Debug)]
struct Account<M> {
    meter: M,
    /// The minute in which it last counted.
    last: u32,
    /// Numbers of its series.
    tracks: Vec<usize>,
}

/// One metric of a connector.
#[derive(Debug)]
pub(super) struct Connector<M> {
    /// Of the gateway.
    gateway: &'static str,
    name: &'static str,
    /// The most accounts; what comes beyond is counted together.
    limit: usize,
    /// Minutes after which an account that counted nothing is forgotten.
    expiration: Option<u32>,
    accounts: HashMap<Vec<(&'static str, String)>, Account<M>>,
}

impl<M: Meter> Connector<M> {
    pub(super) fn new(gateway: &'static str, name: &'static str) -> Self {
        Self { gateway, name, limit: usize::MAX, expiration: None, accounts: HashMap::new() }
    }

    /// With at most so many accounts, each of which is forgotten after so many minutes without a count.
    pub(super) fn limited(self, limit: usize, expiration: u32) -> Self {
        Self { limit, expiration: Some(expiration), ..self }
    }

    /// Counts an operation of these labels.
    pub(super) fn count(
        &mut self,
        labels: &[(&'static str, Option<String>)],
        nanos: u64,
        minute: u32,
        tracks: &mut Tracks,
    ) {
        let there = labels.iter().filter_map(|(key, value)| Some((*key, value.clone()?)));
        let mut labels: Vec<(&'static str, String)> = there.collect();
        if self.accounts.len() >= self.limit && !self.accounts.contains_key(&labels) {
            labels = vec![("otel_metric_overflow", "true".to_owned())];
        }
        let (gateway, name) = (self.gateway, self.name);
        let account = self.accounts.entry(labels).or_insert_with_key(|labels| {
            let everywhere = [("job", "mpr-otel"), ("collector_instance_id", gateway)];
            let of_span = labels.iter().map(|(key, value)| (*key, value.as_str()));
            let mut labels: Vec<(&str, &str)> = everywhere.into_iter().chain(of_span).collect();
            labels.sort_unstable();
            let numbers = M::series(name, &labels).into_iter().map(|series| {
                let number = tracks.number(series);
                tracks.begin(number, minute);
                number
            });
            Account { meter: M::default(), last: minute, tracks: numbers.collect() }
        });
        account.meter.count(nanos);
        account.last = minute;
    }

    /// Every series' sample of a minute.
    pub(super) fn sample(&mut self, minute: u32, tracks: &mut Tracks) {
        for account in self.accounts.values() {
            for (number, value) in account.tracks.iter().zip(account.meter.values()) {
                tracks.put(*number, minute, value);
            }
        }
        if let Some(expiration) = self.expiration {
            self.accounts.retain(|_, account| minute - account.last < expiration);
        }
    }
}
