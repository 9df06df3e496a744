//! The rules as Prometheus reads them.

use crate::source::{Alert, Over, Record, Series, Source};
use crate::{Result, promql};

impl Record {
    /// The name of each rule that it stands for, and what that records.
    #[must_use]
    pub fn rules(&self) -> Vec<(String, Series)> {
        let share = Series {
            count: None,
            share: self.shows.count.clone(),
            of: Some("any".to_owned()),
            positive: true,
            ..self.shows.clone()
        };
        let windows = |kind: &str, windows: &[String], shows: &Series| -> Vec<(String, Series)> {
            let rule = |window: &String| {
                let shows = Series { over: Over::Last(window.clone()), ..shows.clone() };
                (format!("{}:{kind}{window}", self.record), shows)
            };
            windows.iter().map(rule).collect()
        };
        let mut rules = windows("ratio", &self.ratio, &share);
        rules.extend(windows("increase", &self.increase, &self.shows));
        if rules.is_empty() {
            rules.push((self.record.clone(), self.shows.clone()));
        }
        rules
    }
}

/// The rule file.
pub fn file(source: &Source) -> Result<String> {
    let mut text = comment("", &source.expand(&source.rules.about)?) + "groups:\n";
    for group in &source.rules.groups {
        text +=
            &format!("  - name: {}\n    interval: {}\n    rules:\n", group.name, group.interval);
        for record in &group.records {
            text += &comment("      ", &source.expand(&record.why)?);
            for (name, shows) in record.rules() {
                text += &format!("      - record: {name}\n");
                text += &block(&promql::query(source, &shows)?);
            }
        }
        for rule in &group.alerts {
            text += "\n";
            text += &alert(source, rule)?;
        }
        text += "\n";
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn alert(source: &Source, alert: &Alert) -> Result<String> {
    let mut text = comment("      ", &source.expand(&alert.why)?);
    text += &format!("      - alert: {}\n", alert.alert);
    text += &block(&source.expand(&alert.expr)?);
    for (key, wait) in [("for", &alert.wait), ("keep_firing_for", &alert.keep_firing_for)] {
        text.extend(wait.iter().map(|wait| format!("        {key}: {wait}\n")));
    }
    text += &format!("        labels:\n          severity: {}\n", alert.severity);
    text += "        annotations:\n";
    let annotations = [
        ("summary", source.expand(&alert.summary)?),
        ("description", source.expand(&alert.description)?),
        ("runbook_url", format!("{}{}.md", source.parameter("runbooks")?, alert.alert)),
        ("dashboard", format!("{}{}", source.parameter("dashboards")?, alert.dashboard)),
    ];
    for (key, value) in annotations {
        text += &format!("          {key}: '{}'\n", value.replace('\'', "''"));
    }
    Ok(text)
}

fn comment(indent: &str, comment: &str) -> String {
    let row = |row: &str| format!("{}\n", format!("{indent}# {row}").trim_end());
    comment.lines().map(row).collect()
}

/// An expression as it stands, line for line.
fn block(expression: &str) -> String {
    let rows = expression.trim_end().lines();
    let rows: String = rows.map(|row| format!("          {row}\n")).collect();
    format!("        expr: |\n{rows}")
}
