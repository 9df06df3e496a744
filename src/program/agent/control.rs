//! The agent's part in the control page: its heartbeat, and the stop word from the setting Disabled. And
//! whether the other settings are still those that it began with.

use mpr_otel_core::control_page::ControlPageWriter;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::NEWEST_VERSION;
use mpr_otel_core::settings::{Settings, System};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The shortest time between two heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often the settings are resolved and the page is opened again, because the page may have been
/// removed. Hosts must learn of `Disabled` within a minute.
const RESOLVE_EVERY: Duration = Duration::from_secs(25);

/// The control page of the agent's folder.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    /// `None` if the page can neither be opened nor made.
    page: Option<ControlPageWriter>,
    /// What programs and agent may read, when the agent began.
    began_with: Settings,
    has_changed: bool,
    resolved: Option<Instant>,
    beaten: Option<Instant>,
}

impl Control {
    pub(super) fn new(folder: &LedgerFolder) -> Self {
        Self {
            path: folder.control_page(),
            page: None,
            began_with: Settings::resolve(&System::host()),
            has_changed: false,
            resolved: None,
            beaten: None,
        }
    }

    /// Whether a policy or an administrator has changed a setting since the agent began. Not `Disabled`, which counts
    /// at once.
    pub(super) fn settings_have_changed(&self) -> bool {
        self.has_changed
    }

    /// Writes the heartbeat and the stop word, each if it is due.
    ///
    /// The last writer's stop word counts. `uninstall` stops the service before it writes, so the
    /// service's agent does not write after it.
    pub(super) fn tend(&mut self) {
        if is_due(&mut self.resolved, RESOLVE_EVERY) {
            self.page = open(&self.path)
                .inspect_err(|error| {
                    let page = self.path.display();
                    tracing::warn!(%page, %error, "hosts do not hear from this agent");
                })
                .ok();
            let settings = Settings::resolve(&System::host());
            // Settings that cannot be read are not an order of an administrator.
            if settings.unreadable.is_none() {
                if let Some(page) = &self.page {
                    page.set_stop(settings.disabled);
                }
                let disabled = self.began_with.disabled;
                self.has_changed = Settings { disabled, ..settings } != self.began_with;
            }
        }
        if is_due(&mut self.beaten, BEAT_EVERY)
            && let Some(page) = &self.page
        {
            page.beat(NEWEST_VERSION);
        }
    }
}

/// Whether a task is due that was last done at `last`. If so, notes that it is done now.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|at| at.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// The page that `install` made, or a new one.
fn open(path: &Path) -> io::Result<ControlPageWriter> {
    if let Some(page) = ControlPageWriter::open(path)? {
        return Ok(page);
    }
    let page = ControlPageWriter::create(path)?;
    // Before this, users' hosts cannot read the page.
    #[cfg(windows)]
    crate::windows::set_rights_of_own(path, crate::rights::Rights::ControlPage)?;
    Ok(page)
}
