//! Where the measures take place: a folder on a disk, a sink, and a fresh process for everything
//! that is measured.

use crate::Result;
use crate::sink::Sink;
use crate::subject::ours;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Shared by the workers of one run.
#[derive(Debug)]
pub struct Stage {
    program: PathBuf,
    library: PathBuf,
    folder: TempDir,
    /// What ours exports to.
    pub sink: Sink,
}

impl Stage {
    /// Sets the stage for the shared library at `library`.
    pub fn set(library: PathBuf) -> Result<Self> {
        let program = std::env::current_exe()?;
        // Beside the program and not in the system's temporary folder, which may be memory.
        let beside = program.parent().ok_or("this program is in no folder")?;
        let folder = tempfile::tempdir_in(beside)?;
        let sink = Sink::start(&program)?;
        Ok(Self { program, library, folder, sink })
    }

    /// The shared library that is measured.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Runs this program as a worker and reads what it found.
    ///
    /// A worker's environment holds our settings and nothing else: neither the library nor the
    /// peers take anything from whoever runs the bench.
    pub fn work<T: DeserializeOwned>(
        &self,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<T> {
        let output = Command::new(&self.program)
            .arg("worker")
            .args(arguments)
            .env_clear()
            .env(ours::LIBRARY, &self.library)
            .env(ours::LEDGER_DIR, self.folder.path())
            .env("MPR_OTEL_ENDPOINT", self.sink.endpoint())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("worker {} failed: {}", arguments.join(" "), output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
