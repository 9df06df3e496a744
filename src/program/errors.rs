//! `mpr-otel errors`: what a code means and what to do about it.

use crate::answer::{Failure, write_json};
use clap::Args;
use mpr_otel_core::win32_error::{self, Meaning, Win32Error};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Explain the error codes of connection operations: name, class and what to do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpr-otel errors\n  mpr-otel errors 53\n  mpr-otel errors ERROR_LOGON_FAILURE"
)]
pub(super) struct Errors {
    /// A code (53, 0x35) or a name (ERROR_BAD_NETPATH, bad_netpath); all if left out.
    error: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Row {
    code: u32,
    name: &'static str,
    outcome: &'static str,
    class: Option<&'static str>,
    advice: &'static str,
}

impl From<&Win32Error> for Row {
    fn from(error: &Win32Error) -> Self {
        let (outcome, class) = match error.meaning {
            Meaning::Success => ("success", None),
            Meaning::Cancelled => ("cancelled", None),
            Meaning::Failure(class) => ("failure", Some(class.name())),
        };
        Self { code: error.code, name: error.name, outcome, class, advice: error.advice }
    }
}

impl Errors {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let rows: Vec<Row> = match &self.error {
            None => win32_error::TABLE.iter().map(Row::from).collect(),
            Some(wanted) => vec![Row::from(find(wanted).ok_or_else(|| {
                format!(
                    "{wanted} is not in the table; `mpr-otel errors` lists it. Other codes appear \
                     as WIN32_<code> with class `other`; `net helpmsg <code>` on Windows explains them"
                )
            })?)],
        };
        if self.json {
            write_json(out, &rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "{:>5}  {:<35} {:<15} WHAT TO DO", "CODE", "NAME", "CLASS")?;
        for row in rows {
            let class = row.class.unwrap_or(row.outcome);
            writeln!(out, "{:>5}  {:<35} {:<15} {}", row.code, row.name, class, row.advice)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Finds a row by code, decimal or hexadecimal, or by name, with or without its prefix.
fn find(wanted: &str) -> Option<&'static Win32Error> {
    let lower = wanted.to_ascii_lowercase();
    let code = match lower.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => lower.strip_prefix("win32_").unwrap_or(&lower).parse().ok(),
    };
    match code {
        Some(code) => win32_error::find(code),
        None => {
            let name = lower.strip_prefix("error_").unwrap_or(&lower);
            win32_error::TABLE.iter().find(|row| row.name[6..].eq_ignore_ascii_case(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_code_and_by_name() {
        for wanted in
            ["53", "0x35", "ERROR_BAD_NETPATH", "error_bad_netpath", "bad_netpath", "WIN32_53"]
        {
            assert_eq!(find(wanted).map(|row| row.code), Some(53), "{wanted}");
        }
        for wanted in ["", "0", "nonsense", "99999999999", "0xZZ"] {
            assert_eq!(find(wanted), None, "{wanted}");
        }
    }
}
