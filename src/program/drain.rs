//! `mpr-otel drain`: takes over and sends, once, what ledgers hold.

use crate::agent::place::{DAMAGED, Place, Sight, sight};
use crate::agent::sender::{Sender, Sent};
use crate::agent::take_over;
use crate::answer::{Failure, write_json};
use crate::printable::Printable;
use crate::store::{Bounds, Store, StoreError};
use clap::Args;
use mpr_otel_core::folder::{Census, LedgerFolder};
use mpr_otel_core::intake::Intake;
use mpr_otel_core::platform;
use mpr_otel_core::settings::{Settings, System};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The file in the user's state folder with operations that were taken over and not sent yet.
const STORE: &str = "drain.redb";

/// The longest wait for a collector that takes empty batches and not the recorded operations.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Send now what programs recorded and what was not sent yet.
///
/// Does once what the agent does all the time, and needs the same rights: on Windows, an
/// administrator's. If an agent runs, shows the agent's numbers instead.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel drain --dry-run\n  mpr-otel drain --json\n\n\
    Operations that the collector does not take are kept, and the next `mpr-otel drain` sends them.\n\
    Exits with 1 if the collector did not take everything.")]
pub(super) struct Drain {
    /// Only show how much would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    dry_run: bool,
    /// Whether an agent runs. If so, the following numbers are the agent's.
    agent: bool,
    ledgers: u64,
    operations: u64,
    exported: u64,
    lost: u64,
    quarantined: u64,
    refused: usize,
    waiting: u64,
    duration_ms: u64,
    trouble: Option<Printable>,
    /// The file with the operations that wait. `None` if no operation waits.
    store: Option<Printable>,
}

impl Drain {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let settings = Settings::resolve(&System::program().with_secrets());
        let folder = LedgerFolder::new(&settings.ledger_dir);
        let summary = if self.dry_run { survey(&folder)? } else { drain(settings, folder)? };
        if self.json {
            write_json(out, &summary)?;
        } else {
            summary.write(out)?;
        }
        let done = summary.dry_run || (summary.waiting == 0 && summary.lost == 0);
        Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn survey(folder: &LedgerFolder) -> Result<Summary, Failure> {
    let census = Census::take(folder).map_err(|error| cannot_look(folder, &error))?;
    Ok(Summary {
        dry_run: true,
        ledgers: (census.ledgers - census.live) as u64,
        operations: census.orphaned,
        refused: census.unreadable,
        ..Summary::default()
    })
}

fn drain(settings: Settings, folder: LedgerFolder) -> Result<Summary, Failure> {
    let started = Instant::now();
    let agent = sight(&folder).map_err(|error| {
        format!("cannot find out whether an agent runs: {error}; run this as an administrator")
    })?;
    if agent.is_running {
        return Ok(Summary::of_agent(agent));
    }
    // The place is taken, so that no agent starts while this works.
    let place = Place::take(&folder)?;
    let state = state_folder()?;
    std::fs::create_dir_all(&state)
        .map_err(|error| format!("cannot make {}: {error}", state.display()))?;
    let store = Arc::new(Store::at(state.join(STORE), Bounds::of(&settings)));
    store.open()?;
    let before = store.counts()?;
    let mut summary = Summary::default();
    let mut intake =
        Intake::new(folder, state.join(DAMAGED), settings.unfinished_after, Duration::from_secs(1));
    intake.list(Instant::now()).map_err(|error| cannot_look(intake.folder(), &error))?;
    let mut latest = 0;
    take_over(&mut intake, &store, &mut latest, |round| {
        summary.ledgers += round.removed;
        summary.quarantined += round.damaged;
        tell(&format!("{} ledgers taken over", summary.ledgers));
    })?;
    summary.refused = intake.sights().refused;
    let mut sender = Sender::new(Arc::clone(&store), &settings);
    send_all(&mut sender, || {
        let counts = store.counts()?;
        let exported = counts.exported() - before.exported();
        tell(&format!("{exported} operations sent, {} to go", counts.pending()));
        Ok(())
    })?;
    tell("");
    summary.trouble = sender.trouble().map(Printable::from);
    drop((sender, place));
    let after = store.counts()?;
    let lost = |counts: &crate::store::Counts| counts.lost().values().sum::<u64>();
    summary.exported = after.exported() - before.exported();
    summary.lost = lost(&after) - lost(&before);
    summary.waiting = after.pending();
    summary.operations = summary.exported + summary.lost + summary.waiting;
    if summary.waiting > 0 {
        summary.store = Some(store.path().display().to_string().into());
    } else if let Some(store) = Arc::into_inner(store) {
        store.remove()?;
    }
    summary.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(summary)
}

/// Sends until nothing is left or nobody takes it. Calls `sent` after each batch.
fn send_all(
    sender: &mut Sender,
    sent: impl Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    loop {
        match sender.send()? {
            Sent::Nothing => return Ok(()),
            Sent::Batch { .. } => sent()?,
            // The collector is there and fails at some of a batch, so it may take the other spans.
            Sent::Later(wait)
                if sender.trouble().is_none()
                    || (wait <= LONGEST_WAIT && sender.takes_empty_batches()) =>
            {
                thread::sleep(wait);
            }
            Sent::Later(_) => return Ok(()),
        }
    }
}

/// Where this user's programs keep their own data.
fn state_folder() -> Result<PathBuf, Failure> {
    platform::state_dir().ok_or_else(|| {
        "there is no folder for the operations that are taken over: this user has no home folder".into()
    })
}

/// Shows progress if standard error is a terminal.
fn tell(text: &str) {
    if io::stderr().is_terminal() {
        // A closed terminal is not a failure of the command.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

/// A failure: why the folder cannot be listed, and what to do.
pub(super) fn cannot_look(folder: &LedgerFolder, error: &io::Error) -> Failure {
    let path = folder.path().display();
    format!("cannot look into the ledger folder {path}: {error}; MPR_OTEL_LEDGER_DIR names it")
        .into()
}

impl Summary {
    /// The summary of the agent's last report.
    fn of_agent(sight: Sight) -> Self {
        let report = sight.report.unwrap_or_default();
        Self {
            agent: true,
            operations: report.seen,
            exported: report.exported,
            lost: 0,
            quarantined: report.damaged as u64,
            refused: report.refused,
            waiting: report.pending,
            trouble: report.trouble.map(Printable::from),
            ..Self::default()
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.dry_run {
            writeln!(
                out,
                "{} operations wait in {} ledgers of programs that have ended.",
                self.operations, self.ledgers
            )?;
        } else if self.agent {
            writeln!(
                out,
                "An agent runs and sends by itself: {} of {} operations sent, {} waiting. \
                 `mpr-otel status` shows more.",
                self.exported, self.operations, self.waiting
            )?;
        } else {
            writeln!(
                out,
                "{} ledgers taken over: {} operations exported, {} lost, {} waiting, in {:.1} s",
                self.ledgers,
                self.exported,
                self.lost,
                self.waiting,
                self.duration_ms as f64 / 1000.0
            )?;
        }
        if self.quarantined > 0 {
            writeln!(out, "{} damaged ledgers were copied and removed.", self.quarantined)?;
        }
        if self.refused > 0 {
            writeln!(out, "{} files cannot be read, or are not ledgers.", self.refused)?;
        }
        if let Some(trouble) = &self.trouble {
            writeln!(out, "The collector did not take all: {trouble}.")?;
        }
        if let Some(store) = &self.store {
            writeln!(
                out,
                "Waiting operations are kept in {store}; the next `mpr-otel drain` sends them. \
                 `mpr-otel status` tries the collector."
            )?;
        }
        Ok(())
    }
}
