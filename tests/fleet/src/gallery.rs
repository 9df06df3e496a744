//! What the panels of a dashboard show, as a picture is drawn from it.

use crate::drawing::{Cell, Content};
use crate::{Board, Labels, Lapse, Panel, Prometheus, Result, Target, filled};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Points of a line across a picture.
const POINTS: f64 = 240.0;
/// What a graph's rates are averaged over.
const RATE: &str = "15m";

/// A time-lapse that is over, as its Prometheus knows it.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Who is asked.
    pub prometheus: Prometheus,
    /// How much faster time passed than it is drawn.
    pub lapse: Lapse,
    /// Begin and end, in seconds since 1970.
    pub span: (f64, f64),
}

impl Gallery {
    /// Asks the queries of every panel.
    pub fn contents(&self, board: &Board) -> Result<Vec<(Panel, Content)>> {
        board.panels.iter().map(|panel| Ok((panel.clone(), self.content(panel)?))).collect()
    }

    fn content(&self, panel: &Panel) -> Result<Content> {
        if panel.targets.iter().any(|target| target.source != "prometheus") {
            return Ok(Content::Nothing("not drawn"));
        }
        match panel.kind.as_str() {
            "stat" => self.numbers(panel),
            "timeseries" => self.lines(panel),
            "table" => self.table(panel),
            _ => Ok(Content::Nothing("not drawn")),
        }
    }

    fn numbers(&self, panel: &Panel) -> Result<Content> {
        let mut numbers = Vec::new();
        for target in &panel.targets {
            for sample in self.prometheus.query(&self.filled(target)?, Some(self.span.1))? {
                numbers.push((name(target, &sample.labels), sample.value));
            }
        }
        Ok(Content::Numbers(numbers))
    }

    fn lines(&self, panel: &Panel) -> Result<Content> {
        let (begin, end) = self.span;
        let mut lines = Vec::new();
        for target in &panel.targets {
            let step = (end - begin) / POINTS;
            let scale = self.scale(&target.expression);
            for track in self.prometheus.range(&self.filled(target)?, self.span, step)? {
                let points = track
                    .points
                    .iter()
                    .map(|(time, value)| ((time - begin) / (end - begin), value / scale));
                lines.push((name(target, &track.labels), points.collect()));
            }
        }
        Ok(Content::Lines(lines))
    }

    /// A rate of the time-lapse is as many times too high as time passed too fast, unless it is
    /// only part of a ratio or a quantile.
    fn scale(&self, expression: &str) -> f64 {
        let rate = expression.contains("rate(");
        let relative = expression.contains(") / (") || expression.contains("histogram_quantile(");
        if rate && !relative { f64::from(self.lapse.0) } else { 1.0 }
    }

    fn table(&self, panel: &Panel) -> Result<Content> {
        let mut rows = BTreeMap::<Labels, BTreeMap<String, f64>>::new();
        for target in &panel.targets {
            for sample in self.prometheus.query(&self.filled(target)?, Some(self.span.1))? {
                let column = match panel.targets.len() {
                    1 => "Value".to_owned(),
                    _ => format!("Value #{}", target.letter),
                };
                rows.entry(sample.labels).or_default().insert(column, sample.value);
            }
        }
        let labels = rows.keys().flat_map(Labels::keys).cloned();
        let labels: BTreeSet<String> = labels.collect();
        let values = rows.values().flat_map(BTreeMap::keys).cloned();
        let values: BTreeSet<String> = values.collect();
        let heads = labels.iter().chain(&values).map(|column| panel.column(column)).collect();
        let sort = panel.sorted_by();
        let mut rows: Vec<_> = rows.into_iter().collect();
        if let Some(column) =
            values.iter().find(|column| sort.as_deref() == Some(&panel.column(column)))
        {
            let key =
                |row: &(Labels, BTreeMap<String, f64>)| row.1.get(column).copied().unwrap_or(0.0);
            rows.sort_by(|one, other| key(other).total_cmp(&key(one)));
        }
        let rows = rows.into_iter().map(|(row, numbers)| {
            let labels =
                labels.iter().map(|label| Cell::Text(row.get(label).cloned().unwrap_or_default()));
            let numbers = values.iter().map(|column| {
                let number = numbers.get(column).copied().unwrap_or(f64::NAN);
                Cell::Number(number, panel.unit_of(&panel.column(column)))
            });
            labels.chain(numbers).collect()
        });
        Ok(Content::Table(heads, rows.collect()))
    }

    /// The query with its variables set to all there is.
    fn filled(&self, target: &Target) -> Result<String> {
        let seconds = (self.span.1 - self.span.0) * f64::from(self.lapse.0);
        let range = format!("{}ms", (seconds * 1e3).ceil());
        let variables = [
            ("$__rate_interval", RATE),
            ("$__range", &range),
            ("${job}", "mpr-otel"),
            ("$job", "mpr-otel"),
            ("$server", ".*"),
            ("$operation", "add"),
            ("$mode", "plain"),
        ];
        self.lapse.expression(&filled(&target.expression, &variables)?)
    }
}

/// What a series is called in a legend.
fn name(target: &Target, labels: &Labels) -> String {
    let mut name = target.legend.clone();
    for (label, value) in labels {
        name = name.replace(&format!("{{{{{label}}}}}"), value);
    }
    name
}

impl Panel {
    /// What a column of a table is called on the panel.
    fn column(&self, column: &str) -> String {
        let renames = self.raw["transformations"].as_array().into_iter().flatten();
        let mut names = renames.filter_map(|step| step["options"]["renameByName"][column].as_str());
        names.next().unwrap_or(column).to_owned()
    }

    /// The column that a table is sorted by, as it is called on the panel.
    fn sorted_by(&self) -> Option<String> {
        Some(self.raw["options"]["sortBy"][0]["displayName"].as_str()?.to_owned())
    }

    /// The unit of a column, by what it is called on the panel.
    fn unit_of(&self, column: &str) -> String {
        let unit = self.override_of(column, "unit").and_then(Value::as_str);
        unit.unwrap_or(&self.unit).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_variable_of_the_overview_has_a_value() {
        let prometheus = Prometheus::at("http://127.0.0.1:9");
        let gallery = Gallery { prometheus, lapse: Lapse(240), span: (0.0, 150.0) };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards/overview.json");
        let board = Board::read(&path).unwrap().only("prometheus");
        assert!(board.targets().count() > 20);
        for (panel, target) in board.targets() {
            gallery.filled(target).unwrap_or_else(|error| panic!("{}: {error}", panel.title));
        }
    }
}
