//! `mpr-otel inflight`: the operations that are under way now.

use crate::answer::{Failure, write_json};
use crate::drain::cannot_look;
use crate::printable::Printable;
use clap::Args;
use mpr_otel_core::folder::{Inflight, LedgerFolder, Snapshot};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::{Settings, System};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How often `--watch` reads the ledgers.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show which connection operations are under way, in which program, and for how long.
///
/// Answers "what is Explorer hanging on?". Reads the ledgers of running programs without disturbing
/// them. Only administrators see other users' programs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel inflight\n  mpr-otel inflight --watch\n  \
    mpr-otel inflight --json")]
pub(super) struct InflightCommand {
    /// Read again every second, until interrupted.
    #[arg(long)]
    watch: bool,
    /// Print JSON; with --watch, one line each time.
    #[arg(long)]
    pub(super) json: bool,
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
    remote_name: Option<Printable>,
    local_name: Option<Printable>,
    server: Option<Printable>,
    share: Option<Printable>,
    executable: Printable,
    pid: u32,
    thread_id: u32,
    session_id: Option<u32>,
    user: Printable,
}

impl InflightCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let settings = Settings::resolve(&System::host());
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
            remote_name: operation.remote_name.map(Printable::from),
            local_name: operation.local_name.map(Printable::from),
            server: operation.remote.server.map(Printable::from),
            share: operation.remote.share.map(Printable::from),
            executable: identity.executable.into(),
            pid: identity.pid,
            thread_id: operation.thread_id,
            session_id: identity.session_id,
            user: user.into(),
        }
    }
}

impl Report {
    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.operations.is_empty() {
            writeln!(out, "Nothing is under way in {} recorded programs.", self.hosts)?;
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
            let names: Vec<&str> = names.into_iter().flatten().map(|name| &**name).collect();
            writeln!(
                out,
                "{:>8.1} s  {:<24} {:>7} {:>7}  {:<6}  {}",
                row.open_for_ms as f64 / 1000.0,
                row.executable,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::testing::{first_forbidden, first_forbidden_in, hostile};
    use mpr_otel_core::operation::{Kind, Operation, Outcome};
    use mpr_otel_core::process::Identity;
    use mpr_otel_core::remote_name::RemoteName;
    use proptest::prelude::*;

    /// A snapshot with these texts wherever a ledger or a file system provides one.
    fn snapshot([remote, local, server, share, executable, user]: [String; 6]) -> Snapshot {
        let operation = Operation {
            number: 1,
            kind: Kind::Add,
            outcome: Outcome::Unfinished,
            status: None,
            started: 0,
            ended: 0,
            started_unix_nanos: 0,
            asleep: 0,
            session_id: None,
            logon_id: 0,
            elevation: None,
            impersonated: false,
            thread_id: 1,
            flags: Vec::new(),
            force: None,
            resource_type: None,
            remote_name: Some(remote),
            remote: RemoteName {
                server: Some(server),
                share: Some(share),
                ..RemoteName::default()
            },
            local_name: Some(local),
            provider: None,
            protocol: None,
            truncated: false,
        };
        let identity =
            Identity { pid: 1, executable: executable.into(), session_id: None, service: None };
        let inflight = Inflight {
            operation: Privacy::FULL.disclose(operation),
            identity,
            user,
            open_for: Duration::ZERO,
        };
        Snapshot { operations: vec![inflight], hosts: 1, unreadable: 1 }
    }

    proptest! {
        #[test]
        fn nothing_that_steers_a_terminal_is_shown_in_text_or_json(
            texts in proptest::array::uniform6(hostile())
        ) {
            let report = Report::from(snapshot(texts));
            let mut shown = Vec::new();
            report.write(&mut shown).unwrap();
            let shown = String::from_utf8(shown).unwrap();
            prop_assert_eq!(first_forbidden(&shown), None);
            // One heading, one operation, and one line for the programs that are not shown.
            prop_assert_eq!(shown.lines().count(), 3);
            let json = serde_json::to_value(&report).unwrap();
            prop_assert_eq!(first_forbidden_in(&json), None);
        }
    }
}
