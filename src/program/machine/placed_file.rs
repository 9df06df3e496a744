//! A file of ours in one of the system's folders, which programs may be using.

use super::Uninstalled;
use crate::answer::Failure;
use crate::windows;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the file belongs.
#[derive(Debug)]
pub(super) struct PlacedFile<'a>(pub(super) &'a Path);

/// What it took to put a file in place.
#[derive(Debug, Serialize)]
pub(crate) struct Placement {
    pub(crate) change: Change,
    /// The version before it, which a running program uses and Windows deletes when it starts
    /// next.
    pub(crate) deleted_at_restart: Option<String>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Created,
    Replaced,
    /// The same was there already.
    Unchanged,
}

impl PlacedFile<'_> {
    /// Puts a copy of `source` here. A file that a program uses cannot be overwritten, but it can
    /// be renamed.
    pub(super) fn put(&self, source: &Path) -> Result<Placement, Failure> {
        let failed = |error| format!("cannot write {}: {error}", self.0.display());
        let placed = |change| Placement { change, deleted_at_restart: None };
        let new = fs::read(source)
            .map_err(|error| format!("cannot read {}: {error}", source.display()))?;
        match fs::read(self.0) {
            Ok(old) if old == new => return Ok(placed(Change::Unchanged)),
            // Written whole before the other goes: no program finds half a file.
            _ => fs::write(self.beside("new"), new).map_err(failed)?,
        }
        let aside = self.set_aside().map_err(failed)?;
        if let Err(error) = fs::rename(self.beside("new"), self.0) {
            if let Some(aside) = &aside {
                // The old one is better than none; if this fails too, the error tells.
                let _ = fs::rename(aside, self.0);
            }
            return Err(failed(error).into());
        }
        let Some(aside) = aside else {
            return Ok(placed(Change::Created));
        };
        if fs::remove_file(&aside).is_ok() {
            return Ok(placed(Change::Replaced));
        }
        windows::delete_at_restart(&aside).map_err(failed)?;
        let deleted_at_restart = Some(aside.display().to_string());
        Ok(Placement { change: Change::Replaced, deleted_at_restart })
    }

    /// Removes it and all that earlier installations could not.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        done.delete(&self.beside("new"))?;
        for old in self.set_aside_before() {
            done.delete(&old)?;
        }
        if !self.0.exists() {
            return Ok(());
        }
        if fs::remove_file(self.0).is_ok() {
            done.removed.push(self.0.display().to_string());
            return Ok(());
        }
        // In use. Under another name no program finds it from now on.
        match self.set_aside() {
            Ok(Some(aside)) => {
                done.removed.push(self.0.display().to_string());
                done.delete_at_restart(&aside)
            }
            _ => done.delete_at_restart(self.0),
        }
    }

    /// Renames the file that is there, if any. Returns its new name.
    fn set_aside(&self) -> std::io::Result<Option<PathBuf>> {
        if !self.0.exists() {
            return Ok(None);
        }
        let taken = self.set_aside_before();
        let free = (1..).map(|number| self.beside(&format!("{number}.old")));
        let aside = free.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
        fs::rename(self.0, &aside)?;
        Ok(Some(aside))
    }

    /// Files that were renamed because a program used them, and are still there.
    fn set_aside_before(&self) -> Vec<PathBuf> {
        let folder = self.0.parent().unwrap_or(Path::new(""));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let prefix = format!("{}.", self.name()).to_lowercase();
        files
            .filter(|file| {
                let name = file.file_name().to_string_lossy().to_lowercase();
                name.starts_with(&prefix) && name.ends_with(".old")
            })
            .map(|file| file.path())
            .collect()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.0.with_file_name(format!("{}.{suffix}", self.name()))
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}
