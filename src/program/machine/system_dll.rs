//! The notification DLL in the system's folders.

use super::Uninstalled;
use super::placed_file::{PlacedFile, Placement};
use crate::answer::Failure;
use crate::architecture::Architecture;
use crate::dll_file::{DllFile, LIBRARY};
use crate::windows;
use mpr_otel_core::ledger::NEWEST_VERSION;
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use windows_sys::Win32::Foundation::{ERROR_BAD_EXE_FORMAT, ERROR_MOD_NOT_FOUND};

/// Where the DLL for programs of one width belongs.
#[derive(Debug)]
pub(crate) struct SystemDll {
    pub(crate) path: PathBuf,
    /// Architecture of the DLL, and of the programs that load it.
    pub(crate) architecture: Architecture,
}

/// A DLL that is in place.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    pub(crate) path: String,
    /// Width of the programs that load it.
    pub(crate) bits: u32,
    /// What it took.
    #[serde(flatten)]
    pub(crate) placement: Placement,
}

impl SystemDll {
    /// One for 64-bit programs, and one for 32-bit programs where Windows runs them.
    pub(crate) fn all() -> Result<Vec<Self>, Failure> {
        let system = windows::system_folder()
            .map_err(|error| format!("Windows does not tell its system folder: {error}"))?;
        let mut all = vec![Self { path: system.join(LIBRARY), architecture: Architecture::OWN }];
        // Server Core may have no SysWOW64.
        if let Ok(folder) = windows::wow64_folder()
            && folder.is_dir()
        {
            all.push(Self { path: folder.join(LIBRARY), architecture: Architecture::X86 });
        }
        Ok(all)
    }

    /// The one that programs of this architecture load.
    pub(crate) fn of(architecture: Architecture) -> Option<Self> {
        Self::all().ok()?.into_iter().find(|dll| dll.serves(architecture))
    }

    /// The Win32 code with which a program of this architecture could not load it, as far as its
    /// file says. `None`: the file says nothing against it.
    pub(crate) fn load_code(&self, architecture: Architecture) -> Option<u32> {
        match fs::read(&self.path).map(|bytes| DllFile::parse(&bytes).architecture) {
            Err(error) if error.kind() == ErrorKind::NotFound => Some(ERROR_MOD_NOT_FOUND),
            Ok(dll) if !dll.is_some_and(|dll| architecture.may_load(dll)) => {
                Some(ERROR_BAD_EXE_FORMAT)
            }
            _ => None,
        }
    }

    /// Where it is in the folder of what ships.
    pub(super) fn source(&self, shipped: &Path) -> PathBuf {
        if self.is_optional() { shipped.join("x86").join(LIBRARY) } else { shipped.join(LIBRARY) }
    }

    /// Whether mpr-otel is of use without it.
    pub(super) fn is_optional(&self) -> bool {
        self.architecture == Architecture::X86
    }

    /// Whether programs of this architecture look for it here: on Arm, those of amd64 share the
    /// folder with the native ones.
    pub(crate) fn serves(&self, programs: Architecture) -> bool {
        self.is_optional() == (programs == Architecture::X86)
    }

    /// Reads what is to be put here. An error if programs could not load it, or if the agent, which is this
    /// very program, could not read the ledgers that it makes.
    pub(super) fn read(&self, source: &Path) -> Result<Vec<u8>, Failure> {
        let content = fs::read(source).map_err(|error| {
            format!("cannot read {}: {error}; unpack all files of the release", source.display())
        })?;
        let dll = DllFile::parse(&content);
        if dll.architecture != Some(self.architecture) {
            return Err(format!(
                "{} is not the {}-bit DLL; unpack the release again",
                source.display(),
                self.architecture.bits()
            )
            .into());
        }
        if dll.ledger_version.is_none_or(|version| version > NEWEST_VERSION) {
            return Err(format!(
                "{} is of another release than this program, which does not read what it would record; \
                 unpack the release again",
                source.display()
            )
            .into());
        }
        Ok(content)
    }

    /// Puts a DLL with this content here; without one, takes away what an earlier release put here.
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

    /// Removes it and all that earlier installations could not.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        PlacedFile(&self.path).remove(done)
    }
}
