//! The control page in the report of `status`.

use super::ledgers::ago;
use crate::answer::Failure;
use mpr_otel_core::clock;
use mpr_otel_core::control_page;
use mpr_otel_core::folder::LedgerFolder;
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

/// The control page as hosts see it.
#[derive(Debug, Serialize)]
pub(super) struct ControlPage {
    /// Whether hosts must record nothing.
    stop: bool,
    /// When an agent last wrote a heartbeat, in milliseconds since 1970. `None` for never since the
    /// machine started.
    last_heartbeat_unix_ms: Option<u64>,
    /// Whether hosts count the agent as alive.
    agent_lives: bool,
    /// The newest version of a ledger that the last agent read; 0 if there was no agent.
    newest_ledger_version: u32,
}

impl ControlPage {
    /// The control page of the ledger folder at `path`. `None` if there is no page that this user can
    /// read.
    pub(super) fn find(path: &Path) -> Option<Self> {
        let place = LedgerFolder::new(path).control_page();
        let page = control_page::ControlPage::open(&place).ok().flatten()?;
        let heartbeat = page.heartbeat_age().and_then(|age| SystemTime::now().checked_sub(age));
        Some(Self {
            stop: page.stop_is_set(),
            last_heartbeat_unix_ms: heartbeat.map(|at| clock::unix_nanos(at) / 1_000_000),
            agent_lives: page.agent_lives(),
            newest_ledger_version: page.newest_ledger_version(),
        })
    }

    pub(super) fn write(page: Option<&Self>, out: &mut dyn Write) -> Result<(), Failure> {
        let state = match page {
            None => "missing, so running programs learn neither of Disabled nor of the agent",
            Some(Self { stop: true, .. }) => "stop: running programs record nothing",
            Some(Self { stop: false, .. }) => "go",
        };
        writeln!(out, "\nControl page: {state}")?;
        if let Some(page) = page {
            writeln!(out, "  last heartbeat of an agent: {}", ago(page.last_heartbeat_unix_ms))?;
        }
        Ok(())
    }
}
