//! Sends one batch at a time to a collector, and says when the next may go.
//!
//! Everything that sends OTLP does it through a [`Courier`]: the exporter in a host, the agent,
//! `status`, and the lab.

mod backoff;
mod basic_credentials;
mod cause;
mod client;
mod encoder;
mod json_answer;
mod schedule;
mod suspects;
mod transport;
mod verdict;

pub use cause::Cause;
pub use client::{Client, ClientError, Guard};
pub use encoder::configured;
pub use suspects::Suspects;
pub use verdict::Verdict;

use crate::settings::{Compression, Settings};
use encoder::Encoder;
use flate2::write::GzEncoder;
use http::{HeaderValue, Uri};
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use schedule::Schedule;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use verdict::judge;

/// Why nothing is sent if no setting names a collector.
const NO_ENDPOINT: &str = "no collector is named; set Endpoint";

/// The way to one collector.
#[derive(Debug)]
pub struct Courier {
    settings: Settings,
    /// `None` if no setting names a collector.
    endpoint: Option<Uri>,
    /// The guard of the agent, and of `drain` and `status`, which send as the agent does.
    guard: Option<Guard>,
    /// Made by the first batch. If that failed, the next batch tries again.
    connection: Option<Connection>,
    schedule: Schedule,
    trouble: Option<String>,
}

/// The encoder and the client, ready to send.
#[derive(Debug)]
struct Connection {
    client: Arc<Client>,
    encoder: Encoder,
}

impl Courier {
    /// A courier to the settings' endpoint. Makes no connection yet.
    pub fn new(settings: Settings) -> Self {
        let endpoint = settings.endpoint.clone();
        Self { endpoint, ..Self::nowhere(settings) }
    }

    /// This courier, sending as the agent does: see [`Client::of_agent`].
    #[must_use]
    pub fn of_agent(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// A courier to another endpoint of the same collector.
    pub fn to(settings: Settings, endpoint: Uri) -> Self {
        Self { endpoint: Some(endpoint), ..Self::nowhere(settings) }
    }

    fn nowhere(settings: Settings) -> Self {
        Self {
            schedule: Schedule::new(settings.batch_max, settings.batch_delay),
            settings,
            endpoint: None,
            guard: None,
            connection: None,
            trouble: None,
        }
    }

    /// Sends `spans` once, within the settings' time-out. On Windows each step of the request has
    /// that time for itself. If the collector did not take the batch (`Verdict::Later`), the caller
    /// sends it again after [`wait`](Self::wait).
    pub fn send(&mut self, spans: Vec<SpanData>) -> Verdict {
        let count = spans.len() as u64;
        let verdict = self.attempt(|connection, _| connection.encoder.post(spans));
        self.conclude(count, verdict)
    }

    /// Sends an OTLP request that was made elsewhere, with `items` spans or data points.
    pub fn send_request(&mut self, request: &impl Message, items: u64) -> Verdict {
        let verdict = self.attempt(|connection, settings| {
            let (body, encoding) = encode(request, settings.compression);
            judge(connection.client.post(&body, encoding), items)
        });
        self.conclude(items, verdict)
    }

    /// Whether a collector accepts spans. The answer is its verdict on an empty batch, which every
    /// OTLP receiver accepts.
    pub fn probe(&mut self) -> Verdict {
        self.attempt(|connection, _| connection.encoder.post(Vec::new()))
    }

    /// Whether the collector takes an empty batch. If it does, its failure at another batch is
    /// about that batch.
    pub fn takes_empty_batches(&mut self) -> bool {
        matches!(self.probe(), Verdict::Accepted { rejected: 0, .. })
    }

    /// How long to wait before the next batch; zero if it may go at once.
    pub fn wait(&self) -> Duration {
        self.schedule.wait(Instant::now())
    }

    /// The most items that the next batch may have. After a failure it is one, and it doubles after
    /// each success. After a refusal it is half of the refused batch.
    pub fn at_most(&self) -> usize {
        self.schedule.at_most()
    }

    /// Why the collector did not take the last batch. `None` if it took the batch or refused it for
    /// good.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Delays the next batch by at least what the server `asked` for, and limits that batch to one
    /// item. Returns the delay.
    pub fn postpone(&mut self, asked: Option<Duration>) -> Duration {
        self.schedule.failed(asked, Instant::now())
    }

    fn attempt(&mut self, post: impl FnOnce(&Connection, &Settings) -> Verdict) -> Verdict {
        let Some(endpoint) = &self.endpoint else {
            return Verdict::Later {
                reason: NO_ENDPOINT.to_owned(),
                after: None,
                cause: Cause::Setup,
            };
        };
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => match Connection::new(&self.settings, endpoint, self.guard) {
                Ok(connection) => self.connection.insert(connection),
                // A certificate that is missing now may be there in a minute.
                Err(error) => {
                    let reason = error.to_string();
                    return Verdict::Later { reason, after: None, cause: Cause::Silence };
                }
            },
        };
        post(connection, &self.settings)
    }

    /// Logs a verdict on a batch of `items`, and decides when the next batch may go.
    fn conclude(&mut self, items: u64, verdict: Verdict) -> Verdict {
        let count = usize::try_from(items).unwrap_or(usize::MAX);
        match &verdict {
            Verdict::Later { reason, after, .. } => {
                let wait = self.postpone(*after);
                tracing::warn!(items, reason, wait_ms = wait.as_millis(), "will send again");
                self.trouble = Some(reason.clone());
                return verdict;
            }
            Verdict::Accepted { rejected, message } => {
                self.schedule.taken(count, Instant::now());
                if *rejected > 0 || !message.is_empty() {
                    // The field is not called `message`, because tracing would then replace the log
                    // line's text.
                    tracing::warn!(rejected, said = message, "the collector accepted a part");
                }
            }
            Verdict::Refused { reason } | Verdict::Divide { reason } => {
                self.schedule.refused(count);
                tracing::warn!(items, reason, "the collector refused a batch");
            }
        }
        self.trouble = None;
        verdict
    }
}

impl Connection {
    fn new(settings: &Settings, endpoint: &Uri, guard: Option<Guard>) -> Result<Self, ClientError> {
        let client = Arc::new(match guard {
            Some(guard) => Client::of_agent(settings, endpoint.clone(), guard),
            None => Client::of_host(settings, endpoint.clone()),
        }?);
        Ok(Self { encoder: Encoder::new(client.clone(), settings)?, client })
    }
}

/// The endpoint for metrics that belongs to the endpoint for spans. `None` if the latter's path is
/// not OTLP's.
pub fn metrics_endpoint(traces: &Uri) -> Option<Uri> {
    let base = traces.to_string();
    let base = base.strip_suffix("/v1/traces")?;
    format!("{base}/v1/metrics").parse().ok()
}

/// Encodes a message, compressed as the settings say. Returns it with its Content-Encoding.
fn encode(message: &impl Message, compression: Compression) -> (Vec<u8>, Option<HeaderValue>) {
    let plain = message.encode_to_vec();
    if compression == Compression::None {
        return (plain, None);
    }
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    // A write to memory does not fail. If it did, the body would go uncompressed.
    match encoder.write_all(&plain).and_then(|()| encoder.finish()) {
        Ok(packed) => (packed, Some(HeaderValue::from_static("gzip"))),
        Err(_) => (plain, None),
    }
}

#[cfg(test)]
mod tests;
