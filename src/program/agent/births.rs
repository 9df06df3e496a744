//! Reports files that are made in the ledger folder, as the system notices them.

use super::bell::Bell;
use mpr_otel_core::intake::Intake;
use notify::event::{Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The most names that are remembered until the intake asks. If there are more, the intake lists
/// the folder.
const NAMES: usize = 4096;

/// Names of files that were made since the intake last asked.
#[derive(Debug)]
pub(super) struct Births {
    names: Arc<Mutex<Names>>,
    _watcher: RecommendedWatcher,
}

#[derive(Debug, Default)]
struct Names {
    made: BTreeSet<OsString>,
    /// Whether some names may be missing.
    incomplete: bool,
}

impl Births {
    /// Rings `bell` for each file that is made in the folder at `path`.
    pub(super) fn watch(path: &Path, bell: Bell) -> notify::Result<Self> {
        let names = Arc::<Mutex<Names>>::default();
        let told = Arc::clone(&names);
        let mut watcher = notify::recommended_watcher(move |event| {
            if note(event, &mut told.lock().unwrap_or_else(PoisonError::into_inner)) {
                bell.ring();
            }
        })?;
        watcher.watch(path, RecursiveMode::NonRecursive)?;
        Ok(Self { names, _watcher: watcher })
    }

    /// Passes the names to the intake.
    pub(super) fn tell(&self, intake: &mut Intake, now: Instant) -> io::Result<()> {
        let names = std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner));
        if names.incomplete {
            return intake.list(now);
        }
        names.made.iter().try_for_each(|name| intake.note_birth(name, now))
    }
}

/// Notes the names in an event. Returns whether there was a new one.
fn note(event: notify::Result<Event>, names: &mut Names) -> bool {
    let made = match event {
        Ok(event) if event.need_rescan() => {
            names.incomplete = true;
            return true;
        }
        Ok(Event {
            kind: EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)),
            paths,
            ..
        }) => paths,
        Ok(_) => return false,
        Err(_) => {
            names.incomplete = true;
            return true;
        }
    };
    let known = names.made.len();
    for path in made {
        if names.made.len() >= NAMES {
            names.incomplete = true;
            break;
        }
        names.made.extend(path.file_name().map(OsString::from));
    }
    names.made.len() > known
}
