//! What `status` says of the ledgers and of the agent.

use crate::agent::place::{Sight, sight};
use crate::agent::report::Report;
use crate::answer::Failure;
use crate::printable::Printable;
use crate::rounded::rounded;
use crate::store::LOSSES;
use mpr_otel_core::clock;
use mpr_otel_core::folder::{Census, HostError, LedgerFolder};
use mpr_otel_core::ledger::{Loss, Tally};
use mpr_otel_core::platform::Ownership;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The ledgers of all programs, and the agent that empties them.
#[derive(Debug, Serialize)]
pub(super) struct Ledgers {
    folder: Printable,
    /// Why the folder cannot be listed, if it cannot.
    pub(super) problem: Option<Printable>,
    /// Whose the folder is; `None` if there is none, or this user may not see it.
    ownership: Option<FolderOwnership>,
    files: usize,
    live: usize,
    bytes: u64,
    /// Files that this user may not read, or that are damaged.
    unreadable: usize,
    /// Damaged ledgers that were put aside.
    quarantined: usize,
    /// Operations that programs left which have ended.
    orphaned: u64,
    operations: Operations,
    /// When a collector last took spans, in milliseconds since 1970.
    last_export_unix_ms: Option<u64>,
    /// Why exporters in running programs failed last, a few of them.
    last_errors: Vec<LastError>,
    pub(super) agent: Agent,
}

/// Why the exporter in a running program failed last.
#[derive(Debug, Serialize)]
struct LastError {
    pid: u32,
    executable: Printable,
    text: Printable,
}

/// Whose the folder is, and whether others than administrators may take ledgers away.
#[derive(Debug, Serialize)]
struct FolderOwnership {
    owner: Printable,
    owner_is_trusted: bool,
    others_may_remove: bool,
}

impl From<Ownership> for FolderOwnership {
    fn from(ownership: Ownership) -> Self {
        Self {
            owner: ownership.owner.into(),
            owner_is_trusted: ownership.owner_is_trusted,
            others_may_remove: ownership.others_may_remove,
        }
    }
}

impl FolderOwnership {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.owner_is_trusted {
            let owner = &self.owner;
            writeln!(out, "  ! the folder belongs to {owner}, who can take any ledger away")?;
        }
        if self.others_may_remove {
            writeln!(out, "  ! other users may take any ledger away: correct the folder's rights")?;
        }
        Ok(())
    }
}

/// What the ledgers that are there count, and the agent: what a host that sent by itself counted is
/// gone with its ledger.
#[derive(Debug, Serialize)]
struct Operations {
    seen: u64,
    exported: u64,
    pending: u64,
    lost: BTreeMap<&'static str, u64>,
    unmatched: u64,
    malformed: u64,
    unprotected: u64,
    repeated: u64,
}

/// The agent, as far as this user may see it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Agent {
    /// `None`: this user may not see it.
    pub(super) running: Option<bool>,
    /// When it last looked into the folder, in milliseconds since 1970; `None`: never, or this user
    /// may not see it.
    last_round_unix_ms: Option<u64>,
    last_export_unix_ms: Option<u64>,
    /// When it said what follows, which it does once a minute.
    told_unix_ms: Option<u64>,
    /// Operations that it took over and has not sent.
    pending: Option<u64>,
    /// Bytes that it keeps of them.
    store_bytes: Option<u64>,
    /// Users whose ledgers wait, because they have had their part of this hour.
    deferred: Option<usize>,
    /// Since when the collector takes nothing of it.
    blocked_since_unix_ms: Option<u64>,
    /// Why the collector did not take its last batch.
    trouble: Option<Printable>,
}

impl Agent {
    /// How long ago it last looked into the folder.
    pub(super) fn last_round(&self) -> Option<Duration> {
        self.last_round_unix_ms.map(elapsed)
    }
}

impl From<&HostError> for LastError {
    fn from(HostError { identity, text }: &HostError) -> Self {
        let executable = (&*identity.executable).into();
        Self { pid: identity.pid, executable, text: text.as_str().into() }
    }
}

impl Operations {
    /// What hosts count, and what the agent does.
    fn of(tally: Tally, agent: &Report) -> Self {
        let hosts = |reason| {
            let known = Loss::ALL.iter().position(|loss| loss.name() == reason);
            known.map_or(0, |index| tally.lost[index])
        };
        let agents = |reason: &str| agent.lost.get(reason).copied().unwrap_or(0);
        let lost = LOSSES.map(|reason| (reason, hosts(reason) + agents(reason)));
        Self {
            seen: tally.seen + agent.seen,
            exported: tally.exported + agent.exported,
            pending: tally.pending() + agent.pending,
            lost: lost.into_iter().collect(),
            unmatched: tally.unmatched,
            malformed: tally.malformed,
            unprotected: tally.unprotected,
            repeated: tally.repeated + agent.repeated,
        }
    }
}

impl Ledgers {
    /// Counts what is in the folder.
    pub(super) fn count(path: &Path) -> Self {
        let folder = LedgerFolder::new(path);
        let (census, problem) = match Census::take(&folder) {
            Ok(census) => (census, None),
            Err(error) => (Census::default(), Some(error.to_string().into())),
        };
        let sight = sight(&folder);
        let agent = Agent::from(&sight);
        let report = sight.ok().and_then(|sight| sight.report).unwrap_or_default();
        Self {
            folder: path.display().to_string().into(),
            problem,
            ownership: folder.ownership().ok().flatten().map(FolderOwnership::from),
            files: census.ledgers + census.unreadable,
            live: census.live,
            bytes: census.bytes,
            unreadable: census.unreadable,
            quarantined: report.damaged,
            orphaned: census.orphaned,
            operations: Operations::of(census.tally, &report),
            last_export_unix_ms: unix_ms(census.last_export_unix_nanos)
                .max(agent.last_export_unix_ms),
            last_errors: census.last_errors.iter().map(LastError::from).collect(),
            agent,
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        self.write_folder(out)?;
        self.operations.write(out)?;
        writeln!(out, "  last export: {}", ago(self.last_export_unix_ms))?;
        for LastError { pid, executable, text } in &self.last_errors {
            writeln!(out, "  {executable} ({pid}) failed to export: {text}")?;
        }
        self.agent.write(out)
    }

    fn write_folder(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "\nLedgers: {}", self.folder)?;
        if let Some(problem) = &self.problem {
            writeln!(out, "  cannot be listed: {problem}")?;
        }
        if let Some(ownership) = &self.ownership {
            ownership.write(out)?;
        }
        let mib = self.bytes as f64 / f64::from(1 << 20);
        writeln!(
            out,
            "  {} files ({mib:.0} MiB), {} of running programs; {} operations of ended programs wait",
            self.files, self.live, self.orphaned
        )?;
        if self.unreadable > 0 {
            let count = self.unreadable;
            writeln!(out, "  {count} cannot be read: other users', or damaged")?;
        }
        if self.quarantined > 0 {
            writeln!(out, "  {} damaged ones were put aside", self.quarantined)?;
        }
        Ok(())
    }
}

impl Operations {
    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let lost: Vec<String> = self
            .lost
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        writeln!(
            out,
            "  operations: {} seen = {} exported + {} pending + {} lost{}",
            self.seen,
            self.exported,
            self.pending,
            self.lost.values().sum::<u64>(),
            if lost.is_empty() { String::new() } else { format!(" ({})", lost.join(", ")) }
        )?;
        for (count, what) in [
            (self.repeated, "spans were sent twice, because no answer came"),
            (self.unprotected, "operations were recorded in memory only"),
            (self.unmatched, "ends without a beginning"),
            (self.malformed, "calls that broke Windows' contract"),
        ] {
            if count > 0 {
                writeln!(out, "  {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Agent {
    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let state = match self.running {
            Some(true) => "running",
            Some(false) => "not running",
            None => "only administrators can see it",
        };
        writeln!(out, "\nAgent: {state}")?;
        if self.running.is_some() {
            writeln!(out, "  last round: {}", ago(self.last_round_unix_ms))?;
            writeln!(out, "  last export: {}", ago(self.last_export_unix_ms))?;
        }
        if let (Some(pending), Some(bytes)) = (self.pending, self.store_bytes) {
            let (told, mib) = (ago(self.told_unix_ms), bytes as f64 / f64::from(1 << 20));
            writeln!(out, "  {pending} operations to send ({mib:.1} MiB), as it said {told}")?;
        }
        if let Some(users @ 1..) = self.deferred {
            writeln!(out, "  {users} users had their part of this hour: what they do waits")?;
        }
        if let Some(trouble) = &self.trouble {
            let since = self.blocked_since_unix_ms.map(elapsed).unwrap_or_default();
            writeln!(out, "  blocked for {}: {trouble}", rounded(since))?;
        }
        Ok(())
    }
}

impl From<&io::Result<Sight>> for Agent {
    fn from(sight: &io::Result<Sight>) -> Self {
        let sight = sight.as_ref().ok();
        let report = sight.and_then(|sight| sight.report.as_ref());
        let round = sight.and_then(|sight| sight.last_round);
        Self {
            running: sight.map(|sight| sight.is_running),
            last_round_unix_ms: round.and_then(|round| unix_ms(clock::unix_nanos(round))),
            last_export_unix_ms: report.and_then(|report| report.last_export_unix_ms),
            told_unix_ms: report.map(|report| report.written_unix_ms),
            pending: report.map(|report| report.pending),
            store_bytes: report.map(|report| report.store_bytes),
            deferred: report.map(|report| report.deferred),
            blocked_since_unix_ms: report.and_then(|report| report.blocked_since_unix_ms),
            trouble: report.and_then(|report| report.trouble.as_deref()).map(Printable::from),
        }
    }
}

/// Milliseconds of a date in nanoseconds; `None` for never.
fn unix_ms(nanos: u64) -> Option<u64> {
    (nanos > 0).then_some(nanos / 1_000_000)
}

/// How long ago a date was; zero for one that is still to come.
fn elapsed(unix_ms: u64) -> Duration {
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    let elapsed = date.and_then(|date| SystemTime::now().duration_since(date).ok());
    elapsed.unwrap_or_default()
}

/// How long ago a date was, for people.
pub(super) fn ago(unix_ms: Option<u64>) -> String {
    match unix_ms {
        None => "never".to_owned(),
        Some(unix_ms) => format!("{} ago", rounded(elapsed(unix_ms))),
    }
}

#[cfg(test)]
impl Ledgers {
    /// The ledgers of a folder that is called so and cannot be listed for that reason.
    pub(super) fn of_folder(folder: &str, problem: &str) -> Self {
        Self {
            folder: folder.into(),
            problem: Some(problem.into()),
            ownership: Some(FolderOwnership {
                owner: folder.into(),
                owner_is_trusted: false,
                others_may_remove: true,
            }),
            files: 1,
            live: 0,
            bytes: 0,
            unreadable: 1,
            quarantined: 1,
            orphaned: 0,
            operations: Operations::of(Tally::default(), &Report::default()),
            last_export_unix_ms: None,
            last_errors: Vec::new(),
            agent: Agent { trouble: Some(problem.into()), ..Agent::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_shown_in_the_unit_that_says_enough() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let before = |seconds| ago(Some((now - Duration::from_secs(seconds)).as_millis() as u64));
        assert_eq!(ago(None), "never");
        assert_eq!(before(60), "60 s ago");
        assert_eq!(before(600), "10 min ago");
        assert_eq!(before(3 * 3600), "3 h ago");
        assert_eq!(before(72 * 3600), "3 days ago");
        assert_eq!(ago(Some(u64::MAX)), "0 s ago");
    }
}
