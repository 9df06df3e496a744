//! `cargo xtask words`: refuses words and forms over which a reader stumbles, and says what to
//! write instead.
//!
//! words/list.txt has the forms that may not occur. They are looked for in the prose of the
//! repository (prose.rs): in Markdown, in Rust's comments and messages, and in the names of tests,
//! which are sentences. Code is not prose: neither identifiers nor text between backticks are
//! searched.

mod list;
mod prose;

use crate::{Result, folder};
use list::List;
use prose::{Prose, Word};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The list, which is compiled into `cargo xtask words`.
const LIST: &str = include_str!("words/list.txt");

/// Folders without text that the project wrote for a reader, and the folder of this list.
const LEFT_OUT: [&str; 4] = ["target", "corpus", "third-party", "words"];

/// A form that may not occur, and its place.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    found: String,
    instead: String,
}

/// Searches the repository, or another folder.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let root = match arguments {
        [] => folder::root(),
        [path] => PathBuf::from(path),
        _ => {
            eprintln!("xtask: `words` wants one folder at most");
            return Ok(ExitCode::from(2));
        }
    };
    let list = List::parse(LIST)?;
    let (mut files, mut findings, mut with) = (0, 0, 0);
    for path in files_below(&root)? {
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let found = look(&list, &path, &text);
        files += 1;
        findings += found.len();
        with += usize::from(!found.is_empty());
        let name = path.strip_prefix(&root).unwrap_or(&path).display();
        for Finding { line, found, instead } in found {
            println!("{name}:{line}: `{found}`: {instead}");
        }
    }
    println!("words: read {files} files, {findings} findings in {with} of them");
    Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The forms that may not occur in one file, where they do.
fn look(list: &List, path: &Path, text: &str) -> Vec<Finding> {
    let prose = if path.extension().is_some_and(|ending| ending == "rs") {
        Prose::of_rust(text)
    } else {
        Prose::of_markdown(text)
    };
    let mut findings: Vec<Finding> = list
        .find(&prose.words)
        .chain(prose.names.iter().flat_map(|name| list.find_in_name(name)))
        .map(|(words, instead)| Finding {
            line: words.first().map_or(0, |word| word.line),
            found: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
            instead: instead.to_owned(),
        })
        .collect();
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// The files with prose below `root`, in order.
fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| format!("cannot read {}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && !LEFT_OUT.contains(&name.as_ref()) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") || name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
