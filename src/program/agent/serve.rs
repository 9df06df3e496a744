//! Runs the agent as a process: on another thread, until a stop is asked for.

use super::Agent;
use super::bell::Bell;
use super::events::{Event, Events};
use super::place::AgentError;
use super::telemetry::Telemetry;
use super::watchdog::Watchdog;
use crate::answer::Failure;
use mpr_otel_core::settings::{Settings, System};
use mpr_otel_core::stop::Stop;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long the agent may take to stop. Operations that it has not sent by then are in its store.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Runs the agent with the settings from `system` until `stop` is asked for. `heard` says that
/// somebody reads standard error, so the log goes there. Calls `started` when the agent has started
/// and can no longer be refused.
pub(super) fn serve(
    system: &System,
    stop: &Stop,
    heard: bool,
    events: &Arc<Events>,
    started: impl FnOnce(),
) -> Result<(), Failure> {
    let (settings, reports) = Settings::resolve_with_reports(system);
    let telemetry = Telemetry::start(&settings, heard)?;
    for report in reports.iter() {
        if let Some(malformed) = &report.malformed {
            tracing::warn!(
                setting = report.name.variable(),
                problem = malformed.problem,
                "malformed"
            );
        }
        if let Some(source) = report.exposed {
            let setting = report.name.registry;
            tracing::warn!(setting, %source, "every user can read this secret there, so it is not used");
        }
    }
    if let Some(error) = settings.withheld {
        tracing::warn!(code = error.code, "no headers are sent: only administrators can read them");
        events.report(&Event::SecretsUnreadable { key: error.key, code: error.code });
    }
    if let Some(error) = settings.unreadable {
        tracing::error!(%error, "programs record nothing until all settings can be read");
        events.report(&Event::SettingsUnreadable { reason: error.to_string() });
    }
    #[cfg(windows)]
    if let Err(error) = crate::windows::distrust_redirections() {
        tracing::info!(%error, "this Windows cannot refuse junctions that users made");
    }
    #[cfg(windows)]
    if let Err(error) = crate::windows::distrust_images() {
        tracing::info!(%error, "this Windows cannot refuse foreign DLLs");
    }
    let watchdog = Watchdog::start(Arc::clone(events))?;
    telemetry.watch(&watchdog);
    let bell = Bell::default();
    let mut agent = Agent::new(settings, bell.clone(), Arc::clone(events))?;
    started();
    let asked = stop.clone();
    supervise(stop, &bell, move || {
        let done = agent.run(&asked, &watchdog);
        telemetry.finish();
        done
    })
}

/// Does `work` on another thread, which waits for `bell`, until it ends. If the work has not ended
/// [`GRACE`] after `stop` was asked for, this returns without it: a collector that hangs must not
/// delay the machine's shutdown.
fn supervise(
    stop: &Stop,
    bell: &Bell,
    work: impl FnOnce() -> Result<(), AgentError> + Send + 'static,
) -> Result<(), Failure> {
    let (done, finished) = mpsc::channel();
    let ending = Ending(stop.clone());
    thread::Builder::new().name("mpr-otel-agent".to_owned()).spawn(move || {
        let _ending = ending;
        // The receiver is gone if the work took too long.
        let _ = done.send(work());
    })?;
    stop.wait_for_ever();
    bell.ring();
    match finished.recv_timeout(GRACE) {
        Ok(done) => Ok(done?),
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => {
            Err("the agent failed, which is a defect of mpr-otel; what it had not sent is in its \
                 store. Start it again, and report this with the log lines before it"
                .into())
        }
    }
}

/// Asks for a stop when it is dropped, also by a panic. A process without its agent must end,
/// because otherwise nobody starts it again.
struct Ending(Stop);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_panics_ends_its_process_with_a_failure() {
        let failed = supervise(&Stop::default(), &Bell::default(), || panic!("as a defect would"))
            .unwrap_err();
        assert!(failed.to_string().starts_with("the agent failed"), "{failed}");
    }

    #[test]
    fn an_agent_that_is_asked_to_stop_ends_without_a_failure() {
        let stop = Stop::default();
        let asked = stop.clone();
        stop.ask();
        assert!(
            supervise(&stop, &Bell::default(), move || {
                asked.wait_for_ever();
                Ok(())
            })
            .is_ok()
        );
    }
}
