//! The report: a table for people, or JSON.

use super::verdict::Row;
use crate::answer::Failure;
use serde::Serialize;
use std::io::Write;

/// The result of the probe.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) target: String,
    /// The name of a share that does not exist.
    pub(super) missing: String,
    pub(super) exit_code: u8,
    pub(super) ways: Vec<Row>,
}

impl Report {
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "Mapped {}, and {}, which does not exist\n", self.target, self.missing)?;
        writeln!(
            out,
            "{:<5}  {:<22}  {:<11}  {:<18}  {:>8}  {:>8}  {:<13}  DELIVERED",
            "ARCH", "WAY", "OPERATION", "RESULT", "CALL ms", "SPAN ms", "STATUS"
        )?;
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        for row in &self.ways {
            let status = match (row.call_status, row.post_status) {
                (None, None) => "-".to_owned(),
                (Some(call), None) => call.to_string(),
                (None, Some(post)) => format!("POST {post}"),
                (Some(call), Some(post)) if call == post => format!("{call} = POST"),
                (Some(call), Some(post)) => format!("{call}, POST {post}"),
            };
            let delivered = match (row.delivered, &row.detail) {
                (true, _) => format!("in {} s", number(row.delivered_after_ms.map(|ms| ms / 1e3))),
                (false, detail) => detail.clone().unwrap_or_default(),
            };
            let result = serde_json::to_value(row.result)?;
            writeln!(
                out,
                "{:<5}  {:<22}  {:<11}  {:<18}  {:>8}  {:>8}  {:<13}  {delivered}",
                row.architecture.map_or("-".to_owned(), |architecture| architecture.to_string()),
                row.way,
                row.operation.replace('_', " "),
                result.as_str().unwrap_or_default().replace('_', " "),
                number(row.call_ms),
                number(row.span_ms),
                status,
            )?;
        }
        let conclusion = match self.exit_code {
            0 => "Every way that this machine has is notified and delivered.",
            1 => "Not every way that this machine has is notified and delivered.",
            _ => {
                "The ways could not be tried, so it is not known whether they are notified and delivered."
            }
        };
        writeln!(out, "\n{conclusion}")?;
        Ok(())
    }
}
