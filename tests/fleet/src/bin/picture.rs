//! Draws the overview dashboard of a simulated working day, for README: the real gateway and the
//! real Prometheus, in time-lapse. `cargo xtask picture` runs it.

use mpr_otel_fleet::drawing::draw;
use mpr_otel_fleet::{Board, Gallery, LOOKBACK, Lapse, Process, Result, Stack, Truth, until};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Ten hours pass in two minutes and a half.
const LAPSE: Lapse = Lapse(240);
/// What is simulated: a day with four incidents, and what happens on any day.
const DAY: &[&str] = &[
    "--machines",
    "3000",
    "--branches",
    "8",
    "--hours",
    "10",
    "--from",
    "07:00",
    "--seed",
    "3",
    "--speed",
    "240",
    "--incident",
    "server-down@2h30m-3h30m:server=3",
    "--incident",
    "server-slow@5h-6h30m:server=1,factor=40",
    "--incident",
    "server-hangs@3h50m-4h30m:server=nas01",
    "--incident",
    "account-expired@8h-8h40m:share=0.1",
    "--incident",
    "off-vpn@0m-1h30m:share=0.1",
    "--incident",
    "mapped-twice@0m:share=0.2",
    "--incident",
    "misspelt@0m:every=60s",
    "--incident",
    "noisy-machine@0m:server=5,code=5,every=60s",
];
/// The time of day at the beginning and at the end, in seconds.
const CLOCK: (f64, f64) = (7.0 * 3600.0, 17.0 * 3600.0);
/// Under the title.
const SUBTITLE: &str =
    "3,000 simulated machines, ten hours; drawn from the dashboard's own queries, not by Grafana";
/// Nobody listens here: traces wait in the gateway's queue.
const NOWHERE: &str = "http://127.0.0.1:9";

fn main() -> Result<()> {
    let (Some(program), Some(file)) = (env::args_os().nth(1), env::args_os().nth(2)) else {
        return Err("usage: picture PROGRAM FILE".into());
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stack = Stack::new(&root, LAPSE)?;
    let store = stack.prometheus(LAPSE.of(LOOKBACK))?;
    let gateway = stack.gateway("gateway-1", &store.prometheus, NOWHERE)?;
    let truth_file = stack.folder().join("truth.json");
    let mut simulate = Command::new(program);
    simulate.args(["simulate", "--endpoint", &gateway.endpoint]).args(DAY);
    simulate.arg("--truth").arg(&truth_file);
    let mut simulation = Process::start("simulate", simulate, stack.folder())?;
    if !simulation.end()? {
        return Err(simulation.said().into());
    }
    let truth = Truth::read(&truth_file)?;
    let end = until("everything is counted", || {
        let calls = "mpr_calls_total";
        let at = store.prometheus.number(&format!("max(timestamp({calls}))"), None)?;
        let counted = store.prometheus.number(&format!("sum({calls})"), Some(at))?;
        Ok((counted == truth.operations as f64).then_some(at))
    })?;
    let gallery = Gallery {
        prometheus: store.prometheus.clone(),
        lapse: LAPSE,
        span: (truth.begun_unix_ms as f64 / 1e3, end),
    };
    // No store of events runs here.
    let board = Board::read(&root.join("dashboards/overview.json"))?.only("prometheus");
    fs::write(file, draw(&board, &gallery.contents(&board)?, SUBTITLE, CLOCK))?;
    Ok(())
}
