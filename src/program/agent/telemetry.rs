//! The agent's telemetry about itself: OTLP metrics, and a span around each batch.
//!
//! The agent reports what happens through `tracing`, under one target. Layers of
//! tracing-opentelemetry make metrics and spans of that. Nothing that their exporters do has this
//! target, so there is never telemetry about telemetry.

use super::report::Report;
use super::watchdog::Watchdog;
use crate::guard::may_have_secrets;
use crate::printable::Printable;
use crate::store::{Counts, LOSSES};
use mpr_otel_core::courier::{Client, ClientError, Verdict, configured, metrics_endpoint};
use mpr_otel_core::intake::{Round, Sights};
use mpr_otel_core::machine::Machine;
use mpr_otel_core::resource;
use mpr_otel_core::settings::Settings;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream,
};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::MetricsLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The target of events that are metrics, and of spans that are exported.
const TARGET: &str = "mpr_otel::telemetry";
/// An event that is a metric. The prefixes of its fields say what kind, as tracing-opentelemetry
/// defines.
macro_rules! said {
    ($($fields:tt)*) => {
        tracing::event!(target: TARGET, Level::INFO, { $($fields)* })
    };
}

/// Name of the instrumentation scope of the agent's own spans.
const SCOPE: &str = "mpr-otel-agent";
/// How long the agent's own spans wait for others. An agent without work should sleep.
const SPAN_DELAY: Duration = Duration::from_secs(60);
/// The default of `OTEL_METRIC_EXPORT_INTERVAL` in OpenTelemetry's specification.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The client could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// opentelemetry-otlp would not build an exporter.
    #[error("cannot build an exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Another subscriber already gets this process' events.
    #[error("cannot subscribe to the agent's own events: {0}")]
    Subscriber(#[from] TryInitError),
}

/// The running exporters of the agent's own telemetry.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Option<SdkMeterProvider>,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts exporting, and logging to standard error (if it is `heard`) and the log file.
    pub fn start(settings: &Settings, heard: bool) -> Result<Self, TelemetryError> {
        let resource = resource::agent_resource(settings, Machine::this());
        let (traces, metrics) = exporters(settings, resource)?;
        let ours = filter_fn(|metadata| metadata.target() == TARGET);
        let log = settings.log.as_deref().map(open_log).transpose();
        let (log, no_log) = match log {
            Ok(log) => (log.map(Mutex::new), None),
            Err(error) => (None, Some(error)),
        };
        tracing_subscriber::registry()
            .with(
                metrics
                    .clone()
                    .map(|provider| MetricsLayer::new(provider).with_filter(ours.clone())),
            )
            .with(traces.as_ref().map(|traces: &SdkTracerProvider| {
                tracing_opentelemetry::layer()
                    .with_tracer(traces.tracer(SCOPE))
                    .with_location(false)
                    .with_threads(false)
                    .with_target(false)
                    .with_filter(ours)
            }))
            .with(heard.then(|| {
                tracing_subscriber::fmt::layer()
                    .fmt_fields(printable_fields())
                    .with_target(false)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr)
                    .with_filter(words(Level::INFO))
            }))
            .with(log.map(|file| {
                tracing_subscriber::fmt::layer()
                    .fmt_fields(printable_fields())
                    .with_target(false)
                    .with_ansi(false)
                    .with_writer(file)
                    .with_filter(words(Level::DEBUG))
            }))
            .try_init()?;
        if let Some(error) = no_log {
            tracing::warn!(%error, "the agent works without its log; MPR_OTEL_LOG names it");
        }
        Ok(Self { metrics, traces })
    }

    /// Adds gauges for the agent's version, and for how long ago it made progress, even if it
    /// hangs.
    pub(super) fn watch(&self, watchdog: &Watchdog) {
        let Some(metrics) = &self.metrics else { return };
        let meter = metrics.meter(SCOPE);
        let watched = watchdog.clone();
        meter
            .f64_observable_gauge("mpr.agent.last_round")
            .with_unit("s")
            .with_callback(move |age| age.observe(watched.since_progress().as_secs_f64(), &[]))
            .build();
        let (_, build) = mpr_otel_core::platform::os_version();
        let version = [
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("os.build_id", build.unwrap_or_default()),
        ];
        meter
            .u64_observable_gauge("mpr.agent.info")
            .with_callback(move |info| info.observe(1, &version))
            .build();
    }

    /// Sends what has not been sent. May take as long as a request.
    pub fn finish(self) {
        // If this fails, there is nowhere left to report it.
        if let Some(metrics) = self.metrics {
            let _ = metrics.shutdown();
        }
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
    }
}

/// The exporters of the agent's own spans and metrics. Without an endpoint there are none. If the
/// endpoint is only for traces, there are none for metrics.
fn exporters(
    settings: &Settings,
    resource: Resource,
) -> Result<(Option<SdkTracerProvider>, Option<SdkMeterProvider>), TelemetryError> {
    let Some(endpoint) = &settings.endpoint else {
        return Ok((None, None));
    };
    let client = Arc::new(Client::of_agent(settings, endpoint.clone(), may_have_secrets)?);
    let spans = opentelemetry_otlp::SpanExporter::builder().with_http();
    let spans = configured(spans, client, settings, endpoint);
    let batches = BatchConfigBuilder::default().with_scheduled_delay(SPAN_DELAY).build();
    let batches = BatchSpanProcessor::builder(spans.build()?).with_batch_config(batches).build();
    let traces = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_span_processor(batches)
        .build();
    let Some(endpoint) = metrics_endpoint(endpoint) else {
        return Ok((Some(traces), None));
    };
    let client = Arc::new(Client::of_agent(settings, endpoint.clone(), may_have_secrets)?);
    let exporter = opentelemetry_otlp::MetricExporter::builder().with_http();
    let exporter = configured(exporter, client, settings, &endpoint);
    let reader =
        PeriodicReader::builder(exporter.build()?).with_interval(metric_interval()).build();
    let metrics = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(reader)
        .with_view(view)
        .build();
    Ok((Some(traces), Some(metrics)))
}

/// Writes an event's fields. Collectors, users, files and paths wrote some of the texts, and such a
/// text must not begin a line or control a terminal. So every field and the message is a
/// [`Printable`].
pub(super) fn printable_fields() -> impl for<'w> FormatFields<'w> + 'static {
    debug_fn(|writer, field, value| {
        let value = Printable::from(format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

/// Opens the log for appending.
fn open_log(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// The events for people: those of `level` or above that are not metrics.
fn words(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool + Clone> {
    FilterFn::new(move |metadata: &Metadata<'_>| {
        metadata.target() != TARGET && *metadata.level() <= level
    })
}

/// How often metrics are sent: `OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds. The agent is the
/// product's own process, so this variable is meant for it.
pub(super) fn metric_interval() -> Duration {
    std::env::var("OTEL_METRIC_EXPORT_INTERVAL")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|millis| *millis > 0)
        .map_or(METRIC_INTERVAL, Duration::from_millis)
}

/// Adds units, and buckets in seconds. An event cannot contain them.
fn view(instrument: &Instrument) -> Option<Stream> {
    let stream = |unit: &'static str| Stream::builder().with_unit(unit);
    let stream = match instrument.name() {
        "otel.sdk.exporter.operation.duration" => {
            stream("s").with_aggregation(Aggregation::ExplicitBucketHistogram {
                boundaries: vec![0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0],
                record_min_max: true,
            })
        }
        name if name.starts_with("otel.sdk.exporter.span.") => stream("{span}"),
        name if name.starts_with("mpr.operation.") => stream("{operation}"),
        "mpr.store.size" => stream("By"),
        name if name.starts_with("mpr.ledger.") => stream("{ledger}"),
        _ => return None,
    };
    stream.build().ok()
}

/// A batch that is being sent.
pub(super) struct Export {
    span: Span,
    spans: u64,
    started: Instant,
}

impl Export {
    /// Begins a request with `spans` spans.
    pub(super) fn begin(spans: u64) -> Self {
        said!("counter.otel.sdk.exporter.span.inflight" = spans as i64);
        let span = tracing::info_span!(
            target: TARGET,
            "export",
            "mpr.batch.spans" = spans,
            "error.type" = tracing::field::Empty,
            "otel.kind" = "client",
            "otel.status_code" = tracing::field::Empty,
        );
        Self { span, spans, started: Instant::now() }
    }

    /// Ends the request with its verdict.
    pub(super) fn end(self, verdict: &Verdict) {
        let (exported, refused, error) = match verdict {
            Verdict::Accepted { rejected, .. } => (self.spans - rejected, *rejected, None),
            Verdict::Refused { .. } => (0, self.spans, Some("rejected")),
            // When its halves are sent, it shows which spans are refused.
            Verdict::Divide { .. } => (0, 0, Some("divided")),
            Verdict::Later { .. } => (0, self.spans, Some("unavailable")),
        };
        let seconds = self.started.elapsed().as_secs_f64();
        said!("counter.otel.sdk.exporter.span.inflight" = -(self.spans as i64));
        said!("monotonic_counter.otel.sdk.exporter.span.exported" = exported);
        if refused > 0 {
            let error = error.unwrap_or("rejected");
            said!(
                "monotonic_counter.otel.sdk.exporter.span.exported" = refused,
                "error.type" = error
            );
        }
        match error {
            None => said!("histogram.otel.sdk.exporter.operation.duration" = seconds),
            Some(error) => {
                said!(
                    "histogram.otel.sdk.exporter.operation.duration" = seconds,
                    "error.type" = error
                );
                self.span.record("error.type", error).record("otel.status_code", "ERROR");
            }
        }
    }
}

/// Reports that a round was taken over.
pub(super) fn took_over(round: &Round) {
    if round.removed > 0 {
        said!("monotonic_counter.mpr.ledger.removed" = round.removed);
    }
    if round.damaged > 0 {
        said!("monotonic_counter.mpr.ledger.quarantined" = round.damaged);
    }
}

/// Reports the counts' increase, and the totals in `report`.
pub(super) fn counted(grown: &Counts, report: &Report, sights: Sights) {
    said!("monotonic_counter.mpr.operation.seen" = grown.seen());
    said!("monotonic_counter.mpr.operation.exported" = grown.exported());
    said!("monotonic_counter.mpr.operation.repeated" = grown.repeated());
    let lost = grown.lost();
    for reason in LOSSES {
        let count = lost.get(reason).copied().unwrap_or(0);
        said!("monotonic_counter.mpr.operation.lost" = count, "mpr.loss.reason" = reason);
    }
    for (outcome, class, count) in grown.ended() {
        match class {
            "" => said!("monotonic_counter.mpr.operation.ended" = count, "mpr.outcome" = outcome),
            class => said!(
                "monotonic_counter.mpr.operation.ended" = count,
                "mpr.outcome" = outcome,
                "mpr.error.class" = class
            ),
        }
    }
    // A dashboard has to distinguish zero from unknown.
    said!("monotonic_counter.mpr.ledger.removed" = 0_u64);
    said!("monotonic_counter.mpr.ledger.quarantined" = 0_u64);
    said!("gauge.mpr.operation.pending" = report.pending);
    said!("gauge.mpr.store.size" = report.store_bytes);
    let owners = [("held", sights.held), ("live", sights.live), ("refused", sights.refused)];
    for (state, count) in owners {
        said!("gauge.mpr.ledger.count" = count as u64, "mpr.ledger.state" = state);
    }
    said!("gauge.mpr.owner.deferred" = sights.deferred as u64);
}
