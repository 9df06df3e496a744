//! THIRD-PARTY-NOTICES.txt: the crates that are linked into what ships, with their licences.

use crate::cargo::cargo;
use crate::windows::Target;
use crate::{Result, folder};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The packages whose libraries and programs ship.
const SHIPPED: [&str; 4] = ["mpr-otel-dll", "mpr-otel", "mpr-otel-lab", "mpr-otel-msi-action"];

/// The project's own packages begin with this.
const OWN: &str = "mpr-otel";

/// How the names of files with a licence or a notice begin, in capitals.
const BEGINNINGS: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// The licence whose text is the same for every package, and the file of the repository that has
/// the text. Other licences name their holders, so only the package's own file can be used.
const STANDARD: (&str, &str) = ("Apache-2.0", "LICENSE-APACHE");

/// The text above the list of crates.
const HEAD: &str = "\
Third-party notices of mpr-otel

mpr-otel.exe, mpr-otel-lab.exe, both mpr_otel.dll and the MSI's actions contain code of the crates below,
or code that they generated. Each has its licence, where it comes from, and the texts that its package brings.
A text that several packages bring stands here once.

The folder third-party has the notices of Rust's standard library and of mingw-w64's runtime, which
are linked as well. So is GCC's libgcc, under the GCC Runtime Library Exception.

";

/// A crate, as `cargo metadata` describes it.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
}

/// A licence or a notice of a package.
struct Text {
    file: String,
    body: String,
    /// Whether the text is the repository's copy, because the package has none.
    is_standard: bool,
}

impl Package {
    fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    fn license(&self) -> Result<&str> {
        let license = self.license.as_deref();
        Ok(license.ok_or_else(|| format!("{} does not name its licence", self.title()))?)
    }

    /// At least one text, ordered by the files' names.
    fn texts(&self) -> Result<Vec<Text>> {
        let mut texts = Vec::new();
        let folder = self.manifest_path.parent().unwrap_or(&self.manifest_path);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let name = file.to_uppercase();
            if entry.file_type()?.is_file() && BEGINNINGS.iter().any(|word| name.starts_with(word))
            {
                let body = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
                texts.push(Text { file, body, is_standard: false });
            }
        }
        if texts.is_empty() {
            let (license, file) = STANDARD;
            if !allows(self.license()?, license) {
                return Err(format!(
                    "{} has no licence file, and {} has no standard text",
                    self.title(),
                    self.license()?
                )
                .into());
            }
            let body = fs::read_to_string(folder::root().join(file))?;
            texts.push(Text { file: file.to_owned(), body, is_standard: true });
        }
        texts.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(texts)
    }
}

/// Whether `expression` is `license`, or lets the user choose it.
fn allows(expression: &str, license: &str) -> bool {
    // Old crates write a slash.
    expression.replace('/', " OR ").split(" OR ").any(|choice| choice.trim() == license)
}

/// The text of the file for what is built for `targets`.
pub fn text(targets: &[Target]) -> Result<String> {
    render(&linked(targets)?)
}

/// The crates of [`SHIPPED`], by their names.
fn linked(targets: &[Target]) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let mut titles = BTreeSet::new();
    let mut metadata = cargo(&["metadata", "--format-version", "1", "--locked"]);
    for target in targets {
        titles.append(&mut tree(&SHIPPED, *target)?);
        metadata.args(["--filter-platform", target.triple()]);
    }
    let Metadata { mut packages } = serde_json::from_str(&output(&mut metadata)?)?;
    packages.retain(|package| titles.contains(&package.title()));
    packages.sort_by_key(Package::title);
    Ok(packages)
}

/// Names and versions of the crates that are linked into `packages`, without the project's own.
///
/// `cargo metadata` has such a graph, too, but it includes the features that benches and tests
/// need, so it would name crates that do not ship.
pub fn tree(packages: &[&str], target: Target) -> Result<BTreeSet<String>> {
    let mut tree = cargo(&["tree", "--locked", "--edges", "normal", "--prefix", "none"]);
    tree.args(["--format", "{p}", "--target", target.triple()]);
    for package in packages {
        tree.args(["--package", package]);
    }
    let text = output(&mut tree)?;
    // The line is `name v1.2.3`, and then the kind of crate, or its place.
    let title = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(OWN));
    lines.map(|line| title(line).ok_or_else(|| format!("no crate: `{line}`").into())).collect()
}

/// The output of a command, which must succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.current_dir(folder::root()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn render(packages: &[Package]) -> Result<String> {
    let mut notices = HEAD.to_owned();
    // The texts so far, each with its words, because packages break lines differently.
    let mut texts: Vec<(String, Text)> = Vec::new();
    for package in packages {
        writeln!(notices, "{}", package.title())?;
        writeln!(notices, "  licence: {}", package.license()?)?;
        let repository = package.repository.as_deref().unwrap_or("not named");
        writeln!(notices, "  repository: {repository}")?;
        for text in package.texts()? {
            let words = text.body.split_whitespace().collect::<Vec<_>>().join(" ");
            let known = texts.iter().position(|(known, _)| *known == words);
            let number = known.unwrap_or(texts.len()) + 1;
            if text.is_standard {
                let (license, _) = STANDARD;
                writeln!(notices, "  no licence file; {license}: text {number}")?;
            } else {
                writeln!(notices, "  {}: text {number}", text.file)?;
            }
            if known.is_none() {
                texts.push((words, text));
            }
        }
        writeln!(notices)?;
    }
    for (index, (_, text)) in texts.iter().enumerate() {
        writeln!(notices, "---- text {} ----\n\n{}\n", index + 1, text.body.trim_end())?;
    }
    Ok(notices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::{Abi, Architecture};

    /// The titles in `titles` without an entry in `notices`.
    fn left_out(notices: &str, titles: &BTreeSet<String>) -> Vec<String> {
        let lines: BTreeSet<&str> = notices.lines().collect();
        titles.iter().filter(|title| !lines.contains(title.as_str())).cloned().collect()
    }

    /// What each shipped package links, asked one by one.
    /// What `cargo xtask dist` builds for.
    const TARGETS: [Target; 2] = [
        Target { architecture: Architecture::X64, abi: Abi::Gnu },
        Target { architecture: Architecture::X86, abi: Abi::Gnu },
    ];

    fn titles() -> Result<BTreeSet<String>> {
        let mut titles = BTreeSet::new();
        for package in SHIPPED {
            for target in TARGETS {
                titles.append(&mut tree(&[package], target)?);
            }
        }
        Ok(titles)
    }

    /// A package without a licence file.
    fn without_file(license: Option<&str>) -> Package {
        Package {
            name: "bare".to_owned(),
            version: "1.2.3".to_owned(),
            license: license.map(str::to_owned),
            repository: None,
            manifest_path: folder::root().join("xtask").join("Cargo.toml"),
        }
    }

    #[test]
    fn every_crate_that_is_linked_is_in_the_notices() -> Result<()> {
        let titles = titles()?;
        assert!(!titles.is_empty());
        assert_eq!(left_out(&text(&TARGETS)?, &titles), [""; 0]);
        Ok(())
    }

    #[test]
    fn a_crate_that_the_notices_leave_out_is_found() -> Result<()> {
        let mut packages = linked(&TARGETS)?;
        let gone = packages.remove(packages.len() / 2).title();
        assert_eq!(left_out(&render(&packages)?, &titles()?), [gone]);
        Ok(())
    }

    #[test]
    fn the_files_that_ship_contain_no_asynchronous_runtime_and_no_tls_library() -> Result<()> {
        let titles = titles()?;
        let names: Vec<&str> = titles.iter().filter_map(|title| title.split(' ').next()).collect();
        for unwanted in ["tokio", "hyper", "reqwest", "openssl-sys", "ring", "rustls"] {
            assert!(!names.contains(&unwanted), "{unwanted} is linked into what ships");
        }
        Ok(())
    }

    #[test]
    fn a_crate_without_a_licence_or_its_text_is_an_error_that_names_it() -> Result<()> {
        for license in [None, Some("MIT"), Some("Apache-2.0 AND MIT")] {
            let failure = render(&[without_file(license)]).unwrap_err().to_string();
            assert!(failure.contains("bare 1.2.3"), "{failure}");
        }
        Ok(())
    }

    #[test]
    fn the_standard_text_stands_in_for_a_missing_licence_file() -> Result<()> {
        for license in ["Apache-2.0", "MIT OR Apache-2.0", "MIT/Apache-2.0"] {
            let notices = render(&[without_file(Some(license))])?;
            assert!(notices.contains("  no licence file; Apache-2.0: text 1\n"), "{notices}");
            assert!(notices.contains("Version 2.0, January 2004"), "{notices}");
        }
        Ok(())
    }
}
