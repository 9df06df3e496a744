//! What a fleet costs its gateway and its Prometheus.

use super::progress;
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::ship;
use crate::stage::Stage;
use mpr_otel_fleet::{LOOKBACK, Lapse, Prometheus, Stack as Servers, Store, until};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Sizes of fleets.
const MACHINES: [u32; 3] = [1_000, 10_000, 100_000];
/// The largest fleet whose machines are tried each by itself: a request for every logon takes long.
const MOST_DIRECT: u32 = 10_000;
/// How many times faster a fleet's metrics are flushed where it is measured what they take on a
/// disk: an hour's samples are taken in 36 seconds.
const LAPSE: Lapse = Lapse(100);
/// A day's samples of one series, one each 15 seconds.
const SAMPLES_A_DAY: f64 = 5_760.0;

/// What was found for one size.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    machines: u32,
    /// Spans of a working day.
    spans: u64,
    /// How long sending them took, in seconds.
    seconds: f64,
    /// CPU time of the gateway for them, in seconds.
    cpu_seconds: f64,
    /// The most memory the gateway had resident, in KiB.
    peak_kib: u64,
    /// CPU time of the gateway for a span if each machine sends requests of its own, in seconds;
    /// `None` where that was not tried.
    direct_cpu_seconds: Option<f64>,
    /// Series of the operation metrics.
    series: f64,
    /// Series of the agents' metrics, if each machine has an agent.
    agent_series: f64,
    /// CPU time of the gateway for one report of each agent, in seconds.
    agent_cpu_seconds: f64,
    /// The most memory the gateway had resident with agents, in KiB.
    agent_peak_kib: u64,
    /// The most memory that Prometheus had resident with agents, in KiB.
    agent_prometheus_kib: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    sizes: Vec<Size>,
    /// Bytes of a sample in Prometheus' blocks.
    bytes_per_sample: f64,
    /// Bytes of a span in the gateway's queue on disk.
    bytes_per_span: f64,
}

/// What `simulate --json` says.
#[derive(Debug, Deserialize)]
struct Said {
    operations: u64,
}

/// Measures each size, as many as the effort allows.
pub fn measure(stage: &Stage, quick: bool) -> Result<(Vec<Row>, Costs)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let machines = if quick { &MACHINES[..1] } else { &MACHINES[..] };
    let sizes = machines
        .iter()
        .map(|machines| size(stage, &root, *machines))
        .collect::<Result<Vec<_>>>()?;
    progress("fleet: what samples take on a disk");
    let bytes_per_sample = bytes_per_sample(stage, &root, if quick { "0.5" } else { "2" })?;
    let mut rows = Vec::new();
    for size in &sizes {
        let of = |what: &str| format!("{what}, {} machines", size.machines);
        let alone = |what: &str, value: f64, unit: &'static str| {
            Row::alone(&of(what), Figure::exact(value, unit), Reach::Nothing)
        };
        let mib = |kib: u64| kib as f64 / 1024.0;
        let days = f64::from(1_u32 << 20);
        rows.extend(size.direct_cpu_seconds.map(|seconds| {
            alone("gateway, each machine by itself", 1.0 / seconds, "spans/s of a core")
        }));
        rows.extend([
            alone("a day's spans", size.spans as f64, "spans"),
            alone("gateway", size.spans as f64 / size.cpu_seconds, "spans/s of a core"),
            alone("its memory, at most", mib(size.peak_kib), "MiB"),
            alone("series of operations", size.series, "series"),
            alone("series of agents", size.agent_series, "series"),
            alone("its memory with agents, at most", mib(size.agent_peak_kib), "MiB"),
            alone("Prometheus' memory with agents", mib(size.agent_prometheus_kib), "MiB"),
            alone(
                "agents' reports at one a minute",
                100.0 * size.agent_cpu_seconds / 60.0,
                "% of a core",
            ),
            alone(
                "Prometheus' disk, a day",
                size.series * SAMPLES_A_DAY * bytes_per_sample / days,
                "MiB",
            ),
        ]);
    }
    progress("fleet: what spans take in a queue");
    let bytes_per_span = bytes_per_span(stage, &root)?;
    let bytes = Figure::exact(bytes_per_span, "bytes");
    rows.push(Row::alone("a span in the gateway's queue", bytes, Reach::Nothing));
    let bytes = Figure::exact(bytes_per_sample, "bytes");
    rows.push(Row::alone("a sample on Prometheus' disk", bytes, Reach::Nothing));
    Ok((rows, Costs { sizes, bytes_per_sample, bytes_per_span }))
}

fn size(stage: &Stage, root: &Path, machines: u32) -> Result<Size> {
    progress(&format!("fleet: a day of {machines} machines"));
    let machines_text = machines.to_string();
    let (day, store, servers) =
        run(stage, root, Lapse(1), &["--machines", &machines_text, "--hours", "24"])?;
    let series = count(&store.prometheus, "mpr_(calls|duration).*")?;
    drop((store, servers));
    let direct = (machines <= MOST_DIRECT).then(|| {
        progress(&format!("fleet: a day of {machines} machines, each by itself"));
        let day = ["--machines", &machines_text, "--hours", "24", "--direct"];
        let (day, ..) = run(stage, root, Lapse(1), &day)?;
        Ok::<_, Box<dyn std::error::Error>>(day.cpu_seconds / day.spans as f64)
    });
    progress(&format!("fleet: reports of {machines} agents"));
    let agents = ["--machines", &machines_text, "--hours", "0.05", "--from", "03:00", "--agents"];
    let (reports, store, _servers) = run(stage, root, Lapse(1), &agents)?;
    let agent_series = count(&store.prometheus, "mpr_operation_.*|mpr_ledger_.*")?;
    Ok(Size {
        machines,
        spans: day.spans,
        seconds: day.seconds,
        cpu_seconds: day.cpu_seconds,
        peak_kib: day.peak_kib,
        direct_cpu_seconds: direct.transpose()?,
        series,
        agent_series,
        // Three minutes, and the last reports.
        agent_cpu_seconds: reports.cpu_seconds / 4.0,
        agent_peak_kib: reports.peak_kib,
        agent_prometheus_kib: super::agent::field(store.process.id(), "VmHWM:")?,
    })
}

/// What a simulation took of its gateway.
struct Took {
    spans: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_kib: u64,
}

/// Sends a simulation through a gateway of its own, until all of it is counted and sent onward.
fn run(
    stage: &Stage,
    root: &Path,
    lapse: Lapse,
    simulation: &[&str],
) -> Result<(Took, Store, Servers)> {
    let servers = Servers::new(root, lapse)?;
    let store = servers.prometheus(LOOKBACK)?;
    let sink = stage.sink.endpoint();
    let gateway = servers.gateway("gateway-1", &store.prometheus, sink)?;
    let pid = gateway.process.id();
    let before = super::agent::cpu(pid)?;
    stage.sink.take()?;
    let start = Instant::now();
    let said = simulate(stage, &gateway.endpoint, simulation)?;
    let mut onward = 0;
    until("all spans are sent onward", || {
        onward += stage.sink.take().map_err(|error| error.to_string())?.spans;
        Ok((onward >= said.operations).then_some(()))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = super::agent::cpu(pid)? - before;
    until("all spans are counted", || {
        let counted = store.prometheus.number("sum(mpr_calls_total)", None)?;
        Ok((counted == said.operations as f64).then_some(()))
    })?;
    let peak_kib = super::agent::field(pid, "VmHWM:")?;
    Ok((Took { spans: said.operations, seconds, cpu_seconds, peak_kib }, store, servers))
}

/// Runs `mpr-otel-lab simulate` to its end.
fn simulate(stage: &Stage, endpoint: &str, arguments: &[&str]) -> Result<Said> {
    let ledgers = stage.folder()?;
    let output = stage
        .command(&ship::built("mpr-otel-lab")?, ledgers.path())
        .args(["simulate", "--json", "--endpoint", endpoint])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the simulation failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn count(prometheus: &Prometheus, names: &str) -> Result<f64> {
    prometheus.number(&format!("count({{__name__=~\"{names}\"}})"), None)
}

/// Writes the samples of some hours into a block, and returns what one of them takes.
fn bytes_per_sample(stage: &Stage, root: &Path, hours: &str) -> Result<f64> {
    let speed = LAPSE.0.to_string();
    let simulation =
        ["--machines", "1000", "--hours", hours, "--from", "08:00", "--speed", speed.as_str()];
    let (_, store, _servers) = run(stage, root, LAPSE, &simulation)?;
    store.prometheus.post("/api/v1/admin/tsdb/snapshot")?;
    let (mut bytes, mut samples) = (0, 0);
    for block in fs::read_dir(store.folder.join("snapshots"))? {
        for block in fs::read_dir(block?.path())? {
            let block = block?.path();
            let meta: serde_json::Value =
                serde_json::from_slice(&fs::read(block.join("meta.json"))?)?;
            samples += meta["stats"]["numSamples"].as_u64().unwrap_or(0);
            bytes += size_of_folder(&block)?;
        }
    }
    match samples {
        0 => Err("Prometheus wrote no samples".into()),
        samples => Ok(bytes as f64 / samples as f64),
    }
}

/// Leaves a day's spans in a gateway's queue, and returns what one of them takes.
fn bytes_per_span(stage: &Stage, root: &Path) -> Result<f64> {
    let servers = Servers::new(root, LAPSE)?;
    let store = servers.prometheus(LOOKBACK)?;
    // Nobody listens on this port.
    let gateway = servers.gateway("gateway-1", &store.prometheus, "http://127.0.0.1:9")?;
    let said = simulate(stage, &gateway.endpoint, &["--machines", "1000", "--hours", "24"])?;
    let spans = said.operations as f64;
    let queue = "sum(otelcol_exporter_queue_size{exporter=\"otlp_http/traces\"})";
    until("all spans are counted", || {
        let counted = store.prometheus.number("sum(mpr_calls_total)", None)?;
        Ok((counted == spans).then_some(()))
    })?;
    let bytes = until("the queue is reported", || {
        Ok(Some(store.prometheus.number(queue, None)?).filter(|bytes| *bytes > 0.0))
    })?;
    Ok(bytes / spans)
}

fn size_of_folder(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { size_of_folder(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}
