//! What `uninstall` removes, and how.

use crate::answer::Failure;
use crate::windows;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What `uninstall` did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Uninstalled {
    pub(crate) removed: Vec<String>,
    /// Files in use, which Windows deletes when it starts next.
    pub(crate) at_restart: Vec<String>,
    /// What is still there, and why.
    pub(crate) kept: Vec<String>,
}

impl Uninstalled {
    /// Deletes a file, now or, if a program uses it, at the next start of Windows.
    pub(super) fn delete(&mut self, path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Ok(()) => self.removed.push(path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => self.delete_at_restart(path)?,
        }
        Ok(())
    }

    /// Deletes a folder, now or, if nothing is in it that stays, at the next start of Windows.
    pub(super) fn delete_folder(&mut self, folder: &Path) -> Result<(), Failure> {
        match fs::remove_dir(folder) {
            Ok(()) => self.removed.push(folder.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) if entries(folder).all(|path| self.goes(&path)) => {
                self.delete_at_restart(folder)?;
            }
            Err(_) => {
                self.kept.push(format!("{}, for it holds what is not ours", folder.display()));
            }
        }
        Ok(())
    }

    /// Whether a file or folder is on its way. One that a program has open may be listed until
    /// the program ends, deleted or not.
    fn goes(&self, path: &Path) -> bool {
        let path = path.display().to_string();
        self.removed.contains(&path) || self.at_restart.contains(&path)
    }

    /// Whether something was said of it.
    pub(super) fn names(&self, path: &Path) -> bool {
        let kept = path.display().to_string() + ",";
        self.goes(path) || self.kept.iter().any(|text| text.starts_with(&kept))
    }

    pub(super) fn delete_at_restart(&mut self, path: &Path) -> Result<(), Failure> {
        windows::delete_at_restart(path).map_err(|error| {
            format!("cannot delete {}: {error}; delete it by hand", path.display())
        })?;
        self.at_restart.push(path.display().to_string());
        Ok(())
    }
}

/// What is in a folder; nothing if the folder is elsewhere: any user may have put a link there.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let here = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir());
    let listed = here.then(|| fs::read_dir(folder).ok()).flatten();
    listed.into_iter().flatten().flatten().map(|entry| entry.path())
}
