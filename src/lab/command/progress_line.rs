//! A line on the terminal that says how far a command is.

use std::io::{self, IsTerminal, Write};

/// The line. Nothing is shown if standard error is not a terminal.
pub(super) struct ProgressLine {
    visible: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { visible: io::stderr().is_terminal() }
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
