//! docs/JSON.md against what a command really prints.

use serde_json::Value;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/JSON.md");

/// Fields by their paths, such as `operations[].pid`.
#[derive(Debug, Default)]
struct Fields {
    /// Those with a value.
    filled: BTreeSet<String>,
    /// Those that are `null`, and the items of empty arrays and objects.
    empty: BTreeSet<String>,
}

impl Fields {
    fn add(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let below =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.add(&below, value);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    self.add(&format!("{path}[]"), item);
                }
            }
            Value::Array(_) => {
                self.empty.insert(format!("{path}[]"));
            }
            Value::Null | Value::Object(_) => {
                self.empty.insert(path.to_owned());
            }
            _ => {
                self.filled.insert(path.to_owned());
            }
        }
    }
}

/// The fields and the words of the first column of all tables under a heading of the page.
fn first_column(heading: &str) -> BTreeSet<String> {
    let section = PAGE.split_once(&format!("\n## {heading}\n")).expect(heading).1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// The fields that the page gives a command, or a heading.
pub fn documented(heading: &str) -> BTreeSet<String> {
    let mut fields = first_column(heading);
    for problem in problems() {
        fields.remove(&problem);
    }
    fields
}

/// The names of problems that the page gives `status`.
pub fn problems() -> BTreeSet<String> {
    let table = PAGE.split_once("\n| problem | when |\n").unwrap().1;
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// Compares what a command printed, once or several times, with its section of the page. Returns
/// what never had a value, and so could not be compared.
pub fn compare(heading: &str, printed: &[Value]) -> BTreeSet<String> {
    let documented = documented(heading);
    let mut fields = Fields::default();
    for value in printed {
        fields.add("", value);
    }
    let is_within = |path: &str, outer: &str| {
        path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let known = |path: &String| documented.iter().any(|field| is_within(field, path));
    let unknown: Vec<_> = fields
        .filled
        .iter()
        .filter(|path| !documented.contains(*path))
        .chain(fields.empty.iter().filter(|path| !known(path)))
        .collect();
    assert!(unknown.is_empty(), "{heading} prints what docs/JSON.md does not say: {unknown:?}");

    let mut never = BTreeSet::new();
    for field in documented.difference(&fields.filled) {
        // `null` for an object that other values below it show does not count as its absence.
        let outer = fields.empty.iter().find(|outer| is_within(field, outer));
        let container = fields.filled.iter().any(|path| path.starts_with(&format!("{field}.")));
        match outer {
            Some(outer) => _ = never.insert(outer.clone()),
            None if container => {}
            None => panic!("docs/JSON.md gives {heading} `{field}`, which it does not print"),
        }
    }
    never
}
