//! The files that a release brings.

use super::Programs;
use super::system_dll::SystemDll;
use crate::answer::Failure;
use crate::architecture::Architecture;
use crate::windows;
use std::fs;
use std::path::Path;

/// The files that this program came with, each read once: what was checked is what is written.
pub(super) struct Release {
    pub(super) program: Vec<u8>,
    /// Without content: this release has none for such programs.
    pub(super) dlls: Vec<(SystemDll, Option<Vec<u8>>)>,
}

impl Release {
    pub(super) fn beside_this_program(warnings: &mut Vec<String>) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let beside = program.parent().unwrap_or(Path::new(r"C:\"));
        let mut dlls = Vec::new();
        for dll in SystemDll::all()? {
            let source = dll.source(beside);
            if dll.is_optional() && !source.exists() {
                warnings.push(format!(
                    "{} is missing, so {}-bit programs are not measured",
                    source.display(),
                    dll.architecture.bits()
                ));
                dlls.push((dll, None));
                continue;
            }
            let content = dll.read(&source)?;
            dlls.push((dll, Some(content)));
        }
        let program = fs::read(&program)
            .map_err(|error| format!("cannot read {}: {error}", program.display()))?;
        Ok(Self { program, dlls })
    }

    /// Which programs of this machine it has a DLL for.
    pub(super) fn programs(&self) -> Vec<Programs> {
        let has = |programs: Architecture| {
            self.dlls.iter().any(|(dll, content)| {
                dll.serves(programs) && content.is_some() && programs.may_load(dll.architecture)
            })
        };
        let all = windows::architectures().into_iter();
        all.map(|architecture| Programs { architecture, have_dll: has(architecture) }).collect()
    }
}
