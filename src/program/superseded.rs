//! Files that a newer version replaced while programs used them. They have other names and are
//! deleted when no program uses them.

use crate::dll_file::{FORWARDED, LIBRARY};
use crate::windows;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The files that `file` replaced: `<name>.<number>.old` beside it.
pub(crate) fn superseded(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let prefix = format!("{}.", name(file)).to_lowercase();
    files
        .filter(|file| {
            let name = file.file_name().to_string_lossy().to_lowercase();
            let number = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".old"));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .map(|file| file.path())
        .collect()
}

/// A name for `file` that no replaced file has.
pub(crate) fn free_name(file: &Path) -> PathBuf {
    let taken = superseded(file);
    let free = (1..).map(|number: u32| file.with_file_name(format!("{}.{number}.old", name(file))));
    free.into_iter().find(|path| !taken.contains(path)).unwrap_or_default()
}

/// How often the agent tries to delete them.
const TRY_EVERY: Duration = Duration::from_secs(3600);

/// The agent's task: it removes DLLs that no program uses any more.
#[derive(Debug, Default)]
pub(crate) struct Superseded {
    tried: Option<Instant>,
}

impl Superseded {
    /// Tries if it is time.
    pub(crate) fn tend(&mut self) {
        if self.tried.is_some_and(|tried| tried.elapsed() < TRY_EVERY) {
            return;
        }
        self.tried = Some(Instant::now());
        let folders = [windows::system_folder(), windows::wow64_folder()];
        let names = [LIBRARY].into_iter().chain(FORWARDED.map(|(_, name)| name));
        let names: Vec<&str> = names.collect();
        let dlls = folders
            .into_iter()
            .flatten()
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        for old in dlls.flat_map(|dll| superseded(&dll)) {
            match fs::remove_file(&old) {
                Ok(()) => {
                    tracing::info!(dll = %old.display(), "the old DLL was removed, because no program uses it")
                }
                Err(error) => {
                    tracing::debug!(dll = %old.display(), %error, "the old DLL cannot be removed yet")
                }
            }
        }
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
