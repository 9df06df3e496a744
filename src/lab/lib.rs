//! mpr-otel without Windows: a double of MPR, an OTLP receiver, a simulated fleet, and what the
//! tests share.
//!
//! Nothing of it is ever installed.

pub mod double;
#[cfg(feature = "equipment")]
pub mod equipment;
mod nearest_rank;
pub mod receiver;
pub mod simulation;

pub use nearest_rank::nearest_rank;
