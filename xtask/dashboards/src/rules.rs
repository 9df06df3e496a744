//! The rules as Prometheus reads them.

use crate::source::{Alert, Over, Record, Series, Source};
use crate::{Result, promql};
use std::fmt::Write as _;

/// A recording rule.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its name.
    pub name: String,
    /// What it records.
    pub shows: Series,
}

impl Record {
    /// The rules that it stands for.
    #[must_use]
    pub fn rules(&self) -> Vec<Recorded> {
        let named = |kind: &str, window: &String, shows: Series| Recorded {
            name: format!("{}:{kind}{window}", self.record),
            shows: Series { over: Over::Last(window.clone()), ..shows },
        };
        let share = Series {
            count: None,
            share: self.shows.count.clone(),
            of: Some("any".to_owned()),
            positive: true,
            ..self.shows.clone()
        };
        let ratios = self.ratio.iter().map(|window| named("ratio", window, share.clone()));
        let increases =
            self.increase.iter().map(|window| named("increase", window, self.shows.clone()));
        let rules: Vec<Recorded> = ratios.chain(increases).collect();
        match rules.is_empty() {
            true => vec![Recorded { name: self.record.clone(), shows: self.shows.clone() }],
            false => rules,
        }
    }
}

/// The rule file.
///
/// # Errors
/// A rule names what there is not.
pub fn file(source: &Source) -> Result<String> {
    let mut text = String::new();
    comment(&mut text, "", &source.expand(&source.rules.about)?);
    text.push_str("groups:\n");
    for group in &source.rules.groups {
        line(&mut text, &format!("  - name: {}", group.name));
        line(&mut text, "    rules:");
        for record in &group.records {
            comment(&mut text, "      ", &record.why);
            for rule in record.rules() {
                line(&mut text, &format!("      - record: {}", rule.name));
                block(&mut text, "expr", &promql::query(source, &rule.shows)?);
            }
        }
        for rule in &group.alerts {
            text.push('\n');
            alert(source, rule, &mut text)?;
        }
        text.push('\n');
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn alert(source: &Source, alert: &Alert, text: &mut String) -> Result<()> {
    comment(text, "      ", &alert.why);
    line(text, &format!("      - alert: {}", alert.alert));
    block(text, "expr", &source.expand(&alert.expr)?);
    for (key, wait) in [("for", &alert.wait), ("keep_firing_for", &alert.keep_firing_for)] {
        if let Some(wait) = wait {
            line(text, &format!("        {key}: {wait}"));
        }
    }
    line(text, "        labels:");
    line(text, &format!("          severity: {}", alert.severity));
    line(text, "        annotations:");
    let annotations = [
        ("summary", source.expand(&alert.summary)?),
        ("description", source.expand(&alert.description)?),
        ("runbook_url", format!("{}{}.md", source.parameter("runbooks")?, alert.alert)),
        ("dashboard", format!("{}{}", source.parameter("dashboards")?, alert.dashboard)),
    ];
    for (key, value) in annotations {
        line(text, &format!("          {key}: '{}'", value.replace('\'', "''")));
    }
    Ok(())
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

fn comment(text: &mut String, indent: &str, comment: &str) {
    for row in comment.lines() {
        line(text, format!("{indent}# {row}").trim_end());
    }
}

/// A value as it stands, line for line.
fn block(text: &mut String, key: &str, value: &str) {
    line(text, &format!("        {key}: |"));
    for row in value.trim_end().lines() {
        line(text, &format!("          {row}"));
    }
}
