//! `mpr-otel drain`: adopts and exports now.

use crate::agent::{Agent, Progress};
use crate::answer::{Failure, write_json};
use crate::printable::Printable;
use clap::Args;
use mpr_otel_core::adoption::{Census, LedgerFolder};
use mpr_otel_core::settings::{Settings, System};
use mpr_otel_core::stop::Stop;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Export what programs that have ended left behind, now.
///
/// Does once what the agent does all the time, and needs the same rights: on Windows, an
/// administrator's. While the agent runs there is nothing to do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel drain --dry-run\n  mpr-otel drain --json\n\n\
    Exits with 1 if the collector did not take everything.")]
pub(super) struct Drain {
    /// Only show what would be exported.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    dry_run: bool,
    ledgers: usize,
    operations: u64,
    exported: u64,
    lost: u64,
    quarantined: usize,
    refused: usize,
    waiting: usize,
    duration_ms: u64,
    trouble: Option<Printable>,
}

impl Drain {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let settings = Settings::resolve(&System::program());
        let summary = if self.dry_run { survey(&settings)? } else { drain(settings)? };
        if self.json {
            write_json(out, &summary)?;
        } else {
            summary.write(out)?;
        }
        let done = summary.dry_run || (summary.waiting == 0 && summary.lost == 0);
        Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn survey(settings: &Settings) -> Result<Summary, Failure> {
    let folder = LedgerFolder::new(&settings.ledger_dir);
    let census = Census::take(&folder).map_err(|error| cannot_look(&folder, &error))?;
    Ok(Summary {
        dry_run: true,
        ledgers: census.ledgers - census.live,
        operations: census.orphaned,
        refused: census.unreadable,
        ..Summary::default()
    })
}

fn drain(settings: Settings) -> Result<Summary, Failure> {
    let started = Instant::now();
    let mut agent = Agent::new(settings)?;
    let mut progress = Progress::default();
    let visible = io::stderr().is_terminal();
    agent.round(&Stop::default(), &mut progress, |progress| {
        if visible {
            let Progress { adopted, exported, waiting, .. } = progress;
            // Progress is a courtesy: a closed terminal is no failure.
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{adopted} ledgers adopted, {exported} operations exported, {waiting} to go"
            );
        }
    });
    if visible {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    Ok(Summary {
        dry_run: false,
        ledgers: progress.adopted,
        operations: progress.exported + progress.lost + progress.waiting as u64,
        exported: progress.exported,
        lost: progress.lost,
        quarantined: progress.quarantined,
        refused: progress.refused,
        waiting: progress.waiting,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        trouble: agent.trouble().map(Printable::from),
    })
}

/// Why the folder cannot be listed, with what to do.
pub(super) fn cannot_look(folder: &LedgerFolder, error: &io::Error) -> Failure {
    let path = folder.path().display();
    format!("cannot look into the ledger folder {path}: {error}; MPR_OTEL_LEDGER_DIR names it")
        .into()
}

impl Summary {
    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.dry_run {
            writeln!(
                out,
                "{} operations wait in {} ledgers of programs that have ended.",
                self.operations, self.ledgers
            )?;
        } else {
            writeln!(
                out,
                "{} ledgers adopted: {} operations exported, {} lost, {} waiting, in {:.1} s",
                self.ledgers,
                self.exported,
                self.lost,
                self.waiting,
                self.duration_ms as f64 / 1000.0
            )?;
        }
        if self.quarantined > 0 {
            writeln!(out, "{} damaged ledgers were put aside.", self.quarantined)?;
        }
        if self.refused > 0 {
            writeln!(out, "{} files may not be read, or are no ledgers.", self.refused)?;
        }
        if let Some(trouble) = &self.trouble {
            writeln!(
                out,
                "The collector did not take all: {trouble}. What is left waits in its ledgers; \
                 `mpr-otel status` tries the collector."
            )?;
        }
        Ok(())
    }
}
