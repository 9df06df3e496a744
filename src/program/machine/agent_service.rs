//! The agent as a service of Windows: making it, updating it and removing it.
//!
//! The service runs under its own account, which Windows makes for it. The account has only the
//! rights that the ledger folder gives it. The service's program is in `Program Files`, because a
//! user who can replace a service's program can run code as that service.

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
const DESCRIPTION: &str = "Sends the drive and share mappings that programs recorded to an \
                           OpenTelemetry Collector.";
/// The path below `Program Files`.
const PROGRAM: &str = r"mpr-otel\mpr-otel.exe";
/// The only privilege that the agent needs: to reach a file by its path without rights to each
/// folder above it.
const PRIVILEGES: [&str; 1] = ["SeChangeNotifyPrivilege"];
/// The wait before each restart: after the first failure, the second, and every further one.
const RESTARTS: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(60)];
/// After this time without a failure, the next failure counts as the first.
const FORGIVEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than the agent takes to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long Windows may take to free an account's profile.
const PROFILE_PATIENCE: Duration = Duration::from_secs(5);
/// How often Windows is asked for the service's state.
const POLL: Duration = Duration::from_millis(50);

/// The service, whether it exists or not.
pub(super) struct AgentService {
    manager: ServiceManager,
    service: Option<Service>,
    /// The path where its program belongs.
    program: PathBuf,
}

/// What `install` did about the agent.
#[derive(Debug, Serialize)]
pub(crate) struct Agent {
    /// Name of the service.
    pub(crate) service: &'static str,
    /// What changed.
    pub(crate) change: ServiceChange,
    /// Why it does not run; `None` if it does.
    pub(crate) problem: Option<Printable>,
    /// The path of its program.
    pub(crate) program: String,
    /// How the program was put there.
    pub(crate) placement: Placement,
}

/// What happened to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServiceChange {
    Created,
    /// The service existed, and now has this version's configuration.
    Updated,
}

impl AgentService {
    /// Looks for the service.
    pub(super) fn find() -> Result<Self, Failure> {
        let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
        let manager = ServiceManager::local_computer(None::<&str>, access)
            .map_err(|error| cannot("look for", &error))?;
        let service = match manager.open_service(AGENT_SERVICE, ServiceAccess::ALL_ACCESS) {
            Err(error) if code(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => None,
            service => Some(service.map_err(|error| cannot("open", &error))?),
        };
        let folder = windows::program_files()
            .map_err(|error| format!("Windows does not name its folder of programs: {error}"))?;
        Ok(Self { manager, service, program: folder.join(PROGRAM) })
    }

    /// Stops the service if it exists and runs.
    pub(super) fn stop(&self) -> Result<(), Failure> {
        self.service.as_ref().map_or(Ok(()), stop)
    }

    /// Makes or updates the service with a program of this content, and starts it. The service must
    /// have been stopped.
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
        // Programs record without the agent, and Windows starts the service again at its next
        // start.
        let problem = start(&service).err().map(|error| Printable::from(error.to_string()));
        let program = self.program.display().to_string();
        Ok(Agent { service: AGENT_SERVICE, change, problem, program, placement })
    }

    /// Stops and deletes the service, and removes its account's profile. Also removes its program,
    /// unless Windows Installer does that.
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
            // Only Windows knows the password.
            account_password: None,
        }
    }

    fn folder(&self) -> &Path {
        self.program.parent().unwrap_or(&self.program)
    }
}

/// Sets what cannot be set when a service is made. If this Windows does not know one of the
/// settings, that is a warning.
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
        // Without this only a crash counts as a failure.
        ("restarts after an exit code", service.set_failure_actions_on_non_crash_failures(true)),
        // The service can write only where this SID may: to the ledger folder and to its account's
        // profile.
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

/// Starts the service and waits until it reports that it runs.
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
         see `mpr-otel status` and the file that --log names, then try again"
    )
    .into())
}

/// Stops the service if it runs, and waits until its process has ended, because its program is in
/// use until then.
fn stop(service: &Service) -> Result<(), Failure> {
    let mut process = None;
    settle(service, |status| {
        if let Some(id) = status.process_id {
            process = process.take().or_else(|| Process::open(id).ok());
            if let Err(error) = service.stop() {
                match code(&error) {
                    // The service stops at this moment. The next look shows it.
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

/// Removes the account's profile. It stays in use for a moment after the account's last process has
/// ended.
fn delete_profile() -> io::Result<Option<PathBuf>> {
    let deadline = Instant::now() + PROFILE_PATIENCE;
    loop {
        match windows::delete_profile(AGENT_SID) {
            Err(_) if Instant::now() < deadline => thread::sleep(POLL),
            deleted => return deleted,
        }
    }
}

/// Asks for the service's state until that is `settled`, for [`PATIENCE`] at most.
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

/// The Windows code in an error.
fn code(error: &Error) -> Option<u32> {
    match error {
        Error::Winapi(error) => error.raw_os_error().map(i32::cast_unsigned),
        _ => None,
    }
}

/// A failure: what could not be done with the service, why, and what to do.
fn cannot(verb: &str, error: &Error) -> Failure {
    let next = match code(error) {
        Some(ERROR_SERVICE_MARKED_FOR_DELETE) => {
            "the service is deleted when all programs that show services are closed; close them and try again"
        }
        Some(ERROR_SERVICE_LOGON_FAILED) => {
            r"the right to log on as a service must include NT SERVICE\ALL SERVICES"
        }
        _ => "look at it in Windows' list of services and try again",
    };
    format!("cannot {verb} the service {AGENT_SERVICE}: {}; {next}", reason(error)).into()
}
