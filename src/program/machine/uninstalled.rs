//! What `uninstall` removed, and how.

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
    /// Files in use, which Windows deletes when it starts the next time.
    pub(crate) at_restart: Vec<String>,
    /// What was not removed, and why.
    pub(crate) kept: Vec<String>,
}

impl Uninstalled {
    /// Deletes a file now, or at the next start of Windows if a program uses the file.
    pub(super) fn delete(&mut self, path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Ok(()) => self.removed.push(path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => self.delete_at_restart(path)?,
        }
        Ok(())
    }

    /// Deletes a folder now, or at the next start of Windows if everything in it is deleted then.
    pub(super) fn delete_folder(&mut self, folder: &Path) -> Result<(), Failure> {
        match fs::remove_dir(folder) {
            Ok(()) => self.removed.push(folder.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) if entries(folder).all(|path| self.goes(&path)) => {
                self.delete_at_restart(folder)?;
            }
            Err(_) => {
                self.kept.push(format!("{}, because it holds other files, too", folder.display()));
            }
        }
        Ok(())
    }

    /// Whether a file or folder is or will be deleted. A file that a program has open may be listed
    /// until the program ends, even if it is deleted.
    fn goes(&self, path: &Path) -> bool {
        let path = path.display().to_string();
        self.removed.contains(&path) || self.at_restart.contains(&path)
    }

    /// Whether the path is in one of the lists.
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

/// What is in a folder. Empty if the path is a link, because any user may have put a link there.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let here = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir());
    let listed = here.then(|| fs::read_dir(folder).ok()).flatten();
    listed.into_iter().flatten().flatten().map(|entry| entry.path())
}
