//! Changes Windows to install the product, and changes it back.
//!
//! MPR finds the DLL through one value of a registry key that all programs share. The path in it
//! means `System32` to 64-bit programs and `SysWOW64` to 32-bit programs. So there is a DLL in both
//! folders, and one value.

mod agent_service;
mod collector_folder;
mod event_source;
mod ledger_folder;
mod placed_file;
mod record;
mod registry;
mod release;
mod secured_folder;
mod system_dll;
mod uninstalled;

pub(super) use placed_file::Placement;
pub(super) use registry::{Listed, listed};
pub(super) use release::Programs;
pub(super) use system_dll::SystemDll;

use crate::answer::{Failure, WrongUsage};
use crate::printable::Printable;
use crate::setting_flags::{GivenSettings, Machine, SettingFlags};
use crate::windows;
use agent_service::{Agent, AgentService};
use collector_folder::CollectorFolder;
use ledger_folder::LedgerFolder;
use mpr_otel_core::settings::{
    CLIENT_CERTIFICATE, DELIVERY_AGENT, DELIVERY_IN_PROCESS, DeliveryMode, ENDPOINT, Lookup,
    MACHINE_KEY, Reports, SettingReport, Settings, Source, System,
};
use record::Record;
use release::Release;
use serde::Serialize;
use std::path::{Path, PathBuf};
use system_dll::Placed;
use uninstalled::Uninstalled;

/// The registry value that says who sends.
const DELIVERY: &str = "Delivery";

/// What `install` is asked for.
pub(super) struct Request<'a> {
    pub(super) flags: &'a SettingFlags,
    /// Whether programs have to send by themselves.
    pub(super) in_process: bool,
    /// State folder of a Collector on this machine.
    pub(super) collector_dir: Option<&'a Path>,
}

/// What `install` did.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    pub(super) dlls: Vec<Placed>,
    /// The architectures of the programs that this machine runs.
    pub(super) programs: Vec<Programs>,
    /// Settings that were written or removed.
    pub(super) settings: Vec<Setting>,
    /// The folder of all programs' ledgers.
    pub(super) ledger_dir: Printable,
    /// State folder of a Collector, if one was asked for.
    pub(super) collector_dir: Option<Printable>,
    /// Where folders are now that others had made in these places.
    pub(super) put_aside: Vec<Printable>,
    /// The agent's service.
    pub(super) agent: Agent,
    /// The collector in effect, without its password. `None` if no setting names one.
    pub(super) endpoint: Option<Printable>,
    /// Who sends: `agent` or `in-process`, the value in effect.
    pub(super) delivery: &'static str,
    /// The source that disables recording. `None` if recording is not disabled.
    pub(super) disabled_by: Option<String>,
    /// Things that do not stop the installation but should be changed.
    pub(super) warnings: Vec<String>,
}

/// A setting in the registry.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    /// Name of the registry value.
    pub(super) name: &'static str,
    /// The value that was written, with secrets masked. `None` if the value was removed.
    pub(super) value: Option<Printable>,
    /// The value in effect.
    pub(super) in_effect: Printable,
    /// The source of the value in effect.
    pub(super) origin: String,
    /// Whether that source is higher than the one that was written to.
    pub(super) is_overridden: bool,
}

/// Installs the DLLs beside this program, and this program as the agent, with these settings. A
/// second call changes nothing.
///
/// The agent is installed first and the registration made last, so that no program loads a DLL
/// before the agent can read what it records.
pub(super) fn install(request: &Request<'_>) -> Result<Installed, Failure> {
    // Makes links that a user made lead nowhere. Not every Windows has this.
    let _ = windows::distrust_redirections();
    // Everything that can be refused is refused before anything is changed.
    let (given, written) = with_delivery(request)?.read()?;
    let mut record = Record::read()?;
    let planned = Settings::resolve(&Machine { given: &given, system: System::host() });
    let folder = LedgerFolder::of(&planned);
    folder.check(&record)?;
    let collector_folder = request.collector_dir.map(CollectorFolder);
    if let Some(folder) = &collector_folder {
        folder.check(&record)?;
    }
    let mut warnings = Vec::new();
    let release = Release::beside_this_program(&mut warnings)?;
    registry::require_rights()?;
    let service = AgentService::find()?;

    record.made_list |= !registry::list_is_there();
    registry::write_settings(&given)?;
    registry::write_secrets(&given)?;
    service.stop()?;
    let mut put_aside = folder.make(&mut record)?;
    if let Some(folder) = &collector_folder {
        put_aside.extend(folder.make(&mut record)?);
    }
    // The agent writes to this log when it starts.
    event_source::register()?;
    let agent = service.install(&release.program, &mut warnings)?;
    folder.make_control_page()?;
    let mut dlls = Vec::new();
    for (dll, content) in &release.dlls {
        dlls.extend(dll.put(content.as_deref())?);
    }
    // From here on programs load the DLL, and everything that it needs is there.
    registry::register()?;

    let (settings, reports) = Settings::resolve_with_reports(&System::host().with_secrets());
    let origin = |name| reports.of(name).map(|report| report.source.to_string());
    warnings.extend(secrets_unsent(&given, &settings));
    warnings.extend(folders_left(&record, folder.path()));
    Ok(Installed {
        dlls,
        programs: release.programs(),
        settings: in_effect(&given, &written, &reports),
        ledger_dir: shown(folder.path()),
        collector_dir: request.collector_dir.map(shown),
        put_aside: put_aside.iter().map(|path| shown(path)).collect(),
        agent,
        endpoint: settings
            .endpoint
            .as_ref()
            .and(reports.of(ENDPOINT))
            .map(|it| it.value.clone().into()),
        delivery: settings.delivery.name(),
        disabled_by: settings.disabled.then(|| origin("Disabled").unwrap_or_default()),
        warnings,
    })
}

fn shown(path: &Path) -> Printable {
    path.display().to_string().into()
}

/// What was written, and what counts now.
fn in_effect(given: &GivenSettings, written: &[SettingReport], now: &Reports) -> Vec<Setting> {
    let setting = |written: &SettingReport| {
        let name = written.name.registry;
        Setting::of(written, given.removes(name), now.of(name))
    };
    written.iter().map(setting).collect()
}

/// A warning if secrets are set and programs send by themselves, because they send without them.
fn secrets_unsent(given: &GivenSettings, settings: &Settings) -> Option<String> {
    let certificate = given.values().filter(|(name, _)| *name == CLIENT_CERTIFICATE);
    let has_any = given.secrets().chain(certificate).any(|(_, value)| !value.is_empty());
    (has_any && settings.delivery == DeliveryMode::InProcess).then(|| {
        "delivery is \"in-process\", and programs send without these headers and without a client \
         certificate; only what the agent sends has them. `mpr-otel install --delivery agent` \
         leaves all to it"
            .to_owned()
    })
}

/// The agent sends, unless this command line or an earlier one chose otherwise.
fn with_delivery(request: &Request<'_>) -> Result<SettingFlags, Failure> {
    let mut flags = request.flags.clone();
    if request.in_process {
        if flags.has(DELIVERY) {
            return Err(WrongUsage("name one of --in-process and --delivery".to_owned()).into());
        }
        flags.set(DELIVERY, DELIVERY_IN_PROCESS);
    } else if !flags.has(DELIVERY) && matches!(System::host().machine(DELIVERY), Ok(None)) {
        flags.set(DELIVERY, DELIVERY_AGENT);
    }
    Ok(flags)
}

impl Setting {
    fn of(written: &SettingReport, removed: bool, now: Option<&SettingReport>) -> Self {
        let now = now.unwrap_or(written);
        Self {
            name: written.name.registry,
            value: (!removed).then(|| written.value.clone().into()),
            in_effect: now.value.clone().into(),
            origin: now.source.to_string(),
            is_overridden: now.source == Source::Policy,
        }
    }
}

/// Warnings about earlier ledger folders that still hold something.
fn folders_left(record: &Record, now: &Path) -> Vec<String> {
    let earlier = record.ledger_folders.iter().filter(|folder| *folder != now);
    let filled =
        earlier.filter(|folder| LedgerFolder::earlier((*folder).clone()).holds_something());
    let warning = |folder: &PathBuf| {
        format!(
            "{} still holds operations that programs recorded before, and the agent does not look there; to \
             have them sent, install with --ledger-dir {0} again",
            folder.display()
        )
    };
    filled.map(warning).collect()
}

/// What `uninstall` keeps.
pub(super) struct Kept {
    /// The settings, the ledgers, and the agent's unsent operations.
    pub(super) data: bool,
    /// The program in `Program Files`, which Windows Installer removes.
    pub(super) program: bool,
}

/// Removes everything except what is kept. It is not an error if nothing is found.
pub(super) fn uninstall(kept: &Kept) -> Result<Uninstalled, Failure> {
    let _ = windows::distrust_redirections();
    registry::require_rights()?;
    let mut done = Uninstalled::default();
    // Both are read before the keys are removed that hold them.
    let record = Record::read()?;
    let settings = Settings::resolve(&System::host());
    let earlier = record.ledger_folders.iter().filter(|folder| **folder != settings.ledger_dir);
    let mut folders = vec![LedgerFolder::of(&settings)];
    folders.extend(earlier.map(|folder| LedgerFolder::earlier(folder.clone())));
    // This is first: from here on no program loads the DLL.
    registry::unregister(record.made_list, &mut done)?;
    // A running agent would make its ledger folder and lock again.
    AgentService::find()?.remove(kept.program, &mut done)?;
    event_source::unregister(&mut done)?;
    // After the agent has ended, because it would remove the stop word. Before anything is removed
    // that hosts use.
    folders.iter().for_each(LedgerFolder::stop_hosts);
    for dll in SystemDll::all()? {
        dll.remove(&mut done)?;
    }
    if kept.data {
        let there = folders.iter().filter(|folder| folder.path().exists());
        let mut there: Vec<_> = there.map(|folder| folder.path().display().to_string()).collect();
        if registry::open_64(MACHINE_KEY, false).is_ok() {
            there.push(format!(r"HKLM\{MACHINE_KEY}"));
        }
        done.kept.extend(there.into_iter().map(|kept| kept + ", for a later install"));
        return Ok(done);
    }
    record.logs.iter().try_for_each(|log| done.delete(log))?;
    for folder in &folders {
        folder.remove(&mut done)?;
    }
    for folder in record.folders.iter().rev() {
        if !done.names(folder) {
            done.delete_folder(folder)?;
        }
    }
    registry::remove_settings(&mut done)?;
    Ok(done)
}
