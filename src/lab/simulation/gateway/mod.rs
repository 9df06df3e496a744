//! The series that a gateway makes of what it is sent, without a gateway.
//!
//! What collector-config/gateway.yaml says of metrics, and what Prometheus makes of their names; a
//! test compares with the real ones. One sample of each series a minute.

mod agents;
mod connector;
mod otlp;
mod spans;
mod telemetry;

use super::agent_report::{self, AgentReport};
use super::batch::{Finished, pack};
use super::destination::Destination;
use super::incidents::Incidents;
use super::pace::Timeline;
use super::sender::{BatchFate, Gone, SenderShared};
use super::track::Track;
use agents::Agents;
use mpr_otel_core::stop::Stop;
use serde::{Deserialize, Serialize};
use spans::Spans;
use std::cell::RefCell;
use std::collections::BTreeMap;
use telemetry::Telemetry;

/// Series with their samples. With rules and expectations, it is a test of `promtool test rules`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeriesFile {
    /// Between two samples.
    pub interval: String,
    /// The date of the first sample, in seconds since 1970.
    pub start_timestamp: String,
    /// The series.
    pub input_series: Vec<InputSeries>,
}

/// A series of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputSeries {
    /// Name and labels, as in PromQL.
    pub series: String,
    /// Its samples.
    pub values: String,
}

/// Every series by name and labels.
#[derive(Debug, Default)]
struct Tracks {
    numbers: BTreeMap<String, usize>,
    tracks: Vec<Track>,
}

impl Tracks {
    /// The number of a series.
    fn number(&mut self, series: String) -> usize {
        let tracks = &mut self.tracks;
        *self.numbers.entry(series).or_insert_with(|| {
            tracks.push(Track::default());
            tracks.len() - 1
        })
    }

    /// A counter begins in a minute, with a zero before. It may have been there, and expired.
    fn begin(&mut self, number: usize, minute: u32) {
        let track = &mut self.tracks[number];
        if let Some(before) = minute.checked_sub(1).filter(|before| track.next() <= *before) {
            track.put(before, 0.0);
        }
    }

    fn put(&mut self, number: usize, minute: u32, value: f64) {
        self.tracks[number].put(minute, value);
    }
}

/// Gateways in memory: one, or two if one of them is to stop.
pub(super) struct Gateway<'run> {
    shared: &'run SenderShared,
    incidents: &'run Incidents,
    timeline: Timeline,
    /// The most series of a metric.
    limit: usize,
    counted: RefCell<Counted>,
}

#[derive(Debug)]
struct Counted {
    tracks: Tracks,
    first: Counts,
    second: Option<Counts>,
    /// They pass through a gateway, and none counts them.
    agents: Agents,
    /// The minute whose sample comes next.
    minute: u32,
}

/// What one gateway has counted since its start.
#[derive(Debug)]
struct Counts {
    spans: Spans,
    telemetry: Telemetry,
}

impl Counts {
    fn new(gateway: &'static str, limit: usize, minute: u32) -> Self {
        Self { spans: Spans::new(gateway, limit), telemetry: Telemetry::new(gateway, minute) }
    }
}

/// Nanoseconds of a minute.
const MINUTE: u64 = 60 * 1_000_000_000;

impl<'run> Gateway<'run> {
    pub(super) fn new(
        shared: &'run SenderShared,
        incidents: &'run Incidents,
        timeline: Timeline,
        limit: usize,
    ) -> Self {
        let counted = Counted {
            tracks: Tracks::default(),
            first: Counts::new("gateway-1", limit, 0),
            second: None,
            agents: Agents::default(),
            minute: 0,
        };
        Self { shared, incidents, timeline, limit, counted: RefCell::new(counted) }
    }

    /// All series, with a last sample of what was counted since the last minute.
    pub(super) fn file(self) -> SeriesFile {
        let last = self.counted.borrow().minute;
        self.minute_is_over(last);
        let mut tracks = self.counted.into_inner().tracks;
        let of = |(series, number): (String, usize)| {
            let values = std::mem::take(&mut tracks.tracks[number]).text();
            InputSeries { series, values }
        };
        SeriesFile {
            interval: "1m".to_owned(),
            start_timestamp: (self.timeline.begun_unix_nanos() / 1_000_000_000).to_string(),
            input_series: tracks.numbers.into_iter().map(of).collect(),
        }
    }
}

impl Destination for Gateway<'_> {
    /// One operation at a time, each at its date.
    fn most(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn spans(
        &self,
        batch: Vec<Finished>,
        _: &Stop,
        _: &mut dyn FnMut(),
    ) -> Result<Option<Vec<Finished>>, Gone> {
        let SenderShared { fleet, settings, .. } = self.shared;
        let Counted { first, second, tracks, minute, .. } = &mut *self.counted.borrow_mut();
        for finished in batch {
            let now = self.timeline.now_unix_nanos(finished.sent);
            // The balancer knows one machine from another.
            let of_second = second.as_mut().filter(|_| finished.scripted.machine % 2 == 1);
            let spans = &mut of_second.unwrap_or(first).spans;
            for outgoing in pack(vec![finished], fleet, settings, false) {
                spans.take(&outgoing.request, now, *minute, tracks);
                self.shared.settle(&outgoing.scripted, &BatchFate::Accepted { rejected: 0 });
            }
        }
        Ok(None)
    }

    fn reports(
        &self,
        reports: Vec<AgentReport>,
        _: &Stop,
        _: &mut dyn FnMut(),
    ) -> Result<(), Gone> {
        let SenderShared { fleet, settings, .. } = self.shared;
        let begun = self.timeline.begun_unix_nanos();
        let Counted { agents, tracks, minute, .. } = &mut *self.counted.borrow_mut();
        agents.take(&agent_report::request(&reports, begun, fleet, settings), *minute, tracks);
        Ok(())
    }

    fn settle(&self, _: &mut dyn FnMut()) -> Result<(), Gone> {
        Ok(())
    }

    fn counts_minutes(&self) -> bool {
        true
    }

    fn minute_is_over(&self, minute: u32) {
        let at = u64::from(minute) * MINUTE;
        let counted = &mut *self.counted.borrow_mut();
        // What they counted is gone with them.
        if self.incidents.no_gateway_is_up(at) {
            counted.first = Counts::new("gateway-1", self.limit, minute + 1);
            counted.second = None;
            counted.minute = minute + 1;
            return;
        }
        match self.incidents.second_gateway_is_down(at) {
            None | Some(true) => counted.second = None,
            Some(false) if counted.second.is_none() => {
                counted.second = Some(Counts::new("gateway-2", self.limit, minute));
            }
            Some(false) => {}
        }
        let Counted { first, second, agents, tracks, minute: next } = counted;
        for counts in [first].into_iter().chain(second) {
            counts.spans.sample(minute, tracks);
            counts.telemetry.sample(minute, self.incidents.drops_logs(at), tracks);
        }
        agents.sample(minute, tracks);
        *next = minute + 1;
    }
}

/// A series' name and labels, as in PromQL.
fn series<T: AsRef<str>>(name: &str, labels: &[(&str, T)]) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", quoted(value.as_ref()))).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// A label's value in quotes.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    format!("\"{escaped}\"")
}
