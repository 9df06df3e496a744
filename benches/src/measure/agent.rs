//! What the agent costs: adopting dead ledgers, doing nothing, and exporting for live hosts.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::subject::{Subject, ours::Ours};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Hosts that leave the export to the agent while it is measured.
const HOSTS: usize = 10;
/// What they do together, each second.
const OPERATIONS_PER_SECOND: usize = 1000;
/// How often a process is looked at while it runs.
const GLANCE: Duration = Duration::from_millis(5);

/// What was found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Costs {
    /// Ledgers that were adopted at once.
    ledgers: usize,
    /// How long that took, in seconds.
    adoption_seconds: f64,
    /// CPU time of it, in seconds.
    adoption_cpu_seconds: f64,
    /// The most memory it had resident, in KiB.
    adoption_peak: u64,
    /// CPU seconds for each second without anything to do.
    idle: f64,
    /// CPU seconds for each second with live hosts at work.
    busy: f64,
    /// Operations that it exported in that time.
    exported: u64,
}

/// A host that performs operations at a steady rate. Runs in a worker.
pub fn work(operations: usize, pause: Duration) -> Result<()> {
    let ours = Ours::start()?;
    for _ in 0..operations {
        ours.record(1);
        thread::sleep(pause);
    }
    Ok(())
}

/// Leaves the ledgers of `count` hosts that died with one operation each.
fn leave(stage: &Stage, folder: &Path, count: usize) -> Result<()> {
    // Copies of one that a host left: a host for each would take longer than all the rest.
    let status = stage
        .worker(&["steady", "1", "0"], folder)
        .env("MPR_OTEL_DELIVERY", "agent")
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("a host failed: {status}").into());
    }
    let left = fs::read_dir(folder)?.next().ok_or("the host left no ledger")??.path();
    let mut bytes = fs::read(&left)?;
    for number in 1..count {
        // Another seed, so that the ids are others (src/core/ledger/mod.rs has the layout).
        bytes[592..600].copy_from_slice(&(number as u64).to_le_bytes());
        bytes[608..616].copy_from_slice(&(number as u64).to_le_bytes());
        write_sparse(&folder.join(format!("{number}-{number:016x}.ledger")), &bytes)?;
    }
    Ok(())
}

/// Writes what is not zero: a host writes to the few pages that it needs.
fn write_sparse(path: &Path, bytes: &[u8]) -> Result<()> {
    const PAGE: usize = 4096;
    let file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (index, page) in bytes.chunks(PAGE).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, (index * PAGE) as u64)?;
        }
    }
    Ok(())
}

/// Measures adoption, rest and work.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Costs)> {
    let (ledgers, adoption) = adopt(stage, effort)?;
    progress("agent: nothing to do");
    let folder = stage.folder()?;
    let agent = Process::start(stage, folder.path())?;
    // What it does when it starts is no rest, and nothing tells from outside when that is over.
    thread::sleep(Duration::from_secs(1));
    let idle = agent.cpu_over(Duration::from_secs(effort.idle_seconds))?;
    progress("agent: hosts at work");
    stage.sink.take()?;
    let pause = Duration::from_secs(1) * HOSTS as u32 / OPERATIONS_PER_SECOND as u32;
    let each = effort.idle_seconds as usize * OPERATIONS_PER_SECOND / HOSTS;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let arguments = ["steady", &each.to_string(), &pause.as_micros().to_string()];
        let host = stage
            .worker(&arguments, folder.path())
            .env("MPR_OTEL_DELIVERY", "agent")
            .stdin(Stdio::null())
            .spawn()?;
        hosts.push(host);
    }
    let (start, cpu) = (Instant::now(), agent.cpu_seconds()?);
    for mut host in hosts {
        let status = host.wait()?;
        if !status.success() {
            return Err(format!("a host failed: {status}").into());
        }
    }
    let busy = (agent.cpu_seconds()? - cpu) / start.elapsed().as_secs_f64();
    let seconds = start.elapsed().as_secs_f64();
    let mut exported = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while exported < (each * HOSTS) as u64 {
        exported += stage.sink.take()?.spans;
        if Instant::now() > deadline {
            return Err(format!("{exported} of {} operations arrived", each * HOSTS).into());
        }
        thread::sleep(GLANCE);
    }
    drop(agent);
    let costs = Costs {
        ledgers,
        adoption_seconds: adoption.seconds,
        adoption_cpu_seconds: adoption.cpu_seconds,
        adoption_peak: adoption.peak,
        idle,
        busy,
        exported,
    };
    let percent = |share: f64| Figure::exact(share * 100.0, "% of a core");
    let rate = Figure::exact(ledgers as f64 / adoption.seconds, "ledgers/s");
    let rows = vec![
        Row::alone(&format!("adopting {ledgers} dead ledgers"), rate, Reach::Nothing),
        Row::alone(
            "memory of the adopter, at most",
            Figure::exact(adoption.peak as f64 / 1024.0, "MiB"),
            Reach::AtMost(64.0),
        ),
        Row::alone("agent with nothing to do", percent(idle), Reach::Nothing),
        Row::alone(
            &format!("agent at {:.0} operations/s of {HOSTS} hosts", exported as f64 / seconds),
            percent(busy),
            Reach::Nothing,
        ),
    ];
    Ok((rows, costs))
}

/// What draining a folder took.
struct Adoption {
    seconds: f64,
    cpu_seconds: f64,
    peak: u64,
}

fn adopt(stage: &Stage, effort: Effort) -> Result<(usize, Adoption)> {
    let count = effort.ledgers;
    progress(&format!("agent: {count} dead ledgers"));
    let folder = stage.folder()?;
    leave(stage, folder.path(), count)?;
    stage.sink.take()?;
    let start = Instant::now();
    let mut drain = stage
        .agent(folder.path())?
        .args(["drain", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let (mut peak, mut cpu_seconds) = (0, 0.0);
    let status = loop {
        // What it says last before it ends is what it came to, to within a glance.
        peak = peak.max(field(drain.id(), "VmHWM:").unwrap_or(0));
        cpu_seconds = cpu(drain.id()).unwrap_or(cpu_seconds);
        if let Some(status) = drain.try_wait()? {
            break status;
        }
        thread::sleep(GLANCE);
    };
    let seconds = start.elapsed().as_secs_f64();
    let spans = stage.sink.take()?.spans;
    if !status.success() || spans != count as u64 {
        return Err(format!("{spans} of {count} operations arrived; {status}").into());
    }
    Ok((count, Adoption { seconds, cpu_seconds, peak }))
}

/// A running agent. It is killed with this value: that loses nothing.
struct Process(Child);

impl Process {
    fn start(stage: &Stage, folder: &Path) -> Result<Self> {
        let child =
            stage.agent(folder)?.arg("agent").stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self(child))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        cpu(self.0.id())
    }

    fn cpu_over(&self, time: Duration) -> Result<f64> {
        let start = self.cpu_seconds()?;
        thread::sleep(time);
        Ok((self.cpu_seconds()? - start) / time.as_secs_f64())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then the figures told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of a process, in seconds: the run time of all its threads, in nanoseconds, in
/// `schedstat` of proc(5).
pub(super) fn cpu(pid: u32) -> Result<f64> {
    let mut nanos = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += stat.split(' ').next().ok_or("an empty schedstat")?.parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}

/// A field of `status` of proc(5).
pub(super) fn field(pid: u32, name: &str) -> Result<u64> {
    super::host::field(&fs::read_to_string(format!("/proc/{pid}/status"))?, name)
}
