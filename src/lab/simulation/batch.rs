//! Finished operations on their way to a collector, and the request that carries them.

use super::fleet::Fleet;
use super::plan::Program;
use super::truth::Scripted;
use mpr_otel_core::ledger::Record;
use mpr_otel_core::operation::Operation;
use mpr_otel_core::origin::Origin;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::process::Identity;
use mpr_otel_core::resource::resource;
use mpr_otel_core::settings::Settings;
use mpr_otel_core::span::span;
use mpr_otel_core::trace_context::IdSource;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;

/// A simulated process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// Which program it runs.
    pub(super) program: Program,
    /// Process id.
    pub(super) pid: u32,
    /// Windows session.
    pub(super) session: u32,
    /// What its ids are made from.
    pub(super) id_seed: [u64; 3],
}

/// A finished operation.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    /// What was recorded.
    pub(super) record: Record,
    /// In which process.
    pub(super) process: Process,
    /// Whether that ends with it.
    pub(super) ends_process: bool,
    /// When its machine sends its span, in nanoseconds of simulated time.
    pub(super) sent: u64,
    /// How long it had been waiting before, beside what is simulated, in nanoseconds.
    pub(super) waited: u64,
    /// The date of simulated time 0, in nanoseconds since 1970; 0 until the span is sent.
    pub(super) anchor: u64,
    /// What was scripted.
    pub(super) scripted: Scripted,
}

impl Finished {
    /// The span, made as the library makes it in a host. `None` if the record cannot be read.
    fn span(&self, privacy: &Privacy) -> Option<SpanData> {
        let operation = privacy.disclose(Operation::decode(&self.record)?);
        let origin = Origin {
            identity: Identity {
                pid: self.process.pid,
                executable: self.process.program.executable().into(),
                session_id: Some(self.process.session),
                service: (self.process.program == Program::Policy).then(|| "gpsvc".into()),
            },
            parent: None,
            ids: IdSource::new(self.process.id_seed, None),
            anchor_unix_nanos: self.anchor,
            boot_id: 0,
            recovered: false,
        };
        Some(span(operation, &origin, self.scripted.lost))
    }
}

/// A request, with what was scripted for the spans in it.
#[derive(Debug, Default)]
pub(super) struct OutgoingRequest {
    /// The request.
    pub(super) request: ExportTraceServiceRequest,
    /// Its spans, as they were scripted.
    pub(super) scripted: Vec<Scripted>,
}

/// The requests for `finished`. The spans of a machine come under its resource; the machines share
/// a request, as behind a collector of theirs, or have one each, if they send `direct`.
pub(super) fn pack(
    mut finished: Vec<Finished>,
    fleet: &Fleet,
    settings: &Settings,
    direct: bool,
) -> Vec<OutgoingRequest> {
    // Stable, so a machine's spans stay in order.
    finished.sort_by_key(|finished| finished.scripted.machine);
    let machines = finished.chunk_by(|one, other| one.scripted.machine == other.scripted.machine);
    let privacy = Privacy::of(settings);
    let requests = machines.map(|of_machine| {
        // What was recorded can be read: all that is made here is whole.
        let readable =
            of_machine.iter().filter_map(|finished| Some((finished.span(&privacy)?, finished)));
        let (spans, scripted): (Vec<SpanData>, Vec<Scripted>) =
            readable.map(|(span, finished)| (span, finished.scripted)).unzip();
        let machine = of_machine.first().map_or(0, |finished| finished.scripted.machine);
        let request =
            ExportTraceServiceRequest { resource_spans: of(machine, spans, fleet, settings) };
        OutgoingRequest { request, scripted }
    });
    if direct {
        return requests.collect();
    }
    let whole = requests.fold(OutgoingRequest::default(), |mut whole, outgoing| {
        whole.request.resource_spans.extend(outgoing.request.resource_spans);
        whole.scripted.extend(outgoing.scripted);
        whole
    });
    vec![whole]
}

fn of(
    machine: u32,
    spans: Vec<SpanData>,
    fleet: &Fleet,
    settings: &Settings,
) -> Vec<ResourceSpans> {
    let resource = resource(settings, fleet.machine(machine));
    group_spans_by_resource_and_scope(spans, &ResourceAttributesWithSchema::from(&resource))
}
