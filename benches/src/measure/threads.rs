//! How the cost of an operation grows when many threads record at once.
//!
//! Counted is the time that the threads spend in their calls, together: what waits for a lock
//! counts, what waits for its turn on a processor before the call does not.

use super::pair::{OPERATIONS, Trials, take};
use super::{Effort, progress};
use crate::Result;
use crate::report::{Figure, Reach, Row};
use crate::stage::Stage;
use crate::subject::Name;

/// Threads beside the one that the growth is relative to.
const THREADS: [usize; 4] = [1, 2, 8, 32];

/// Measures ours and the SDK, in turns.
pub fn measure(stage: &Stage, effort: Effort) -> Result<(Vec<Row>, Trials)> {
    let subjects = [Name::Ours, Name::Sdk];
    let key = |name: Name, threads: usize| format!("{} on {threads}", name.label());
    let mut trials = Trials::new();
    for trial in 1..=effort.trials {
        progress(&format!("threads: trial {trial} of {}", effort.trials));
        for threads in THREADS {
            for name in subjects {
                let summary = take(stage, name, threads, OPERATIONS, effort.rounds)?;
                trials.entry(key(name, threads)).or_default().push(summary);
            }
        }
    }
    let figure = |name, threads| Figure::of_trials(trials.get(&key(name, threads)), "ns");
    let growth =
        |name, threads| -> Result<Figure> { Ok(figure(name, threads)?.over(figure(name, 1)?)) };
    let mut rows = Vec::new();
    for threads in THREADS.into_iter().filter(|threads| *threads > 1) {
        let [ours, sdk] = subjects.map(|name| growth(name, threads));
        rows.push(Row::beside(
            &format!("growth of its cost on {threads} threads"),
            ours?,
            Name::Sdk.label(),
            sdk?,
            Reach::AtMost(1.0),
        ));
    }
    Ok((rows, trials))
}
