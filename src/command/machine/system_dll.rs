//! The notification DLL in the system's folders.

use super::Uninstalled;
use crate::command::Failure;
use crate::command::dll_file::DllFile;
use mpr_otel::double::LIBRARY;
use mpr_otel::platform;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the DLL for programs of one width belongs.
#[derive(Debug)]
pub(in crate::command) struct SystemDll {
    /// Its file.
    pub(in crate::command) path: PathBuf,
    /// Width of the programs that load it.
    pub(in crate::command) bits: u32,
}

/// A DLL that is in place.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Placed {
    /// Its file.
    pub(in crate::command) path: String,
    /// Width of the programs that load it.
    pub(in crate::command) bits: u32,
    /// What it took.
    pub(in crate::command) change: Change,
    /// The version before it, which a running program uses and Windows deletes when it starts
    /// next.
    pub(in crate::command) deleted_at_restart: Option<String>,
}

/// What became of a DLL's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::command) enum Change {
    /// There was none.
    Created,
    /// There was another.
    Replaced,
    /// The same was there already.
    Unchanged,
}

impl SystemDll {
    /// One for 64-bit programs, and one for 32-bit programs where Windows runs them.
    pub(in crate::command) fn all() -> Result<Vec<Self>, Failure> {
        let system = platform::system_folder()
            .map_err(|error| format!("Windows does not tell its system folder: {error}"))?;
        let mut all = vec![Self { path: system.join(LIBRARY), bits: usize::BITS }];
        // Server Core may have no SysWOW64.
        if let Ok(folder) = platform::wow64_folder()
            && folder.is_dir()
        {
            all.push(Self { path: folder.join(LIBRARY), bits: 32 });
        }
        Ok(all)
    }

    /// Where it is in the folder of what ships.
    pub(super) fn source(&self, shipped: &Path) -> PathBuf {
        if self.is_optional() { shipped.join("x86").join(LIBRARY) } else { shipped.join(LIBRARY) }
    }

    /// Whether mpr-otel is of use without it.
    pub(super) fn is_optional(&self) -> bool {
        self.bits == 32
    }

    /// Checks that `source` can be put here.
    pub(super) fn check(&self, source: &Path) -> Result<(), Failure> {
        let file = fs::read(source).map(|bytes| DllFile::parse(&bytes)).map_err(|error| {
            format!("cannot read {}: {error}; unpack all files of the release", source.display())
        })?;
        if file.bits == Some(self.bits) {
            return Ok(());
        }
        Err(format!(
            "{} is not the {}-bit DLL; unpack the release again",
            source.display(),
            self.bits
        )
        .into())
    }

    /// Puts a copy of `source` here. A file that a program uses cannot be overwritten, but it can
    /// be renamed.
    pub(super) fn put(&self, source: &Path) -> Result<Placed, Failure> {
        let failed = |error| format!("cannot write {}: {error}", self.path.display());
        let placed = |change, deleted_at_restart| Placed {
            path: self.path.display().to_string(),
            bits: self.bits,
            change,
            deleted_at_restart,
        };
        let new = fs::read(source).map_err(failed)?;
        match fs::read(&self.path) {
            Ok(old) if old == new => return Ok(placed(Change::Unchanged, None)),
            // Written whole before the other goes: no program finds half a DLL.
            _ => fs::write(self.beside("new"), new).map_err(failed)?,
        }
        let aside = self.set_aside().map_err(failed)?;
        if let Err(error) = fs::rename(self.beside("new"), &self.path) {
            if let Some(aside) = &aside {
                // The old one is better than none; if this fails too, the error tells.
                let _ = fs::rename(aside, &self.path);
            }
            return Err(failed(error).into());
        }
        let Some(aside) = aside else {
            return Ok(placed(Change::Created, None));
        };
        if fs::remove_file(&aside).is_ok() {
            return Ok(placed(Change::Replaced, None));
        }
        platform::delete_at_restart(&aside).map_err(failed)?;
        Ok(placed(Change::Replaced, Some(aside.display().to_string())))
    }

    /// Removes it and all that earlier installations could not.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        done.delete(&self.beside("new"))?;
        for old in self.set_aside_before() {
            done.delete(&old)?;
        }
        if !self.path.exists() {
            return Ok(());
        }
        if fs::remove_file(&self.path).is_ok() {
            done.removed.push(self.path.display().to_string());
            return Ok(());
        }
        // In use. Under another name no program finds it from now on.
        match self.set_aside() {
            Ok(Some(aside)) => {
                done.removed.push(self.path.display().to_string());
                done.delete_at_restart(&aside)
            }
            _ => done.delete_at_restart(&self.path),
        }
    }

    /// Renames the file that is there, if any. Returns its new name.
    fn set_aside(&self) -> std::io::Result<Option<PathBuf>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let taken = self.set_aside_before();
        let free = (1..).map(|number| self.beside(&format!("{number}.old")));
        let aside = free.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
        fs::rename(&self.path, &aside)?;
        Ok(Some(aside))
    }

    /// Files that were renamed because a program used them, and are still there.
    fn set_aside_before(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let prefix = format!("{LIBRARY}.");
        files
            .filter(|file| {
                let name = file.file_name().to_string_lossy().to_lowercase();
                name.starts_with(&prefix) && name.ends_with(".old")
            })
            .map(|file| file.path())
            .collect()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.path.with_file_name(format!("{LIBRARY}.{suffix}"))
    }
}
