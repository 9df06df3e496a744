//! Makes the span of an operation. docs/TELEMETRY.md is the reference.

use crate::attribute::{Attributes, Text, span};
use crate::clock;
use crate::machine::logon_id;
use crate::operation::{Kind, Operation};
use crate::origin::Origin;
use crate::privacy::Disclosed;
use crate::win32_error::Class;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::sync::Arc;

/// Name of the instrumentation scope.
pub const SCOPE: &str = "mpr-otel";
/// The version of OpenTelemetry's semantic conventions that the names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Builds the span of an operation. `lost` is the number of operations lost since the last span
/// that reported a loss.
pub fn span(operation: Disclosed, origin: &Origin, lost: u64) -> SpanData {
    let operation = operation.into_operation();
    let parent = origin.parent;
    let ids = origin.ids.ids(operation.number);
    let started = started_unix_nanos(&operation, origin);
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
        start_time: clock::date(started, 0),
        end_time: clock::date(started, operation.ended.saturating_sub(operation.started)),
        status: status(&operation),
        attributes: attributes(operation, origin, lost).into_list(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        instrumentation_scope: InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build(),
    }
}

/// The date of an operation's PRE, in nanoseconds since 1970.
pub fn started_unix_nanos(operation: &Operation, origin: &Origin) -> u64 {
    match operation.started_unix_nanos {
        0 => origin.anchor_unix_nanos.saturating_add(operation.started),
        wall => wall,
    }
}

fn status(operation: &Operation) -> Status {
    match operation.advice() {
        Some(sentence) => Status::error(sentence),
        None => Status::Unset,
    }
}

fn attributes(operation: Operation, origin: &Origin, lost: u64) -> Attributes {
    let identity = &origin.identity;
    let class = operation.outcome.class().map(Class::name);
    let error_type = operation.error_type();
    let flags: Vec<Text> = operation.flags.into_iter().map(Text::from).collect();
    let executable = (!identity.executable.is_empty()).then(|| Arc::clone(&identity.executable));
    let flag = |is: bool| is.then_some(true);

    let mut list = Attributes::with_capacity(24);
    list.add(&span::OPERATION_NAME, operation.kind.name());
    list.add(&span::OUTCOME, operation.outcome.name());
    list.add_some(&span::STATUS_CODE, operation.status);
    list.add_some(&span::ERROR_TYPE, error_type);
    list.add_some(&span::ERROR_CLASS, class);
    list.add_some(&span::SERVER_ADDRESS, operation.remote.server);
    list.add_some(&span::SERVER_PORT, operation.remote.port);
    list.add_some(&span::NETWORK_PROTOCOL_NAME, operation.protocol);
    list.add_some(&span::SHARE_NAME, operation.remote.share);
    list.add_some(&span::DFS_LINK, operation.remote.link);
    list.add_some(&span::REMOTE_NAME, operation.remote_name);
    list.add_some(&span::LOCAL_NAME, operation.local_name);
    list.add_some(&span::RESOURCE_TYPE, operation.resource_type);
    list.add_some(&span::PROVIDER_NAME, operation.provider);
    list.add_some(&span::CONNECT_FLAGS, (!flags.is_empty()).then_some(flags));
    list.add_some(&span::FORCE, operation.force);
    list.add(&span::PROCESS_PID, identity.pid);
    list.add_some(&span::PROCESS_EXECUTABLE_NAME, executable);
    list.add(&span::THREAD_ID, operation.thread_id);
    list.add_some(&span::SESSION_ID, operation.session_id.or(identity.session_id));
    let luid = operation.logon_id;
    list.add_some(&span::LOGON_ID, (luid != 0).then(|| logon_id(origin.boot_id, luid)));
    list.add_some(&span::ELEVATION, operation.elevation);
    list.add_some(&span::IMPERSONATED, flag(operation.impersonated));
    list.add_some(&span::SERVICE, identity.service.clone());
    let asleep = operation.asleep / 1_000_000_000;
    list.add_some(&span::SUSPENDED, (asleep > 0).then_some(asleep as i64));
    list.add_some(&span::TRUNCATED, flag(operation.truncated));
    list.add_some(&span::RECOVERED, flag(origin.recovered));
    list.add_some(&span::LOST, (lost > 0).then(|| i64::try_from(lost).unwrap_or(i64::MAX)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Body, ELEVATION_LIMITED, KIND_ADD, Record};
    use crate::privacy::Privacy;
    use crate::process::Identity;
    use crate::trace_context::IdSource;

    /// The attributes of the span of an add. `write` fills in what PRE and POST recorded.
    fn said(write: impl FnOnce(&mut Body)) -> Vec<(String, String)> {
        let mut body = Body::empty();
        body.kind = KIND_ADD;
        write(&mut body);
        let record = Record { unfinished: false, number: 1, body };
        let origin = Origin {
            identity: Identity {
                pid: 1,
                executable: "svchost.exe".into(),
                session_id: Some(0),
                service: Some("Schedule".into()),
            },
            parent: None,
            ids: IdSource::new([1, 2, 3], None),
            anchor_unix_nanos: 0,
            boot_id: 7,
            recovered: false,
        };
        let operation = Privacy::FULL.disclose(Operation::decode(&record).unwrap());
        let attributes = span(operation, &origin, 0).attributes;
        let text = |value: &opentelemetry::Value| value.as_str().into_owned();
        attributes.iter().map(|one| (one.key.to_string(), text(&one.value))).collect()
    }

    fn one<'a>(said: &'a [(String, String)], key: &str) -> Option<&'a str> {
        said.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    #[test]
    fn a_span_names_the_logon_of_the_operation_and_not_the_hosts() {
        let said = said(|body| {
            body.session_id = 3;
            body.logon_id = 0x3e7_0000_0001;
            body.elevation = ELEVATION_LIMITED;
            body.impersonated = 1;
        });
        assert_eq!(one(&said, "mpr.session.id"), Some("3"));
        assert_eq!(one(&said, "mpr.logon.id"), Some(&*logon_id(7, 0x3e7_0000_0001)));
        assert_eq!(one(&said, "mpr.elevation"), Some("limited"));
        assert_eq!(one(&said, "mpr.impersonated"), Some("true"));
        assert_eq!(one(&said, "mpr.service"), Some("Schedule"));
    }

    #[test]
    fn unknown_facts_of_a_logon_are_left_out() {
        let said = said(|_| {});
        assert_eq!(one(&said, "mpr.session.id"), Some("0"), "the host's");
        for key in ["mpr.logon.id", "mpr.elevation", "mpr.impersonated", "mpr.suspended"] {
            assert_eq!(one(&said, key), None, "{key}");
        }
    }

    #[test]
    fn a_logon_has_another_id_after_the_next_boot() {
        assert_ne!(logon_id(7, 1), logon_id(8, 1));
        assert_ne!(logon_id(7, 1), logon_id(7, 2));
        assert_eq!(logon_id(7, 1).len(), 16);
    }

    #[test]
    fn whole_seconds_of_sleep_are_an_attribute_and_not_in_the_duration() {
        let second = 1_000_000_000;
        let said = said(|body| {
            (body.started, body.ended) = (second, 3 * second);
            (body.asleep_before, body.asleep_after) = (5 * second, 28_805 * second + 1);
        });
        assert_eq!(one(&said, "mpr.suspended"), Some("28800"));
    }
}
