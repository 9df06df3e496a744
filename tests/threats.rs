//! Checks docs/THREATS.md: each test that the page names exists in the file that it names, and each
//! experiment is in docs/WINDOWS.md.

use mpr_otel_lab::equipment::repository;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// If the page names fewer tests, the code that reads it is broken.
const FEWEST: usize = 15;

fn page(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(name)).unwrap()
}

/// The cells of the page's tables.
fn cells(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|'))
}

/// The file and the test of each `file`: `test` in a cell. It is an error if a file is named
/// without a test.
fn named(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts: Vec<&str> = cell.split('`').collect();
    let files = (1..parts.len()).step_by(2).filter(|index| parts[*index].ends_with(".rs"));
    let pairs: Vec<_> = files
        .map(|index| {
            assert_eq!(parts.get(index + 1), Some(&": "), "no test of {} in{cell}", parts[index]);
            (parts[index], parts[index + 2])
        })
        .collect();
    pairs.into_iter()
}

/// The names of the tests in a file.
fn tests(file: &Path) -> BTreeSet<String> {
    let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let after_mark = source.split("#[test]\n").skip(1);
    // Other attributes and comments may stand between the two.
    let name = |text: &str| {
        let function =
            text.lines().map(str::trim_start).find(|line| !line.starts_with(['#', '/']))?;
        function.strip_prefix("fn ")?.split('(').next().map(str::to_owned)
    };
    after_mark.filter_map(name).collect()
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = page("THREATS.md");
    let named: Vec<_> = cells(&page).flat_map(named).collect();
    assert!(named.len() >= FEWEST, "the page names {} tests", named.len());
    let missing: Vec<_> = named
        .into_iter()
        .filter(|(file, test)| !tests(&repository().join(file)).contains(*test))
        .collect();
    assert!(missing.is_empty(), "not there: {missing:#?}");
}

#[test]
fn every_experiment_that_the_page_names_is_described() {
    let (page, windows) = (page("THREATS.md"), page("WINDOWS.md"));
    let is_experiment =
        |word: &&str| word.strip_prefix('E').is_some_and(|number| number.parse::<u8>().is_ok());
    let words = page.split(|letter: char| !letter.is_alphanumeric());
    let named: BTreeSet<&str> = words.filter(is_experiment).collect();
    assert!(!named.is_empty(), "the page names no experiment");
    let described: BTreeSet<&str> =
        windows.lines().filter_map(|line| line.strip_prefix("### ")?.split(':').next()).collect();
    let missing: Vec<_> = named.difference(&described).collect();
    assert!(missing.is_empty(), "not in WINDOWS.md: {missing:?}");
}
