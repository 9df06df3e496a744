//! Today's library beside another revision's, by turns in one run.

use super::{Effort, Measure, export, first, host, pair, progress, short};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::revision::Revision;
use crate::stage::Stage;
use crate::stats::Summary;
use crate::subject::Name;
use std::collections::BTreeMap;
use std::path::Path;

/// Samples by measure and side.
pub type Samples = BTreeMap<String, Vec<f64>>;

/// Takes one sample of a library.
type Take<'a> = Box<dyn Fn(&Path) -> Result<f64> + 'a>;

/// Takes these measures of both libraries, as far as they depend on the library alone.
pub fn measure(
    stage: &Stage,
    effort: Effort,
    other: &Revision,
    measures: &[Measure],
) -> Result<(Vec<Row>, Samples)> {
    let mut samples = Samples::new();
    let mut rows = Vec::new();
    let folder = stage.folder()?;
    let program = short::program(folder.path())?;
    for measure in measures {
        for (name, unit, turns, take) in takes(stage, effort, *measure, &program, folder.path()) {
            progress(&format!("against {}: {name}", other.label()));
            let (ours, theirs) = (format!("{name}, today"), format!("{name}, {}", other.label()));
            for _ in 0..turns {
                for (key, library) in [(&ours, stage.library()), (&theirs, &other.library)] {
                    samples.entry(key.clone()).or_default().push(take(library)?);
                }
            }
            let figure = |key: &String| -> Result<Figure> {
                let summary = Summary::of(&samples[key]).ok_or("a measure without turns")?;
                Ok(Figure { value: summary.median, best: summary.min, unit })
            };
            rows.push(Row::beside(
                name,
                figure(&ours)?,
                &other.label(),
                figure(&theirs)?,
                Reach::Nothing,
            ));
        }
    }
    Ok((rows, samples))
}

/// Name, unit, turns and sample of each figure of a measure; none of one that another program decides.
fn takes<'a>(
    stage: &'a Stage,
    effort: Effort,
    measure: Measure,
    program: &'a Path,
    folder: &'a Path,
) -> Vec<(&'static str, &'static str, usize, Take<'a>)> {
    let pair = |threads, operations| pair(stage, effort, threads, operations);
    let export = |compression| export(stage, effort, compression);
    let short = |delivery| short(stage, program, folder, delivery);
    let added = |delivery| -> Take<'a> {
        let (observed, bare) = (short(delivery), short(short::BARE));
        Box::new(move |library| Ok(observed(library)? - bare(library)?))
    };
    let host = |figure: fn(&host::Stay) -> f64| -> Take<'a> {
        Box::new(move |library| Ok(figure(&host::stay(stage, library, 0)?)))
    };
    let trials = effort.trials;
    match measure {
        Measure::Pair => vec![
            ("one operation (PRE + POST)", "ns", trials, pair(1, pair::OPERATIONS)),
            ("one operation when nothing else goes on", "ns", trials, pair(1, 1)),
        ],
        Measure::Threads => {
            vec![("one operation on 8 threads", "ns", trials, pair(8, pair::OPERATIONS))]
        }
        Measure::First => vec![(
            "first operation of a process",
            "us",
            effort.processes,
            Box::new(|library| Ok(first::start(stage, library, 1)?.first)),
        )],
        Measure::Export => vec![
            ("export, plain", "CPU-ns/span", trials, export("none")),
            ("export, gzip", "CPU-ns/span", trials, export("gzip")),
        ],
        Measure::Host => vec![
            ("memory, 1000 operations exported", "MiB", trials, host(host::Stay::memory)),
            ("threads", "", 1, host(host::Stay::threads)),
            ("size of the shared library", "MiB", 1, Box::new(host::mebibytes)),
        ],
        Measure::Short => vec![
            (
                "a program that maps one drive and ends",
                "us",
                effort.processes * 4,
                short(short::IN_PROCESS),
            ),
            ("the same, delivery by the agent", "us", effort.processes * 4, short(short::AGENT)),
            ("what that adds to a program", "us", effort.processes * 4, added(short::IN_PROCESS)),
            ("the same, delivery by the agent", "us", effort.processes * 4, added(short::AGENT)),
        ],
        Measure::Agent | Measure::Fleet => Vec::new(),
    }
}

/// Nanoseconds of an operation.
fn pair(stage: &Stage, effort: Effort, threads: usize, operations: usize) -> Take<'_> {
    Box::new(move |library| {
        let rounds = effort.rounds;
        Ok(pair::take_of(stage, library, Name::Ours, threads, operations, rounds)?.median)
    })
}

/// CPU nanoseconds of a span's export.
fn export<'a>(stage: &'a Stage, effort: Effort, compression: &'static str) -> Take<'a> {
    Box::new(move |library| {
        let turn = export::turn(stage, library, Name::Ours, compression, effort)?;
        Ok(turn.nanos_per_span())
    })
}

/// Microseconds that a program lives that maps one drive.
fn short<'a>(
    stage: &'a Stage,
    program: &'a Path,
    folder: &'a Path,
    delivery: &'static str,
) -> Take<'a> {
    Box::new(move |library| {
        // Of its own: a host exports what earlier hosts left in its folder.
        let ledgers = folder.join(library.file_stem().unwrap_or_default());
        short::life(stage, library, program, &ledgers, delivery)
    })
}
