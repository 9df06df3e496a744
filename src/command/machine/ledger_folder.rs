//! The folder in which every program keeps its ledger.

use super::Uninstalled;
use crate::command::Failure;
use mpr_otel::platform;
use mpr_otel::settings::{Lookup, Settings, System};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder, and the log beside it.
#[derive(Debug)]
pub(super) struct LedgerFolder {
    path: PathBuf,
    log: Option<PathBuf>,
}

/// The settings of all programs: this one's environment is its own.
struct Machine(System);

impl Lookup for Machine {
    fn policy(&self, name: &str) -> Option<String> {
        self.0.policy(name)
    }

    fn machine(&self, name: &str) -> Option<String> {
        self.0.machine(name)
    }

    fn environment(&self, _name: &str) -> Option<String> {
        None
    }
}

impl LedgerFolder {
    /// The one that the registry names, or the default.
    pub(super) fn configured() -> Self {
        let settings = Settings::resolve(&Machine(System::open()));
        Self { path: settings.ledger_dir, log: settings.log }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, so that every user can keep a ledger in it, and nobody read another's.
    pub(super) fn make(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.path)
            .map_err(|error| format!("cannot make {}: {error}", self.path.display()))?;
        for folder in self.ours() {
            // Any user may have made it before us, and let it lead elsewhere.
            if fs::symlink_metadata(folder)?.is_symlink() {
                return Err(format!(
                    "{} leads to another folder; remove it and try again",
                    folder.display()
                )
                .into());
            }
            platform::share_folder(folder).map_err(|error| {
                format!(
                    "cannot set the rights of {}: {error}; remove it and try again",
                    folder.display()
                )
            })?;
        }
        Ok(())
    }

    /// Removes the ledgers, and the folder unless there is something else in it.
    pub(super) fn remove(&self, done: &mut Uninstalled) -> Result<(), Failure> {
        for path in entries(&self.path).filter(|path| is_ledger(path)) {
            done.delete(&path)?;
        }
        if let Some(log) = &self.log {
            done.delete(log)?;
        }
        let ours = self.ours();
        for folder in &ours {
            match fs::remove_dir(folder) {
                Ok(()) => done.removed.push(folder.display().to_string()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Ledgers of running programs stay until those end, deleted or not.
                Err(_)
                    if entries(folder).all(|path| is_ledger(&path) || ours.contains(&&*path)) =>
                {
                    done.delete_at_restart(folder)?;
                }
                Err(_) => done.kept.push(folder.display().to_string()),
            }
        }
        Ok(())
    }

    /// The folder and, unless a setting chose its place, the one around it; inner first.
    fn ours(&self) -> Vec<&Path> {
        let mut folders = vec![self.path.as_path()];
        if self.path == platform::default_ledger_dir() {
            folders.extend(self.path.parent());
        }
        folders
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_ledger(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "ledger")
}
