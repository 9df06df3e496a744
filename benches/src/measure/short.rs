//! What a program that maps one drive and ends pays for being observed, in wall time.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::stats::Summary;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// From start to end of a process, in microseconds, by what it did.
pub type Lives = BTreeMap<&'static str, Vec<f64>>;

/// The program does nothing.
pub const BARE: &str = "nothing";
/// `Delivery` of the settings: the host's own thread sends.
pub const IN_PROCESS: &str = "in-process";
/// `Delivery` of the settings: the agent sends.
pub const AGENT: &str = "agent";

/// The tests' C program: it starts in a millisecond, so little hides the difference.
pub fn program(folder: &Path) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let program = folder.join("short-program");
    let status = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-rdynamic", "-o"])
        .args([&program, &root.join("tests/c/host.c")])
        .args(["-ldl", "-lpthread"])
        .status()
        .map_err(|error| format!("cc: {error}; install a C compiler"))?;
    if !status.success() {
        return Err("tests/c/host.c does not compile".into());
    }
    Ok(program)
}

/// From start to end of one process with this library, in microseconds.
pub fn life(
    stage: &Stage,
    library: &Path,
    program: &Path,
    ledgers: &Path,
    delivery: &str,
) -> Result<f64> {
    let mut command = stage.command(program, ledgers);
    command.arg(library);
    match delivery {
        BARE => command.arg("bare"),
        delivery => command.arg("short").env("MPR_OTEL_DELIVERY", delivery),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let life = start.elapsed().as_secs_f64() * 1e6;
    if status.success() {
        Ok(life)
    } else {
        Err(format!("a short program failed: {status}").into())
    }
}

/// Measures one short process after another, by turns.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Lives)> {
    progress("short: programs that end at once");
    let folder = stage.folder()?;
    let program = program(folder.path())?;
    let ledgers = folder.path().join("ledger");
    let mut lives = Lives::new();
    for _ in 0..effort.processes * 4 {
        for delivery in [BARE, IN_PROCESS, AGENT] {
            let life = life(stage, stage.library(), &program, &ledgers, delivery)?;
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
