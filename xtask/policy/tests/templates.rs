//! The templates hold together, and say what the settings take.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use mpr_otel_policy::{files, settings};
use roxmltree::{Document, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Both files, as text.
fn texts() -> [String; 2] {
    files().map(|(_, text)| text)
}

fn all<'a>(document: &'a Document<'_>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.has_tag_name((NAMESPACE, tag)))
}

const NAMESPACE: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";

/// `$(string.X)` as X.
fn reference<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    text.strip_prefix(&format!("$({kind}."))?.strip_suffix(')')
}

/// Every reference of a kind in the definitions.
fn references(document: &Document<'_>, kind: &str) -> BTreeSet<String> {
    let attributes = document.descendants().flat_map(|node| node.attributes());
    attributes.filter_map(|it| reference(it.value(), kind)).map(str::to_owned).collect()
}

fn ids(document: &Document<'_>, tag: &str) -> BTreeSet<String> {
    let all: Vec<_> =
        all(document, tag).map(|node| node.attribute("id").unwrap().to_owned()).collect();
    let unique: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(unique.len(), all.len(), "two <{tag}> have one id");
    unique
}

#[test]
fn what_is_checked_in_is_what_the_table_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in files() {
        let there = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(there == text, "{} is not current: `cargo xtask policy`", path.display());
    }
}

#[test]
fn every_string_and_presentation_is_there_and_used() {
    let [definitions, resources] = texts();
    let definitions = Document::parse(&definitions).unwrap();
    let resources = Document::parse(&resources).unwrap();
    assert_eq!(references(&definitions, "string"), ids(&resources, "string"));
    assert_eq!(references(&definitions, "presentation"), ids(&resources, "presentation"));
    let broken = references(&definitions, "string").into_iter().any(|id| id.is_empty());
    assert!(!broken && all(&resources, "string").all(|node| !node.text().unwrap().is_empty()));
}

#[test]
fn every_element_has_its_control_and_every_control_its_element() {
    let [definitions, resources] = texts();
    let definitions = Document::parse(&definitions).unwrap();
    let resources = Document::parse(&resources).unwrap();
    let controls: BTreeMap<String, (String, String)> = all(&resources, "presentation")
        .map(|presentation| {
            let control = presentation.children().find(|node| node.has_attribute("refId")).unwrap();
            let id = presentation.attribute("id").unwrap().to_owned();
            let refers = control.attribute("refId").unwrap().to_owned();
            (id, (control.tag_name().name().to_owned(), refers))
        })
        .collect();
    let mut seen = 0;
    for policy in all(&definitions, "policy") {
        let Some(elements) =
            policy.children().find(|node| node.has_tag_name((NAMESPACE, "elements")))
        else {
            assert!(policy.has_attribute("valueName"), "{policy:?}");
            continue;
        };
        let elements: Vec<_> = elements.children().filter(Node::is_element).collect();
        let [element] = elements[..] else { panic!("{policy:?} has {} elements", elements.len()) };
        let presentation = reference(policy.attribute("presentation").unwrap(), "presentation");
        let (control, refers) = &controls[presentation.unwrap()];
        assert_eq!(refers, element.attribute("id").unwrap());
        let expected = match element.tag_name().name() {
            "decimal" => "decimalTextBox",
            "enum" => "dropdownList",
            "multiText" => "multiTextBox",
            "text" => "textBox",
            other => panic!("no control is known for {other}"),
        };
        assert_eq!(control, expected, "{refers}");
        seen += 1;
    }
    assert_eq!(seen, controls.len());
}

#[test]
fn every_policy_is_in_the_products_own_category_and_supported_by_its_own_definition() {
    let [definitions, _] = texts();
    let document = Document::parse(&definitions).unwrap();
    let root: Vec<_> = document.root_element().children().filter(Node::is_element).collect();
    let order: Vec<_> = root.iter().map(|node| node.tag_name().name()).collect();
    let schema = ["policyNamespaces", "resources", "supportedOn", "categories", "policies"];
    assert_eq!(order, schema);
    // Another namespace would have to be imported into Intune first.
    assert_eq!(all(&document, "using").count(), 0);
    let names = |tag| -> BTreeSet<&str> {
        all(&document, tag).map(|node| node.attribute("name").unwrap()).collect()
    };
    for policy in all(&document, "policy") {
        let children: Vec<_> = policy.children().filter(Node::is_element).collect();
        let order: Vec<_> = children.iter().map(|node| node.tag_name().name()).collect();
        let valued = matches!(order[2..], ["enabledValue", "disabledValue"] | ["elements"]);
        assert!(order[..2] == ["parentCategory", "supportedOn"] && valued, "{order:?}");
        assert!(names("category").contains(children[0].attribute("ref").unwrap()));
        assert!(names("definition").contains(children[1].attribute("ref").unwrap()));
        assert_eq!(policy.attribute("class"), Some("Machine"));
        assert_eq!(policy.attribute("key"), Some(r"SOFTWARE\Policies\mpr-otel"));
    }
}

#[test]
fn names_are_what_windows_takes_and_texts_have_a_greatest_length() {
    let [definitions, resources] = texts();
    for text in [&definitions, &resources] {
        let document = Document::parse(text).unwrap();
        for node in document.descendants() {
            for name in ["id", "name", "ref", "refId", "prefix"] {
                let value = node.attribute(name).unwrap_or("x");
                let plain = value.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
                assert!(plain && !value.is_empty(), "{name}=\"{value}\"");
            }
            let tag = node.tag_name().name();
            // Intune does not take it.
            assert_ne!(tag, "comboBox");
            if matches!(tag, "text" | "multiText") && node.has_attribute("id") {
                let length: u32 = node.attribute("maxLength").unwrap().parse().unwrap();
                assert!((1..=1023).contains(&length), "{node:?}");
            }
        }
    }
    // Intune takes a megabyte.
    assert!(definitions.len().max(resources.len()) < 1_000_000);
}

#[test]
fn each_setting_of_windows_but_secrets_has_one_policy() {
    let [definitions, resources] = texts();
    let document = Document::parse(&definitions).unwrap();
    let policies: Vec<_> =
        all(&document, "policy").map(|node| node.attribute("name").unwrap()).collect();
    let names: Vec<_> = settings().map(|row| row.name.registry).collect();
    assert_eq!(policies, names);
    let secrets = mpr_otel_core::settings::ALL.iter().filter(|row| row.secret);
    let mut count = 0;
    for secret in secrets {
        let quoted = format!("\"{}", secret.name.registry);
        assert!(![&definitions, &resources].iter().any(|text| text.contains(&quoted)), "{quoted}");
        count += 1;
    }
    assert!(count > 0, "there is no secret to leave out");
    // Nor has what Windows has no use for; and what it alone has use for has one.
    assert!(!names.contains(&"CaCertificate"));
    assert!(names.contains(&"ClientCertificate") && names.contains(&"Proxy"));
}
