//! Spans on their way through the gateway: names of servers, what came late, and what is counted.

use super::Tracks;
use super::connector::{Calls, Connector, Durations};
use super::otlp::{get, list};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};

/// Minutes after which a server that nobody asked for makes room (`series_expiration`).
const EXPIRATION: u32 = 24 * 60;
/// A span that ended longer ago came late, in nanoseconds.
const LATE: u64 = 300 * 1_000_000_000;
/// The most series of programs.
const PROGRAMS: usize = 1_000;
/// The longest name of a server, in bytes.
const NAME_BYTES: usize = 253;

/// The connectors `span_metrics`, `span_metrics/fleet`, `span_metrics/programs` and
/// `span_metrics/loss`.
#[derive(Debug)]
pub(super) struct Spans {
    calls: Connector<Calls>,
    durations: Connector<Durations>,
    fleet: Connector<Calls>,
    programs: Connector<Calls>,
    loss: Connector<Calls>,
}

impl Spans {
    /// Of the gateway with this name, which has just started. A metric with servers has at most `limit`
    /// series (`aggregation_cardinality_limit`).
    pub(super) fn new(gateway: &'static str, limit: usize) -> Self {
        Self {
            calls: Connector::new(gateway, "mpr_calls").limited(limit, EXPIRATION),
            durations: Connector::new(gateway, "mpr_duration_seconds").limited(limit, EXPIRATION),
            fleet: Connector::new(gateway, "mpr_fleet_calls"),
            programs: Connector::new(gateway, "mpr_program_calls").limited(PROGRAMS, EXPIRATION),
            loss: Connector::new(gateway, "mpr_loss_calls"),
        }
    }

    /// Counts what is sent in a request at the date `now`, in nanoseconds since 1970.
    pub(super) fn take(
        &mut self,
        request: &ExportTraceServiceRequest,
        now: u64,
        minute: u32,
        tracks: &mut Tracks,
    ) {
        for resource in &request.resource_spans {
            let of_resource =
                resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            let service = get(of_resource, "service.name");
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            for span in spans {
                self.count(span, service.clone(), now, minute, tracks);
            }
        }
    }

    fn count(
        &mut self,
        span: &Span,
        service: Option<String>,
        now: u64,
        minute: u32,
        tracks: &mut Tracks,
    ) {
        let of = |key: &str| get(&span.attributes, key);
        let late = (now.saturating_sub(span.end_time_unix_nano) > LATE).then(|| "true".to_owned());
        let server = of("server.address").map_or("none".to_owned(), server);
        let service = ("service_name", service);
        let ended = [
            service.clone(),
            ("mpr_operation_name", of("mpr.operation.name")),
            ("mpr_outcome", of("mpr.outcome")),
            ("mpr_error_class", of("mpr.error.class")),
        ];
        let program = of("process.executable.name").unwrap_or_else(|| "none".to_owned());
        let mut by_program = ended.to_vec();
        by_program.push(("process_executable_name", Some(program)));
        let mut by_fleet = ended.to_vec();
        by_fleet.extend([("mpr_late", late), ("mpr_connect_mode", Some(mode(span).to_owned()))]);
        let mut by_server = by_fleet.clone();
        by_server.extend([
            ("span_name", Some(span.name.clone())),
            (
                "span_kind",
                SpanKind::try_from(span.kind).ok().map(|kind| kind.as_str_name().to_owned()),
            ),
            ("status_code", status(span)),
            ("server_address", Some(server)),
        ]);
        let mut exactly = by_server.clone();
        exactly.push(("error_type", of("error.type")));
        let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        self.calls.count(&exactly, nanos, minute, tracks);
        self.durations.count(&by_server, nanos, minute, tracks);
        self.fleet.count(&by_fleet, nanos, minute, tracks);
        self.programs.count(&by_program, nanos, minute, tracks);
        if of("mpr.lost").is_some() {
            self.loss.count(&[service], nanos, minute, tracks);
        }
    }

    /// Every series' sample of a minute.
    pub(super) fn sample(&mut self, minute: u32, tracks: &mut Tracks) {
        self.calls.sample(minute, tracks);
        self.durations.sample(minute, tracks);
        self.fleet.sample(minute, tracks);
        self.programs.sample(minute, tracks);
        self.loss.sample(minute, tracks);
    }
}

fn status(span: &Span) -> Option<String> {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    StatusCode::try_from(code).ok().map(|code| code.as_str_name().to_owned())
}

/// What a duration is of, by the flags of the connect.
fn mode(span: &Span) -> &'static str {
    let flags = list(&span.attributes, "mpr.connect.flags");
    let has = |flag: &str| flags.iter().any(|there| there == flag);
    match (has("DEFERRED"), has("PROMPT") && has("INTERACTIVE")) {
        (true, _) => "deferred",
        (false, true) => "prompt",
        (false, false) => "plain",
    }
}

/// A server's name as a label has it: what can be no host name is `other`.
fn server(name: String) -> String {
    let letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let well = name.len() <= NAME_BYTES
        && name.starts_with(letter)
        && name.chars().all(|next| letter(next) || ".:%-".contains(next));
    if well { name } else { "other".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_host_name_is_other() {
        for well in ["files01.corp.example", "fe80::1%12", "Straße", "_x"] {
            assert_eq!(server(well.to_owned()), well);
        }
        let long = "x".repeat(254);
        for forged in ["", "-x", "a b", "<b>x</b>", "a\nb", long.as_str()] {
            assert_eq!(server(forged.to_owned()), "other");
        }
    }
}
