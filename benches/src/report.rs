//! What was found, as a table for people and as JSON for programs.

use crate::Result;
use crate::machine::Machine;
use crate::stats::Summary;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// A value with its best case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The figure that counts.
    pub value: f64,
    /// The best that was seen.
    pub best: f64,
    /// What it is counted in.
    pub unit: &'static str,
}

impl Figure {
    /// A figure that was taken once, or counted.
    pub fn exact(value: f64, unit: &'static str) -> Self {
        Self { value, best: value, unit }
    }

    /// The median of the trials' medians and the smallest of all samples.
    pub fn of_trials(trials: Option<&Vec<Summary>>, unit: &'static str) -> Result<Self> {
        let trials = trials.map(Vec::as_slice).unwrap_or_default();
        let medians: Vec<f64> = trials.iter().map(|trial| trial.median).collect();
        let minima: Vec<f64> = trials.iter().map(|trial| trial.min).collect();
        match (Summary::of(&medians), Summary::of(&minima)) {
            (Some(medians), Some(minima)) => {
                Ok(Self { value: medians.median, best: minima.min, unit })
            }
            _ => Err("a measure without trials".into()),
        }
    }

    /// How many times `base` this is.
    pub fn over(self, base: Self) -> Self {
        Self { value: self.value / base.value, best: self.best / base.best, unit: "x" }
    }

    fn text(self) -> String {
        let number = |value: f64| match value {
            value if value.fract() == 0.0 => format!("{value:.0}"),
            value if value >= 100.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        if self.best == self.value {
            format!("{} {}", number(self.value), self.unit)
        } else {
            format!("{} {} (best {})", number(self.value), self.unit, number(self.best))
        }
    }
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The ratio (or, without a peer, the value) is no larger.
    AtMost(f64),
    /// It is smaller.
    Below(f64),
    /// It is no smaller.
    AtLeast(f64),
    /// Nothing: it is shown for comparison.
    Nothing,
}

impl Reach {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(limit) => Some(value <= limit),
            Self::Below(limit) => Some(value < limit),
            Self::AtLeast(limit) => Some(value >= limit),
            Self::Nothing => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("at most {limit}"),
            Self::Below(limit) => format!("below {limit}"),
            Self::AtLeast(limit) => format!("at least {limit}"),
            Self::Nothing => String::new(),
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// This project's figure.
    pub ours: Figure,
    /// Whose figure is beside it, and what it is.
    pub peer: Option<(String, Figure)>,
    /// Ours in terms of the peer's.
    pub ratio: Option<f64>,
    /// What the ratio, or without a peer the value, is to reach.
    pub reach: Reach,
    /// Whether it does.
    pub met: Option<bool>,
}

impl Row {
    /// Ours beside a peer's.
    pub fn beside(measure: &str, ours: Figure, peer: &str, theirs: Figure, reach: Reach) -> Self {
        let ratio = ours.value / theirs.value;
        Self {
            measure: measure.to_owned(),
            ours,
            peer: Some((peer.to_owned(), theirs)),
            ratio: Some(ratio),
            reach,
            met: reach.met(ratio),
        }
    }

    /// Ours alone.
    pub fn alone(measure: &str, ours: Figure, reach: Reach) -> Self {
        Self {
            measure: measure.to_owned(),
            ours,
            peer: None,
            ratio: None,
            reach,
            met: reach.met(ours.value),
        }
    }

    fn cells(&self) -> [String; 6] {
        [
            self.measure.clone(),
            self.ours.text(),
            self.peer
                .as_ref()
                .map_or_else(String::new, |(name, figure)| format!("{name}: {}", figure.text())),
            self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            self.reach.text(),
            self.met.map_or("", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// The table.
    pub rows: Vec<Row>,
    /// What the table was made of, by measure.
    pub raw: BTreeMap<&'static str, serde_json::Value>,
}

impl Report {
    /// An empty report.
    pub fn new(machine: Machine) -> Self {
        Self { machine, rows: Vec::new(), raw: BTreeMap::new() }
    }

    /// Adds a measure: its rows, and what they were made of.
    pub fn add(
        &mut self,
        name: &'static str,
        (rows, raw): (Vec<Row>, impl Serialize),
    ) -> Result<()> {
        self.rows.extend(rows);
        self.raw.insert(name, serde_json::to_value(raw)?);
        Ok(())
    }

    /// Writes the table.
    pub fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let machine = &self.machine;
        writeln!(
            out,
            "{} ({} cores), {}, {}, commit {}, load {}\n",
            machine.cpu,
            machine.cores,
            machine.kernel,
            machine.rustc,
            machine.revision,
            machine.load
        )?;
        let head = ["measure", "ours", "peer", "ratio", "to reach", "met?"].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let widths: [usize; 6] = std::array::from_fn(|column| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        });
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}
