//! `mpr-otel install` and `mpr-otel uninstall`.

use super::Failure;
use super::setting_flags::SettingFlags;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Register the notification DLL with Windows.
///
/// Copies mpr_otel.dll and x86\mpr_otel.dll, which are beside this program, to the system's
/// folders, writes the given settings to HKLM\SOFTWARE\mpr-otel, makes the ledger folder, and has
/// MPR load the DLL into programs that start from then on. Can be repeated.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpr-otel install --endpoint http://collector.corp.example:4318\n  \
    mpr-otel install --exclude-processes \"msmpeng.exe,backup*.exe\" --json\n\n\
    Needs administrator rights."
)]
pub(super) struct Install {
    #[command(flatten)]
    settings: SettingFlags,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Remove every trace of mpr-otel from Windows.
///
/// What running programs use goes when Windows starts next. Settings of group policy stay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel uninstall\n  mpr-otel uninstall --json\n\n\
    Needs administrator rights.")]
pub(super) struct Uninstall {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[cfg(windows)]
impl Install {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let done = super::machine::install(&self.settings)?;
        if self.json {
            super::write_json(out, &done)?;
            return Ok(ExitCode::SUCCESS);
        }
        for dll in &done.dlls {
            writeln!(out, "{} ({}-bit): {:?}", dll.path, dll.bits, dll.change)?;
            if let Some(old) = &dll.deleted_at_restart {
                writeln!(out, "  the one before is in use; {old} goes when Windows starts next")?;
            }
        }
        for setting in &done.settings {
            writeln!(out, "{} = {}", setting.name, setting.value)?;
        }
        writeln!(out, "ledgers in {}", done.ledger_dir)?;
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
impl Uninstall {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let done = super::machine::uninstall()?;
        if self.json {
            super::write_json(out, &done)?;
            return Ok(ExitCode::SUCCESS);
        }
        for removed in &done.removed {
            writeln!(out, "removed {removed}")?;
        }
        for file in &done.at_restart {
            writeln!(out, "in use, goes when Windows starts next: {file}")?;
        }
        for folder in &done.kept {
            writeln!(out, "kept, because other files are in it: {folder}")?;
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
        self.settings.check()?;
        Err(elsewhere("install", self.json))
    }
}

#[cfg(not(windows))]
impl Uninstall {
    pub(super) fn run(&self, _out: &mut dyn Write) -> Result<ExitCode, Failure> {
        Err(elsewhere("uninstall", self.json))
    }
}

#[cfg(not(windows))]
fn elsewhere(command: &str, _json: bool) -> Failure {
    format!(
        "{command} needs Windows 10 or later and administrator rights; \
         run mpr-otel.exe there, or try `mpr-otel demo` here"
    )
    .into()
}
