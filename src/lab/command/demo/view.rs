//! What the demo shows: a table by server, the failures, one span in full, the accounting.

use super::Failure;
use mpr_otel_core::ledger::Tally;
use mpr_otel_core::operation::Outcome;
use mpr_otel_core::win32_error::name;
use mpr_otel_lab::double::{Script, Step};
use mpr_otel_lab::nearest_rank;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

/// The demo's result.
pub(super) struct View {
    pub(super) summary: DemoSummary,
    errors: Vec<ErrorRow>,
    specimen: Option<Span>,
    sent_to: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct DemoSummary {
    operations: usize,
    spans: usize,
    failures: usize,
    unfinished: usize,
    lost: u64,
    duration_ms: u64,
    servers: Vec<ServerRow>,
}

#[derive(Debug, Serialize)]
struct ServerRow {
    server: String,
    count: usize,
    failures: usize,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

struct ErrorRow {
    name: String,
    class: String,
    count: usize,
    servers: BTreeSet<String>,
}

/// `mpr.outcome` of operations that have an error.
const FAILURE: &str = "failure";
const UNFINISHED: &str = "unfinished";

impl View {
    /// The view of spans that the embedded receiver got.
    pub(super) fn received(
        operations: usize,
        spans: &[Span],
        tally: Tally,
        elapsed: Duration,
    ) -> Self {
        let count = |outcome: &str| spans.iter().filter(|span| ended(span, outcome)).count();
        let specimen = spans
            .iter()
            .find(|span| text(span, "error.type").as_deref() == Some("ERROR_BAD_NETPATH"))
            .or_else(|| spans.first())
            .cloned();
        Self {
            summary: DemoSummary {
                operations,
                spans: spans.len(),
                failures: count(FAILURE),
                unfinished: count(UNFINISHED),
                lost: tally.lost_in_all(),
                duration_ms: elapsed.as_millis() as u64,
                servers: servers(spans),
            },
            errors: errors(spans),
            specimen,
            sent_to: None,
        }
    }

    /// The view of spans that a collector of the user's got: it has them, we have the counts.
    pub(super) fn sent(endpoint: &str, script: &Script, tally: Tally, elapsed: Duration) -> Self {
        let steps = || script.hosts.iter().flat_map(|host| host.threads.iter().flatten());
        let failed = |step: &&Step| matches!(step.outcome(), Outcome::Failure(_));
        Self {
            summary: DemoSummary {
                operations: script.operations(),
                spans: usize::try_from(tally.exported).unwrap_or(usize::MAX),
                failures: steps().filter(failed).count(),
                unfinished: steps().filter(|step| step.no_post).count(),
                lost: tally.lost_in_all(),
                duration_ms: elapsed.as_millis() as u64,
                servers: Vec::new(),
            },
            errors: Vec::new(),
            specimen: None,
            sent_to: Some(endpoint.to_owned()),
        }
    }

    /// Whether every operation became a span.
    pub(super) fn adds_up(&self) -> bool {
        self.summary.operations == self.summary.spans && self.summary.lost == 0
    }

    /// Writes it for people.
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match &self.sent_to {
            Some(endpoint) => {
                writeln!(out, "Sent to {endpoint}. Look there for traces of service `mpr-otel`,")?;
                writeln!(
                    out,
                    "spans `mpr.add_connection` and `mpr.cancel_connection`; {} of them",
                    self.summary.failures
                )?;
                writeln!(out, "failed, such as the ones with error.type = {}.", name(53))?;
            }
            None => {
                self.write_servers(out)?;
                self.write_errors(out)?;
                if let Some(span) = &self.specimen {
                    write_span(out, span)?;
                }
            }
        }
        let DemoSummary { operations, spans, lost, duration_ms, .. } = &self.summary;
        let sign = if self.adds_up() { "=" } else { "≠" };
        writeln!(
            out,
            "\n{operations} operations {sign} {spans} spans, {lost} lost, in {:.1} s",
            *duration_ms as f64 / 1e3
        )?;
        Ok(())
    }

    fn write_servers(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(
            out,
            "{:<26} {:>6} {:>9} {:>10} {:>10} {:>10}",
            "SERVER", "COUNT", "FAILURES", "P50 ms", "P95 ms", "MAX ms"
        )?;
        for row in &self.summary.servers {
            writeln!(
                out,
                "{:<26} {:>6} {:>9} {:>10.1} {:>10.1} {:>10.1}",
                row.server, row.count, row.failures, row.p50_ms, row.p95_ms, row.max_ms
            )?;
        }
        Ok(())
    }

    fn write_errors(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "\n{:<34} {:<15} {:>6}  SERVERS", "ERROR", "CLASS", "COUNT")?;
        for row in &self.errors {
            let servers: Vec<&str> = row.servers.iter().map(String::as_str).collect();
            writeln!(
                out,
                "{:<34} {:<15} {:>6}  {}",
                row.name,
                row.class,
                row.count,
                servers.join(", ")
            )?;
        }
        Ok(())
    }
}

/// A row for each server, the slowest first.
fn servers(spans: &[Span]) -> Vec<ServerRow> {
    let mut by_server: BTreeMap<String, (Vec<f64>, usize)> = BTreeMap::new();
    for span in spans {
        let (times, failures) = by_server.entry(server(span)).or_default();
        let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        times.push(nanos as f64 / 1e6);
        *failures += usize::from(ended(span, FAILURE));
    }
    let rows = by_server.into_iter().map(|(server, (mut times, failures))| {
        times.sort_by(f64::total_cmp);
        let quantile = |share| nearest_rank(times.iter().map(|time| (*time, 1)), share);
        ServerRow {
            server,
            count: times.len(),
            failures,
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            max_ms: quantile(1.0),
        }
    });
    let mut rows: Vec<ServerRow> = rows.collect();
    rows.sort_by(|a, b| b.p95_ms.total_cmp(&a.p95_ms));
    rows
}

/// A row for each error, the most frequent first.
fn errors(spans: &[Span]) -> Vec<ErrorRow> {
    let mut by_name: BTreeMap<String, ErrorRow> = BTreeMap::new();
    let with_error = |span: &&Span| ended(span, FAILURE) || ended(span, UNFINISHED);
    for span in spans.iter().filter(with_error) {
        let name = text(span, "error.type").unwrap_or_default();
        let row = by_name.entry(name.clone()).or_insert_with(|| ErrorRow {
            name,
            class: text(span, "mpr.error.class").unwrap_or_else(|| "-".into()),
            count: 0,
            servers: BTreeSet::new(),
        });
        row.count += 1;
        row.servers.insert(server(span));
    }
    let mut rows: Vec<ErrorRow> = by_name.into_values().collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    rows
}

/// Whether a span has this outcome.
fn ended(span: &Span, outcome: &str) -> bool {
    text(span, "mpr.outcome").as_deref() == Some(outcome)
}

/// The server of a span, as the tables name it.
fn server(span: &Span) -> String {
    text(span, "server.address").unwrap_or_else(|| "(by drive letter)".into())
}

fn write_span(out: &mut dyn Write, span: &Span) -> Result<(), Failure> {
    let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    writeln!(out, "\nOne span in full: {} ({:.1} ms)", span.name, nanos as f64 / 1e6)?;
    writeln!(out, "  {:<24} {}", "trace_id", hex(&span.trace_id))?;
    writeln!(out, "  {:<24} {}", "span_id", hex(&span.span_id))?;
    if let Some(status) = span.status.as_ref().filter(|status| !status.message.is_empty()) {
        writeln!(out, "  {:<24} Error: {}", "status", status.message)?;
    }
    for attribute in &span.attributes {
        let value = attribute.value.as_ref().map(show).unwrap_or_default();
        writeln!(out, "  {:<24} {value}", attribute.key)?;
    }
    Ok(())
}

fn show(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::ArrayValue(array)) => {
            let items: Vec<String> = array.values.iter().map(show).collect();
            format!("[{}]", items.join(", "))
        }
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref().map(show)
}
