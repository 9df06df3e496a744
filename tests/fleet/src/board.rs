//! A dashboard: its panels, and the queries behind them.

use crate::Result;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A dashboard as Grafana imports it.
#[derive(Clone, Debug)]
pub struct Board {
    /// Its unique id.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// Its panels.
    pub panels: Vec<Panel>,
    /// Its rows: title, and place on the grid from the top.
    pub rows: Vec<(String, u32)>,
}

/// A panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// What Grafana draws: `stat`, `timeseries`, `table`…
    pub kind: String,
    /// Place and size on a grid that is 24 wide: x, y, width, height.
    pub place: [u32; 4],
    /// The unit of its numbers, as Grafana names it.
    pub unit: String,
    /// Its queries.
    pub targets: Vec<Target>,
    /// Everything that the panel says.
    pub raw: Value,
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Target {
    /// `A`, `B`…
    pub letter: String,
    /// The kind of data source that answers it: `prometheus` or `jaeger`.
    pub source: String,
    /// The PromQL expression, variables included; empty for a search of traces.
    pub expression: String,
    /// How a series is called, labels in `{{}}`.
    pub legend: String,
    /// Everything that the target says.
    pub raw: Value,
}

impl Board {
    /// Reads a dashboard.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let board: Value =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let panels = list(&board["panels"]).flat_map(|panel| {
            // A collapsed row holds its panels.
            list(&panel["panels"]).chain(std::iter::once(panel))
        });
        Ok(Self {
            uid: text_of(&board["uid"]),
            title: text_of(&board["title"]),
            rows: list(&board["panels"])
                .filter(|panel| panel["type"] == "row")
                .map(|row| {
                    (text_of(&row["title"]), row["gridPos"]["y"].as_u64().unwrap_or(0) as u32)
                })
                .collect(),
            panels: panels.filter(|panel| panel["type"] != "row").map(Panel::of).collect(),
        })
    }

    /// The rows whose panels all ask this kind of data source.
    #[must_use]
    pub fn only(mut self, source: &str) -> Self {
        let asks = |panel: &Panel| panel.targets.iter().all(|target| target.source == source);
        let row_of = |rows: &[(String, u32)], panel: &Panel| {
            rows.iter().map(|row| row.1).filter(|y| *y < panel.place[1]).max()
        };
        let others: Vec<_> = self.panels.iter().filter(|panel| !asks(panel)).collect();
        let others: Vec<_> = others.into_iter().map(|panel| row_of(&self.rows, panel)).collect();
        self.panels.retain(|panel| !others.contains(&row_of(&self.rows, panel)));
        self.rows.retain(|row| !others.contains(&Some(row.1)));
        self
    }

    /// Every query, with its panel.
    pub fn targets(&self) -> impl Iterator<Item = (&Panel, &Target)> {
        self.panels.iter().flat_map(|panel| panel.targets.iter().map(move |target| (panel, target)))
    }

    /// Every dashboard of a folder, by file name.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let mut files =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }
}

impl Panel {
    /// A property that the panel sets for a series or a column of this name.
    pub fn override_of(&self, name: &str, property: &str) -> Option<&Value> {
        list(&self.raw["fieldConfig"]["overrides"])
            .filter(|rule| rule["matcher"]["options"] == name)
            .flat_map(|rule| list(&rule["properties"]))
            .find(|set| set["id"] == property)
            .map(|set| &set["value"])
    }

    /// The colour of a number, by the panel's thresholds.
    pub fn threshold(&self, value: f64) -> Option<&str> {
        list(&self.raw["fieldConfig"]["defaults"]["thresholds"]["steps"])
            .filter(|step| step["value"].as_f64().is_none_or(|least| least <= value))
            .last()?["color"]
            .as_str()
    }

    fn of(panel: &Value) -> Self {
        let place = &panel["gridPos"];
        let number = |name: &str| place[name].as_u64().unwrap_or(0) as u32;
        Self {
            title: text_of(&panel["title"]),
            kind: text_of(&panel["type"]),
            place: [number("x"), number("y"), number("w"), number("h")],
            unit: text_of(&panel["fieldConfig"]["defaults"]["unit"]),
            targets: list(&panel["targets"])
                .map(|target| Target {
                    letter: text_of(&target["refId"]),
                    source: text_of(&target["datasource"]["type"]),
                    expression: text_of(&target["expr"]),
                    legend: text_of(&target["legendFormat"]),
                    raw: target.clone(),
                })
                .collect(),
            raw: panel.clone(),
        }
    }
}

/// A query with these values for its variables, replaced in this order: a name may be the beginning
/// of another one. A variable that is left is an error.
pub fn filled(query: &str, variables: &[(&str, &str)]) -> Result<String> {
    let mut filled = query.to_owned();
    for (variable, value) in variables {
        filled = filled.replace(variable, value);
    }
    match filled.contains('$') {
        false => Ok(filled),
        true => Err(format!("a variable that nobody knows: {filled}").into()),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
