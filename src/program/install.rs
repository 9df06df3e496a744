//! `mpr-otel install` and `mpr-otel uninstall`.

use crate::answer::Failure;
#[cfg(windows)]
use crate::answer::write_json;
#[cfg(windows)]
use crate::machine::{Installed, Kept, Placement, Programs, Request};
use crate::setting_flags::SettingFlags;
use clap::Args;
#[cfg(windows)]
use mpr_otel_core::settings::DELIVERY_AGENT;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Install the agent and the notification DLL.
///
/// Makes the ledger folder and starts this program as the service mpr-otel-agent. Copies
/// mpr_otel.dll and x86\mpr_otel.dll, which are beside this program, to the system's folders.
/// Registers the DLL with MPR, so that programs load it that start from then on. Settings that are
/// not given stay as they are. Can be repeated, to update.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpr-otel install --endpoint https://collector.corp.example:4318\n  \
    mpr-otel install --headers-file headers.txt\n  \
    mpr-otel install --exclude-processes \"msmpeng.exe,backup*.exe\" --json\n\n\
    Needs administrator rights. Exits with 2, and has changed nothing, if a value cannot be used."
)]
#[cfg_attr(not(windows), allow(dead_code))] // Elsewhere the flags are checked and not followed.
pub(super) struct Install {
    /// Let programs send by themselves; the agent then sends only for programs that have ended
    ///
    /// The same as --delivery in-process. Without either flag the agent sends everything, unless an
    /// earlier install chose otherwise.
    #[arg(long)]
    in_process: bool,
    /// Make the state folder of a Collector on this machine
    ///
    /// For a Collector that runs as the service otelcol-mpr under its own account, or as the
    /// system. Only that account and administrators can read the folder. The folder has to be
    /// empty, or must not exist.
    #[arg(long, value_name = "FOLDER")]
    collector_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Windows Installer calls this. If the agent does not run, that is only a warning.
    #[arg(long, hide = true)]
    from_msi: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Remove every trace of mpr-otel from Windows.
///
/// The agent's service is stopped and deleted. Files that running programs use are deleted when
/// Windows restarts; a shutdown with fast startup is not a restart. Settings of group policy stay.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpr-otel uninstall\n  mpr-otel uninstall --keep-data --json\n\n\
    Needs administrator rights."
)]
#[cfg_attr(not(windows), allow(dead_code))] // As above.
pub(super) struct Uninstall {
    /// Keep the settings and the operations that were not sent yet, for a later install
    #[arg(long)]
    keep_data: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Windows Installer calls this, and removes the program itself.
    #[arg(long, hide = true)]
    from_msi: bool,
}

#[cfg(windows)]
impl Install {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let done = crate::machine::install(&Request {
            flags: &self.settings,
            in_process: self.in_process,
            collector_dir: self.collector_dir.as_deref(),
        })?;
        if self.json {
            write_json(out, &done)?;
        } else {
            write_installed(out, &done)?;
        }
        let Some(problem) = &done.agent.problem else {
            return Ok(ExitCode::SUCCESS);
        };
        let problem = format!(
            "the agent does not run, so {}: {problem}",
            match done.delivery {
                DELIVERY_AGENT =>
                    "nothing is sent, and programs keep only a part of what they record",
                _ => "operations of programs that have ended are not sent",
            }
        );
        match (self.from_msi, self.json) {
            // Windows starts the service again at its next start, and the files are in place. So to
            // remove everything again would not help.
            (true, _) => {
                writeln!(out, "warning: {problem}")?;
                Ok(ExitCode::SUCCESS)
            }
            (false, true) => Ok(ExitCode::FAILURE),
            (false, false) => Err(problem.into()),
        }
    }
}

#[cfg(windows)]
fn write_installed(out: &mut dyn Write, done: &Installed) -> Result<(), Failure> {
    let Installed { agent, programs, settings, .. } = done;
    writeln!(out, "service {}: {}", agent.service, said(&agent.change))?;
    write_placed(out, &agent.program, &agent.placement)?;
    writeln!(out, "ledgers in {}", done.ledger_dir)?;
    if let Some(folder) = &done.collector_dir {
        writeln!(out, "state folder of a Collector: {folder}")?;
    }
    for folder in &done.put_aside {
        writeln!(
            out,
            "another user had made this folder; it is now {folder}: look at it and remove it"
        )?;
    }
    for dll in &done.dlls {
        write_placed(out, &dll.path, &dll.placement)?;
    }
    for setting in settings {
        match &setting.value {
            Some(value) => writeln!(out, "{} = {value}", setting.name)?,
            None => writeln!(out, "{}: removed", setting.name)?,
        }
        if setting.is_overridden {
            writeln!(out, "  {} counts instead: {}", setting.origin, setting.in_effect)?;
        }
    }
    for Programs { architecture, .. } in programs.iter().filter(|programs| !programs.have_dll) {
        writeln!(out, "{architecture} programs: no DLL, so they are not recorded")?;
    }
    for warning in &done.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "{}", outcome(done))?;
    Ok(())
}

/// The result, for people.
#[cfg(windows)]
fn outcome(done: &Installed) -> String {
    let measured = done.programs.iter().filter(|programs| programs.have_dll);
    let measured: Vec<String> =
        measured.map(|programs| programs.architecture.to_string()).collect();
    let measured = measured.join(" and ");
    match (&done.disabled_by, &done.endpoint) {
        (Some(origin), _) => format!(
            "Installed, and switched off: Disabled is true ({origin}), so nothing is recorded."
        ),
        (None, None) => format!(
            "Installed. {measured} programs that start from now on are recorded, and nothing is \
             sent: no setting names a collector. `mpr-otel install --endpoint <URL>` does."
        ),
        (None, Some(endpoint)) => format!(
            "Installed. {measured} programs that start from now on are recorded, and {} to \
             {endpoint}. Explorer starts when its user signs in again. `mpr-otel status` checks.",
            match done.delivery {
                DELIVERY_AGENT if done.agent.problem.is_some() => "the agent is to send",
                DELIVERY_AGENT => "the agent sends",
                _ => "send",
            }
        ),
    }
}

/// A file, and what happened to it.
#[cfg(windows)]
fn write_placed(out: &mut dyn Write, path: &str, placed: &Placement) -> std::io::Result<()> {
    writeln!(out, "{path}: {}", said(&placed.change))?;
    match &placed.superseded {
        Some(old) => {
            writeln!(
                out,
                "  programs still use the previous file, {old}; the agent removes it later"
            )
        }
        None => Ok(()),
    }
}

/// A change as the word that the JSON has.
#[cfg(windows)]
fn said(change: &impl serde::Serialize) -> String {
    serde_json::to_value(change)
        .ok()
        .and_then(|word| Some(word.as_str()?.to_owned()))
        .unwrap_or_default()
}

#[cfg(windows)]
impl Uninstall {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let done =
            crate::machine::uninstall(&Kept { data: self.keep_data, program: self.from_msi })?;
        if self.json {
            write_json(out, &done)?;
            return Ok(ExitCode::SUCCESS);
        }
        for removed in &done.removed {
            writeln!(out, "removed {removed}")?;
        }
        for file in &done.at_restart {
            writeln!(out, "in use, will be deleted when Windows starts the next time: {file}")?;
        }
        for kept in &done.kept {
            writeln!(out, "kept: {kept}")?;
        }
        let nothing = done.removed.is_empty() && done.at_restart.is_empty();
        writeln!(out, "{}", if nothing { "Nothing was installed." } else { "Uninstalled." })?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(not(windows))]
impl Install {
    pub(super) fn run(&self, _out: &mut dyn Write) -> Result<ExitCode, Failure> {
        // A wrong value is reported on every system.
        self.settings.read()?;
        Err(elsewhere("install"))
    }
}

#[cfg(not(windows))]
impl Uninstall {
    pub(super) fn run(&self, _out: &mut dyn Write) -> Result<ExitCode, Failure> {
        Err(elsewhere("uninstall"))
    }
}

#[cfg(not(windows))]
fn elsewhere(command: &str) -> Failure {
    format!(
        "{command} needs Windows 10 or later and administrator rights; \
         run mpr-otel.exe there; `mpr-otel-lab demo` shows it at work here"
    )
    .into()
}
