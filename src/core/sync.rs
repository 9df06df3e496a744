//! The primitives that the lock-free files are written in.
//!
//! One place, so that the model test can compile those same files against loom's versions.

pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
pub use std::thread::{Thread, current, park, park_timeout};
