//! What a simulation shows at its end.

use crate::command::Failure;
use mpr_otel_lab::nearest_rank;
use mpr_otel_lab::simulation::{Outcome, SeriesTruth};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;

/// Servers that are shown; `--truth` has all.
const SHOWN: usize = 30;

pub(super) struct View {
    pub(super) summary: RunSummary,
    servers: Vec<ServerTotals>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct RunSummary {
    endpoint: String,
    operations: u64,
    refused: u64,
    unsent: u64,
    repeated: u64,
    put_off: u64,
    exact: bool,
    failures: u64,
    unfinished: u64,
    lost: u64,
    stopped: bool,
    most_open: usize,
    reports_refused: u64,
    refusal: Option<String>,
    simulated_seconds: f64,
    duration_ms: u64,
    spans_per_second: f64,
}

/// A server's operations.
#[derive(Default)]
struct ServerTotals {
    server: String,
    count: u64,
    failures: u64,
    unfinished: u64,
    /// By duration, rounded up.
    durations_ms: BTreeMap<u64, u64>,
}

impl View {
    pub(super) fn new(endpoint: &impl Display, outcome: &Outcome) -> Self {
        let truth = &outcome.truth;
        let mut servers: BTreeMap<&str, ServerTotals> = BTreeMap::new();
        for series in &truth.series {
            let server = series.server.as_deref().unwrap_or("(by drive letter)");
            servers.entry(server).or_default().add(series);
        }
        let mut servers: Vec<ServerTotals> = servers
            .into_iter()
            .map(|(server, row)| ServerTotals { server: server.to_owned(), ..row })
            .collect();
        servers.sort_by(|a, b| {
            let bad = |row: &ServerTotals| row.failures + row.unfinished;
            bad(b).cmp(&bad(a)).then(b.count.cmp(&a.count))
        });
        let summary = RunSummary {
            endpoint: endpoint.to_string(),
            operations: truth.operations,
            refused: truth.refused,
            unsent: truth.unsent,
            repeated: truth.repeated,
            put_off: truth.put_off,
            exact: truth.exact,
            failures: truth.failures,
            unfinished: truth.unfinished,
            lost: truth.lost,
            stopped: outcome.stopped,
            most_open: outcome.most_open,
            reports_refused: outcome.reports_refused,
            refusal: outcome.refusal.clone(),
            simulated_seconds: truth.simulated_seconds,
            duration_ms: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
            spans_per_second: outcome.spans_per_second(),
        };
        Self { summary, servers }
    }

    /// Writes it for people.
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        self.write_servers(out)?;
        let summary = &self.summary;
        writeln!(
            out,
            "\n{} spans accepted by {}, {} of failures, {} of unfinished operations",
            summary.operations, summary.endpoint, summary.failures, summary.unfinished
        )?;
        self.write_exceptions(out)?;
        writeln!(
            out,
            "{:.1} simulated hours in {:.1} s: {:.0} spans/s",
            summary.simulated_seconds / 3600.0,
            summary.duration_ms as f64 / 1e3,
            summary.spans_per_second
        )?;
        Ok(())
    }

    fn write_servers(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(
            out,
            "{:<26} {:>8} {:>9} {:>11} {:>8} {:>8} {:>8}",
            "SERVER", "COUNT", "FAILURES", "UNFINISHED", "P50 ms", "P95 ms", "MAX ms"
        )?;
        for row in self.servers.iter().take(SHOWN) {
            writeln!(
                out,
                "{:<26} {:>8} {:>9} {:>11} {:>8} {:>8} {:>8}",
                row.server,
                row.count,
                row.failures,
                row.unfinished,
                row.quantile(0.5),
                row.quantile(0.95),
                row.quantile(1.0)
            )?;
        }
        if self.servers.len() > SHOWN {
            writeln!(out, "… and {} more", self.servers.len() - SHOWN)?;
        }
        Ok(())
    }

    /// What was lost, refused, sent again or not sent at all.
    fn write_exceptions(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let summary = &self.summary;
        if summary.lost > 0 {
            writeln!(out, "{} operations lost, as the incident wants it", summary.lost)?;
        }
        if summary.refused > 0 || summary.reports_refused > 0 {
            writeln!(
                out,
                "{} spans and {} requests of agents refused: {}",
                summary.refused,
                summary.reports_refused,
                summary.refusal.as_deref().unwrap_or("without a word")
            )?;
        }
        if summary.repeated > 0 {
            writeln!(
                out,
                "{} spans were sent again because no answer came: the collector may have counted \
                 them twice",
                summary.repeated
            )?;
        }
        if summary.put_off > 0 {
            writeln!(
                out,
                "{} spans were sent again because the collector was busy or failed: it may have counted \
                 them more than once",
                summary.put_off
            )?;
        }
        if summary.stopped {
            writeln!(out, "Stopped before the end; {} spans were not sent", summary.unsent)?;
        }
        Ok(())
    }
}

impl ServerTotals {
    fn add(&mut self, series: &SeriesTruth) {
        self.count += series.count;
        match series.outcome.as_str() {
            "failure" => self.failures += series.count,
            "unfinished" => self.unfinished += series.count,
            _ => {}
        }
        for (ms, count) in &series.durations_ms {
            *self.durations_ms.entry(*ms).or_default() += count;
        }
    }

    fn quantile(&self, share: f64) -> u64 {
        nearest_rank(self.durations_ms.iter().map(|(ms, count)| (*ms, *count)), share)
    }
}
