//! `mpr-otel errors`: the meaning of a code, and what to do about it.

use crate::answer::{Failure, write_json};
use clap::Args;
use mpr_otel_core::operation::{Outcome, UNFINISHED};
use mpr_otel_core::win32_error::{self, Meaning, TABLE, Win32Error};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Explain the error codes of connection operations: name, class and what to do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpr-otel errors\n  mpr-otel errors 53\n  mpr-otel errors ERROR_LOGON_FAILURE\n  mpr-otel errors 0xC05D0003\n  mpr-otel errors security_policy"
)]
pub(super) struct Errors {
    /// A code (53, 0x35, WIN32_53, -1067646973), a name (ERROR_BAD_NETPATH, bad_netpath) or a
    /// class. Without it, all are shown
    #[arg(allow_negative_numbers = true)]
    error: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Row {
    /// `None` for an operation that did not end, which has no code.
    code: Option<u32>,
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
        Self { code: Some(error.code), name: error.name, outcome, class, advice: error.advice }
    }
}

impl Row {
    /// The row for an operation that did not end.
    fn unfinished() -> Self {
        let name = Outcome::Unfinished.name();
        Self { code: None, name, outcome: name, class: None, advice: UNFINISHED }
    }

    fn code(&self) -> String {
        self.code.map_or_else(|| "-".to_owned(), win32_error::number)
    }
}

impl Errors {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let rows: Vec<Row> = match self.error.as_deref() {
            None => TABLE.iter().map(Row::from).collect(),
            Some("unfinished") => vec![Row::unfinished()],
            Some(wanted) => match find(wanted) {
                found if found.is_empty() => return Err(absent(wanted).into()),
                found => found.into_iter().map(Row::from).collect(),
            },
        };
        if self.json {
            write_json(out, &rows)?;
        } else {
            write_table(out, &rows)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes rows in columns. Each column is as wide as its widest cell.
fn write_table(out: &mut dyn Write, rows: &[Row]) -> std::io::Result<()> {
    let heading = ["CODE", "NAME", "CLASS", "WHAT TO DO"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let class = row.class.unwrap_or(row.outcome);
        [row.code(), row.name.into(), class.into(), row.advice.into()]
    });
    let lines: Vec<[String; 4]> = std::iter::once(heading).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for [code, name, class, advice] in &lines {
        let [code_width, name_width, class_width] = widths;
        writeln!(out, "{code:>code_width$}  {name:<name_width$}  {class:<class_width$}  {advice}")?;
    }
    Ok(())
}

/// The rows that `wanted` names: a code, a class, or a name with or without its header's prefix.
///
/// A name without its prefix may belong to two codes: a Win32 code and an `NTSTATUS`.
fn find(wanted: &str) -> Vec<&'static Win32Error> {
    let matching = |of: &dyn Fn(&Win32Error) -> bool| TABLE.iter().filter(|row| of(row)).collect();
    if let Some(code) = code(wanted) {
        return matching(&|row| row.code == code);
    }
    let by_name: Vec<_> = matching(&|row| row.name.eq_ignore_ascii_case(wanted));
    if !by_name.is_empty() {
        return by_name;
    }
    // Classes come before names without prefix: `not_found` is a class, and ERROR_NOT_FOUND is one
    // of its rows.
    let by_class: Vec<_> =
        matching(&|row| matches!(row.meaning, Meaning::Failure(class) if class.name() == wanted));
    if !by_class.is_empty() {
        return by_class;
    }
    let wanted = bare(wanted);
    matching(&|row| bare(row.name) == wanted)
}

/// The code that `wanted` contains: in decimal, signed (as an `NTSTATUS` may be printed), in
/// hexadecimal, or `WIN32_` and decimal.
fn code(wanted: &str) -> Option<u32> {
    let lower = wanted.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).ok();
    }
    let digits = lower.strip_prefix("win32_").unwrap_or(&lower);
    digits.parse().or_else(|_| digits.parse().map(i32::cast_unsigned)).ok()
}

/// A name in lower case, without its header's prefix.
fn bare(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let prefixes = ["error_", "status_", "nerr_", "rpc_s_"];
    let prefix = prefixes.iter().find_map(|prefix| lower.strip_prefix(prefix));
    prefix.map_or_else(|| lower.clone(), str::to_owned)
}

/// The answer if no row fits.
fn absent(wanted: &str) -> String {
    match code(wanted) {
        Some(0) => "0 is success: there is nothing to do about it".to_owned(),
        Some(code) => format!(
            "{wanted} has no row in the table, which `mpr-otel errors` lists; spans name it {} and \
             give it the class `other`. {}",
            win32_error::name(code),
            win32_error::advice(code)
        ),
        None => match nearest(wanted) {
            Some(name) => format!("{wanted} is not in the table: did you mean {name}?"),
            None => format!(
                "{wanted} is not in the table, which `mpr-otel errors` lists; `net helpmsg <code>` \
                 on Windows prints what other codes mean"
            ),
        },
    }
}

/// The name that `wanted` was probably meant to be. At most one letter in three may be wrong.
fn nearest(wanted: &str) -> Option<&'static str> {
    let wanted = bare(wanted);
    TABLE
        .iter()
        .map(|row| (strsim::osa_distance(&bare(row.name), &wanted), row.name))
        .min()
        .filter(|(distance, _)| distance * 3 <= wanted.len())
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpr_otel_core::win32_error::Class;

    /// The codes of the rows that are found.
    fn codes(wanted: &str) -> Vec<u32> {
        find(wanted).iter().map(|row| row.code).collect()
    }

    #[test]
    fn every_row_is_found_by_every_form_of_its_code_and_name() {
        for row in TABLE {
            let (code, name) = (row.code, row.name);
            for wanted in [
                code.to_string(),
                format!("0x{code:x}"),
                format!("0x{code:08X}"),
                format!("WIN32_{code}"),
                code.cast_signed().to_string(),
                win32_error::number(code),
                name.to_owned(),
                name.to_ascii_lowercase(),
            ] {
                assert_eq!(codes(&wanted), [code], "{wanted}");
            }
            let bare = bare(name);
            assert!(codes(&bare).contains(&code), "{bare}");
            assert!(codes(&bare.to_ascii_uppercase()).contains(&code), "{bare}");
            assert!(bare.len() < name.len(), "{name} has a prefix that nobody takes off");
        }
    }

    #[test]
    fn every_class_lists_its_rows_and_every_row_of_a_failure_is_in_one() {
        let rows = Class::ALL.iter().flat_map(|class| codes(class.name()));
        let failures = TABLE.iter().filter(|row| matches!(row.meaning, Meaning::Failure(_)));
        assert_eq!(rows.count(), failures.count());
    }

    #[test]
    fn a_name_that_two_headers_have_gives_both_rows() {
        assert_eq!(codes("smb_guest_logon_blocked"), [1272, 0xC05D_0002]);
        assert_eq!(codes("ERROR_SMB_NO_SIGNING_ALGORITHM_OVERLAP"), [0xC05D_0003]);
    }

    #[test]
    fn a_code_or_name_without_a_row_is_not_found() {
        for wanted in ["", "0", "nonsense", "12345", "99999999999", "0xZZ", "error_", "-53"] {
            assert!(codes(wanted).is_empty(), "{wanted}");
        }
    }

    #[test]
    fn an_unknown_code_says_how_spans_name_it_and_where_to_look_it_up() {
        for wanted in ["12345", "0x3039", "WIN32_12345"] {
            let answer = absent(wanted);
            for part in [wanted, "no row", "WIN32_12345", "`other`", "`net helpmsg 12345`"] {
                assert!(answer.contains(part), "{part} is not in {answer}");
            }
        }
        let status = absent("3221225676");
        assert!(status.contains("0xC00000CC") && !status.contains("net helpmsg"), "{status}");
        assert!(absent("0").contains("success"));
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        for (wanted, name) in [
            ("ERROR_BAD_NETPTAH", "ERROR_BAD_NETPATH"),
            ("bad_net_path", "ERROR_BAD_NETPATH"),
            ("logon_failed", "ERROR_LOGON_FAILURE"),
            ("STATUS_SMB_NO_SIGNING_ALGORITM_OVERLAP", "STATUS_SMB_NO_SIGNING_ALGORITHM_OVERLAP"),
        ] {
            assert_eq!(nearest(wanted), Some(name));
            assert!(absent(wanted).ends_with(&format!("did you mean {name}?")));
        }
        for wanted in ["", "nonsense", "no-such-error", "x"] {
            assert_eq!(nearest(wanted), None, "{wanted}");
        }
    }

    #[test]
    fn columns_line_up_however_long_names_and_codes_are() {
        let mut out = Vec::new();
        let rows: Vec<Row> = TABLE.iter().map(Row::from).collect();
        write_table(&mut out, &rows).expect("a vector takes all");
        let text = String::from_utf8(out).expect("ASCII");
        let mut lines = text.lines();
        let heading = lines.next().expect("a heading");
        let at = |column| heading.find(column).expect("a column");
        for (line, row) in lines.zip(&rows) {
            assert_eq!(line[..at("NAME")].trim(), row.code());
            assert_eq!(line[at("NAME")..at("CLASS")].trim(), row.name);
            assert_eq!(&line[at("WHAT TO DO")..], row.advice);
        }
    }
}
