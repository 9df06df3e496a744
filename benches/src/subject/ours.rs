//! This project's shared library, the file that ships.

use super::Subject;
use crate::Result;
use crate::library::Library;
use mpr_otel_core::ledger::{self, Access, Tally};
use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Names the shared library to the processes that load it.
pub const LIBRARY: &str = "MPR_OTEL_BENCH_LIBRARY";
/// Where this process' ledger is; a setting of the library itself.
pub const LEDGER_DIR: &str = "MPR_OTEL_LEDGER_DIR";

/// How long an export may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The loaded library. Its settings are in the environment.
#[derive(Debug)]
pub struct Ours {
    library: Library,
    ledger: OnceLock<Access>,
}

impl Ours {
    /// Loads the library.
    pub fn start() -> Result<Self> {
        let path = env::var_os(LIBRARY).ok_or("no library was named")?;
        Ok(Self { library: Library::load(path.as_ref())?, ledger: OnceLock::new() })
    }

    /// This process' ledger, which the first operation made.
    fn ledger(&self) -> Result<&Access> {
        match self.ledger.get() {
            Some(ledger) => Ok(ledger),
            None => {
                let ledger = Access::open(&find_ledger()?)?;
                Ok(self.ledger.get_or_init(|| ledger))
            }
        }
    }

    /// Waits until `recorded` operations are exported or lost. Looks at the header alone: reading
    /// the whole table again and again would empty the caches of what is measured.
    fn wait(&self, recorded: u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let counters = self.ledger()?.header()?.counters;
            if counters.exported + counters.lost_in_all() >= recorded {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the exporter stands still: {counters:?}").into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

impl Subject for Ours {
    fn record(&self, operations: usize) {
        self.library.play(operations);
    }

    fn settle(&self, recorded: usize) -> Result<()> {
        self.wait(recorded as u64)?;
        let tally = ledger::read_tally(self.ledger()?.path())?;
        let expected =
            Tally { seen: recorded as u64, exported: recorded as u64, ..Tally::default() };
        if tally == expected {
            Ok(())
        } else {
            Err(format!("{recorded} operations were recorded, but the ledger says {tally:?}")
                .into())
        }
    }
}

fn find_ledger() -> Result<PathBuf> {
    let folder = env::var_os(LEDGER_DIR).ok_or("no ledger folder was named")?;
    let ours = format!("{}-", std::process::id());
    std::fs::read_dir(&folder)?
        .filter_map(std::result::Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&ours))
        .map(|entry| entry.path())
        .ok_or_else(|| "this process has no ledger".into())
}
