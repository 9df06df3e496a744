//! What the agent costs: taking over dead ledgers, doing nothing, standing beside many hosts, sending
//! for live ones, and keeping what no collector takes.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::subject::{Subject, ours::Ours};
use mpr_otel_core::clock::Clock;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::{Keeper, Ledger, SLOT_COUNT, Seed};
use mpr_otel_core::platform;
use mpr_otel_core::process::Identity;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Hosts that leave the export to the agent while it is measured.
const HOSTS: usize = 10;
/// What they do together, each second.
const OPERATIONS_PER_SECOND: usize = 1000;
/// For how many times as long as a host an agent is watched that has nothing to do: it wakes up for
/// its sweeps.
const IDLE: f64 = 12.0;
/// How often a process is looked at while it runs.
const GLANCE: Duration = Duration::from_millis(5);

/// What was found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Costs {
    /// Ledgers that were taken over at once.
    ledgers: usize,
    /// How long that took, in seconds.
    intake_seconds: f64,
    /// CPU time of it, in seconds.
    intake_cpu_seconds: f64,
    /// The most memory it had resident, in KiB.
    intake_peak: u64,
    /// CPU seconds for each second without anything to do.
    idle: f64,
    /// How often its threads woke up in each minute of that.
    idle_wakeups: f64,
    /// CPU seconds for each second beside hosts that do nothing.
    crowd: f64,
    /// Operations that it kept while no collector took any.
    kept: u64,
    /// The most memory it had resident then, in KiB.
    kept_peak: u64,
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

/// Makes ledgers of hosts that live and do nothing: of so many that leave delivery to the agent, and of
/// so many that do not. They live until standard input ends. Runs in a worker.
pub fn crowd(folder: &Path, live: usize, locked: usize) -> Result<()> {
    let identity = Identity::current();
    let keepers = [(Keeper::Agent, live), (Keeper::Host, locked)];
    let keepers = keepers.iter().flat_map(|(keeper, count)| std::iter::repeat_n(*keeper, *count));
    let ledgers: Vec<Ledger> = keepers
        .zip(1..)
        .map(|(keeper, number)| {
            Ledger::create(
                folder,
                Seed {
                    identity: &identity,
                    parent: None,
                    clock: Clock::start(),
                    id_seed: [number, number, number],
                    boot_id: platform::boot_id(),
                    keeper,
                },
            )
        })
        .collect::<std::result::Result<_, _>>()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} ledgers", ledgers.len())?;
    out.flush()?;
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// Leaves the ledgers of `count` hosts that died with so many operations each.
fn leave(stage: &Stage, folder: &Path, count: usize, operations: usize) -> Result<()> {
    // Copies of one that a host left: a host for each would take longer than all the rest.
    let status = stage
        .worker(&["steady", &operations.to_string(), "0"], folder)
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

/// Measures intake, rest, company and work.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Costs)> {
    let (ledgers, intake) = take_over(stage, effort)?;
    let (kept, kept_peak) = keep(stage, effort)?;
    let (live, locked, crowd) = beside_a_crowd(stage, effort)?;
    let folder = stage.folder()?;
    let agent = Process::start(stage, folder.path())?;
    let (idle, idle_wakeups) = rest(&agent, effort)?;
    let work = beside_work(stage, &agent, folder.path(), effort)?;
    drop(agent);
    let costs = Costs {
        ledgers,
        intake_seconds: intake.seconds,
        intake_cpu_seconds: intake.cpu_seconds,
        intake_peak: intake.peak,
        idle,
        idle_wakeups,
        crowd,
        kept,
        kept_peak,
        busy: work.busy,
        exported: work.exported,
    };
    let crowd = format!("agent beside {live} quiet hosts and {locked} locked files");
    Ok((rows(&costs, &crowd, work.exported as f64 / work.seconds), costs))
}

/// The report's rows: of the crowd with this title, of work at this rate in operations a second.
fn rows(costs: &Costs, crowd: &str, rate: f64) -> Vec<Row> {
    let percent = |share: f64| Figure::exact(share * 100.0, "% of a core");
    let mib = |kib: u64| Figure::exact(kib as f64 / 1024.0, "MiB");
    let row = |title: &str, figure, reach| Row::alone(title, figure, reach);
    vec![
        row(
            &format!("taking over and sending {} dead ledgers", costs.ledgers),
            Figure::exact(costs.ledgers as f64 / costs.intake_seconds, "ledgers/s"),
            Reach::Nothing,
        ),
        row("memory for that, at most", mib(costs.intake_peak), Reach::AtMost(64.0)),
        row(
            &format!("memory with {} operations kept", costs.kept),
            mib(costs.kept_peak),
            Reach::AtMost(64.0),
        ),
        row("agent with nothing to do", percent(costs.idle), Reach::Nothing),
        row("wake-ups of it", Figure::exact(costs.idle_wakeups, "a minute"), Reach::AtMost(10.0)),
        row(crowd, percent(costs.crowd), Reach::AtMost(2.0)),
        row(
            &format!("agent at {rate:.0} operations/s of {HOSTS} hosts"),
            percent(costs.busy),
            Reach::Nothing,
        ),
    ]
}

/// CPU seconds that an agent needs for each second without anything to do, and how often its threads
/// wake up in a minute of that.
fn rest(agent: &Process, effort: Effort) -> Result<(f64, f64)> {
    progress("agent: nothing to do");
    // What it does when it starts is no rest, and nothing shows from outside when that is over.
    thread::sleep(Duration::from_secs(1));
    let minutes = effort.idle_seconds as f64 * IDLE / 60.0;
    let before = wakeups(agent.0.id())?;
    let idle = agent.cpu_over(Duration::from_secs_f64(minutes * 60.0))?;
    Ok((idle, (wakeups(agent.0.id())? - before) as f64 / minutes))
}

/// What an agent did beside hosts at work.
struct Work {
    /// CPU seconds for each second.
    busy: f64,
    /// How long the hosts worked, in seconds.
    seconds: f64,
    /// Operations that it exported.
    exported: u64,
}

/// Has hosts work in an agent's folder until all that they did has arrived.
fn beside_work(stage: &Stage, agent: &Process, folder: &Path, effort: Effort) -> Result<Work> {
    progress("agent: hosts at work");
    stage.sink.take()?;
    let pause = Duration::from_secs(1) * HOSTS as u32 / OPERATIONS_PER_SECOND as u32;
    let each = effort.idle_seconds as usize * OPERATIONS_PER_SECOND / HOSTS;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let arguments = ["steady", &each.to_string(), &pause.as_micros().to_string()];
        let host = stage
            .worker(&arguments, folder)
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
    Ok(Work { busy, seconds, exported })
}

/// What emptying a folder took.
struct Emptied {
    seconds: f64,
    cpu_seconds: f64,
    peak: u64,
}

fn take_over(stage: &Stage, effort: Effort) -> Result<(usize, Emptied)> {
    let count = effort.ledgers;
    progress(&format!("agent: {count} dead ledgers"));
    let folder = stage.folder()?;
    leave(stage, folder.path(), count, 1)?;
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
    Ok((count, Emptied { seconds, cpu_seconds, peak }))
}

/// Lets an agent keep what full tables hold while no collector takes it: how many operations, and the
/// most memory that it needed, in KiB.
fn keep(stage: &Stage, effort: Effort) -> Result<(u64, u64)> {
    let count = effort.ledgers / 4;
    progress(&format!("agent: {count} full ledgers, and no collector"));
    let folder = stage.folder()?;
    leave(stage, folder.path(), count, SLOT_COUNT)?;
    let mut agent = stage.agent(folder.path())?;
    // Nobody answers there.
    agent.arg("agent").env("MPR_OTEL_ENDPOINT", "http://127.0.0.1:9");
    let agent = Process(agent.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let ledgers = LedgerFolder::new(folder.path());
    let deadline = Instant::now() + Duration::from_secs(300);
    while !ledgers.list()?.is_empty() {
        if Instant::now() > deadline {
            return Err("the agent does not empty the folder".into());
        }
        thread::sleep(GLANCE * 20);
    }
    Ok(((count * SLOT_COUNT) as u64, field(agent.0.id(), "VmHWM:")?))
}

/// CPU seconds that an agent needs for each second beside hosts that do nothing, and how many.
fn beside_a_crowd(stage: &Stage, effort: Effort) -> Result<(usize, usize, f64)> {
    let (live, locked) = (effort.ledgers * 3 / 100, effort.ledgers * 8 / 10);
    progress(&format!("agent: {live} quiet hosts and {locked} locked files"));
    let folder = stage.folder()?;
    let path = folder.path().to_str().ok_or("a folder without a name in UTF-8")?;
    let mut crowd = stage
        .worker(&["crowd", path, &live.to_string(), &locked.to_string()], folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = String::new();
    let output = crowd.stdout.take().ok_or("a worker without an output")?;
    BufReader::new(output).read_line(&mut ready)?;
    let agent = Process::start(stage, folder.path())?;
    // Each file is looked at after one second, two, four, and so on: then only each half a minute.
    thread::sleep(Duration::from_secs(3 * effort.idle_seconds));
    let share = agent.cpu_over(Duration::from_secs_f64(effort.idle_seconds as f64 * IDLE))?;
    drop(crowd.stdin.take());
    crowd.wait()?;
    Ok((live, locked, share))
}

/// How often the threads of a process have waited and been woken.
fn wakeups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        sum += super::host::field(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
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
        // It may have ended by itself; then the figures said so.
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
