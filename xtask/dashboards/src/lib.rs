//! Makes the dashboards, the recording rules, the alerts and their lists in docs/ from one table of
//! signals: the YAML files in dashboards/source. What is made is checked in.
//!
//! Data flows one way: [`source`] is read, [`promql`] makes queries of it, and [`grafana`], [`rules`]
//! and [`docs`] make files of both. Every error is a table that cannot be read, or names what there
//! is not.

pub mod docs;
pub mod grafana;
pub mod promql;
pub mod rules;
pub mod source;

use source::Source;
use std::path::PathBuf;

/// The outcome of reading or making something; what is wrong in which table.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A file that is made: its path below the repository, and all of its text.
pub type File = (PathBuf, String);

/// Every dashboard and rule file.
pub fn dashboards(source: &Source) -> Result<Vec<File>> {
    let mut files = vec![("dashboards/rules/mpr-otel.yaml".into(), rules::file(source)?)];
    for board in &source.boards {
        let name = board.uid.trim_start_matches("mpr-otel-");
        let text = format!("{:#}\n", grafana::dashboard(source, board)?);
        files.push((format!("dashboards/{name}.json").into(), text));
    }
    Ok(files)
}
