//! The library's own log: to a file, if a setting names one, and never to the host's output.

use mpr_otel_core::process::Identity;
use mpr_otel_core::settings::Settings;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use tracing::Dispatch;

/// Runs `work` with its `tracing` events going to the log file of `settings`; with none, or if it
/// cannot be opened, they go nowhere.
///
/// The subscriber is the calling thread's alone: the host's own is never touched.
pub(crate) fn with_log(settings: &Settings, identity: &Identity, work: impl FnOnce()) {
    let dispatch = settings.log.as_deref().and_then(|path| open(path).ok()).map_or_else(
        Dispatch::none,
        |file| {
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::DEBUG)
                .with_target(false)
                .with_writer(Mutex::new(file))
                .finish();
            Dispatch::new(subscriber)
        },
    );
    tracing::dispatcher::with_default(&dispatch, || {
        let _host =
            tracing::info_span!("host", pid = identity.pid, executable = &*identity.executable)
                .entered();
        work();
    });
}

/// Opens the log for appending: several hosts may share it.
fn open(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::options().create(true).append(true).open(path)
}
