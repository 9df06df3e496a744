//! The tables, as they are written in dashboards/source.

use crate::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All tables.
#[derive(Clone, Debug)]
pub struct Source {
    /// What differs from fleet to fleet, by name.
    pub parameters: BTreeMap<String, String>,
    /// What is shown.
    pub signals: Signals,
    /// Where it is shown.
    pub boards: Vec<Board>,
    /// Recording rules and alerts.
    pub rules: Rules,
}

/// Signals, and what their queries have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// PromQL that occurs in several queries, by name.
    pub parts: BTreeMap<String, String>,
    /// Matchers of operations, by name.
    pub selections: BTreeMap<String, String>,
    /// How labels are called in tables.
    pub columns: BTreeMap<String, String>,
    /// The colour of each value of a label.
    pub colours: BTreeMap<String, BTreeMap<String, String>>,
    /// What a reader of a dashboard chooses, by name.
    pub variables: BTreeMap<String, Variable>,
    /// What is shown, by name.
    pub signals: BTreeMap<String, Signal>,
}

/// A variable of a dashboard.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name for people.
    pub label: String,
    /// What it chooses.
    #[serde(default)]
    pub description: String,
    /// The query of its values.
    pub values: String,
    /// The pattern that stands for all of them; without it, one is chosen.
    pub all: Option<String>,
    /// What is chosen at first, instead of all.
    pub first: Option<String>,
}

/// Something that is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Its title.
    pub title: String,
    /// What it shows, in sentences.
    pub shows: String,
    /// Its unit, by Grafana's name.
    #[serde(default = "short")]
    pub unit: String,
    /// Digits after the point.
    pub decimals: Option<u8>,
    /// What stands there if there is nothing.
    pub empty: Option<String>,
    /// The least distance of two points.
    pub interval: Option<String>,
    /// The colour below every level.
    #[serde(default = "text")]
    pub calm: String,
    /// Colours from numbers on, in order.
    #[serde(default)]
    pub levels: Vec<(String, Number)>,
    /// The column that rows are sorted by, largest first.
    pub sort: Option<String>,
    /// The queries of metrics.
    #[serde(default)]
    pub series: Vec<Series>,
    /// The search for traces, if it is one.
    pub search: Option<Search>,
    /// A link to a search for traces.
    pub find: Option<Find>,
}

/// A number, or a parameter's name that stands for one.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// Itself.
    Is(f64),
    /// `<name>`.
    Named(String),
}

/// One query, by what it shows: see the head of signals.yaml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The table describes them.
pub struct Series {
    pub legend: Option<String>,
    pub name: Option<String>,
    pub unit: Option<String>,
    pub decimals: Option<u8>,
    pub count: Option<String>,
    pub share: Option<String>,
    pub seconds: Option<String>,
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
    pub truth: Option<Truth>,
}

/// The time that a query looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Over {
    /// The dashboard's time range.
    #[default]
    Range,
    /// A rate for each second.
    Second,
    /// A rate for each minute.
    Minute,
    /// This long before now.
    Last(String),
}

impl From<String> for Over {
    fn from(text: String) -> Self {
        match text.as_str() {
            "range" => Self::Range,
            "second" => Self::Second,
            "minute" => Self::Minute,
            _ => Self::Last(text),
        }
    }
}

/// What a query is compared with that says nothing of operations.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// One number, by the name of its function.
    Number(String),
    /// Rows, by the name of the function that compares them.
    Rows(String),
    /// Numbers that cannot be foretold, but lie between these.
    Between(f64, f64),
    /// What did not happen: no series, or 0.
    Never,
}

/// A search of the trace backend.
#[derive(Clone, Debug, Deserialize)]
pub struct Search {
    /// At most so many traces.
    pub limit: u64,
    /// Operations that took this long or longer.
    pub least: Option<String>,
    /// Attributes and their values.
    #[serde(flatten)]
    pub attributes: BTreeMap<String, String>,
}

/// A link to a search.
#[derive(Clone, Debug, Deserialize)]
pub struct Find {
    /// The link's title.
    pub title: String,
    /// Attributes and their values.
    #[serde(flatten)]
    pub attributes: BTreeMap<String, String>,
}

/// A dashboard.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Its unique id.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Where its time range begins.
    pub from: String,
    /// What its reader chooses, in order.
    pub variables: Vec<String>,
    /// Alerts of these labels are marked on its panels; none if it is empty.
    #[serde(default = "every_alert")]
    pub alerts: String,
    /// Its panels, in rows.
    pub rows: Vec<Row>,
}

/// Some panels, with a heading.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The heading.
    pub title: String,
    /// The panels, from left to right and from top to bottom.
    pub panels: Vec<Panel>,
}

/// How a signal is drawn, the signal, width and height.
#[derive(Clone, Debug, Deserialize)]
pub struct Panel(pub Kind, pub String, pub u32, pub u32);

/// How a signal is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number for each series.
    Stat,
    /// Lines over time.
    Lines,
    /// The same, on top of one another.
    Stack,
    /// Rows.
    Table,
    /// Numbers by colour.
    Heatmap,
    /// A search of the trace backend.
    Traces,
}

/// Rules of Prometheus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What all rest on.
    pub about: String,
    /// Rules that are evaluated together.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together, in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What it records.
    pub records: Vec<Record>,
    /// What it alerts of.
    pub alerts: Vec<Alert>,
}

/// Recording rules of one query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Why it is recorded.
    #[serde(default)]
    pub why: String,
    /// Its name; with `ratio` or `increase`, the name's beginning.
    pub record: String,
    /// The query.
    pub shows: Series,
    /// Windows of which it records the part of all operations that are selected.
    #[serde(default)]
    pub ratio: Vec<String>,
    /// Windows of which it records their number.
    #[serde(default)]
    pub increase: Vec<String>,
}

/// An alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its name.
    pub alert: String,
    /// Why its query is as it is.
    #[serde(default)]
    pub why: String,
    /// When it fires, in half a sentence: docs/runbooks/README.md.
    pub when: String,
    /// The query.
    pub expr: String,
    /// How long it holds before the alert fires.
    #[serde(rename = "for")]
    pub wait: Option<String>,
    /// How long the alert stays when it holds no more.
    pub keep_firing_for: Option<String>,
    /// `critical` or `warning`.
    pub severity: String,
    /// What happened, in a line.
    pub summary: String,
    /// What happened, in numbers.
    pub description: String,
    /// The dashboard that shows it, with what is to be chosen there.
    pub dashboard: String,
}

fn short() -> String {
    "short".to_owned()
}

fn text() -> String {
    "text".to_owned()
}

fn every_alert() -> String {
    r#"alertname=~"Mpr.+", alertstate="firing""#.to_owned()
}

impl Source {
    /// Reads the tables of a repository.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such table.
    pub fn read(root: &Path) -> Result<Self> {
        let folder = root.join("dashboards").join("source");
        Ok(Self {
            parameters: read(&folder, "parameters.yaml")?,
            signals: read(&folder, "signals.yaml")?,
            boards: read(&folder, "boards.yaml")?,
            rules: read(&folder, "rules.yaml")?,
        })
    }

    /// Gives a parameter another value.
    ///
    /// # Errors
    /// There is no such parameter.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match self.parameters.get_mut(name) {
            Some(old) => value.clone_into(old),
            None => return Err(Error::new("parameters.yaml", format!("there is no {name:?}"))),
        }
        Ok(())
    }

    /// A parameter's value.
    ///
    /// # Errors
    /// There is no such parameter.
    pub fn parameter(&self, name: &str) -> Result<&str> {
        let value = self.parameters.get(name).map(String::as_str);
        value.ok_or_else(|| Error::new("parameters.yaml", format!("there is no {name:?}")))
    }

    /// A signal.
    ///
    /// # Errors
    /// There is no such signal.
    pub fn signal(&self, name: &str) -> Result<&Signal> {
        let signal = self.signals.signals.get(name);
        signal.ok_or_else(|| Error::new("signals.yaml", format!("there is no signal {name:?}")))
    }

    /// A text with a part or a parameter for each `<name>` in it.
    ///
    /// # Errors
    /// There is no such part or parameter, or a part contains itself.
    pub fn expand(&self, text: &str) -> Result<String> {
        let mut text = text.to_owned();
        for _ in 0..100 {
            let Some((start, end)) = placeholder(&text) else { return Ok(text) };
            let name = &text[start + 1..end];
            let site = self.site()?;
            let value = match name {
                "site" => site.as_str(),
                _ => self
                    .signals
                    .parts
                    .get(name)
                    .or_else(|| self.parameters.get(name))
                    .ok_or_else(|| Error::new(format!("<{name}>"), "no part, no parameter"))?,
            };
            text = [&text[..start], value, &text[end + 1..]].concat();
        }
        Err(Error::new(text, "a part contains itself"))
    }

    /// The matcher of sites, if there is a label of them.
    fn site(&self) -> Result<String> {
        Ok(match self.parameter("site_label")? {
            "" => String::new(),
            label => format!(", {label}=~\"$site\""),
        })
    }
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
    let text = fs::read_to_string(folder.join(file))
        .map_err(|error| Error::new(file, error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| Error::new(file, error.to_string()))
}
