//! What is measured: this project's library and its peers, behind one face.

mod fastrace;
pub mod floor;
pub mod ours;
pub mod sdk;
mod tracing;

use crate::Result;
use clap::ValueEnum;
use std::fmt;

/// Something that records operations.
pub trait Subject: Sync {
    /// Records `operations` operations on the calling thread: what is timed.
    fn record(&self, operations: usize);

    /// Waits until everything recorded is exported; not timed. Fails if any of the `recorded`
    /// operations since the start was lost: a subject that drops its work is quick.
    fn settle(&self, recorded: usize) -> Result<()>;
}

/// The subjects of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// The shared library, exporting to a loopback sink.
    Ours,
    /// Two clock reads and two sends of a 256-byte event: nothing that tells an exporter when
    /// an operation began and ended costs less.
    Floor,
    /// fastrace, a root span, its reporter throwing everything away.
    Fastrace,
    /// opentelemetry_sdk, a span, its batch processor exporting to nowhere.
    Sdk,
    /// tracing and tracing-opentelemetry on that SDK.
    Tracing,
}

impl Name {
    /// All of them, in the order in which they take turns.
    pub const ALL: [Self; 5] = [Self::Ours, Self::Floor, Self::Fastrace, Self::Sdk, Self::Tracing];

    /// How the tables call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ours => "mpr-otel",
            Self::Floor => "floor",
            Self::Fastrace => "fastrace",
            Self::Sdk => "opentelemetry_sdk",
            Self::Tracing => "tracing-opentelemetry",
        }
    }

    /// Starts it in this process.
    pub fn start(self) -> Result<Box<dyn Subject>> {
        Ok(match self {
            Self::Ours => Box::new(ours::Ours::start()?),
            Self::Floor => Box::new(floor::Floor::start()),
            Self::Fastrace => Box::new(fastrace::Fastrace::start()),
            Self::Sdk => Box::new(sdk::Sdk::discarding()),
            Self::Tracing => Box::new(tracing::Tracing::start()?),
        })
    }
}

/// As a worker's command line has it.
impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| out.write_str(value.get_name()))
    }
}

/// Fails unless all that was recorded has come out at the other end.
fn check(recorded: usize, exported: usize) -> Result<()> {
    if recorded == exported {
        Ok(())
    } else {
        Err(format!("{recorded} operations were recorded, but {exported} exported").into())
    }
}
