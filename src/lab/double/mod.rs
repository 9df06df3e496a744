//! An MPR double: plays the multiple provider router's side of the contract against the real
//! shared library, and checks the library's side of it.
//!
//! It hands over exactly what the contract defines. What the contract leaves undefined points to
//! memory that cannot be read, so a library that looks at it dies at once.

mod notifyee;
mod player;
mod script;

pub use notifyee::{Call, Ended, LoadError, Notifyee};
pub use player::{Moment, PlayError, PlayReport, play};
pub use script::{Add, Cancel, Host, Script, ScriptedCall, Step};

use std::path::PathBuf;

/// File name of the shared library on this system.
pub const LIBRARY: &str = if cfg!(windows) {
    "mpr_otel.dll"
} else if cfg!(target_vendor = "apple") {
    "libmpr_otel.dylib"
} else {
    "libmpr_otel.so"
};

/// The shared library beside the running program, or one folder up, where Cargo puts it for
/// tests and examples. `None` if it is in neither.
pub fn find_library() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(LIBRARY))
        .find(|path| path.exists())
}
