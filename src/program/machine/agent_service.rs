//! The agent as a service of Windows: made, updated, and taken back.
//!
//! It runs under an account of its own, which Windows makes for the service and which has no
//! rights but those that the ledger folder gives it. Its program is in `Program Files`, because
//! a user who can replace a service's program can run code as that service.

use super::placed_file::{PlacedFile, Placement};
use super::uninstalled::Uninstalled;
use crate::agent::service::{meaning, reason};
use crate::answer::Failure;
use crate::printable::Printable;
use crate::rights::{AGENT_ACCOUNT, AGENT_SERVICE, AGENT_SID};
use crate::windows::{self, Process};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType,
    ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_LEVEL, ERROR_SERVICE_CANNOT_ACCEPT_CTRL, ERROR_SERVICE_DOES_NOT_EXIST,
    ERROR_SERVICE_LOGON_FAILED, ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE,
};

const DISPLAY_NAME: &str = "mpr-otel agent";
const DESCRIPTION: &str = "Sends what programs recorded of their drive and share mappings to an \
                           OpenTelemetry Collector.";
/// In `Program Files`.
const PROGRAM: &str = r"mpr-otel\mpr-otel.exe";
/// All it needs: to reach a file by its path without rights to each folder on the way.
const PRIVILEGES: [&str; 1] = ["SeChangeNotifyPrivilege"];
/// Waits before it is started again: after the first, the second, and every further failure.
const RESTARTS: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(60)];
/// After this long without a failure, the next one counts as the first.
const FORGIVEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The agent starts and stops within seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Windows takes its time to put an account's profile away.
const PROFILE_PATIENCE: Duration = Duration::from_secs(5);
/// How often Windows is asked.
const POLL: Duration = Duration::from_millis(50);

/// The service, whether it is there or not.
pub(super) struct AgentService {
    manager: ServiceManager,
    service: Option<Service>,
    /// Where its program belongs.
    program: PathBuf,
}

/// What `install` did about the agent.
#[derive(Debug, Serialize)]
pub(crate) struct Agent {
    /// Name of the service.
    pub(crate) service: &'static str,
    /// What became of it.
    pub(crate) change: ServiceChange,
    /// Why it does not run; `None` if it does.
    pub(crate) problem: Option<Printable>,
    /// Its program.
    pub(crate) program: String,
    /// What it took to put the program there.
    pub(crate) placement: Placement,
}

/// What became of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServiceChange {
    Created,
    /// There was one, which is now as this version wants it.
    Updated,
}

impl AgentService {
    /// Looks for it.
    pub(super) fn find() -> Result<Self, Failure> {
        let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
        let manager = ServiceManager::local_computer(None::<&str>, access)
            .map_err(|error| cannot("look for", &error))?;
        let service = match manager.open_service(AGENT_SERVICE, ServiceAccess::ALL_ACCESS) {
            Err(error) if code(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => None,
            service => Some(service.map_err(|error| cannot("open", &error))?),
        };
        let folder = windows::program_files()
            .map_err(|error| format!("Windows does not tell its folder of programs: {error}"))?;
        Ok(Self { manager, service, program: folder.join(PROGRAM) })
    }

    /// Stops it, if it is there and runs.
    pub(super) fn stop(&self) -> Result<(), Failure> {
        self.service.as_ref().map_or(Ok(()), stop)
    }

    /// Makes the service, or brings it up to date, with a program of this content; and starts it. It is
    /// stopped by now.
    pub(super) fn install(
        mut self,
        program: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Agent, Failure> {
        let before = self.service.take();
        let folder = self.folder();
        fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let placement = PlacedFile(&self.program).put(program)?;
        let info = self.info();
        let (service, change) = match before {
            Some(service) => {
                service.change_config(&info).map_err(|error| cannot("change", &error))?;
                (service, ServiceChange::Updated)
            }
            None => {
                let made = self.manager.create_service(&info, ServiceAccess::ALL_ACCESS);
                (made.map_err(|error| cannot("make", &error))?, ServiceChange::Created)
            }
        };
        configure(&service, warnings)?;
        // Programs record without it, and Windows starts it again when it starts itself.
        let problem = start(&service).err().map(|error| Printable::from(error.to_string()));
        let program = self.program.display().to_string();
        Ok(Agent { service: AGENT_SERVICE, change, problem, program, placement })
    }

    /// Stops and deletes it, and removes what Windows kept for its account and, unless that is somebody
    /// else's to remove, its program.
    pub(super) fn remove(
        mut self,
        keep_program: bool,
        done: &mut Uninstalled,
    ) -> Result<(), Failure> {
        if let Some(service) = self.service.take() {
            stop(&service)?;
            service.delete().map_err(|error| cannot("delete", &error))?;
            done.removed.push(format!("service {AGENT_SERVICE}"));
        }
        if keep_program {
            PlacedFile(&self.program).remove_superseded();
        } else {
            PlacedFile(&self.program).remove(done)?;
            done.delete_folder(self.folder())?;
        }
        match delete_profile() {
            Ok(None) => {}
            Ok(Some(folder)) => done.removed.push(folder.display().to_string()),
            Err(error) => done.kept.push(format!(
                "the profile of {AGENT_ACCOUNT}: {error}; delete it in Windows' list of user profiles"
            )),
        }
        Ok(())
    }

    fn info(&self) -> ServiceInfo {
        ServiceInfo {
            name: AGENT_SERVICE.into(),
            display_name: DISPLAY_NAME.into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::AutoStart,
            error_control: ServiceErrorControl::Normal,
            executable_path: self.program.clone(),
            launch_arguments: vec!["agent".into(), "--service".into()],
            dependencies: Vec::new(),
            account_name: Some(AGENT_ACCOUNT.into()),
            // Windows alone knows it.
            account_password: None,
        }
    }

    fn folder(&self) -> &Path {
        self.program.parent().unwrap_or(&self.program)
    }
}

/// Settles what the making of a service leaves open. What this Windows does not know is a warning.
fn configure(service: &Service, warnings: &mut Vec<String>) -> Result<(), Failure> {
    let restart = |delay| ServiceAction { action_type: ServiceActionType::Restart, delay };
    let restarts = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGIVEN_AFTER),
        reboot_msg: None,
        command: None,
        actions: Some(RESTARTS.map(restart).to_vec()),
    };
    for (what, done) in [
        ("description", service.set_description(DESCRIPTION)),
        ("delayed start", service.set_delayed_auto_start(true)),
        ("restarts", service.update_failure_actions(restarts)),
        // Otherwise only a crash counts as a failure.
        ("restarts after an exit code", service.set_failure_actions_on_non_crash_failures(true)),
        // It writes only where this SID may: to the ledger folder, and to its own account's profile.
        ("restricted SID", service.set_config_service_sid_info(ServiceSidType::Restricted)),
        (
            "list of its privileges",
            windows::keep_privileges(service, &PRIVILEGES).map_err(Error::Winapi),
        ),
    ] {
        match done {
            Err(error) if code(&error) == Some(ERROR_INVALID_LEVEL) => {
                warnings.push(format!("the service has no {what}: {}", reason(&error)));
            }
            done => done.map_err(|error| cannot(&format!("set the {what} of"), &error))?,
        }
    }
    Ok(())
}

/// Starts the service and waits until it says that it runs.
fn start(service: &Service) -> Result<(), Failure> {
    service.start::<&str>(&[]).map_err(|error| cannot("start", &error))?;
    let begun = |status: &ServiceStatus| Ok(status.current_state != ServiceState::StartPending);
    let ServiceStatus { current_state, exit_code, .. } = settle(service, begun)?;
    let why = match exit_code {
        _ if current_state == ServiceState::Running => return Ok(()),
        ServiceExitCode::ServiceSpecific(code) => format!("{} (code {code})", meaning(code)),
        ServiceExitCode::Win32(code) => {
            io::Error::from_raw_os_error(code.cast_signed()).to_string()
        }
    };
    Err(format!(
        "the service {AGENT_SERVICE} is installed, but ended at once: {why}; \
         `mpr-otel status` and the file that --log names tell more. Then try again"
    )
    .into())
}

/// Stops the service, if it runs, and waits until its process has ended: until then its program
/// is in use.
fn stop(service: &Service) -> Result<(), Failure> {
    let mut process = None;
    settle(service, |status| {
        if let Some(id) = status.process_id {
            process = process.take().or_else(|| Process::open(id).ok());
            if let Err(error) = service.stop() {
                match code(&error) {
                    // It stops at this moment: the next look tells.
                    Some(ERROR_SERVICE_CANNOT_ACCEPT_CTRL | ERROR_SERVICE_NOT_ACTIVE) => {}
                    _ => return Err(error),
                }
            }
        }
        Ok(status.current_state == ServiceState::Stopped)
    })?;
    match process.map(|process| process.wait(PATIENCE)) {
        None | Some(Ok(true)) => Ok(()),
        Some(Ok(false) | Err(_)) => Err(slow()),
    }
}

/// Removes what Windows keeps for the account, which is in use for a moment after the account's
/// last process has ended.
fn delete_profile() -> io::Result<Option<PathBuf>> {
    let deadline = Instant::now() + PROFILE_PATIENCE;
    loop {
        match windows::delete_profile(AGENT_SID) {
            Err(_) if Instant::now() < deadline => thread::sleep(POLL),
            deleted => return deleted,
        }
    }
}

/// Asks how the service is until that is `settled`, but not for ever.
fn settle(
    service: &Service,
    mut settled: impl FnMut(&ServiceStatus) -> windows_service::Result<bool>,
) -> Result<ServiceStatus, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = service.query_status().map_err(|error| cannot("ask", &error))?;
        if settled(&status).map_err(|error| cannot("stop", &error))? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            return Err(slow());
        }
        thread::sleep(POLL);
    }
}

fn slow() -> Failure {
    format!(
        "the service {AGENT_SERVICE} has neither started nor stopped for {} s; \
         end its process in the task manager and try again",
        PATIENCE.as_secs()
    )
    .into()
}

/// Windows' code of an error.
fn code(error: &Error) -> Option<u32> {
    match error {
        Error::Winapi(error) => error.raw_os_error().map(i32::cast_unsigned),
        _ => None,
    }
}

/// What could not be done with the service, why, and what to do.
fn cannot(verb: &str, error: &Error) -> Failure {
    let next = match code(error) {
        Some(ERROR_SERVICE_MARKED_FOR_DELETE) => {
            "it goes when all programs that show services are closed; close them and try again"
        }
        Some(ERROR_SERVICE_LOGON_FAILED) => {
            r"the right to log on as a service must include NT SERVICE\ALL SERVICES"
        }
        _ => "look at it in Windows' list of services and try again",
    };
    format!("cannot {verb} the service {AGENT_SERVICE}: {}; {next}", reason(error)).into()
}
