//! A fleet's view, for tests, measures and pictures: starts the real Collector, Prometheus and
//! Jaeger on loopback, loads what ships (configurations, dashboards, rules), and knows what a
//! simulation's truth says they should answer.

mod board;
pub mod drawing;
mod gallery;
mod http;
mod jaeger;
mod lapse;
mod process;
mod prometheus;
mod stack;
mod truth;

pub use board::{Board, Panel, Target, filled};
pub use gallery::Gallery;
pub use jaeger::{Jaeger, Search};
pub use lapse::{Lapse, with_window};
pub use process::{Process, Tools, free_port, until};
pub use prometheus::{Labels, Prometheus, Sample, Track};
pub use stack::{Gateway, LOOKBACK, Stack, Store, Traces};
pub use truth::{Agents, HostTruth, Incident, Part, Series, Truth};

/// Any error: a test or a measure has one answer to all of them.
pub type Failure = Box<dyn std::error::Error>;
/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Failure>;
