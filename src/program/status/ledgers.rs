//! The ledgers and the agent in the report of `status`.

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
    /// Why the folder cannot be listed; `None` if it can.
    pub(super) problem: Option<Printable>,
    /// The owner of the folder. `None` if there is no folder, or this user may not see the owner.
    ownership: Option<FolderOwnership>,
    files: usize,
    live: usize,
    bytes: u64,
    /// Files that are damaged or that this user may not read.
    unreadable: usize,
    /// Copies of damaged ledgers.
    quarantined: usize,
    /// Operations that ended programs left in their ledgers.
    orphaned: u64,
    operations: Operations,
    /// When a collector last took spans, in milliseconds since 1970.
    last_export_unix_ms: Option<u64>,
    /// Why exporters in running programs failed last; at most a few of them.
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

/// The owner of the folder, and whether untrusted users may remove ledgers.
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
            writeln!(out, "  ! the folder belongs to {owner}, who can remove any ledger")?;
        }
        if self.others_may_remove {
            writeln!(out, "  ! other users may remove any ledger: correct the folder's rights")?;
        }
        Ok(())
    }
}

/// The counts of the agent and of the ledgers that exist. A host that sends by itself loses its
/// counts with its ledger.
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

/// The agent, as far as this user may see its state.
#[derive(Debug, Default, Serialize)]
pub(super) struct Agent {
    /// `None` if this user may not see it.
    pub(super) running: Option<bool>,
    /// When the agent last looked into the folder, in milliseconds since 1970. `None` if it never
    /// did, or this user may not see it.
    last_round_unix_ms: Option<u64>,
    last_export_unix_ms: Option<u64>,
    /// When the agent wrote the following numbers, which it does once a minute, in milliseconds
    /// since 1970.
    told_unix_ms: Option<u64>,
    /// Operations that the agent took over and has not sent.
    pending: Option<u64>,
    /// Bytes of these operations.
    store_bytes: Option<u64>,
    /// Users whose ledgers wait because their quota for this hour is used up.
    deferred: Option<usize>,
    /// Since when the collector takes nothing from the agent, in milliseconds since 1970.
    blocked_since_unix_ms: Option<u64>,
    /// Why the collector did not take the agent's last batch.
    trouble: Option<Printable>,
}

impl Agent {
    /// How long ago the agent last looked into the folder.
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
    /// The hosts' counts, and the agent's.
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
    /// Counts everything in the folder.
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
            writeln!(out, "  {count} cannot be read: they are other users', or damaged")?;
        }
        if self.quarantined > 0 {
            writeln!(out, "  {} copies of damaged ledgers are kept", self.quarantined)?;
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
            writeln!(
                out,
                "  {pending} operations to send ({mib:.1} MiB), as the agent reported {told}"
            )?;
        }
        if let Some(users @ 1..) = self.deferred {
            writeln!(out, "  {users} users have used up this hour's quota: their operations wait")?;
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

/// A date in milliseconds, from nanoseconds; `None` for never.
fn unix_ms(nanos: u64) -> Option<u64> {
    (nanos > 0).then_some(nanos / 1_000_000)
}

/// How long ago a date was; zero for a date in the future.
fn elapsed(unix_ms: u64) -> Duration {
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    let elapsed = date.and_then(|date| SystemTime::now().duration_since(date).ok());
    elapsed.unwrap_or_default()
}

/// How long ago a date was, as text for people.
pub(super) fn ago(unix_ms: Option<u64>) -> String {
    match unix_ms {
        None => "never".to_owned(),
        Some(unix_ms) => format!("{} ago", rounded(elapsed(unix_ms))),
    }
}

#[cfg(test)]
impl Ledgers {
    /// Ledgers of a folder with this name that cannot be listed for this reason.
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
    fn dates_are_shown_in_a_fitting_unit() {
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
