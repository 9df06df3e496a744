//! Plays a host's part of a script and reports whether the library kept the contract.

use super::notifyee::{Call, Ended, LoadError, Notifyee};
use super::script::{Host, Step};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use std::{io, thread};

/// Why a part could not be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The library could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A thread could not be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// What the library did to its host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlayReport {
    /// Operations played.
    pub operations: usize,
    /// Operations for which the library asked for no POST.
    pub untracked: usize,
    /// Breaches of the contract by the library, in words.
    pub breaches: Vec<String>,
}

impl AddAssign for PlayReport {
    fn add_assign(&mut self, part: Self) {
        self.operations += part.operations;
        self.untracked += part.untracked;
        self.breaches.extend(part.breaches);
    }
}

/// What a thread of a host is at.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'step> {
    /// PRE is about to be called.
    Begins(&'step Step),
    /// PRE returned, and the library wants POST.
    Open {
        /// The operation.
        step: &'step Step,
        /// What PRE left in `lpContext`.
        context: usize,
    },
    /// PRE returned, and the library wants no POST.
    Untracked(&'step Step),
    /// POST returned.
    Ended(&'step Step),
}

/// Loads the library at `path` and plays `host`'s threads against it, each on a thread of its own.
/// Each thread tells `told` how it goes on.
pub fn play(
    path: &Path,
    host: &Host,
    told: impl Fn(Moment<'_>) + Sync,
) -> Result<PlayReport, PlayError> {
    let notifyee = Notifyee::load(path)?;
    let report = Mutex::new(PlayReport::default());
    thread::scope(|scope| {
        for steps in &host.threads {
            let (notifyee, report, told) = (&notifyee, &report, &told);
            thread::Builder::new().spawn_scoped(scope, move || {
                let part = play_thread(notifyee, steps, told);
                if let Ok(mut whole) = report.lock() {
                    *whole += part;
                }
            })?;
        }
        Ok::<_, io::Error>(())
    })?;
    // MPR may unload a notification library at any time.
    drop(notifyee);
    Ok(report.into_inner().unwrap_or_default())
}

fn play_thread(notifyee: &Notifyee, steps: &[Step], told: impl Fn(Moment<'_>)) -> PlayReport {
    let mut report = PlayReport::default();
    for step in steps {
        let call = Call::from(&step.request);
        told(Moment::Begins(step));
        let (pre, context) = notifyee.pre(&call);
        let tracked = context != 0;
        told(if tracked { Moment::Open { step, context } } else { Moment::Untracked(step) });
        thread::sleep(Duration::from_millis(step.takes_ms));
        let post = (tracked && !step.no_post).then(|| {
            let ended = Ended { status: step.status, provider: step.provider.clone() };
            let returned = notifyee.post(&call, context, &ended);
            told(Moment::Ended(step));
            returned
        });
        report.operations += 1;
        report.untracked += usize::from(!tracked);
        for (call, returned) in [("PRE", Some(pre)), ("POST", post)] {
            if let Some(code) = returned.filter(|code| *code != 0) {
                report.breaches.push(format!("{call} returned {code}; it must return 0"));
            }
        }
    }
    report
}
