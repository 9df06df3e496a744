//! A line on the terminal that says how far a command is.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The line. Where standard error is not a terminal, nothing is shown but what the command waits for.
pub(super) struct ProgressLine {
    visible: bool,
    written: Instant,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { visible: io::stderr().is_terminal(), written: Instant::now() }
    }

    /// Shows `text`, which says that the command waits. A log has a line of it each ten seconds.
    pub(super) fn show_waiting(&mut self, text: &str) {
        self.show(text);
        if !self.visible && self.written.elapsed() >= WRITE_EVERY {
            self.written = Instant::now();
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Shows `text` in place of what was shown before.
    pub(super) fn show(&self, text: &str) {
        if self.visible {
            // Progress is a courtesy: a closed terminal is no failure.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            let _ = io::stderr().flush();
        }
    }

    pub(super) fn clear(&self) {
        self.show("");
    }
}
