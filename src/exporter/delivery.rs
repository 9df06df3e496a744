//! One attempt to deliver a batch, and what to do after it.

use super::client::{Client, ClientError, Reply};
use crate::resource::{Machine, resource};
use crate::settings::{Compression, Settings};
use http::Uri;
use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// What becomes of a batch after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The collector has it (OTLP: full or partial success).
    Accepted {
        /// Spans that it refused for good.
        rejected: u64,
        /// What it said, if anything.
        message: String,
    },
    /// The collector refused all of it for good.
    Refused {
        /// Why.
        reason: String,
    },
    /// Send it again.
    Later {
        /// Why.
        reason: String,
        /// Not before this has passed, if the server said so.
        after: Option<Duration>,
    },
}

/// An exporter that is given everything, so that it takes nothing from the environment, and that
/// tries once.
pub(crate) fn configured<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    client: Arc<Client>,
    settings: &Settings,
    endpoint: &Uri,
) -> B {
    let builder = builder
        .with_shared_http_client(client)
        .with_endpoint(endpoint.to_string())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(settings.timeout)
        .with_retry_policy(RetryPolicy::disabled());
    match settings.compression {
        Compression::Gzip => builder.with_compression(opentelemetry_otlp::Compression::Gzip),
        Compression::None => builder,
    }
}

/// Sends batches to one collector.
#[derive(Debug)]
pub struct Delivery {
    exporter: opentelemetry_otlp::SpanExporter,
    client: Arc<Client>,
}

impl Delivery {
    /// Prepares delivery as the settings say. Connects to nobody yet.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        let client = Arc::new(Client::new(settings)?);
        let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
        let builder = configured(builder, client.clone(), settings, &settings.endpoint);
        let mut exporter = builder.build()?;
        exporter.set_resource(&resource(settings, Machine::this()));
        Ok(Self { exporter, client })
    }

    /// Sends `spans` once. Takes no longer than the settings' time-out.
    pub fn send(&self, spans: Vec<SpanData>) -> Verdict {
        // What the HTTP client does is not to be traced by us or by an SDK in the same process.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let result = futures_executor::block_on(self.exporter.export(spans));
        match (self.client.take_reply(), result) {
            (Some(reply), _) => judge(reply),
            // The request was never made; making it again would end the same way.
            (None, Err(error)) => Verdict::Refused { reason: error.to_string() },
            (None, Ok(())) => Verdict::Refused { reason: "no request was made".to_owned() },
        }
    }
}

/// What an answer means (OTLP spec: OTLP/HTTP response).
pub(crate) fn judge(reply: Reply) -> Verdict {
    match reply {
        Reply::Failed(reason) => Verdict::Later { reason, after: None },
        Reply::Answer { status: 200..=299, body, .. } => {
            // A body that is no OTLP is not held against a server that said it has the spans.
            let partial = ExportTraceServiceResponse::decode(body)
                .ok()
                .and_then(|response| response.partial_success)
                .unwrap_or_default();
            Verdict::Accepted {
                rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
                message: partial.error_message,
            }
        }
        // A redirect took nothing: a gate page of a guest network, or an endpoint to correct.
        Reply::Answer { status: status @ 300..=399, location, .. } => Verdict::Later {
            reason: format!(
                "status {status}: redirected to {}; set the endpoint to where the collector is",
                location.as_deref().unwrap_or("nowhere")
            ),
            after: None,
        },
        Reply::Answer { status: status @ (429 | 502 | 503 | 504), retry_after, .. } => {
            Verdict::Later { reason: format!("status {status}"), after: retry_after }
        }
        Reply::Answer { status, body, .. } => {
            let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            Verdict::Refused { reason: format!("status {status}: {said:?}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    fn answer(status: u16, body: Vec<u8>) -> Verdict {
        judge(Reply::Answer { status, retry_after: None, location: None, body: body.into() })
    }

    fn accepted(rejected: u64, message: &str) -> Verdict {
        Verdict::Accepted { rejected, message: message.to_owned() }
    }

    #[test]
    fn success_is_success_whatever_its_body() {
        assert_eq!(answer(200, vec![]), accepted(0, ""));
        assert_eq!(answer(202, b"<html>".to_vec()), accepted(0, ""));
    }

    #[test]
    fn partial_success_tells_how_many_were_refused_and_why() {
        let body = |rejected_spans| {
            ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans,
                    error_message: "too old".to_owned(),
                }),
            }
            .encode_to_vec()
        };
        assert_eq!(answer(200, body(3)), accepted(3, "too old"));
        assert_eq!(answer(200, body(-1)), accepted(0, "too old"));
    }

    #[test]
    fn only_the_statuses_of_the_specification_and_redirects_are_sent_again() {
        for status in [301, 302, 307, 308, 429, 502, 503, 504] {
            assert!(matches!(answer(status, vec![]), Verdict::Later { .. }), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 415, 500, 501, 505] {
            assert!(matches!(answer(status, vec![]), Verdict::Refused { .. }), "{status}");
        }
        assert!(matches!(judge(Reply::Failed(String::new())), Verdict::Later { .. }));
    }

    #[test]
    fn the_wait_a_server_asks_for_is_passed_on() {
        let after = Some(Duration::from_secs(7));
        let reply = Reply::Answer {
            status: 429,
            retry_after: after,
            location: None,
            body: Default::default(),
        };
        assert_eq!(judge(reply), Verdict::Later { reason: "status 429".to_owned(), after });
    }
}
