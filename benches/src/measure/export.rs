//! What exporting costs the host's machine: spans per second of CPU time, recording included.
//!
//! The CPU time is that of the whole process, without what the bench itself spends on waiting.

use super::pair::{OPERATIONS, SETTINGS};
use super::{Effort, progress};
use crate::Result;
use crate::operation::ATTRIBUTES;
use crate::report::{Figure, Reach, Row};
use crate::sink::Arrived;
use crate::stage::Stage;
use crate::stats::Summary;
use crate::subject::sdk::Sdk;
use crate::subject::{Name, Subject, ours::Ours};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Spans in a request: as many as a round has, for the same reason. Both send them before their own
/// batches (512) are full: the library after its batch delay, the SDK when it is flushed.
const BATCH: usize = OPERATIONS;
/// Batches before those that count: the connection is made in the first.
const WARM_UP: usize = 4;

/// What a worker found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spent {
    spans: usize,
    cpu_seconds: f64,
}

/// One turn of one subject.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    spans_per_cpu_second: f64,
    wire_bytes_per_span: f64,
}

impl Turn {
    /// CPU time of one span, in nanoseconds.
    pub fn nanos_per_span(self) -> f64 {
        1e9 / self.spans_per_cpu_second
    }
}

/// Turns by subject and compression.
pub type Turns = BTreeMap<String, Vec<Turn>>;

/// Has `name` export to `endpoint`, batch by batch. Runs in a worker.
pub fn work(name: Name, endpoint: &str, gzip: bool, batches: usize) -> Result<Spent> {
    let subject: Box<dyn Subject> = match name {
        Name::Ours => Box::new(Ours::start()?),
        Name::Sdk => Box::new(Sdk::exporting(endpoint, gzip)?),
        _ => return Err("this subject exports to nowhere".into()),
    };
    let mut start = 0.0;
    let mut waited = 0.0;
    for batch in 0..WARM_UP + batches {
        if batch == WARM_UP {
            start = seconds(ClockId::ProcessCPUTime);
            waited = 0.0;
        }
        subject.record(BATCH);
        let before = seconds(ClockId::ThreadCPUTime);
        subject.settle((batch + 1) * BATCH)?;
        waited += seconds(ClockId::ThreadCPUTime) - before;
    }
    let cpu_seconds = seconds(ClockId::ProcessCPUTime) - start - waited;
    Ok(Spent { spans: batches * BATCH, cpu_seconds })
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Measures ours and the SDK with opentelemetry-otlp's default client, in turns.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Turns)> {
    let mut turns = Turns::new();
    let mut rows = Vec::new();
    for (compression, label) in [("none", "plain"), ("gzip", "gzip")] {
        let key = |name: Name| format!("{} {label}", name.label());
        for trial in 1..=effort.trials {
            progress(&format!("export, {label}: trial {trial} of {}", effort.trials));
            for name in [Name::Ours, Name::Sdk] {
                turns.entry(key(name)).or_default().push(turn(
                    stage,
                    stage.library(),
                    name,
                    compression,
                    effort,
                )?);
            }
        }
        let figure = |name| -> Result<Figure> {
            let turns = turns.get(&key(name)).map(Vec::as_slice).unwrap_or_default();
            let rates: Vec<f64> = turns.iter().map(|turn| turn.spans_per_cpu_second).collect();
            let rates = Summary::of(&rates).ok_or("an export without turns")?;
            Ok(Figure { value: rates.median.round(), best: rates.max.round(), unit: "spans/CPU-s" })
        };
        rows.push(Row::beside(
            &format!("export, {label}"),
            figure(Name::Ours)?,
            "opentelemetry-otlp",
            figure(Name::Sdk)?,
            Reach::AtLeast(1.0),
        ));
    }
    Ok((rows, turns))
}

/// One turn of one subject, with this library if it is ours.
pub fn turn(
    stage: &Stage,
    library: &Path,
    name: Name,
    compression: &str,
    effort: Effort,
) -> Result<Turn> {
    stage.sink.take()?;
    let gzip = (compression == "gzip").to_string();
    let batches = effort.batches.to_string();
    let subject = name.to_string();
    let spent: Spent = stage.work(
        library,
        &["export", &subject, stage.sink.endpoint(), &batches, &gzip],
        &[SETTINGS[0], SETTINGS[1], ("MPR_OTEL_COMPRESSION", compression)],
    )?;
    let arrived: Arrived = stage.sink.take()?;
    let sent = (WARM_UP * BATCH + spent.spans) as u64;
    // Today's library and the SDK are to do the same work; another revision may have other
    // attributes.
    let comparable = library != stage.library() || arrived.attributes == sent * ATTRIBUTES as u64;
    if arrived.spans != sent || !comparable {
        return Err(format!("{subject} sent {sent} spans, but there arrived {arrived:?}").into());
    }
    Ok(Turn {
        spans_per_cpu_second: spent.spans as f64 / spent.cpu_seconds,
        wire_bytes_per_span: arrived.bytes as f64 / arrived.spans as f64,
    })
}
