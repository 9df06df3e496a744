//! `mpr-otel inflight`: what is open right now.

use crate::answer::{Failure, write_json};
use crate::drain::cannot_look;
use clap::Args;
use mpr_otel_core::adoption::{Inflight, LedgerFolder, Snapshot};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::{Settings, System};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How often `--watch` looks again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show which connection operations are under way, in which program, and for how long.
///
/// Answers "what is Explorer hanging on?". Reads the ledgers of running programs without
/// disturbing them. Other users' programs are shown to administrators only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel inflight\n  mpr-otel inflight --watch\n  \
    mpr-otel inflight --json")]
pub(super) struct InflightCommand {
    /// Look again every second, until interrupted.
    #[arg(long)]
    watch: bool,
    /// Print JSON; with --watch, one line each time.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    operations: Vec<Row>,
    hosts: usize,
    unreadable: usize,
}

#[derive(Serialize)]
struct Row {
    open_for_ms: u64,
    operation: &'static str,
    remote_name: Option<String>,
    local_name: Option<String>,
    server: Option<String>,
    share: Option<String>,
    executable: String,
    pid: u32,
    thread_id: u32,
    session_id: Option<u32>,
    user: String,
}

impl InflightCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let settings = Settings::resolve(&System::open());
        let privacy = Privacy::of(&settings);
        let folder = LedgerFolder::new(settings.ledger_dir);
        loop {
            let snapshot =
                Snapshot::take(&folder, &privacy).map_err(|error| cannot_look(&folder, &error))?;
            let report = Report::from(snapshot);
            match (self.json, self.watch) {
                (true, true) => {
                    serde_json::to_writer(&mut *out, &report)?;
                    writeln!(out)?;
                }
                (true, false) => write_json(out, &report)?,
                (false, watch) => {
                    if watch && std::io::stdout().is_terminal() {
                        write!(out, "\x1b[H\x1b[2J")?;
                    }
                    report.write(out)?;
                }
            }
            if !self.watch {
                return Ok(ExitCode::SUCCESS);
            }
            out.flush()?;
            thread::sleep(INTERVAL);
        }
    }
}

impl From<Snapshot> for Report {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            operations: snapshot.operations.into_iter().map(Row::from).collect(),
            hosts: snapshot.hosts,
            unreadable: snapshot.unreadable,
        }
    }
}

impl From<Inflight> for Row {
    fn from(inflight: Inflight) -> Self {
        let Inflight { operation, identity, user, open_for } = inflight;
        let operation = operation.into_operation();
        Self {
            open_for_ms: u64::try_from(open_for.as_millis()).unwrap_or(u64::MAX),
            operation: operation.kind.name(),
            remote_name: operation.remote_name,
            local_name: operation.local_name,
            server: operation.remote.server,
            share: operation.remote.share,
            executable: identity.executable.to_string(),
            pid: identity.pid,
            thread_id: operation.thread_id,
            session_id: identity.session_id,
            user,
        }
    }
}

impl Report {
    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.operations.is_empty() {
            writeln!(out, "Nothing is under way in {} observed programs.", self.hosts)?;
        } else {
            writeln!(
                out,
                "{:>10}  {:<24} {:>7} {:>7}  {:<6}  NAME",
                "OPEN FOR", "PROGRAM", "PID", "SESSION", "WHAT"
            )?;
        }
        for row in &self.operations {
            let session = row.session_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let names = [&row.local_name, &row.remote_name];
            let names: Vec<String> =
                names.into_iter().flatten().map(|name| printable(name)).collect();
            writeln!(
                out,
                "{:>8.1} s  {:<24} {:>7} {:>7}  {:<6}  {}",
                row.open_for_ms as f64 / 1000.0,
                printable(&row.executable),
                row.pid,
                session,
                row.operation,
                names.join("  ")
            )?;
        }
        if self.unreadable > 0 {
            writeln!(
                out,
                "{} programs are not shown: their ledgers belong to other users, or are damaged.",
                self.unreadable
            )?;
        }
        Ok(())
    }
}

/// A name without what would steer the terminal: any user can write anything into a ledger.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
