//! An operation as it is stored: its record, and what all operations of its ledger have in common.

use mpr_otel_core::intake::Taken;
use mpr_otel_core::ledger::{Body, NO_SESSION, Record};
use mpr_otel_core::operation::Operation;
use mpr_otel_core::origin::Origin;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::process::Identity;
use mpr_otel_core::span::span;
use mpr_otel_core::trace_context::{IdSource, Parent};
use opentelemetry_sdk::trace::SpanData;
use std::sync::Arc;

/// The name that replaces a server's if its owner named too many in one hour.
const OTHER: &str = "other";

/// A record. Protocol Buffers skip fields that a version does not know, so an older agent can read
/// what a newer one stored. A field means the same as the field of that name in [`Origin`] and
/// [`Body`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stored {
    #[prost(bytes = "vec", tag = "1")]
    id_seed: Vec<u8>,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint32, tag = "3")]
    pid: u32,
    #[prost(string, tag = "4")]
    executable: String,
    #[prost(uint32, optional, tag = "5")]
    host_session_id: Option<u32>,
    #[prost(string, optional, tag = "6")]
    service: Option<String>,
    #[prost(bytes = "vec", tag = "7")]
    parent_trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    parent_span_id: Vec<u8>,
    #[prost(fixed64, tag = "9")]
    anchor_unix_nanos: u64,
    #[prost(fixed64, tag = "10")]
    boot_id: u64,
    #[prost(bool, tag = "11")]
    recovered: bool,
    #[prost(bool, tag = "12")]
    unfinished: bool,
    #[prost(uint32, tag = "13")]
    kind: u32,
    #[prost(uint32, tag = "14")]
    force: u32,
    #[prost(uint32, tag = "15")]
    truncated: u32,
    #[prost(uint32, tag = "16")]
    elevation: u32,
    #[prost(uint32, tag = "17")]
    impersonated: u32,
    #[prost(uint64, tag = "18")]
    started: u64,
    #[prost(uint64, tag = "19")]
    ended: u64,
    #[prost(fixed64, tag = "20")]
    started_unix_nanos: u64,
    #[prost(uint64, tag = "21")]
    asleep_before: u64,
    #[prost(uint64, tag = "22")]
    asleep_after: u64,
    #[prost(uint64, tag = "23")]
    logon_id: u64,
    #[prost(uint32, tag = "24")]
    thread_id: u32,
    #[prost(uint32, optional, tag = "25")]
    session_id: Option<u32>,
    #[prost(uint32, tag = "26")]
    flags: u32,
    #[prost(uint32, tag = "27")]
    resource_type: u32,
    #[prost(uint32, tag = "28")]
    status: u32,
    /// UTF-16, little endian; so are the next two fields.
    #[prost(bytes = "vec", tag = "29")]
    remote: Vec<u8>,
    #[prost(bytes = "vec", tag = "30")]
    local: Vec<u8>,
    #[prost(bytes = "vec", tag = "31")]
    provider: Vec<u8>,
    #[prost(bytes = "vec", tag = "32")]
    user_sid: Vec<u8>,
    /// How many losses of its host the span reports.
    #[prost(uint64, tag = "33")]
    lost: u64,
    #[prost(bool, tag = "34")]
    server_is_other: bool,
}

impl Stored {
    /// What is stored of an operation that was taken over.
    pub(super) fn of(taken: &Taken) -> Self {
        let Origin { identity, parent, ids, anchor_unix_nanos, boot_id, recovered } =
            &*taken.origin;
        let Record { unfinished, number, body } = &taken.record;
        let [remote, local, provider] = body.names().unwrap_or_default().map(bytes);
        let user_sid = body.user_sid.get(..body.user_sid_bytes.into()).unwrap_or_default();
        Self {
            id_seed: ids.seed().map(u64::to_le_bytes).as_flattened().to_vec(),
            number: *number,
            pid: identity.pid,
            executable: identity.executable.to_string(),
            host_session_id: identity.session_id,
            service: identity.service.as_deref().map(str::to_owned),
            parent_trace_id: parent.map_or_else(Vec::new, |parent| parent.trace_id.to_vec()),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.span_id.to_vec()),
            anchor_unix_nanos: *anchor_unix_nanos,
            boot_id: *boot_id,
            recovered: *recovered,
            unfinished: *unfinished,
            kind: body.kind.into(),
            force: body.force.into(),
            truncated: body.truncated.into(),
            elevation: body.elevation.into(),
            impersonated: body.impersonated.into(),
            started: body.started,
            ended: body.ended,
            started_unix_nanos: body.started_unix_nanos,
            asleep_before: body.asleep_before,
            asleep_after: body.asleep_after,
            logon_id: body.logon_id,
            thread_id: body.thread_id,
            session_id: Some(body.session_id).filter(|session| *session != NO_SESSION),
            flags: body.flags,
            resource_type: body.resource_type,
            status: body.status,
            remote,
            local,
            provider,
            user_sid: user_sid.to_vec(),
            lost: taken.lost,
            server_is_other: taken.server_is_other,
        }
    }

    /// The span that is sent, with only what `privacy` lets leave the machine. `None` if the record
    /// is not an operation.
    pub(crate) fn span(&self, privacy: &Privacy) -> Option<SpanData> {
        let record = Record { unfinished: self.unfinished, number: self.number, body: self.body() };
        let mut operation = Operation::decode(&record)?;
        if self.server_is_other {
            operation.remote.server = Some(OTHER.to_owned());
        }
        Some(span(privacy.disclose(operation), &self.origin()?, self.lost))
    }

    fn origin(&self) -> Option<Origin> {
        let words: &[u8; 24] = self.id_seed.first_chunk()?;
        let (words, _) = words.as_chunks::<8>();
        let ids = self.parent_trace_id.first_chunk().zip(self.parent_span_id.first_chunk());
        let parent =
            ids.map(|(trace_id, span_id)| Parent { trace_id: *trace_id, span_id: *span_id });
        let seed = [words[0], words[1], words[2]].map(u64::from_le_bytes);
        Some(Origin {
            identity: Identity {
                pid: self.pid,
                executable: Arc::from(&*self.executable),
                session_id: self.host_session_id,
                service: self.service.as_deref().map(Arc::from),
            },
            parent,
            ids: IdSource::new(seed, parent),
            anchor_unix_nanos: self.anchor_unix_nanos,
            boot_id: self.boot_id,
            recovered: self.recovered,
        })
    }

    fn body(&self) -> Body {
        let mut body = Body {
            kind: self.kind as u8,
            force: self.force as u8,
            truncated: self.truncated as u8,
            elevation: self.elevation as u8,
            impersonated: self.impersonated as u8,
            started: self.started,
            ended: self.ended,
            started_unix_nanos: self.started_unix_nanos,
            asleep_before: self.asleep_before,
            asleep_after: self.asleep_after,
            logon_id: self.logon_id,
            thread_id: self.thread_id,
            session_id: self.session_id.unwrap_or(NO_SESSION),
            flags: self.flags,
            resource_type: self.resource_type,
            status: self.status,
            ..Body::empty()
        };
        let units = [&self.remote, &self.local, &self.provider].map(|name| name.len() / 2);
        [body.remote_units, body.local_units, body.provider_units] =
            units.map(|units| u16::try_from(units).unwrap_or(u16::MAX));
        let names = [&self.remote, &self.local, &self.provider].into_iter().flatten().copied();
        let names: Vec<u8> = names.collect();
        for (unit, pair) in body.text.iter_mut().zip(names.as_chunks::<2>().0) {
            *unit = u16::from_le_bytes(*pair);
        }
        for (place, byte) in body.user_sid.iter_mut().zip(&self.user_sid) {
            *place = *byte;
            body.user_sid_bytes += 1;
        }
        body
    }
}

/// The name's units as UTF-16, little endian.
fn bytes(name: &[u16]) -> Vec<u8> {
    name.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}
