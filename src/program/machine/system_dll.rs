//! The notification DLL in the system's folders.
//!
//! On Windows on Arm, native and emulated 64-bit programs load the same file from the same
//! System32. The release for Arm puts an Arm64X DLL there. It leads each kind of program to another
//! DLL beside it.

use super::placed_file::{PlacedFile, Placement};
use super::uninstalled::Uninstalled;
use crate::answer::Failure;
use crate::architecture::Architecture;
use crate::dll_file::{DllFile, FORWARDED, LIBRARY};
use crate::windows;
use mpr_otel_core::ledger::NEWEST_VERSION;
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use windows_sys::Win32::Foundation::{ERROR_BAD_EXE_FORMAT, ERROR_MOD_NOT_FOUND};

/// Where one of the DLLs belongs.
#[derive(Debug)]
pub(crate) struct SystemDll {
    pub(crate) path: PathBuf,
    /// The architecture of the DLL and of the programs that load it.
    pub(crate) architecture: Architecture,
    /// Whether programs find it through an Arm64X DLL and not through MPR's list.
    is_forwarded: bool,
}

/// A DLL that is in place.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    pub(crate) path: String,
    /// The pointer width of the programs that load it, in bits.
    pub(crate) bits: u32,
    /// How the DLL was put in place.
    #[serde(flatten)]
    pub(crate) placement: Placement,
}

impl SystemDll {
    /// One DLL for 64-bit programs, and one for 32-bit programs if Windows runs them. If Windows
    /// runs arm64 programs, the DLLs that an Arm64X DLL leads to come before it.
    pub(crate) fn all() -> Result<Vec<Self>, Failure> {
        let system = windows::system_folder()
            .map_err(|error| format!("Windows does not name its system folder: {error}"))?;
        let machine = windows::architectures();
        let wow64 = windows::wow64_folder().ok().filter(|folder| folder.is_dir());
        Ok(Self::places(&system, wow64.as_deref(), machine.contains(&Architecture::Arm64)))
    }

    /// The same as [`all`](Self::all). Server Core may have no SysWOW64.
    fn places(system: &Path, wow64: Option<&Path>, is_arm64: bool) -> Vec<Self> {
        let listed = |folder: &Path, architecture| Self {
            path: folder.join(LIBRARY),
            architecture,
            is_forwarded: false,
        };
        let mut all = Vec::new();
        if is_arm64 {
            all.extend(FORWARDED.map(|(architecture, name)| Self {
                path: system.join(name),
                architecture,
                is_forwarded: true,
            }));
        }
        all.push(listed(system, Architecture::OWN));
        all.extend(wow64.map(|folder| listed(folder, Architecture::X86)));
        all
    }

    /// The DLL that programs of this architecture load through MPR's list.
    pub(crate) fn of(architecture: Architecture) -> Option<Self> {
        Self::all().ok()?.into_iter().find(|dll| dll.serves(architecture))
    }

    /// The DLL that an Arm64X DLL leads programs of this architecture to.
    pub(crate) fn forwarded(architecture: Architecture) -> Option<Self> {
        let mut all = Self::all().ok()?.into_iter();
        all.find(|dll| dll.is_forwarded && dll.architecture == architecture)
    }

    /// The Win32 code that a program of this architecture would get when it loads the DLL, judged
    /// by the DLL's file. `None` if the file shows no reason against loading it.
    pub(crate) fn load_code(&self, architecture: Architecture) -> Option<u32> {
        match fs::read(&self.path).map(|bytes| DllFile::parse(&bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Some(ERROR_MOD_NOT_FOUND),
            Ok(dll) if !dll.loads_into(architecture) => Some(ERROR_BAD_EXE_FORMAT),
            Ok(dll) if dll.is_arm64x && !self.is_forwarded => {
                Self::forwarded(architecture).and_then(|to| to.load_code(architecture))
            }
            _ => None,
        }
    }

    /// The path of the DLL in the folder of the release.
    pub(super) fn source(&self, shipped: &Path) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default();
        if self.is_for_wow64() { shipped.join("x86").join(name) } else { shipped.join(name) }
    }

    /// Whether 32-bit programs load it on a 64-bit Windows. mpr-otel works without it.
    pub(super) fn is_for_wow64(&self) -> bool {
        self.architecture == Architecture::X86 && Architecture::OWN != Architecture::X86
    }

    /// Whether only an Arm64X DLL leads to it.
    pub(super) fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Whether programs of this architecture look for it here. On Arm, amd64 programs share the
    /// folder with the native ones.
    pub(crate) fn serves(&self, programs: Architecture) -> bool {
        let narrow = |architecture| architecture == Architecture::X86;
        !self.is_forwarded && narrow(self.architecture) == narrow(programs)
    }

    /// Reads the file that belongs here. An error if programs could not load it, or if this
    /// program, which becomes the agent, could not read its ledgers.
    pub(super) fn read(&self, source: &Path) -> Result<Vec<u8>, Failure> {
        let content = fs::read(source).map_err(|error| {
            format!("cannot read {}: {error}; unpack all files of the release", source.display())
        })?;
        let dll = DllFile::parse(&content);
        // An Arm64X DLL in this place would lead to itself.
        if dll.architecture != Some(self.architecture) || self.is_forwarded && dll.is_arm64x {
            return Err(format!(
                "{} is not the {}-bit DLL; unpack the release again",
                source.display(),
                self.architecture.bits()
            )
            .into());
        }
        if dll.ledger_version.is_none_or(|version| version > NEWEST_VERSION) {
            return Err(format!(
                "{} is from another release than this program, which does not read that release's ledgers; \
                 unpack the release again",
                source.display()
            )
            .into());
        }
        Ok(content)
    }

    /// Puts a DLL with this content here. Without content, removes the DLL of an earlier release.
    pub(super) fn put(&self, content: Option<&[u8]>) -> Result<Option<Placed>, Failure> {
        let file = PlacedFile(&self.path);
        let placement = match content {
            Some(content) => Some(file.put(content)?),
            None => file.take_away()?,
        };
        Ok(placement.map(|placement| Placed {
            path: self.path.display().to_string(),
            bits: self.architecture.bits(),
            placement,
        }))
    }

    /// Removes the DLL, and old files that earlier installations could not remove.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        PlacedFile(&self.path).remove(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(is_arm64: bool) -> Vec<SystemDll> {
        SystemDll::places(Path::new("System32"), Some(Path::new("SysWOW64")), is_arm64)
    }

    #[test]
    fn the_dlls_behind_an_arm64x_dll_are_in_place_before_it() {
        let names = |is_arm64| -> Vec<String> {
            let places = places(is_arm64).into_iter();
            places.map(|dll| dll.path.display().to_string().replace('\\', "/")).collect()
        };
        assert_eq!(names(false), ["System32/mpr_otel.dll", "SysWOW64/mpr_otel.dll"]);
        assert_eq!(
            names(true),
            [
                "System32/mpr_otel_arm64.dll",
                "System32/mpr_otel_x64.dll",
                "System32/mpr_otel.dll",
                "SysWOW64/mpr_otel.dll"
            ]
        );
    }

    #[test]
    fn each_kind_of_program_finds_one_dll_by_the_list() {
        use Architecture::{Amd64, Arm64, X86};
        for (programs, found) in [(Arm64, "System32"), (Amd64, "System32"), (X86, "SysWOW64")] {
            let places = places(true).into_iter().filter(|dll| dll.serves(programs));
            let paths: Vec<PathBuf> = places.map(|dll| dll.path).collect();
            assert_eq!(paths, [Path::new(found).join(LIBRARY)], "{programs}");
        }
    }
}
