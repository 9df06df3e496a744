//! `mpr-otel install` and `mpr-otel uninstall`.

use crate::answer::Failure;
#[cfg(windows)]
use crate::answer::write_json;
use crate::setting_flags::SettingFlags;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Register the notification DLL with Windows.
///
/// Copies mpr_otel.dll and x86\mpr_otel.dll, which are beside this program, to the system's
/// folders, writes the given settings to HKLM\SOFTWARE\mpr-otel, makes the ledger folder, and has
/// MPR load the DLL into programs that start from then on. Can be repeated, to update.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpr-otel install --endpoint https://collector.corp.example:4318\n  \
    mpr-otel install --agent --delivery agent --endpoint https://collector.corp.example:4318\n  \
    mpr-otel install --agent --delivery agent --headers-file headers.txt\n  \
    mpr-otel install --exclude-processes \"msmpeng.exe,backup*.exe\" --json\n\n\
    Needs administrator rights."
)]
#[cfg_attr(not(windows), allow(dead_code))] // Elsewhere the flags are checked and not followed.
pub(super) struct Install {
    /// Make, update and start the agent as a service, too
    ///
    /// The service mpr-otel-agent sends what programs recorded that have ended, and with
    /// --delivery agent what all programs record. It runs a copy of this program in
    /// Program Files, under an account of its own that has no rights but to the ledgers. Without
    /// this flag an agent that is there is left as it is.
    #[arg(long)]
    agent: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Remove every trace of mpr-otel from Windows.
///
/// The agent's service is stopped and deleted. What running programs use goes when Windows starts
/// next. Settings of group policy stay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel uninstall\n  mpr-otel uninstall --json\n\n\
    Needs administrator rights.")]
#[cfg_attr(not(windows), allow(dead_code))] // As above.
pub(super) struct Uninstall {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(windows)]
impl Install {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let done = crate::machine::install(&self.settings, self.agent)?;
        if self.json {
            write_json(out, &done)?;
            return Ok(ExitCode::SUCCESS);
        }
        for dll in &done.dlls {
            writeln!(out, "{} ({}-bit): {:?}", dll.path, dll.bits, dll.placement.change)?;
            write_leftover(out, &dll.placement)?;
        }
        for setting in &done.settings {
            writeln!(out, "{} = {}", setting.name, setting.value)?;
        }
        writeln!(out, "ledgers in {}", done.ledger_dir)?;
        if let Some(agent) = &done.agent {
            let state = if agent.running { "runs" } else { "does not run" };
            writeln!(out, "service {}: {:?}, {state}", agent.service, agent.change)?;
            match &agent.placement {
                Some(placement) => {
                    writeln!(out, "  {}: {:?}", agent.program, placement.change)?;
                    write_leftover(out, placement)?;
                }
                None => writeln!(
                    out,
                    "  it has the settings that it was started with; \
                     `mpr-otel install --agent` updates and restarts it"
                )?,
            }
        }
        for warning in &done.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(
            out,
            "Installed. Programs that start from now on are measured; `mpr-otel status` checks."
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(windows)]
fn write_leftover(
    out: &mut dyn Write,
    placement: &crate::machine::Placement,
) -> std::io::Result<()> {
    match &placement.deleted_at_restart {
        Some(old) => {
            writeln!(out, "  the one before is in use; {old} goes when Windows starts next")
        }
        None => Ok(()),
    }
}

#[cfg(windows)]
impl Uninstall {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let done = crate::machine::uninstall()?;
        if self.json {
            write_json(out, &done)?;
            return Ok(ExitCode::SUCCESS);
        }
        for removed in &done.removed {
            writeln!(out, "removed {removed}")?;
        }
        for file in &done.at_restart {
            writeln!(out, "in use, goes when Windows starts next: {file}")?;
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
        // A wrong value is worth telling on any system.
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
