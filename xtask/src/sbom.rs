//! The contents of a file that ships, as a bill of materials (CycloneDX 1.5, JSON).
//!
//! The data comes from `cargo tree`, as in THIRD-PARTY-NOTICES.txt. Tools that use `cargo metadata`
//! also list crates of features that only tests need. The text contains no time and no serial
//! number, so the same source gives the same text.

use crate::cargo::cargo;
use crate::notices::output;
use crate::windows::Target;
use crate::{Result, VERSION};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A file that ships.
pub struct Subject<'a> {
    /// Its name.
    pub file: &'a str,
    /// Its kind in CycloneDX: `library`, `application`.
    pub kind: &'a str,
    /// The package that it is built from.
    pub package: &'a str,
    /// The target that it is built for.
    pub target: Target,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

/// A package, as `cargo tree` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    repository: String,
}

/// Packages by their reference, each with the packages that it needs.
type Graph = BTreeMap<String, (Package, BTreeSet<String>)>;

impl Package {
    fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    fn component(&self) -> Value {
        let mut component = json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            // Old crates write a slash.
            "licenses": [{ "expression": self.licence.replace('/', " OR ") }],
        });
        // The project's own packages are not in a registry.
        if !self.name.starts_with("mpr-otel") {
            component["purl"] = format!("pkg:cargo/{}@{}", self.name, self.version).into();
        }
        if !self.repository.is_empty() {
            component["externalReferences"] = json!([{ "type": "vcs", "url": self.repository }]);
        }
        component
    }
}

/// The text of the file.
pub fn text(subject: &Subject<'_>) -> Result<String> {
    let mut tree = cargo(&["tree", "--locked", "--edges", "normal", "--prefix", "depth"]);
    tree.args(["--format", "|{p}|{l}|{r}|", "--target", subject.target.triple()]);
    let graph = graph(&output(tree.args(["--package", subject.package]))?)?;
    let root = format!("{}@{VERSION}", subject.package);
    if !graph.contains_key(&root) {
        return Err(format!("cargo tree does not begin with {root}").into());
    }
    let components = graph.iter().filter(|(reference, _)| **reference != root);
    let components: Vec<Value> = components.map(|(_, (package, _))| package.component()).collect();
    let dependencies = graph.iter().map(|(from, (_, to))| json!({ "ref": from, "dependsOn": to }));
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": subject.kind,
                "bom-ref": root,
                "name": subject.file,
                "version": VERSION,
                "hashes": [{ "alg": "SHA-256", "content": subject.sha256 }],
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            },
        },
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&bom)? + "\n")
}

/// Reads lines such as `2|crossbeam-utils v0.8.21|MIT OR Apache-2.0|https://...|`. `(*)` at the end
/// means that the package's needs were shown before.
fn graph(tree: &str) -> Result<Graph> {
    let mut graph = Graph::new();
    // The packages from the root to the one before.
    let mut path: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let package = package(line).ok_or_else(|| format!("no crate: `{line}`"))?;
        let (depth, package) = package;
        let reference = package.reference();
        path.truncate(depth);
        if let Some((_, needs)) = path.last().and_then(|parent| graph.get_mut(parent)) {
            needs.insert(reference.clone());
        }
        path.push(reference.clone());
        graph.entry(reference).or_insert((package, BTreeSet::new()));
    }
    Ok(graph)
}

fn package(line: &str) -> Option<(usize, Package)> {
    let [depth, title, licence, repository, _] =
        line.split('|').collect::<Vec<_>>().try_into().ok()?;
    // The line is `name v1.2.3`, and then the kind of crate, or its place.
    let (name, rest) = title.split_once(" v")?;
    let [name, version, licence, repository] =
        [name, rest.split(' ').next()?, licence, repository].map(str::to_owned);
    Some((depth.parse().ok()?, Package { name, version, licence, repository }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notices;
    use crate::windows::{Abi, Architecture};

    fn bom(package: &str) -> Value {
        let target = Target { architecture: Architecture::X64, abi: Abi::Gnu };
        let sha256 = "0".repeat(64);
        let subject = Subject { file: "f", kind: "library", package, target, sha256 };
        serde_json::from_str(&text(&subject).unwrap()).unwrap()
    }

    fn all<'a>(bom: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
        bom[list].as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
    }

    #[test]
    fn a_bill_has_the_crates_that_the_notices_have_and_no_others() {
        for package in ["mpr-otel-dll", "mpr-otel"] {
            let bom = bom(package);
            let target = Target { architecture: Architecture::X64, abi: Abi::Gnu };
            let expected = notices::tree(&[package], target).unwrap();
            let found: BTreeSet<String> = all(&bom, "components", "bom-ref")
                .into_iter()
                .filter(|reference| !reference.starts_with("mpr-otel"))
                .map(|reference| reference.replace('@', " "))
                .collect();
            assert!(!found.is_empty());
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_crate_is_needed_by_another_and_has_a_licence() {
        let bom = bom("mpr-otel");
        let root = bom["metadata"]["component"]["bom-ref"].as_str().unwrap();
        let mut known: BTreeSet<&str> = all(&bom, "components", "bom-ref").into_iter().collect();
        known.insert(root);
        let nodes = bom["dependencies"].as_array().unwrap();
        let needed = nodes.iter().flat_map(|node| node["dependsOn"].as_array().unwrap());
        let mut needed: BTreeSet<&str> = needed.map(|one| one.as_str().unwrap()).collect();
        needed.insert(root);
        assert_eq!(needed, known);
        for component in bom["components"].as_array().unwrap() {
            let licence = component["licenses"][0]["expression"].as_str().unwrap();
            assert!(!licence.is_empty() && !licence.contains('/'), "{component}");
        }
    }

    #[test]
    fn a_package_that_was_shown_before_does_not_lose_its_needs() {
        let tree = "0|a v1 (/here)|MIT||\n1|b v2|MIT|u|\n2|c v3|MIT||\n1|d v4 (proc-macro)|MIT||\n\
                    2|b v2|MIT|u| (*)\n1|c v3|MIT||\n";
        let graph = graph(tree).unwrap();
        let needs = |name: &str| graph[name].1.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(needs("a@1"), "b@2 c@3 d@4");
        assert_eq!([needs("b@2"), needs("c@3"), needs("d@4")], ["c@3", "", "b@2"]);
        assert!(super::graph("a v1").is_err());
    }
}
