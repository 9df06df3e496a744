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

/// Why nothing is sent where no setting names a collector.
const NO_ENDPOINT: &str = "no collector is named; set Endpoint";

/// The way to one collector.
#[derive(Debug)]
pub struct Courier {
    settings: Settings,
    /// `None`: no setting names a collector.
    endpoint: Option<Uri>,
    /// Of the agent, and of what stands in for it.
    guard: Option<Guard>,
    /// Made by the first batch; made again by the next if it could not be made.
    connection: Option<Connection>,
    schedule: Schedule,
    trouble: Option<String>,
}

/// What is ready to send.
#[derive(Debug)]
struct Connection {
    client: Arc<Client>,
    encoder: Encoder,
}

impl Courier {
    /// A courier to the settings' endpoint. Connects to nobody yet.
    pub fn new(settings: Settings) -> Self {
        let endpoint = settings.endpoint.clone();
        Self { endpoint, ..Self::nowhere(settings) }
    }

    /// One that sends as the agent does: see [`Client::of_agent`].
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

    /// Sends `spans` once, within the settings' time-out, which on Windows each step has for itself. What
    /// the collector did not take (`Verdict::Later`) is to be sent again once [`wait`](Self::wait) has passed.
    pub fn send(&mut self, spans: Vec<SpanData>) -> Verdict {
        let count = spans.len() as u64;
        let verdict = self.attempt(|connection, _| connection.encoder.post(spans));
        self.conclude(count, verdict)
    }

    /// Sends an OTLP request of `items` spans or data points that was made elsewhere.
    pub fn send_request(&mut self, request: &impl Message, items: u64) -> Verdict {
        let verdict = self.attempt(|connection, settings| {
            let (body, encoding) = encode(request, settings.compression);
            judge(connection.client.post(&body, encoding), items)
        });
        self.conclude(items, verdict)
    }

    /// Whether a collector accepts spans: its verdict on an empty batch, which every OTLP receiver
    /// accepts.
    pub fn probe(&mut self) -> Verdict {
        self.attempt(|connection, _| connection.encoder.post(Vec::new()))
    }

    /// Whether the collector is there, so that what it fails at is in a batch.
    pub fn takes_empty_batches(&mut self) -> bool {
        matches!(self.probe(), Verdict::Accepted { rejected: 0, .. })
    }

    /// How long to wait before the next batch; zero if it may go at once.
    pub fn wait(&self) -> Duration {
        self.schedule.wait(Instant::now())
    }

    /// The most items that the next batch may have: one after a failure, and twice as many after each
    /// success. After a refusal it is half of what was refused.
    pub fn at_most(&self) -> usize {
        self.schedule.at_most()
    }

    /// Why the collector did not take the last batch; `None` if it did, or refused it for good.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Puts the next batch off, not less than the server `asked` for, and lets it have one item. Returns
    /// for how long.
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

    /// Logs a verdict on a batch of `items`, and draws from it when the next may go.
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
                    // Not as the field `message`, which takes the place of what is said here.
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

/// The endpoint for metrics beside that for spans; `None` if the latter is not where OTLP has it.
pub fn metrics_endpoint(traces: &Uri) -> Option<Uri> {
    let base = traces.to_string();
    let base = base.strip_suffix("/v1/traces")?;
    format!("{base}/v1/metrics").parse().ok()
}

/// A message as the settings want it on the wire, with its Content-Encoding.
fn encode(message: &impl Message, compression: Compression) -> (Vec<u8>, Option<HeaderValue>) {
    let plain = message.encode_to_vec();
    if compression == Compression::None {
        return (plain, None);
    }
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Memory takes everything; if it did not, plain is as good.
    match encoder.write_all(&plain).and_then(|()| encoder.finish()) {
        Ok(packed) => (packed, Some(HeaderValue::from_static("gzip"))),
        Err(_) => (plain, None),
    }
}

#[cfg(test)]
mod tests;
