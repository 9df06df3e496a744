//! Where the measures take place: a folder on a disk, a sink, and a fresh process for everything
//! that is measured.

use crate::Result;
use crate::ship;
use crate::sink::Sink;
use crate::subject::ours;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The sink's file in the folder.
const ANSWERED: &str = "answered";

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
        let sink = Sink::start(&program, &folder.path().join(ANSWERED))?;
        Ok(Self { program, library, folder, sink })
    }

    /// The shared library that is measured.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The program `mpr-otel`.
    pub fn agent(&self, ledgers: &Path) -> Result<Command> {
        Ok(self.command(&ship::built("mpr-otel")?, ledgers))
    }

    /// A folder for ledgers.
    pub fn folder(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.folder.path())?)
    }

    /// This program as a worker.
    pub fn worker(&self, arguments: &[&str], ledgers: &Path) -> Command {
        let mut command = self.command(&self.program, ledgers);
        command.arg("worker").args(arguments);
        command
    }

    /// A program whose environment holds the bench's settings and nothing else: neither the library
    /// nor the peers take anything from the shell that runs the bench.
    pub fn command(&self, program: &Path, ledgers: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(ours::LIBRARY, &self.library)
            .env(ours::ANSWERED, self.folder.path().join(ANSWERED))
            .env("MPR_OTEL_LEDGER_DIR", ledgers)
            .env("XDG_STATE_HOME", ledgers.join("state"))
            .env("MPR_OTEL_ENDPOINT", self.sink.endpoint());
        command
    }

    /// Runs this program as a worker with this library, and reads what it found.
    pub fn work<T: DeserializeOwned>(
        &self,
        library: &Path,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<T> {
        // A folder of its own: earlier revisions export what earlier workers left.
        self.work_in(self.folder()?.path(), library, arguments, settings)
    }

    /// The same with its ledgers in this folder.
    pub fn work_in<T: DeserializeOwned>(
        &self,
        ledgers: &Path,
        library: &Path,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<T> {
        let output = self
            .worker(arguments, ledgers)
            .env(ours::LIBRARY, library)
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
