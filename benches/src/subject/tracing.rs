//! tracing and tracing-opentelemetry over the SDK, without the attributes that the layer adds of
//! its own accord: they would be more than the others set.

use super::{Subject, sdk::Sdk};
use crate::Result;
use crate::operation::OPERATION;
use std::hint::black_box;
use tracing::field::Empty;
use tracing_subscriber::layer::SubscriberExt;

/// The subscriber is the process' own.
#[derive(Debug)]
pub struct Tracing {
    sdk: Sdk,
}

impl Tracing {
    /// Installs the subscriber.
    pub fn start() -> Result<Self> {
        let sdk = Sdk::discarding();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(sdk.tracer().clone())
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        Ok(Self { sdk })
    }
}

impl Subject for Tracing {
    fn record(&self, operations: usize) {
        for _ in 0..operations {
            let operation = black_box(OPERATION);
            let span = tracing::info_span!(
                "mpr.add_connection",
                "otel.kind" = "client",
                "mpr.operation.name" = "add",
                "server.address" = operation.server,
                "mpr.share.name" = operation.share,
                "mpr.remote.name" = operation.remote,
                "mpr.local.name" = operation.local,
                "mpr.resource.type" = "disk",
                "process.pid" = 4711,
                "process.executable.name" = "mpr-otel-bench",
                "thread.id" = 12,
                "mpr.outcome" = Empty,
                "mpr.status.code" = Empty,
                "mpr.provider.name" = Empty,
            );
            span.record("mpr.outcome", "success");
            span.record("mpr.status.code", 0);
            span.record("mpr.provider.name", operation.provider);
        }
    }

    fn settle(&self, recorded: usize) -> Result<()> {
        self.sdk.settle(recorded)
    }
}
