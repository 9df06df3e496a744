//! A file of the product in one of the system's folders. Programs may be using it.

use super::uninstalled::Uninstalled;
use crate::answer::Failure;
use crate::rights::Rights;
use crate::superseded::{free_name, superseded};
use crate::windows;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The path where the file belongs.
#[derive(Debug)]
pub(super) struct PlacedFile<'a>(pub(super) &'a Path);

/// How a file was put in place.
#[derive(Debug, Serialize)]
pub(crate) struct Placement {
    pub(crate) change: Change,
    /// The previous version under its new name, if a running program still uses it. The agent
    /// removes it when no program does.
    pub(crate) superseded: Option<String>,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Created,
    Replaced,
    /// A file with the same content was there.
    Unchanged,
    /// This release has no such file, and another release's was removed.
    Removed,
}

impl PlacedFile<'_> {
    /// Puts a file with this content here. A file in use cannot be overwritten, but it can be
    /// renamed. At no time is the file missing.
    pub(super) fn put(&self, content: &[u8]) -> Result<Placement, Failure> {
        let failed = |error| format!("cannot write {}: {error}", self.0.display());
        let placed = |change| Placement { change, superseded: None };
        if fs::read(self.0).is_ok_and(|there| there == content) {
            self.remove_superseded();
            return Ok(placed(Change::Unchanged));
        }
        // The file is complete before it gets its name, so no program finds half a file.
        fs::write(self.unfinished(), content).map_err(failed)?;
        if !self.0.exists() {
            fs::rename(self.unfinished(), self.0).map_err(failed)?;
            return Ok(placed(Change::Created));
        }
        let aside = free_name(self.0);
        if let Err(error) = windows::replace_file(self.0, &self.unfinished(), &aside) {
            // ERROR_UNABLE_TO_MOVE_REPLACEMENT_2: the old file has been renamed, and the new one
            // has not.
            if self.0.exists() || fs::rename(self.unfinished(), self.0).is_err() {
                return Err(failed(error).into());
            }
        }
        Ok(self.superseded_by(Change::Replaced, &aside))
    }

    /// Removes the file that is here. `None` if there is none.
    pub(super) fn take_away(&self) -> Result<Option<Placement>, Failure> {
        if !self.0.exists() {
            return Ok(None);
        }
        let aside = free_name(self.0);
        fs::rename(self.0, &aside)
            .map_err(|error| format!("cannot remove {}: {error}", self.0.display()))?;
        Ok(Some(self.superseded_by(Change::Removed, &aside)))
    }

    /// What happened to the file whose name is now `aside`.
    fn superseded_by(&self, change: Change, aside: &Path) -> Placement {
        self.remove_superseded();
        let superseded = aside.exists().then(|| aside.display().to_string());
        Placement { change, superseded }
    }

    /// Removes old files that no program uses. The agent removes the others later.
    pub(super) fn remove_superseded(&self) {
        for old in superseded(self.0) {
            if fs::remove_file(&old).is_err() {
                // If this fails, the next `install` removes the file.
                let _ = windows::set_rights(&old, Rights::Superseded);
            }
        }
    }

    /// Removes the file, and old files that earlier installations could not remove.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        done.delete(&self.unfinished())?;
        for old in superseded(self.0) {
            done.delete(&old)?;
        }
        match fs::remove_file(self.0) {
            Ok(()) => done.removed.push(self.0.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The file is in use. Under another name no program finds it from now on.
            Err(_) => {
                let aside = free_name(self.0);
                match fs::rename(self.0, &aside) {
                    Ok(()) => {
                        done.removed.push(self.0.display().to_string());
                        done.delete_at_restart(&aside)?;
                    }
                    Err(_) => done.delete_at_restart(self.0)?,
                }
            }
        }
        Ok(())
    }

    /// The file's name until it is complete.
    fn unfinished(&self) -> PathBuf {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        self.0.with_file_name(format!("{name}.new"))
    }
}
