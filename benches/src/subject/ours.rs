//! This project's shared library, the file that ships.

use super::Subject;
use crate::Result;
use crate::library::Library;
use std::cmp::Ordering;
use std::env;
use std::fs::{self, File};
use std::time::{Duration, Instant};

/// Names the shared library to the processes that load it.
pub const LIBRARY: &str = "MPR_OTEL_BENCH_LIBRARY";
/// Names the file whose length is the number of spans that the sink has answered.
pub const ANSWERED: &str = "MPR_OTEL_BENCH_ANSWERED";

/// How long an export may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The loaded library. Its settings are in the environment.
#[derive(Debug)]
pub struct Ours {
    library: Library,
    answered: Answered,
}

impl Ours {
    /// Loads the library.
    pub fn start() -> Result<Self> {
        let path = env::var_os(LIBRARY).ok_or("no library was named")?;
        let answered = env::var_os(ANSWERED).ok_or("no sink was named")?;
        let answered = Answered::since_now(File::open(answered)?)?;
        Ok(Self { library: Library::load(path.as_ref())?, answered })
    }
}

impl Subject for Ours {
    fn record(&self, operations: usize) {
        self.library.play(operations);
    }

    /// Asks the sink and not the ledger, whose format may be another in another revision.
    fn settle(&self, recorded: usize) -> Result<()> {
        let start = Instant::now();
        // An exporter that has its answer has still to free its slots: it must not do so in the
        // next round.
        while !(self.answered.all(recorded as u64)? && others_sleep()?) {
            if start.elapsed() > PATIENCE {
                let answered = self.answered.count()?;
                return Err(format!(
                    "{recorded} operations were recorded, but {answered} answered, or the exporter \
                     does not come to rest"
                )
                .into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }
}

/// The sink's file: its length is the number of spans that were answered.
#[derive(Debug)]
struct Answered {
    file: File,
    /// How many that were when this process began.
    before: u64,
}

impl Answered {
    fn since_now(file: File) -> Result<Self> {
        let before = file.metadata()?.len();
        Ok(Self { file, before })
    }

    fn count(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len() - self.before)
    }

    /// Whether all of the `recorded` spans were answered. Fails if more were.
    fn all(&self, recorded: u64) -> Result<bool> {
        let answered = self.count()?;
        match answered.cmp(&recorded) {
            Ordering::Less => Ok(false),
            Ordering::Equal => Ok(true),
            Ordering::Greater => {
                Err(format!("{recorded} operations were recorded, but {answered} answered").into())
            }
        }
    }
}

/// Whether every thread of this process but the calling one sleeps: exactly one does not.
fn others_sleep() -> Result<bool> {
    let mut awake = 0;
    for task in fs::read_dir("/proc/self/task")? {
        // It is empty if the thread has just ended; then the next look will show it.
        let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        // The state is behind the name, which may hold parentheses itself (proc(5)).
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        awake += usize::from(!state.is_some_and(|state| state.starts_with('S')));
    }
    Ok(awake == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::spin_loop;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn spans_that_were_answered_before_do_not_count_and_too_many_are_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(7).unwrap();
        let answered = Answered::since_now(file.try_clone().unwrap()).unwrap();
        file.set_len(9).unwrap();
        assert!(!answered.all(3).unwrap());
        assert!(answered.all(2).unwrap());
        let refused = answered.all(1).unwrap_err().to_string();
        assert_eq!(refused, "1 operations were recorded, but 2 answered");
    }

    #[test]
    fn a_process_with_a_busy_thread_is_not_at_rest() {
        let (busy, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                busy.store(true, Relaxed);
                while !done.load(Relaxed) {
                    spin_loop();
                }
            });
            while !busy.load(Relaxed) {
                std::thread::yield_now();
            }
            let rest = others_sleep();
            done.store(true, Relaxed);
            assert!(!rest.unwrap());
        });
    }
}
