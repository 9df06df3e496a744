//! Makes dashboards, rules and their lists in docs/ from the tables in dashboards/source.

use crate::{Result, folder};
use mpr_otel_dashboards::docs;
use mpr_otel_dashboards::source::Source;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes what is made from the tables: into the repository, or with other parameters into another
/// folder.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let root = folder::root();
    let mut source = Source::read(&root)?;
    let mut to = None;
    let mut set = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        match *word {
            "--to" => to = Some(PathBuf::from(value)),
            "--set" => {
                let (name, value) = value.split_once('=').ok_or("--set wants <name>=<value>")?;
                source.set(name, value)?;
                set = true;
            }
            _ => return Err(format!("unknown: {word}; --set and --to are known").into()),
        }
    }
    if set && to.is_none() {
        return Err(
            "the files in the repository have the values of parameters.yaml; with --set, name another folder with --to <folder>"
                .into(),
        );
    }
    let mut files = mpr_otel_dashboards::dashboards(&source)?;
    if to.is_none() {
        files.extend(docs::files(&source, &root)?);
    }
    let to = to.unwrap_or(root);
    for (path, text) in files {
        let path = to.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
