//! The ways of mapping that are tried.

use crate::architecture::Architecture;
use crate::dll_file::DllFile;
use crate::windows;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A function or command that maps or cancels.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) program: Program,
    /// The operations, in this order.
    pub(super) steps: &'static [Step],
}

/// The program that makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// This program, mpr-otel.
    Ours,
    PowerShell,
    Cscript,
    Net,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Step {
    /// The operation's name in the report.
    pub(super) name: &'static str,
    pub(super) cancels: bool,
    /// Whether it uses the share that does not exist.
    pub(super) missing: bool,
    /// Whether the report shows it. A step that is not shown is one that another step needs.
    pub(super) shown: bool,
}

const MAP: Step = Step { name: "map", cancels: false, missing: false, shown: true };
const CANCEL: Step = Step { name: "cancel", cancels: true, ..MAP };
const MAP_MISSING: Step = Step { name: "map_missing", missing: true, ..MAP };
const BY_PROGRAM: &[Step] = &[MAP, CANCEL, MAP_MISSING];
const BY_ADD: &[Step] = &[MAP, Step { shown: false, ..CANCEL }, MAP_MISSING];
const BY_CANCEL: &[Step] = &[Step { shown: false, ..MAP }, CANCEL];

/// `net use` is first: it ends at once, so only the agent can deliver its operation.
pub(super) const ALL: [Way; 9] = [
    Way { name: "net use", program: Program::Net, steps: BY_PROGRAM },
    Way { name: "New-SmbMapping", program: Program::PowerShell, steps: BY_PROGRAM },
    Way { name: "WScript.Network", program: Program::Cscript, steps: BY_PROGRAM },
    Way { name: "WNetAddConnection2W", program: Program::Ours, steps: BY_ADD },
    Way { name: "WNetAddConnection3W", program: Program::Ours, steps: BY_ADD },
    Way { name: "WNetAddConnection4W", program: Program::Ours, steps: BY_ADD },
    Way { name: "WNetUseConnectionW", program: Program::Ours, steps: BY_ADD },
    Way { name: "WNetCancelConnectionW", program: Program::Ours, steps: BY_CANCEL },
    Way { name: "WNetCancelConnection2W", program: Program::Ours, steps: BY_CANCEL },
];

/// The file that cscript reads.
pub(super) fn script() -> PathBuf {
    std::env::temp_dir().join(format!("mpr-otel-probe-{}.js", std::process::id()))
}

/// This program, and the program for emulated programs that the release for Arm has beside it.
fn ours(own: &Path) -> Vec<(PathBuf, Architecture)> {
    let mut ours = vec![(own.to_owned(), Architecture::OWN)];
    let emulated = own.with_file_name("x64").join(own.file_name().unwrap_or_default());
    let architecture = std::fs::read(&emulated).map(|bytes| DllFile::parse(&bytes).architecture);
    if Architecture::OWN == Architecture::Arm64
        && architecture.is_ok_and(|found| found == Some(Architecture::Amd64))
    {
        ours.push((emulated, Architecture::Amd64));
    }
    ours
}

impl Way {
    /// The programs for this way, one for each architecture that the machine has.
    pub(super) fn programs(&self) -> io::Result<Vec<(PathBuf, Architecture)>> {
        let name = match self.program {
            Program::Ours => return Ok(ours(&std::env::current_exe()?)),
            Program::PowerShell => r"WindowsPowerShell\v1.0\powershell.exe",
            Program::Cscript => "cscript.exe",
            Program::Net => "net.exe",
        };
        let folders = [Some(windows::system_folder()?), windows::wow64_folder().ok()];
        let files = folders.into_iter().flatten().map(|folder| folder.join(name));
        let here = files.filter_map(|file| {
            let architecture = DllFile::parse(&std::fs::read(&file).ok()?).architecture?;
            Some((file, architecture))
        });
        Ok(here.collect())
    }

    /// The command that starts one of the programs as a `Caller`.
    pub(super) fn caller(&self, program: &Path) -> io::Result<Command> {
        let mut command = Command::new(program);
        match self.program {
            Program::PowerShell => command
                .args(["-NoLogo", "-NoProfile", "-NonInteractive", "-InputFormat", "None"])
                .args(["-Command", include_str!("new-smb-mapping.ps1")]),
            Program::Cscript => {
                std::fs::write(script(), include_str!("wscript-network.js"))?;
                command.args(["//NoLogo", "//E:JScript"]).arg(script())
            }
            Program::Ours | Program::Net => command.args(["probe-caller", self.name]),
        };
        Ok(command)
    }
}
