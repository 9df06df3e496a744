//! From an operation to the span that is sent. docs/TELEMETRY.md is the reference.

use crate::clock;
use crate::operation::{Kind, Operation, Outcome};
use crate::origin::Origin;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::sync::Arc;

/// Name of the instrumentation scope.
pub const SCOPE: &str = "mpr-otel";

/// Builds the span of `operation`. `lost` is the number of operations lost since the last span
/// that said so.
pub fn span(operation: Operation, origin: &Origin, lost: u64) -> SpanData {
    let parent = origin.parent;
    let ids = origin.ids.ids(operation.number);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(ids.trace_id),
            SpanId::from_bytes(ids.span_id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span_id)),
        parent_span_is_remote: parent.is_some(),
        span_kind: SpanKind::Client,
        name: Cow::Borrowed(match operation.kind {
            Kind::Add => "mpr.add_connection",
            Kind::Cancel => "mpr.cancel_connection",
        }),
        start_time: clock::date(origin.anchor_unix_nanos, operation.started),
        end_time: clock::date(origin.anchor_unix_nanos, operation.ended),
        status: status(&operation),
        attributes: attributes(operation, origin, lost),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        instrumentation_scope: InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn status(operation: &Operation) -> Status {
    match operation.advice() {
        Some(sentence) => Status::error(sentence),
        None => Status::Unset,
    }
}

fn attributes(operation: Operation, origin: &Origin, lost: u64) -> Vec<KeyValue> {
    let identity = &origin.identity;
    let mut list = Vec::with_capacity(18);
    let mut add = |key: &'static str, value: Value| list.push(KeyValue::new(key, value));

    add(
        "mpr.operation.name",
        Value::from(match operation.kind {
            Kind::Add => "add",
            Kind::Cancel => "cancel",
        }),
    );
    add("mpr.outcome", Value::from(operation.outcome.name()));
    if let Some(code) = operation.status {
        add("mpr.status.code", Value::from(i64::from(code)));
    }
    if let Some(name) = operation.error_type() {
        add("error.type", Value::from(name));
    }
    if let Outcome::Failure(class) = operation.outcome {
        add("mpr.error.class", Value::from(class.name()));
    }
    if let Some(server) = operation.remote.server {
        add("server.address", Value::from(server));
    }
    if let Some(port) = operation.remote.port {
        add("server.port", Value::from(i64::from(port)));
    }
    if let Some(share) = operation.remote.share {
        add("mpr.share.name", Value::from(share));
    }
    if let Some(name) = operation.remote_name {
        add("mpr.remote.name", Value::from(name));
    }
    if let Some(name) = operation.local_name {
        add("mpr.local.name", Value::from(name));
    }
    if let Some(kind) = operation.resource_type {
        add("mpr.resource.type", Value::from(kind));
    }
    if let Some(provider) = operation.provider {
        add("mpr.provider.name", Value::from(provider));
    }
    if !operation.flags.is_empty() {
        let names = operation.flags.into_iter().map(StringValue::from).collect();
        add("mpr.connect.flags", Value::Array(Array::String(names)));
    }
    if let Some(force) = operation.force {
        add("mpr.force", Value::from(force));
    }
    add("process.pid", Value::from(i64::from(identity.pid)));
    if !identity.executable.is_empty() {
        add(
            "process.executable.name",
            Value::from(StringValue::from(Arc::clone(&identity.executable))),
        );
    }
    add("thread.id", Value::from(i64::from(operation.thread_id)));
    if let Some(session) = identity.session_id {
        add("mpr.session.id", Value::from(i64::from(session)));
    }
    if operation.truncated {
        add("mpr.truncated", Value::from(true));
    }
    if origin.recovered {
        add("mpr.recovered", Value::from(true));
    }
    if lost > 0 {
        add("mpr.lost", Value::from(i64::try_from(lost).unwrap_or(i64::MAX)));
    }
    list
}
