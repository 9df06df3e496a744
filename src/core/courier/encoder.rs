//! Encodes OTLP with opentelemetry-otlp, and sends it through the courier's own HTTP client.

use super::client::{Client, ClientError};
use super::verdict::{Verdict, judge};
use crate::machine::Machine;
use crate::resource::resource;
use crate::settings::{Compression, Settings};
use http::Uri;
use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use std::sync::Arc;

/// Configures an exporter with every option, so that it reads nothing from the environment. The
/// exporter tries once.
pub fn configured<B: WithExportConfig + WithHttpConfig>(
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

/// Encodes batches of spans and posts each once.
#[derive(Debug)]
pub(super) struct Encoder {
    exporter: opentelemetry_otlp::SpanExporter,
    client: Arc<Client>,
}

impl Encoder {
    /// Prepares everything. Makes no connection yet.
    pub(super) fn new(client: Arc<Client>, settings: &Settings) -> Result<Self, ClientError> {
        let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
        let endpoint = client.endpoint().clone();
        let mut exporter = configured(builder, client.clone(), settings, &endpoint).build()?;
        exporter.set_resource(&resource(settings, Machine::this()));
        Ok(Self { exporter, client })
    }

    /// Posts `spans` once.
    pub(super) fn post(&self, spans: Vec<SpanData>) -> Verdict {
        let count = spans.len() as u64;
        // An SDK in the same process must not trace what the HTTP client does.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let result = futures_executor::block_on(self.exporter.export(spans));
        match (self.client.take_reply(), result) {
            (Some(reply), _) => judge(reply, count),
            // The request was never made, and another attempt would fail in the same way.
            (None, Err(error)) => Verdict::Refused { reason: error.to_string() },
            (None, Ok(())) => Verdict::Refused { reason: "no request was made".to_owned() },
        }
    }
}
