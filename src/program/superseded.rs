//! Files that a newer version has replaced while programs use them: they have another name until nobody
//! does, and go then.

use crate::dll_file::{FORWARDED, LIBRARY};
use crate::windows;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What has replaced a file that was called like `file`, by its name: `<name>.<number>.old` beside it.
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

/// A name for `file` that no superseded one has.
pub(crate) fn free_name(file: &Path) -> PathBuf {
    let taken = superseded(file);
    let free = (1..).map(|number: u32| file.with_file_name(format!("{}.{number}.old", name(file))));
    free.into_iter().find(|path| !taken.contains(path)).unwrap_or_default()
}

/// How often the agent tries.
const TRY_EVERY: Duration = Duration::from_secs(3600);

/// The agent's part: it removes DLLs that no program uses any more.
#[derive(Debug, Default)]
pub(crate) struct Superseded {
    tried: Option<Instant>,
}

impl Superseded {
    /// Tries, if it is time for that.
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
                Ok(()) => tracing::info!(dll = %old.display(), "removed: no program uses it"),
                Err(error) => tracing::debug!(dll = %old.display(), %error, "stays for now"),
            }
        }
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
