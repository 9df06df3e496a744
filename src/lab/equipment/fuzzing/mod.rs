//! What is fed with random bytes, and what must hold whatever it is fed. Run by the fuzzer, and by
//! tests/fuzz_corpus.rs with what the fuzzer found worth keeping.

mod script;

use super::graveyard::{Graveyard, TakenOver, collect, remote_name};
use mpr_otel_core::intake::Losses;
use mpr_otel_core::ledger::{
    FILE_SIZE, HEADER_SIZE, HeaderImage, KIND_CANCEL, Keeper, Record, SLOT_COUNT, SLOT_SIZE,
    SlotImage, Tally,
};
use mpr_otel_core::operation::Operation;
use mpr_otel_core::origin::Origin;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::process::Identity;
use mpr_otel_core::span::span;
use mpr_otel_core::trace_context::{IdSource, Parent};
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use script::{Moment, Script};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Slots that a script may damage; the one behind them it may not.
const IN_REACH: usize = 8;
/// More than any counter that is believed, and the few operations that this ledger has beside it.
const LARGEST_COUNT: u64 = (1 << 48) + 2 * SLOT_COUNT as u64;
/// Longer than anything here takes.
const UNFINISHED_AFTER: Duration = Duration::from_secs(3600);
/// Units that a slot has room for; one is three bytes of UTF-8 at most.
const LONGEST_TEXT: usize = 344 * 3;

/// Reads a header from `bytes`, and from a good one that a script damages.
pub fn header(bytes: &[u8]) {
    let mut overwritten = specimen().used.clone();
    Script::read(bytes).overwrite(&mut overwritten);
    for header in [bytes, &overwritten] {
        let Ok(image) = HeaderImage::parse(header) else { continue };
        let origin = &image.origin;
        assert!(origin.identity.executable.chars().count() <= 260);
        if let Some(Parent { trace_id, span_id }) = origin.parent {
            assert!(trace_id != [0; 16] && span_id != [0; 8]);
        }
        for number in [0, 1, u64::MAX] {
            let ids = origin.ids.ids(number);
            assert!(ids.trace_id != [0; 16] && ids.span_id != [0; 8]);
        }
        let tallies = [image.counters, image.tally(0), image.tally(u64::MAX)];
        assert!(tallies.iter().all(is_believable));
    }
}

fn is_believable(tally: &Tally) -> bool {
    let Tally { seen, exported, lost, unmatched, malformed, unprotected, repeated } = *tally;
    let others = [seen, exported, unmatched, malformed, unprotected, repeated];
    lost.iter().chain(&others).all(|count| *count <= LARGEST_COUNT)
}

/// Reads a slot and tells it in a span, as one that ended and as one that did not.
pub fn slot(bytes: &[u8]) {
    let mut slot = [0; SLOT_SIZE];
    let count = bytes.len().min(SLOT_SIZE);
    slot[..count].copy_from_slice(&bytes[..count]);
    let image = SlotImage::parse(&slot);
    assert!(image.phase.is_none() || image.generation <= LARGEST_COUNT);
    assert!((1..=LARGEST_COUNT).contains(&image.had()) || slot[..8] == [0; 8]);
    let seed = [image.body.started, image.body.ended, 3];
    let parent = (image.body.force == 0).then_some(Parent { trace_id: [1; 16], span_id: [2; 8] });
    let origin = Origin {
        identity: Identity {
            pid: 1,
            executable: "host.exe".into(),
            session_id: Some(2),
            service: None,
        },
        parent,
        ids: IdSource::new(seed, parent),
        anchor_unix_nanos: image.body.ended,
        boot_id: 1,
        recovered: true,
    };
    for unfinished in [false, true] {
        let record = Record { unfinished, number: image.number(1), body: image.body };
        if let Some(operation) = Operation::decode(&record) {
            check(&span(Privacy::FULL.disclose(operation), &origin, image.generation));
        }
    }
}

/// What holds for every span.
fn check(span: &SpanData) {
    assert!(span.start_time <= span.end_time);
    assert!(["mpr.add_connection", "mpr.cancel_connection"].contains(&&*span.name));
    let keys: HashSet<&str> =
        span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys.len(), span.attributes.len());
    for attribute in &span.attributes {
        let length = attribute.value.as_str().len();
        assert!(length > 0 && length <= LONGEST_TEXT, "{attribute:?}");
    }
    // As it is sent.
    let sent = opentelemetry_proto::tonic::trace::v1::Span::from(span.clone());
    assert!(sent.start_time_unix_nano <= sent.end_time_unix_nano);
    assert_eq!((sent.span_id.len(), sent.trace_id.len()), (8, 16));
}

/// A ledger with operations at every stage that a dead host leaves them in.
struct Specimen {
    name: String,
    /// The header, the slots in reach and the one behind them.
    used: Vec<u8>,
    /// The span of the slot that is out of reach.
    healthy: SpanId,
}

fn specimen() -> &'static Specimen {
    static SPECIMEN: OnceLock<Specimen> = OnceLock::new();
    SPECIMEN.get_or_init(|| {
        let yard = Graveyard::new();
        let host = yard.host(Keeper::Host);
        host.done(r"\\server\done");
        host.begin(r"\\server\open");
        let (_, context) = host.begin(r"\\server\completing");
        std::mem::forget(host.ledger.complete(context));
        host.ledger.claim(0);
        let (slot, _) = host.begin(r"\\server\unfinished");
        assert!(host.ledger.abandon(slot, 1, 9));
        let freed = host.done(r"\\server\freed");
        host.done(r"\\user:secret@server\name");
        let again = host.done(r"\\server\once");
        host.export(again);
        assert_eq!(host.done(r"\\server\again"), again);
        assert_eq!(host.done("healthy"), IN_REACH);
        host.export(freed);
        let grave = host.die();
        // A cancel, too.
        grave.patch_slot(again, 17, &[KIND_CANCEL]);
        grave.reseal(again);
        Specimen {
            name: grave.path.file_name().unwrap().to_str().unwrap().to_owned(),
            used: grave.bytes()[..HEADER_SIZE + (IN_REACH + 1) * SLOT_SIZE].to_vec(),
            healthy: grave.id(IN_REACH, 1),
        }
    })
}

/// Damages a real dead ledger by a script, before and while it is taken over.
pub fn ledger(bytes: &[u8]) {
    let script = Script::read(bytes);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let yard = Graveyard::within(folder.path());
    let specimen = specimen();
    let file = {
        let path = folder.path().join(&specimen.name);
        fs::write(&path, &specimen.used).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(FILE_SIZE as u64).unwrap();
        file
    };

    script.play(Moment::Dead, &file);
    let mut all = TakenOver::default();
    let mut first = yard.intake(UNFINISHED_AFTER);
    first.list(Instant::now()).unwrap();
    let round = collect(&mut first, Instant::now());
    all.add(&round);
    script.play(Moment::Taken, &file);
    if script.concludes {
        first.conclude(round, Instant::now());
    } else {
        drop(round);
    }
    drop(first);
    script.play(Moment::Left, &file);
    let last = yard.take_over();
    let TakenOver { mut spans, losses, .. } = all;
    spans.extend(last.spans);

    spans.iter().for_each(check);
    // Zeros in place of the magic may be a birth, and what is no ledger stays for a day.
    let sights = last.sights;
    assert!(yard.files().0 == 0 || sights.refused + sights.live == 1, "{sights:?}");
    let corrupt = |losses: &Losses| losses.get("corrupt").copied().unwrap_or(0);
    assert!(corrupt(&losses) + corrupt(&last.losses) <= 2 * SLOT_COUNT as u64);
    if !script.damages_all {
        let healthy = |span: &&SpanData| span.span_context.span_id() == specimen.healthy;
        let healthy: Vec<&SpanData> = spans.iter().filter(healthy).collect();
        // What was not concluded is found again.
        assert_eq!(healthy.len(), if script.concludes { 1 } else { 2 });
        assert!(healthy.iter().all(|span| remote_name(span) == "healthy"));
    }
}
