//! opentelemetry_sdk with its batch processor.
//!
//! Names are handed to it decoded and parsed, and whatever is constant as a `&'static str`: it
//! only copies what lives no longer than the call, as everyone must.

use super::{Subject, check};
use crate::Result;
use crate::operation::{ATTRIBUTES, OPERATION};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanKind, Tracer, TracerProvider};
use opentelemetry_otlp::{Compression, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the spans that `inner` has taken.
#[derive(Debug)]
pub struct Counting<E> {
    inner: E,
    exported: Arc<AtomicUsize>,
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.inner.export(batch).await?;
        self.exported.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Exports to nowhere.
#[derive(Debug)]
pub struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(black_box(batch));
        Ok(())
    }
}

/// A provider and a tracer.
#[derive(Debug)]
pub struct Sdk {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    exported: Arc<AtomicUsize>,
}

impl Sdk {
    /// Exports to nowhere.
    pub fn discarding() -> Self {
        Self::with(Nowhere)
    }

    /// Exports by OTLP/HTTP with opentelemetry-otlp's default client.
    pub fn exporting(endpoint: &str, gzip: bool) -> Result<Self> {
        let mut builder = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_protocol(Protocol::HttpBinary);
        if gzip {
            builder = builder.with_compression(Compression::Gzip);
        }
        Ok(Self::with(builder.build()?))
    }

    fn with(exporter: impl SpanExporter + 'static) -> Self {
        let exported = Arc::new(AtomicUsize::new(0));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Counting { inner: exporter, exported: Arc::clone(&exported) })
            .build();
        let tracer = provider.tracer("mpr-otel");
        Self { provider, tracer, exported }
    }

    /// Its tracer.
    pub fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    /// Spans exported since the start.
    pub fn exported(&self) -> usize {
        self.exported.load(Ordering::Relaxed)
    }
}

impl Subject for Sdk {
    fn record(&self, operations: usize) {
        for _ in 0..operations {
            let operation = black_box(OPERATION);
            let mut attributes = Vec::with_capacity(ATTRIBUTES);
            attributes.extend([
                KeyValue::new("mpr.operation.name", "add"),
                KeyValue::new("server.address", operation.server.to_owned()),
                KeyValue::new("mpr.share.name", operation.share.to_owned()),
                KeyValue::new("mpr.remote.name", operation.remote.to_owned()),
                KeyValue::new("mpr.local.name", operation.local.to_owned()),
                KeyValue::new("mpr.resource.type", "disk"),
                KeyValue::new("process.pid", 4711),
                KeyValue::new("process.executable.name", "mpr-otel-bench"),
                KeyValue::new("thread.id", 12),
            ]);
            let mut span = self
                .tracer
                .span_builder("mpr.add_connection")
                .with_kind(SpanKind::Client)
                .with_attributes(attributes)
                .start(&self.tracer);
            span.set_attribute(KeyValue::new("mpr.outcome", "success"));
            span.set_attribute(KeyValue::new("mpr.status.code", 0));
            span.set_attribute(KeyValue::new("mpr.provider.name", operation.provider.to_owned()));
            span.end();
        }
    }

    fn settle(&self, recorded: usize) -> Result<()> {
        self.provider.force_flush()?;
        check(recorded, self.exported())
    }
}
