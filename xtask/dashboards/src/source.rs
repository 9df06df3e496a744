//! The tables, as they are written in dashboards/source. What their fields mean is said there.

use crate::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Values by name.
pub type Names<T> = BTreeMap<String, T>;

/// All tables.
#[derive(Clone, Debug)]
pub struct Source {
    /// What differs from fleet to fleet.
    pub parameters: Names<String>,
    /// What is shown.
    pub signals: Signals,
    /// Where it is shown.
    pub boards: Vec<Board>,
    /// Recording rules and alerts.
    pub rules: Rules,
    /// How it looks: Grafana's JSON of what the other tables say nothing about.
    pub styles: Value,
}

/// Signals, and what their queries have in common: signals.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    pub parts: Names<String>,
    pub bounds: Vec<f64>,
    pub selections: Names<String>,
    pub columns: Names<String>,
    pub colours: Names<Names<String>>,
    pub variables: Names<Map<String, Value>>,
    pub signals: Names<Signal>,
}

/// Something that is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub title: String,
    pub shows: String,
    /// By Grafana's name; `short` by default.
    pub unit: Option<String>,
    pub decimals: Option<u8>,
    /// What stands there if there is nothing.
    pub empty: Option<String>,
    /// The least distance of two points.
    pub interval: Option<String>,
    /// The colour below every level; `text` by default.
    pub calm: Option<String>,
    /// Colours from numbers on, in order.
    #[serde(default)]
    pub levels: Vec<(String, Number)>,
    /// The column that rows are sorted by, largest first.
    pub sort: Option<String>,
    #[serde(default)]
    pub series: Vec<Series>,
    pub search: Option<Search>,
    /// A query of events (LogQL), and how its lines are called.
    pub events: Option<String>,
    pub legend: Option<String>,
    /// A link to a search.
    pub find: Option<Search>,
}

/// A number, or how many times a parameter it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Is(f64),
    Times(Names<f64>),
}

/// One query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    pub legend: Option<String>,
    pub name: Option<String>,
    pub unit: Option<String>,
    pub decimals: Option<u8>,
    pub count: Option<String>,
    pub share: Option<String>,
    pub seconds: Option<String>,
    pub seconds_above: Option<String>,
    pub quantile: Option<f64>,
    pub counter: Option<String>,
    pub recorded: Option<String>,
    pub expr: Option<String>,
    pub of: Option<String>,
    pub among: Option<String>,
    #[serde(rename = "in")]
    pub base: Option<String>,
    #[serde(default)]
    pub by: Vec<String>,
    #[serde(default)]
    pub over: Over,
    #[serde(default)]
    pub positive: bool,
    pub within: Option<String>,
    pub truth: Option<Truth>,
}

/// The time that a query looks at: the dashboard's range, a rate, or this long before now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    #[default]
    Range,
    Second,
    Minute,
    #[serde(untagged)]
    Last(String),
}

/// What a query is compared with that says nothing of operations.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    Number(String),
    Rows(String),
    Between(f64, f64),
    Never,
}

/// A search of the trace backend, by attributes and how long operations took at least.
#[derive(Clone, Debug, Deserialize)]
pub struct Search {
    pub limit: u64,
    pub title: Option<String>,
    pub least: Option<String>,
    #[serde(flatten)]
    pub attributes: Names<String>,
}

/// A dashboard: boards.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    pub uid: String,
    pub title: String,
    pub description: String,
    /// Where its time range begins.
    pub from: String,
    pub variables: Vec<String>,
    /// Of these, those that begin with one value instead of all.
    #[serde(default)]
    pub one: Vec<String>,
    /// Alerts of these labels are marked on its panels; none if it is empty.
    pub alerts: String,
    pub rows: Vec<Row>,
}

/// Some panels, with a heading.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub title: String,
    pub panels: Vec<Panel>,
}

/// How a signal is drawn, the signal, width and height.
#[derive(Clone, Debug, Deserialize)]
pub struct Panel(pub String, pub String, pub u32, pub u32);

/// Rules of Prometheus: rules.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub about: String,
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together, in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub interval: String,
    pub records: Vec<Record>,
    pub alerts: Vec<Alert>,
}

/// Recording rules of one query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    #[serde(default)]
    pub why: String,
    /// The name; with `ratio` or `increase`, its beginning.
    pub record: String,
    pub shows: Series,
    #[serde(default)]
    pub ratio: Vec<String>,
    #[serde(default)]
    pub increase: Vec<String>,
}

/// An alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub alert: String,
    #[serde(default)]
    pub why: String,
    /// When it fires, in half a sentence.
    pub when: String,
    pub expr: String,
    #[serde(rename = "for")]
    pub wait: Option<String>,
    pub keep_firing_for: Option<String>,
    pub severity: String,
    pub summary: String,
    pub description: String,
    /// The dashboard that shows it, with what is to be chosen there.
    pub dashboard: String,
}

impl Source {
    /// Reads the tables of a repository, if each of them can be read.
    pub fn read(root: &Path) -> Result<Self> {
        let folder = root.join("dashboards").join("source");
        Ok(Self {
            parameters: read(&folder, "parameters.yaml")?,
            signals: read(&folder, "signals.yaml")?,
            boards: read(&folder, "boards.yaml")?,
            rules: read(&folder, "rules.yaml")?,
            styles: read(&folder, "styles.yaml")?,
        })
    }

    /// Gives a parameter that there is another value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.parameter(name)?;
        self.parameters.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Result<&str> {
        named(&self.parameters, "parameter", name).map(String::as_str)
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<f64> {
        let text = self.parameter(name)?;
        text.parse().map_err(|_| format!("the parameter {name} is no number: {text:?}").into())
    }

    /// A signal.
    pub fn signal(&self, name: &str) -> Result<&Signal> {
        named(&self.signals.signals, "signal", name)
    }

    /// A text with a part or a parameter for each `<name>` in it.
    pub fn expand(&self, text: &str) -> Result<String> {
        let mut text = text.to_owned();
        // A part that contains itself would have no end.
        for _ in 0..100 {
            let Some((start, end)) = placeholder(&text) else { return Ok(text) };
            let value = match &text[start + 1..end] {
                "site" if self.parameter("site_label")?.is_empty() => "",
                "site" => ", <site_label>=~\"$site\"",
                name => match self.signals.parts.get(name) {
                    Some(part) => part,
                    None => self.parameter(name)?,
                },
            };
            text = [&text[..start], value, &text[end + 1..]].concat();
        }
        Err(format!("a part contains itself: {text}").into())
    }
}

/// What has this name in a table.
pub fn named<'a, T>(table: &'a Names<T>, what: &str, name: &str) -> Result<&'a T> {
    table.get(name).ok_or_else(|| format!("there is no {what} {name:?}").into())
}

/// Where the first `<name>` begins and ends.
fn placeholder(text: &str) -> Option<(usize, usize)> {
    text.match_indices('<').find_map(|(start, _)| {
        let end = start + text[start..].find('>')?;
        let name = &text[start + 1..end];
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_name.then_some((start, end))
    })
}

fn read<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<T> {
    let text = fs::read_to_string(folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{file}: {error}").into())
}
