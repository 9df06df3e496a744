//! fastrace: a root span with properties.

use super::{Subject, check};
use crate::Result;
use crate::operation::OPERATION;
use fastrace::Span;
use fastrace::collector::{Config, Reporter, SpanContext, SpanRecord};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the spans and throws them away.
struct Nowhere(Arc<AtomicUsize>);

impl Reporter for Nowhere {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        self.0.fetch_add(spans.len(), Ordering::Relaxed);
        drop(black_box(spans));
    }
}

/// The collector is the process' own.
#[derive(Debug)]
pub struct Fastrace {
    reported: Arc<AtomicUsize>,
}

impl Fastrace {
    /// Starts the collector.
    pub fn start() -> Self {
        let reported = Arc::new(AtomicUsize::new(0));
        fastrace::set_reporter(Nowhere(Arc::clone(&reported)), Config::default());
        Self { reported }
    }
}

impl Subject for Fastrace {
    fn record(&self, operations: usize) {
        for _ in 0..operations {
            let operation = black_box(OPERATION);
            let span =
                Span::root("mpr.add_connection", SpanContext::random()).with_properties(|| {
                    [
                        ("mpr.operation.name", "add".into()),
                        ("server.address", operation.server.to_owned().into()),
                        ("mpr.share.name", operation.share.to_owned().into()),
                        ("mpr.remote.name", operation.remote.to_owned().into()),
                        ("mpr.local.name", operation.local.to_owned().into()),
                        ("mpr.resource.type", "disk".into()),
                        // Its properties are text: what is a number elsewhere is given as text.
                        ("process.pid", "4711".into()),
                        ("process.executable.name", "mpr-otel-bench".into()),
                        ("thread.id", std::borrow::Cow::Borrowed("12")),
                    ]
                });
            span.add_properties(|| {
                [
                    ("mpr.outcome", "success".into()),
                    ("mpr.status.code", "0".into()),
                    ("mpr.provider.name", std::borrow::Cow::Owned(operation.provider.to_owned())),
                ]
            });
        }
    }

    fn settle(&self, recorded: usize) -> Result<()> {
        fastrace::flush();
        check(recorded, self.reported.load(Ordering::Relaxed))
    }
}
