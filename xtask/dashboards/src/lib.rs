//! Makes the dashboards, the recording rules, the alerts and their lists in docs/ from one table of
//! signals: the YAML files in dashboards/source. What is made is checked in.
//!
//! Data flows one way: [`source`] is read, [`promql`] makes queries of it, and [`grafana`], [`rules`]
//! and [`docs`] make files of both.

pub mod docs;
pub mod grafana;
pub mod promql;
pub mod rules;
pub mod source;

use source::Source;
use std::fmt;
use std::path::PathBuf;

/// What is wrong with the tables, and where.
#[derive(Debug)]
pub struct Error {
    /// The file, or the signal, rule or part in it.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

/// The outcome of reading or making something.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self { place: place.into(), why: why.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dashboards/source, {}: {}", self.place, self.why)
    }
}

impl std::error::Error for Error {}

/// A file that is made: its path below the repository, and all of its text.
pub type File = (PathBuf, String);

/// Every dashboard and rule file, below `dashboards/`.
///
/// # Errors
/// What of the tables contradicts itself.
pub fn dashboards(source: &Source) -> Result<Vec<File>> {
    let mut files = vec![(PathBuf::from("dashboards/rules/mpr-otel.yaml"), rules::file(source)?)];
    for board in &source.boards {
        let name = board.uid.trim_start_matches("mpr-otel-");
        let mut text = format!("{:#}", grafana::dashboard(source, board)?);
        text.push('\n');
        files.push((PathBuf::from(format!("dashboards/{name}.json")), text));
    }
    Ok(files)
}
