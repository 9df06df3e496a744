//! What the operating system is asked for. The functions are the same on each system.
//!
//! No function here calls WNet or the Shell, or touches a path that could be remote: that would
//! call MPR again.

mod listed;
pub use listed::Listed;
mod ownership;
pub use ownership::{FileOwner, Ownership};
mod refused;
pub use refused::Refused;
mod thread;
pub use thread::{THREAD_STACK, name_thread, park_for_ever, start_thread, wait_while, wake_all};
mod token;
pub use token::Token;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;
