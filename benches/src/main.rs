//! Measures the shared library beside its peers: one run, side by side, in turns.
//!
//! What is measured runs in a process of its own (a worker), with nothing in its environment but
//! the settings of the measure. Workers are this same program.

mod library;
mod machine;
mod measure;
mod operation;
mod report;
mod revision;
mod ship;
mod sink;
mod stage;
mod stats;
mod subject;

use clap::{Parser, Subcommand, ValueEnum};
use machine::Machine;
use measure::{Effort, Measure, against, agent, export, first, fleet, host, pair, short, threads};
use report::Report;
use revision::Revision;
use serde::Serialize;
use stage::Stage;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use subject::Name;

/// Any error: a bench has one answer to all of them.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Measure the shared library beside its peers.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
#[command(
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --quick --only pair\n  \
    cargo xtask bench --json > benches/results/2026-11-21.json"
)]
struct Bench {
    /// A smoke run: the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Measure only this; may be given several times.
    #[arg(long, value_name = "MEASURE")]
    only: Vec<Measure>,
    /// Measure this shared library instead of building the one that ships.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Build this revision's library as well, and measure it beside today's, by turns. Only what the
    /// library alone decides: pair, threads, first, export, host, short.
    #[arg(long, value_name = "REVISION")]
    against: Option<String>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A part of a measure, in a process of its own.
    #[command(subcommand, hide = true)]
    Worker(Worker),
}

#[derive(Debug, Subcommand)]
enum Worker {
    Sink {
        answered: PathBuf,
    },
    Pair {
        subject: Name,
        threads: usize,
        operations: usize,
        rounds: usize,
    },
    First {
        threads: usize,
    },
    FirstFloor {
        threads: usize,
    },
    Export {
        subject: Name,
        endpoint: String,
        batches: usize,
        #[arg(action = clap::ArgAction::Set)]
        gzip: bool,
    },
    Host {
        idle_seconds: u64,
    },
    Crowd {
        folder: PathBuf,
        live: usize,
        locked: usize,
    },
    Steady {
        operations: usize,
        pause_micros: u64,
    },
}

fn main() -> ExitCode {
    let bench = Bench::parse();
    let done = match &bench.role {
        Some(Role::Worker(worker)) => worker.run(),
        None => bench.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening.
            let _ = writeln!(std::io::stderr().lock(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Bench {
    fn run(&self) -> Result<()> {
        if env!("MPR_OTEL_BENCH_PROFILE") != "measure" {
            return Err("built for another purpose than measuring; run `cargo xtask bench`, or \
                        `cargo run --profile measure --package mpr-otel-bench`"
                .into());
        }
        let effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        // First: an unknown revision is refused before anything is built.
        let against = self.against.as_deref().map(Revision::build).transpose()?;
        let library = match &self.library {
            Some(library) => library.canonicalize()?,
            None => ship::library()?,
        };
        let machine = Machine::look();
        let stage = Stage::set(library)?;
        let mut report = Report::new(machine);
        let wanted = |measure| self.only.is_empty() || self.only.contains(&measure);
        if let Some(revision) = &against {
            let measures = Measure::value_variants().iter().copied();
            let measures: Vec<Measure> = measures.filter(|measure| wanted(*measure)).collect();
            report.add("against", against::measure(&stage, effort, revision, &measures)?)?;
        }
        if wanted(Measure::Pair) {
            report.add("pair", pair::measure(&stage, effort)?)?;
        }
        if wanted(Measure::Threads) {
            report.add("threads", threads::measure(&stage, effort)?)?;
        }
        if wanted(Measure::First) {
            report.add("first", first::measure(&stage, effort)?)?;
        }
        if wanted(Measure::Export) {
            report.add("export", export::measure(&stage, effort)?)?;
        }
        if wanted(Measure::Host) {
            report.add("host", host::measure(&stage, effort)?)?;
        }
        if wanted(Measure::Short) {
            report.add("short", short::measure(&stage, effort)?)?;
        }
        if wanted(Measure::Agent) {
            ship::build_program("mpr-otel")?;
            report.add("agent", agent::measure(&stage, effort)?)?;
        }
        if self.only.contains(&Measure::Fleet) {
            ship::build_program("mpr-otel-lab")?;
            report.add("fleet", fleet::measure(&stage, self.quick)?)?;
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        } else {
            report.write_table(&mut out)?;
        }
        Ok(())
    }
}

impl Worker {
    fn run(&self) -> Result<()> {
        match self {
            Self::Sink { answered } => sink::work(answered),
            Self::Pair { subject, threads, operations, rounds } => {
                tell(&pair::work(*subject, *threads, *operations, *rounds)?)
            }
            Self::First { threads } => tell(&first::work(*threads)?),
            Self::FirstFloor { threads } => tell(&first::work_floor(*threads)?),
            Self::Export { subject, endpoint, batches, gzip } => {
                tell(&export::work(*subject, endpoint, *gzip, *batches)?)
            }
            Self::Host { idle_seconds } => tell(&host::work(*idle_seconds)?),
            Self::Crowd { folder, live, locked } => agent::crowd(folder, *live, *locked),
            Self::Steady { operations, pause_micros } => {
                agent::work(*operations, Duration::from_micros(*pause_micros))
            }
        }
    }
}

/// A worker's answer.
fn tell(found: &impl Serialize) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(found)?)?)
}
