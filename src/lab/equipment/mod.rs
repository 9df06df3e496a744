//! What the tests, the fuzzer and the benches share.
//!
//! A broken expectation panics: that is how a test fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// `new` makes folders and starts servers: too much for a default.
#![allow(clippy::new_without_default)]

#[cfg(feature = "certificates")]
mod authority;
mod built;
#[cfg(target_os = "linux")]
pub mod fuzzing;
#[cfg(target_os = "linux")]
pub mod graveyard;
pub mod json_page;
pub mod stage;

#[cfg(feature = "certificates")]
pub use authority::Authority;
pub use built::{lab, library, program, repository, target};
