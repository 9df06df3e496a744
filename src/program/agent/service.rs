//! The agent as a Windows service.

use super::events::{ApplicationLog, Event, Events, RECENT};
use super::place::AgentError;
use super::serve::{GRACE, serve};
use super::telemetry::{TelemetryError, printable_fields};
use crate::answer::Failure;
use crate::rights::AGENT_SERVICE;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::settings::{Settings, System};
use mpr_otel_core::stop::Stop;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;
use windows_service::define_windows_service;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::service_dispatcher;

/// Why the agent ended by itself, by the exit code that the service manager gets.
const MEANINGS: [(u32, &str); 5] = [
    (FAILED, "the agent failed"),
    (NO_TELEMETRY, "the certificate of the collector's authority cannot be used"),
    (TAKEN, "another agent empties the ledger folder"),
    (NO_LEDGERS, "the ledger folder cannot be used"),
    (SETTINGS_CHANGED, "the settings have changed, and Windows starts it again with them"),
];
const FAILED: u32 = 1;
const NO_TELEMETRY: u32 = 2;
const TAKEN: u32 = 3;
const NO_LEDGERS: u32 = 4;
const SETTINGS_CHANGED: u32 = 5;

/// Longer than the agent takes to start or to stop.
const PATIENCE: Duration = GRACE.saturating_mul(3);

/// What the handler shares with the service. It is not in the handler, because windows-service
/// frees the handler at the request to stop, and calls it again if the manager asks for the
/// service's state.
static STOP: LazyLock<Stop> = LazyLock::new(Stop::default);
static MANAGER: OnceLock<ServiceStatusHandle> = OnceLock::new();

define_windows_service!(service_main, run);

/// Connects this process to the service manager until the service has stopped.
pub(crate) fn dispatch() -> Result<ExitCode, Failure> {
    service_dispatcher::start(AGENT_SERVICE, service_main).map_err(|error| {
        format!(
            "this process is not a service: {}; run `mpr-otel agent`, or make it one with \
             `mpr-otel install`",
            reason(&error)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What an exit code of the service means.
pub(crate) fn meaning(code: u32) -> &'static str {
    MEANINGS.iter().find(|(known, _)| *known == code).map_or("it does not say why", |known| known.1)
}

/// The message of Windows.
pub(crate) fn reason(error: &windows_service::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn run(_arguments: Vec<OsString>) {
    let Ok(manager) = service_control_handler::register(AGENT_SERVICE, handle) else {
        // Without a handle nothing can be reported to the manager; it notices that the process ends.
        std::process::exit(1);
    };
    let manager = *MANAGER.get_or_init(|| manager);
    tell(&manager, ServiceState::StartPending, ServiceExitCode::NO_ERROR);
    let events = Arc::new(Events::to(ApplicationLog, recent()));
    let ended = serve(&System::host().with_secrets(), &STOP, false, &events, || {
        tell(&manager, ServiceState::Running, ServiceExitCode::NO_ERROR);
    });
    let code = match ended {
        Ok(()) => {
            events.report(&Event::Stopped);
            ServiceExitCode::NO_ERROR
        }
        Err(failure) => {
            let code = exit_code(&failure);
            // The next one says that it has started.
            if code != SETTINGS_CHANGED {
                log(&failure);
                // The service manager's own event has the code alone.
                events.report(&Event::Failed { reason: failure.to_string() });
            }
            ServiceExitCode::ServiceSpecific(code)
        }
    };
    tell(&manager, ServiceState::Stopped, code);
}

/// The file with the events that earlier agents reported.
fn recent() -> PathBuf {
    LedgerFolder::new(&Settings::resolve(&System::host()).ledger_dir).agent().join(RECENT)
}

/// Carries out the service manager's request, on the manager's thread.
fn handle(control: ServiceControl) -> ServiceControlHandlerResult {
    match control {
        ServiceControl::Interrogate => {}
        ServiceControl::Stop | ServiceControl::Shutdown => {
            if let Some(manager) = MANAGER.get() {
                tell(manager, ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            }
            STOP.ask();
        }
        _ => return ServiceControlHandlerResult::NotImplemented,
    }
    ServiceControlHandlerResult::NoError
}

/// Reports the service's state to the service manager.
fn tell(manager: &ServiceStatusHandle, state: ServiceState, exit_code: ServiceExitCode) {
    let pending = matches!(state, ServiceState::StartPending | ServiceState::StopPending);
    // PRESHUTDOWN is not asked for: it is for services that would otherwise lose something.
    let controls_accepted = match state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        _ => ServiceControlAccept::empty(),
    };
    // If the manager does not take the state, it finds it out by itself.
    let _ = manager.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted,
        exit_code,
        checkpoint: 0,
        wait_hint: if pending { PATIENCE } else { Duration::ZERO },
        process_id: None,
    });
}

/// Writes the reason for the agent's end to the log file, if there is one. The agent's own
/// telemetry may be what failed.
fn log(failure: &Failure) {
    let path = Settings::resolve(&System::host()).log;
    let file =
        path.and_then(|path| std::fs::File::options().create(true).append(true).open(path).ok());
    let Some(file) = file else { return };
    let log = tracing_subscriber::fmt().fmt_fields(printable_fields());
    let log = log.with_ansi(false).with_target(false).with_writer(Mutex::new(file)).finish();
    tracing::subscriber::with_default(log, || tracing::error!("the agent ends: {failure}"));
}

fn exit_code(failure: &Failure) -> u32 {
    match failure.downcast_ref() {
        Some(AgentError::Taken { .. }) => TAKEN,
        Some(AgentError::SettingsChanged) => SETTINGS_CHANGED,
        Some(AgentError::Thread(_)) => FAILED,
        Some(_) => NO_LEDGERS,
        None if failure.is::<TelemetryError>() => NO_TELEMETRY,
        None => FAILED,
    }
}
