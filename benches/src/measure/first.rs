//! What the first operation of a process costs: the library starts with it.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::stats::Summary;
use crate::subject::{Subject, floor, ours::Ours};
use mpr_otel_core::control_page::ControlPageWriter;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::NEWEST_VERSION;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;
use tempfile::TempDir;

/// Threads that all call first.
const TOGETHER: usize = 8;

/// Samples by what was measured, in microseconds.
pub type Samples = BTreeMap<String, Vec<f64>>;

/// What a fresh process found, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Loading the library.
    load: f64,
    /// The first operation, or the slowest of those that came first together.
    pub first: f64,
}

/// Loads the library and plays one operation on each of so many threads. Runs in a worker.
pub fn work(threads: usize) -> Result<Start> {
    let start = Instant::now();
    let ours = Ours::start()?;
    let load = micros(start);
    let first = slowest(threads, || ours.record(1));
    ours.settle(threads)?;
    Ok(Start { load, first })
}

/// The same for the least that any library could do. Runs in a worker.
pub fn work_floor(threads: usize) -> Result<Start> {
    let folder = std::env::var_os("MPR_OTEL_LEDGER_DIR").ok_or("no folder was named")?;
    let path = Path::new(&folder).join("floor");
    let birth = std::sync::OnceLock::new();
    let first = slowest(threads, || {
        birth.get_or_init(|| floor::file_on_a_thread(&path).map_err(|error| error.to_string()));
    });
    birth.into_inner().ok_or("no thread ran")??;
    Ok(Start { load: 0.0, first })
}

/// How long the slowest of so many threads takes that all begin at once, in microseconds.
fn slowest(threads: usize, work: impl Fn() + Sync) -> f64 {
    if threads == 1 {
        let start = Instant::now();
        work();
        return micros(start);
    }
    let barrier = Barrier::new(threads);
    let one = || {
        barrier.wait();
        let start = Instant::now();
        work();
        micros(start)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
    })
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

/// A fresh process with this library, and a folder of its own.
pub fn start(stage: &Stage, library: &Path, threads: usize) -> Result<Start> {
    stage.work(library, &["first", &threads.to_string()], &super::pair::SETTINGS)
}

/// A folder with files that the product did not make.
fn with_foreign_names(stage: &Stage, effort: Effort) -> Result<TempDir> {
    let folder = stage.folder()?;
    for name in 0..effort.names {
        File::create(folder.path().join(format!("{name}.foreign")))?;
    }
    Ok(folder)
}

/// Measures in one process after another, by turns.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Samples)> {
    progress("first: fresh processes, by turns");
    let crowded = with_foreign_names(stage, effort)?;
    let attended = with_foreign_names(stage, effort)?;
    let page = LedgerFolder::new(attended.path()).control_page();
    fs::create_dir_all(page.parent().ok_or("a page without a folder")?)?;
    let page = ControlPageWriter::create(&page)?;

    let mut samples = Samples::new();
    let mut note =
        |what: &str, micros: f64| samples.entry(what.to_owned()).or_default().push(micros);
    let library = stage.library();
    let together = TOGETHER.to_string();
    for _ in 0..effort.processes {
        let alone = start(stage, library, 1)?;
        note("loading", alone.load);
        note("one", alone.first);
        note("eight", start(stage, library, TOGETHER)?.first);
        let floor = |threads| stage.work::<Start>(library, &["first-floor", threads], &[]);
        note("floor", floor("1")?.first);
        note("floor of eight", floor(&together)?.first);
        page.beat(NEWEST_VERSION);
        for (what, folder) in [("crowded", &crowded), ("attended", &attended)] {
            let arguments = ["first", "1"];
            let settings = super::pair::SETTINGS;
            let start: Start = stage.work_in(folder.path(), library, &arguments, &settings)?;
            note(what, start.first);
        }
    }
    let figure = |what: &str| {
        let samples = samples.get(what).map(Vec::as_slice).unwrap_or_default();
        let summary = Summary::of(samples).ok_or("no process was started")?;
        Ok::<_, &str>(Figure { value: summary.median, best: summary.min, unit: "us" })
    };
    let floor = figure("floor")?;
    let beside = |measure: &str, what, reach| {
        Ok::<_, &str>(Row::beside(measure, figure(what)?, "floor", floor, reach))
    };
    let names = effort.names;
    let rows = vec![
        beside("first operation of a process", "one", Reach::AtMost(3.0))?,
        beside("the slowest of eight threads that come first", "eight", Reach::AtMost(4.0))?,
        beside("the same for the floor", "floor of eight", Reach::Nothing)?,
        beside(
            &format!("first operation, {names} foreign names, no agent"),
            "crowded",
            Reach::Nothing,
        )?,
        beside(
            &format!("first operation, {names} foreign names, an agent"),
            "attended",
            Reach::AtMost(3.0),
        )?,
        Row::alone("loading the library", figure("loading")?, Reach::Nothing),
    ];
    Ok((rows, samples))
}
