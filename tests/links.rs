//! The links, anchors and file names in the project's pages lead to what they name.

use mpr_otel_lab::equipment::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// If there are fewer links, the code that reads them is broken.
const FEWEST: usize = 60;

/// Folders that are not searched for pages. tests/data has a page of earlier versions, too.
const LEFT_OUT: [&str; 4] = ["target", "corpus", "third-party", "data"];

/// A page without its code, by its path in the repository.
type Pages = BTreeMap<PathBuf, Page>;

struct Page {
    /// The text outside of blocks of code, with a number for each line.
    lines: Vec<(usize, String)>,
    /// The anchors of its headings, as GitHub makes them.
    anchors: BTreeSet<String>,
}

/// A link to a file of the repository, or into a page.
struct Link {
    page: PathBuf,
    line: usize,
    target: String,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (mut lines, mut is_fenced) = (Vec::new(), false);
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_fenced = !is_fenced;
            } else if !is_fenced {
                lines.push((index + 1, line.to_owned()));
            }
        }
        let mut anchors = BTreeSet::new();
        for (_, line) in &lines {
            let title = line.trim_start_matches('#');
            if title.len() < line.len() && title.starts_with(' ') {
                let anchor = anchor(title.trim());
                let again = (1..).map(|count| format!("{anchor}-{count}"));
                let free = [anchor.clone()].into_iter().chain(again);
                anchors.extend(free.into_iter().find(|anchor| !anchors.contains(anchor)));
            }
        }
        Self { lines, anchors }
    }

    /// The targets of its links, with the line of each.
    fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in &self.lines {
            // `[text](target)`, outside of code in backticks.
            let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            for rest in plain.split("](").skip(1) {
                // A target may contain brackets in pairs.
                let mut depth = 0_i32;
                let end = rest.find(|letter| {
                    depth += i32::from(letter == '(') - i32::from(letter == ')');
                    depth < 0
                });
                links.push((*number, rest[..end.expect("a link ends on its line")].to_owned()));
            }
        }
        links
    }
}

/// The anchor of a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// All pages of the repository.
fn pages() -> Pages {
    let root = repository();
    let (mut pages, mut folders) = (Pages::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !LEFT_OUT.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                pages.insert(path.strip_prefix(&root).unwrap().into(), Page::read(&path));
            }
        }
    }
    pages
}

/// The links of all pages, except links to other sites.
fn links(pages: &Pages) -> Vec<Link> {
    let links = pages.iter().flat_map(|(path, page)| {
        page.links().into_iter().map(|(line, target)| Link { page: path.clone(), line, target })
    });
    links.filter(|link| !link.target.contains("://")).collect()
}

impl Link {
    /// The path in the repository and the anchor that the link names.
    fn destination(&self) -> (PathBuf, Option<&str>) {
        let (path, anchor) = match self.target.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor)),
            None => (self.target.as_str(), None),
        };
        if path.is_empty() {
            return (self.page.clone(), anchor);
        }
        let mut destination = self.page.parent().unwrap().to_owned();
        for part in Path::new(path).components() {
            match part {
                Component::ParentDir => assert!(destination.pop(), "{self} leaves the repository"),
                part => destination.push(part),
            }
        }
        (destination, anchor)
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}: {}", self.page.display(), self.line, self.target)
    }
}

#[test]
fn each_link_leads_to_a_file_and_to_a_heading_in_it() {
    let pages = pages();
    let links = links(&pages);
    assert!(links.len() >= FEWEST, "{} links", links.len());
    let dead: Vec<String> = links
        .iter()
        .filter(|link| {
            let (path, anchor) = link.destination();
            let has = |anchor| pages.get(&path).is_some_and(|page| page.anchors.contains(anchor));
            !repository().join(&path).exists() || !anchor.is_none_or(has)
        })
        .map(Link::to_string)
        .collect();
    assert!(dead.is_empty(), "lead nowhere: {dead:#?}");
}

/// The files that `cargo xtask dist` copies into the zip, as its source lists them.
fn shipped() -> Vec<PathBuf> {
    let source = fs::read_to_string(repository().join("xtask/src/dist.rs")).unwrap();
    let list = source.split_once("const PAPERS").expect("dist has a list of papers").1;
    let list = list.split_once("];").unwrap().0;
    list.split('"').skip(1).step_by(2).map(PathBuf::from).collect()
}

#[test]
fn each_link_of_a_page_in_the_zip_leads_to_a_file_in_the_zip() {
    let shipped = shipped();
    let is_there = |path: &Path| shipped.iter().any(|paper| path.starts_with(paper));
    let pages = pages();
    let dead: Vec<String> = links(&pages)
        .iter()
        .filter(|link| is_there(&link.page) && !is_there(&link.destination().0))
        .map(Link::to_string)
        .collect();
    assert!(dead.is_empty(), "lead nowhere in the zip: {dead:#?}");
}

#[test]
fn each_source_file_that_a_page_names_is_there() {
    const FOLDERS: [&str; 8] = [
        "src/",
        "tests/",
        "docs/",
        "xtask/",
        "dashboards/",
        "collector-config/",
        "deploy/",
        "benches/",
    ];
    let named: Vec<(String, String)> = pages()
        .iter()
        .flat_map(|(path, page)| page.lines.iter().map(move |(number, line)| (path, number, line)))
        .flat_map(|(path, number, line)| {
            let end = |letter: char| !letter.is_alphanumeric() && !"/._-*".contains(letter);
            let words = line.split(end).map(|word| word.trim_end_matches('.'));
            let files = words.filter(|word| {
                FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains('*')
            });
            let at = format!("{}:{number}", path.display());
            files.map(move |file| (at.clone(), file.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert!(named.len() >= FEWEST, "{} files", named.len());
    let missing: Vec<_> =
        named.into_iter().filter(|(_, file)| !repository().join(file).exists()).collect();
    assert!(missing.is_empty(), "not there: {missing:#?}");
}
