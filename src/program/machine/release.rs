//! The files of a release.

use super::system_dll::SystemDll;
use crate::answer::Failure;
use crate::architecture::Architecture;
use crate::dll_file::DllFile;
use crate::windows;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Programs of one architecture.
#[derive(Debug, Serialize)]
pub(crate) struct Programs {
    pub(crate) architecture: Architecture,
    /// Whether there is a DLL that these programs load.
    pub(crate) have_dll: bool,
}

/// The files that came with this program. Each is read only once, so that the file that was checked
/// is the file that is written.
pub(super) struct Release {
    pub(super) program: Vec<u8>,
    /// The content is `None` if this release has no DLL for these programs.
    pub(super) dlls: Vec<(SystemDll, Option<Vec<u8>>)>,
}

impl Release {
    pub(super) fn beside_this_program(warnings: &mut Vec<String>) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let beside = program.parent().unwrap_or(Path::new(r"C:\"));
        let mut dlls = Vec::new();
        for dll in SystemDll::all()? {
            let source = dll.source(beside);
            if dll.is_forwarded() && !source.exists() {
                dlls.push((dll, None));
                continue;
            }
            if dll.is_for_wow64() && !source.exists() {
                warnings.push(format!(
                    "{} is missing, so {}-bit programs are not recorded",
                    source.display(),
                    dll.architecture.bits()
                ));
                dlls.push((dll, None));
                continue;
            }
            let content = dll.read(&source)?;
            dlls.push((dll, Some(content)));
        }
        if let Some(missing) = without_target(&dlls) {
            return Err(format!(
                "{} is missing, and mpr_otel.dll leads programs to it; unpack all files of the release",
                missing.source(beside).display()
            )
            .into());
        }
        let program = fs::read(&program)
            .map_err(|error| format!("cannot read {}: {error}", program.display()))?;
        Ok(Self { program, dlls })
    }

    /// The programs of this machine that the release has a DLL for.
    pub(super) fn programs(&self) -> Vec<Programs> {
        let has = |programs: Architecture| {
            self.dlls.iter().any(|(dll, content)| {
                let content = content.as_deref().map(DllFile::parse);
                dll.serves(programs) && content.is_some_and(|dll| dll.loads_into(programs))
            })
        };
        let all = windows::architectures().into_iter();
        all.map(|architecture| Programs { architecture, have_dll: has(architecture) }).collect()
    }
}

/// A DLL that an Arm64X DLL leads to and that is missing.
fn without_target(dlls: &[(SystemDll, Option<Vec<u8>>)]) -> Option<&SystemDll> {
    let contents = dlls.iter().filter_map(|(_, content)| content.as_deref());
    let leads = contents.into_iter().any(|content| DllFile::parse(content).is_arm64x);
    let missing = |(dll, content): &&(SystemDll, Option<Vec<u8>>)| {
        leads && dll.is_forwarded() && content.is_none()
    };
    dlls.iter().find(missing).map(|(dll, _)| dll)
}
