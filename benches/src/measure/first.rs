//! What the first operation of a process costs: the library starts with it.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::stats::Summary;
use crate::subject::{Subject, ours::Ours};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// What a fresh process found, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Loading the library.
    load: f64,
    /// The first operation: settings, ledger, thread.
    pub first: f64,
}

/// Loads the library and plays one operation. Runs in a worker.
pub fn work() -> Result<Start> {
    let start = Instant::now();
    let ours = Ours::start()?;
    let load = start.elapsed().as_secs_f64() * 1e6;
    let start = Instant::now();
    ours.record(1);
    let first = start.elapsed().as_secs_f64() * 1e6;
    ours.settle(1)?;
    Ok(Start { load, first })
}

/// A fresh process with this library.
pub fn start(stage: &Stage, library: &Path) -> Result<Start> {
    stage.work(library, &["first"], &super::pair::SETTINGS)
}

/// Measures in one process after another.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Vec<Start>)> {
    progress("first: fresh processes");
    let starts = (0..effort.processes)
        .map(|_| start(stage, stage.library()))
        .collect::<Result<Vec<Start>>>()?;
    let summary = |part: fn(&Start) -> f64| {
        let samples: Vec<f64> = starts.iter().map(part).collect();
        Summary::of(&samples).ok_or("no process was started")
    };
    let row = |measure, value, best, reach| {
        Row::alone(measure, Figure { value, best, unit: "us" }, reach)
    };
    let first = summary(|start| start.first)?;
    let load = summary(|start| start.load)?;
    let both = summary(|start| start.load + start.first)?;
    let rows = vec![
        row("first operation of a process, median", first.median, first.min, Reach::AtMost(1000.0)),
        row("first operation of a process, worst", first.max, first.max, Reach::Nothing),
        row("loading the library, median", load.median, load.min, Reach::Nothing),
        row("loading and first operation, median", both.median, both.min, Reach::Nothing),
    ];
    Ok((rows, starts))
}
