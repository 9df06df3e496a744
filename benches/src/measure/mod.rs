//! The measures.

pub mod against;
pub mod agent;
pub mod export;
pub mod first;
pub mod fleet;
pub mod host;
pub mod pair;
pub mod short;
pub mod threads;

use clap::ValueEnum;
use std::io::Write;

/// The measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// What one operation costs its caller.
    Pair,
    /// How that grows with the number of threads.
    Threads,
    /// What the first operation of a process costs.
    First,
    /// What exporting costs.
    Export,
    /// Memory, threads, wake-ups and size.
    Host,
    /// What a program that maps one drive and ends pays.
    Short,
    /// What the agent costs.
    Agent,
    /// What a fleet costs its gateway. Only if it is named: it needs a Collector and Prometheus,
    /// which `cargo xtask bench --fleet` builds.
    Fleet,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often every subject has its turn.
    pub trials: usize,
    /// Rounds in a turn.
    pub rounds: usize,
    /// Batches exported in a turn.
    pub batches: usize,
    /// Fresh processes.
    pub processes: usize,
    /// How long a host or an agent is watched.
    pub idle_seconds: u64,
    /// Dead ledgers to take over.
    pub ledgers: usize,
    /// Foreign names in a ledger folder.
    pub names: usize,
}

impl Effort {
    /// For figures to publish.
    pub const FULL: Self = Self {
        trials: 9,
        rounds: 150,
        batches: 200,
        processes: 50,
        idle_seconds: 10,
        ledgers: 10_000,
        names: 100_000,
    };
    /// To see that it works.
    pub const QUICK: Self = Self {
        trials: 2,
        rounds: 20,
        batches: 10,
        processes: 5,
        idle_seconds: 1,
        ledgers: 300,
        names: 1000,
    };
}

/// Says on stderr what is going on.
fn progress(what: &str) {
    // Nobody may be watching.
    let _ = writeln!(std::io::stderr().lock(), "{what}");
}
