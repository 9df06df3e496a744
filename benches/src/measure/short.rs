//! What a program that maps one drive and ends pays for being observed, in wall time.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::stats::Summary;
use crate::subject::{Subject, ours::Ours};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

/// From start to end of a process, in microseconds, by what it did.
pub type Lives = BTreeMap<&'static str, Vec<f64>>;

const BARE: &str = "nothing";
const IN_PROCESS: &str = "in-process";
const AGENT: &str = "agent";

/// A program that maps one drive, if it is `observed`, and ends. Runs in a worker.
pub fn work(observed: bool) -> Result<()> {
    if observed {
        Ours::start()?.record(1);
    }
    Ok(())
}

/// Measures one short process after another, by turns.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Lives)> {
    progress("short: programs that end at once");
    let ledgers = stage.folder()?;
    let mut lives = Lives::new();
    for _ in 0..effort.processes * 4 {
        for delivery in [BARE, IN_PROCESS, AGENT] {
            let observed = (delivery != BARE).to_string();
            let mut worker = stage.worker(&["short", &observed], ledgers.path());
            worker.stdin(Stdio::null()).stdout(Stdio::null());
            if delivery != BARE {
                worker.env("MPR_OTEL_DELIVERY", delivery);
            }
            let start = Instant::now();
            let status = worker.status()?;
            let life = start.elapsed().as_secs_f64() * 1e6;
            if !status.success() {
                return Err(format!("a short program failed: {status}").into());
            }
            lives.entry(delivery).or_default().push(life);
        }
    }
    let figure = |delivery| {
        let lives = lives.get(delivery).map(Vec::as_slice).unwrap_or_default();
        let summary = Summary::of(lives).ok_or("no program was started")?;
        Ok::<_, &str>(Figure { value: summary.median, best: summary.min, unit: "us" })
    };
    let bare = figure(BARE)?;
    let row = |measure, ours| Row::beside(measure, ours, "not observed", bare, Reach::Nothing);
    let rows = vec![
        row("a program that maps one drive and ends", figure(IN_PROCESS)?),
        row("the same, delivery by the agent", figure(AGENT)?),
    ];
    Ok((rows, lives))
}
