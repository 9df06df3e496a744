//! The programs that a fleet's view is made of, as processes.

use crate::{Result, http};
use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that is waited for.
const GLANCE: Duration = Duration::from_millis(10);

/// The folder with `otelcol-mpr`, `prometheus`, `promtool` and `jaeger`.
#[derive(Clone, Debug)]
pub struct Tools(PathBuf);

impl Tools {
    /// The folder that `MPR_OTEL_TEST_FLEET` names.
    pub fn find() -> Result<Self> {
        let folder = env::var_os("MPR_OTEL_TEST_FLEET").ok_or(
            "MPR_OTEL_TEST_FLEET does not name the folder with the Collector and Prometheus; \
             `cargo xtask test --fleet` builds them and runs this",
        )?;
        Ok(Self(folder.into()))
    }

    /// A command of one of the tools, with nothing in its environment.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join(name));
        command.env_clear();
        command
    }
}

/// A running program; it is killed with this value.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output goes to `<folder>/<name>.log`, behind what is there.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until an address of the program answers with success.
    pub fn answers(mut self, url: &str) -> Result<Self> {
        let started = Instant::now();
        while !http::is_well(url) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended with {status}:\n{}", self.name, self.said()).into());
            }
            if started.elapsed() > PATIENCE {
                let said = self.said();
                return Err(format!("{} does not answer at {url}:\n{said}", self.name).into());
            }
            thread::sleep(GLANCE);
        }
        Ok(self)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let told = Command::new("kill").arg(self.id().to_string()).status()?;
        if !told.success() {
            return Err(format!("{} could not be told to end", self.name).into());
        }
        until(&format!("{} ends", self.name), || Ok(self.child.try_wait()?.map(drop)))
    }

    /// Waits until it has ended by itself, and tells whether well.
    pub fn end(&mut self) -> Result<bool> {
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port on loopback that nobody listens on.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until there is an answer.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("waited in vain until {what}").into());
        }
        thread::sleep(GLANCE);
    }
}
