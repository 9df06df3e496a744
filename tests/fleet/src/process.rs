//! The programs that a fleet's view is made of, as processes.

use crate::{Result, http};
use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that is waited for.
const GLANCE: Duration = Duration::from_millis(10);

/// The ports that the servers are given.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 20_000;

/// The folder with `otelcol-mpr`, `prometheus`, `promtool`, `alertmanager`, `amtool` and `jaeger`.
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
    /// Where in the log its own words begin.
    begin: usize,
}

impl Process {
    /// Starts a program whose output goes to `<folder>/<name>.log`, behind what is there.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let begin = usize::try_from(file.metadata()?.len())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log, begin })
    }

    /// Waits until an address of the program answers with success.
    pub fn answers(self, url: &str) -> Result<Self> {
        self.ready(|_| http::is_well(url))
    }

    /// Waits until the program has said this.
    pub fn says(self, words: &str) -> Result<Self> {
        self.ready(|process| process.said().contains(words))
    }

    fn ready(mut self, is_ready: impl Fn(&Self) -> bool) -> Result<Self> {
        let started = Instant::now();
        while !is_ready(&self) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended with {status}:\n{}", self.name, self.said()).into());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{} does not get ready:\n{}", self.name, self.said()).into());
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
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.begin..).unwrap_or_default()).into_owned()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let told = Command::new("kill").arg(self.id().to_string()).status()?;
        if !told.success() {
            return Err(format!("{} could not be asked to end", self.name).into());
        }
        let status = until(&format!("{} ends", self.name), || Ok(self.child.try_wait()?))?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} ended with {status}:\n{}", self.name, self.said()).into()),
        }
    }

    /// Waits until it has ended by itself, and returns whether well.
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

/// A port on loopback for a server that cannot choose one itself. Never given twice, and below those
/// that the system gives to programs that ask for any, so that it stays free until the server takes it.
pub fn free_port() -> Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Other programs begin elsewhere.
    let first = (process::id().wrapping_mul(577) % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST_PORT + number % PORTS;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}

/// Waits until there is an answer.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("waited too long until {what}").into());
        }
        thread::sleep(GLANCE);
    }
}
