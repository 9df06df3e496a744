//! What the library costs a host that merely has it loaded: memory, threads, wake-ups, size.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::subject::{Subject, ours::Ours};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: f64 = 1024.0 * 1024.0;

/// A process at one moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// Resident memory, in KiB.
    resident: u64,
    /// Of it, memory that is no file's.
    anonymous: u64,
    /// Threads.
    threads: u64,
}

/// What a worker found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stay {
    before: Moment,
    loaded: Moment,
    one_operation: Moment,
    thousand_operations: Moment,
    /// Wake-ups of all threads but the main one while nothing happened.
    idle_wake_ups: u64,
    /// For how long nothing happened.
    idle_seconds: u64,
}

/// Looks at this process before and after it uses the library. Runs in a worker.
pub fn work(idle_seconds: u64) -> Result<Stay> {
    // What looking itself takes is there before.
    Moment::now()?;
    wake_ups()?;
    let before = Moment::now()?;
    let ours = Ours::start()?;
    let loaded = Moment::now()?;
    ours.record(1);
    ours.settle(1)?;
    let one_operation = Moment::now()?;
    // In rounds that find room in the ledger.
    for round in 1..=9 {
        ours.record(111);
        ours.settle(1 + round * 111)?;
    }
    let thousand_operations = Moment::now()?;
    // The exporter may look once more before it rests.
    std::thread::sleep(Duration::from_secs(2));
    let start = wake_ups()?;
    std::thread::sleep(Duration::from_secs(idle_seconds));
    let idle_wake_ups = wake_ups()? - start;
    Ok(Stay { before, loaded, one_operation, thousand_operations, idle_wake_ups, idle_seconds })
}

impl Moment {
    fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(Self {
            resident: field(&status, "VmRSS:")?,
            anonymous: field(&status, "RssAnon:")?,
            threads: field(&status, "Threads:")?,
        })
    }

    /// Mebibytes resident beyond those at `before`.
    fn added_since(self, before: Self) -> Figure {
        Figure::exact(self.resident.saturating_sub(before.resident) as f64 / 1024.0, "MiB")
    }
}

/// The number behind `name` in a `status` file of proc(5).
pub fn field(status: &str, name: &str) -> Result<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or_else(|| format!("/proc has no {name}"))?;
    Ok(value.parse()?)
}

/// How often threads other than the main one were given a processor.
fn wake_ups() -> Result<u64> {
    let main = std::process::id().to_string();
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name() != main.as_str() {
            let status = fs::read_to_string(task.path().join("status"))?;
            sum += field(&status, "voluntary_ctxt_switches:")?;
            sum += field(&status, "nonvoluntary_ctxt_switches:")?;
        }
    }
    Ok(sum)
}

impl Stay {
    /// Mebibytes resident for the library when it has exported 1000 operations.
    pub fn memory(&self) -> f64 {
        self.thousand_operations.added_since(self.before).value
    }

    /// The library's threads.
    pub fn threads(&self) -> f64 {
        (self.thousand_operations.threads - self.before.threads) as f64
    }
}

/// A worker's stay with this library.
pub fn stay(stage: &Stage, library: &Path, idle_seconds: u64) -> Result<Stay> {
    stage.work(library, &["host", &idle_seconds.to_string()], &super::pair::SETTINGS)
}

/// Measures a worker's stay, and the library's file.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Stay)> {
    progress("host: memory, threads, wake-ups");
    let stay = stay(stage, stage.library(), effort.idle_seconds)?;
    let wake_ups = stay.idle_wake_ups as f64 / stay.idle_seconds as f64;
    let mut rows = vec![
        Row::alone("memory, loaded", stay.loaded.added_since(stay.before), Reach::Nothing),
        Row::alone(
            "memory, one operation exported",
            stay.one_operation.added_since(stay.before),
            Reach::AtMost(4.0),
        ),
        Row::alone(
            "memory, 1000 operations exported",
            Figure::exact(stay.memory(), "MiB"),
            Reach::AtMost(4.0),
        ),
        Row::alone("threads", Figure::exact(stay.threads(), ""), Reach::AtMost(1.0)),
        Row::alone("wake-ups while idle", Figure::exact(wake_ups, "per s"), Reach::AtMost(0.0)),
    ];
    rows.push(size("size of the shared library", stage.library())?);
    for (label, path) in windows(stage.library()) {
        if path.exists() {
            rows.push(size(label, &path)?);
        }
    }
    Ok((rows, stay))
}

fn size(label: &str, path: &Path) -> Result<Row> {
    Ok(Row::alone(label, Figure::exact(mebibytes(path)?, "MiB"), Reach::AtMost(4.0)))
}

/// The size of a file.
pub fn mebibytes(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.len() as f64 / MIB)
}

/// Where `cargo xtask dist` leaves the Windows libraries, found from target/release/.
fn windows(library: &Path) -> Vec<(&'static str, PathBuf)> {
    let dist = library.ancestors().nth(2).map(|target| target.join("dist"));
    dist.map_or_else(Vec::new, |dist| {
        vec![
            ("size of the Windows DLL, 64-bit", dist.join("mpr_otel.dll")),
            ("size of the Windows DLL, 32-bit", dist.join("x86").join("mpr_otel.dll")),
        ]
    })
}
