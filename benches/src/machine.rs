//! What the figures were taken on.

use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Facts that a reader of the figures wants to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Seconds since 1970.
    pub unix_time: u64,
    /// CPU model, as the kernel names it.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cores: usize,
    /// Kernel's name and release.
    pub kernel: String,
    /// Compiler in the path.
    pub rustc: String,
    /// Load averages when the bench began: other people's work makes figures worse.
    pub load: String,
    /// Commit that was measured.
    pub revision: String,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, model)| model.to_owned())
            .unwrap_or_default();
        Self {
            unix_time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            cpu,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            rustc: output("rustc", &["--version"]),
            load: read("/proc/loadavg").trim().to_owned(),
            revision: output("git", &["describe", "--always", "--dirty"]),
        }
    }
}

/// What a command prints; empty if there is no such command.
fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
