//! What one operation costs its caller: PRE and POST together.
//!
//! Rounds are short enough for every queue and for the ledger's table; between them everything
//! is exported, outside of the timed part. A round that lost anything is no measurement.

use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::stats::Summary;
use crate::subject::{Name, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Operations in a round, over all threads: fewer than the slots of any revision's ledger, so that
/// none is refused.
pub const OPERATIONS: usize = 120;
/// Rounds before those that count.
const WARM_UP: usize = 20;

/// What a worker found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Samples {
    /// Nanoseconds per operation, one for each round.
    pub nanos: Vec<f64>,
}

/// Settings of the library under measurement: a round is exported soon after it has ended, and not
/// in the middle. For the exporter sends when a batch is full, which takes more operations than a
/// round has, or a batch delay after the first of them has ended, and a round takes a small part of
/// that.
pub const SETTINGS: [(&str, &str); 2] =
    [("MPR_OTEL_BATCH_MAX", "512"), ("MPR_OTEL_BATCH_DELAY_MS", "5")];

/// Has `name` record rounds of `operations` operations, shared by `threads` threads. Runs in a worker.
pub fn work(name: Name, threads: usize, operations: usize, rounds: usize) -> Result<Samples> {
    let subject = name.start()?;
    let subject = subject.as_ref();
    let each = operations / threads;
    let gate = Gate::new(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..WARM_UP + rounds {
                    gate.record(subject, each);
                }
            });
        }
        let mut nanos = Vec::with_capacity(rounds);
        let mut outcome = Ok(());
        for round in 0..WARM_UP + rounds {
            let spent = gate.round();
            if outcome.is_ok() {
                outcome = subject.settle((round + 1) * each * threads);
            }
            if round >= WARM_UP {
                nanos.push(spent as f64 / (each * threads) as f64);
            }
        }
        outcome.map(|()| Samples { nanos })
    })
}

/// Lets the threads of a round start together and adds up what they needed.
struct Gate {
    threads: usize,
    open: Barrier,
    closed: Barrier,
    arrived: AtomicUsize,
    nanos: AtomicU64,
}

impl Gate {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            open: Barrier::new(threads + 1),
            closed: Barrier::new(threads + 1),
            arrived: AtomicUsize::new(0),
            nanos: AtomicU64::new(0),
        }
    }

    /// One thread's part in a round.
    fn record(&self, subject: &dyn Subject, operations: usize) {
        self.open.wait();
        // A barrier wakes its threads one after another; those that are up first wait here.
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while self.arrived.load(Ordering::SeqCst) < self.threads {
            std::thread::yield_now();
        }
        let start = Instant::now();
        subject.record(operations);
        self.nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::SeqCst);
        self.closed.wait();
    }

    /// Runs a round and returns the nanoseconds that its threads spent in it, together.
    fn round(&self) -> u64 {
        self.arrived.store(0, Ordering::SeqCst);
        self.nanos.store(0, Ordering::SeqCst);
        self.open.wait();
        self.closed.wait();
        self.nanos.load(Ordering::SeqCst)
    }
}

/// Nanoseconds per operation and trial: each is the summary of a worker's rounds.
pub type Trials = BTreeMap<String, Vec<Summary>>;

/// Measures every subject on one thread, in turns.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Trials)> {
    let mut trials = Trials::new();
    for trial in 1..=effort.trials {
        progress(&format!("pair: trial {trial} of {}", effort.trials));
        for name in Name::ALL {
            let summary = take(stage, name, 1, OPERATIONS, effort.rounds)?;
            trials.entry(name.label().to_owned()).or_default().push(summary);
        }
        for name in [Name::Ours, Name::Sdk] {
            let summary = take(stage, name, 1, 1, effort.rounds)?;
            trials.entry(alone(name)).or_default().push(summary);
        }
    }
    let figure = |name: Name| Figure::of_trials(trials.get(name.label()), "ns");
    let ours = figure(Name::Ours)?;
    let reach = [
        (Name::Floor, Reach::Nothing),
        (Name::Fastrace, Reach::Below(1.0)),
        (Name::Sdk, Reach::AtMost(0.5)),
        (Name::Tracing, Reach::AtMost(0.5)),
    ];
    let mut rows = reach
        .into_iter()
        .map(|(name, reach)| {
            Ok(Row::beside("one operation (PRE + POST)", ours, name.label(), figure(name)?, reach))
        })
        .collect::<Result<Vec<_>>>()?;
    let single = |name: Name| Figure::of_trials(trials.get(&alone(name)), "ns");
    rows.push(Row::beside(
        "one operation when nothing else goes on",
        single(Name::Ours)?,
        Name::Sdk.label(),
        single(Name::Sdk)?,
        Reach::Nothing,
    ));
    Ok((rows, trials))
}

/// The key of the trials with one operation in a round: caches are cold, exporters asleep.
fn alone(name: Name) -> String {
    format!("{} alone", name.label())
}

/// One turn of one subject.
pub fn take(
    stage: &Stage,
    name: Name,
    threads: usize,
    operations: usize,
    rounds: usize,
) -> Result<Summary> {
    take_of(stage, stage.library(), name, threads, operations, rounds)
}

/// One turn of one subject, with this library if it is ours.
pub fn take_of(
    stage: &Stage,
    library: &Path,
    name: Name,
    threads: usize,
    operations: usize,
    rounds: usize,
) -> Result<Summary> {
    let counts = [threads, operations, rounds].map(|count| count.to_string());
    let [threads, operations, rounds] = &counts;
    let samples: Samples = stage.work(
        library,
        &["pair", &name.to_string(), threads, operations, rounds],
        &SETTINGS,
    )?;
    Summary::of(&samples.nanos).ok_or_else(|| "a worker without samples".into())
}
