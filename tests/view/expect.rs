//! What the truth says that a query answers.

use mpr_otel_fleet::{Labels, Part, Sample, Series, Truth};
use std::collections::BTreeMap;

/// Which operations.
pub type Which = fn(&Series) -> bool;

/// What a query shows of a group of operations.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// How many.
    Count,
    /// How long they took together, in seconds.
    Seconds,
    /// Which part of the group, from 0 to 1.
    Share,
    /// A quantile of their durations: the right bucket of the histogram.
    Quantile(f64),
}

/// Over which time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Per {
    /// All of it.
    Range,
    /// On average, each second.
    Second,
    /// On average, each minute.
    Minute,
}

/// An expectation of one query.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    what: What,
    per: Per,
    /// Labels of the answer.
    by: &'static [&'static str],
    /// Operations that make a group exist.
    among: Which,
    /// Those of them that are counted.
    of: Which,
    /// Whether groups whose number is 0 are left out.
    positive: bool,
}

impl Expect {
    /// Of all operations together.
    pub const fn new(what: What) -> Self {
        Self { what, per: Per::Range, by: &[], among: any, of: any, positive: false }
    }

    /// In groups by these labels.
    pub const fn by(self, by: &'static [&'static str]) -> Self {
        Self { by, ..self }
    }

    /// Counts these only; the groups are those of all.
    pub const fn of(self, of: Which) -> Self {
        Self { of, ..self }
    }

    /// Groups are those that have such operations; others are none.
    pub const fn among(self, among: Which) -> Self {
        Self { among, ..self }
    }

    /// Groups whose number is 0 are left out.
    pub const fn positive(self) -> Self {
        Self { positive: true, ..self }
    }

    /// On average over the time.
    pub const fn per(self, per: Per) -> Self {
        Self { per, ..self }
    }

    /// Compares an answer over all of the run, which took `seconds`. Says what is wrong; if it is
    /// `strict`, an empty answer as well.
    pub fn check(
        &self,
        truth: &Truth,
        answer: &[Sample],
        seconds: f64,
        strict: bool,
    ) -> Result<(), String> {
        let mut groups = truth.groups(self.by, self.among);
        groups.retain(|_, group| !self.positive || !self.part(group).0.is_empty());
        let told: BTreeMap<&Labels, f64> =
            answer.iter().map(|sample| (&sample.labels, sample.value)).collect();
        let missing = groups.keys().filter(|labels| !told.contains_key(labels));
        let invented = told.keys().filter(|labels| !groups.contains_key(**labels));
        let (missing, invented): (Vec<_>, Vec<_>) = (missing.collect(), invented.collect());
        if strict && groups.is_empty() || !missing.is_empty() || !invented.is_empty() {
            return Err(format!("missing {missing:?}, invented {invented:?}"));
        }
        for (labels, group) in &groups {
            self.compare(group, told[labels], seconds)
                .map_err(|wrong| format!("{labels:?}: {wrong}"))?;
        }
        Ok(())
    }

    fn part<'a>(&self, group: &Part<'a>) -> Part<'a> {
        Part(group.0.iter().copied().filter(|series| (self.of)(series)).collect())
    }

    fn compare(&self, group: &Part<'_>, told: f64, seconds: f64) -> Result<(), String> {
        let part = self.part(group);
        let time = match self.per {
            Per::Range => 1.0,
            Per::Second => seconds,
            Per::Minute => seconds / 60.0,
        };
        let true_value = match self.what {
            What::Count => part.count() as f64 / time,
            What::Seconds => part.seconds() / time,
            What::Share => part.count() as f64 / group.count() as f64,
            What::Quantile(quantile) => {
                let (least, most) = part.quantile(quantile);
                return match least <= told && told <= most {
                    true => Ok(()),
                    false => Err(format!("{told} is not between {least} and {most}")),
                };
            }
        };
        same(told, true_value)
    }
}

/// Whether a number is right: Prometheus computes with doubles, so a count is exact but for their
/// last digits.
pub fn same(told: f64, true_value: f64) -> Result<(), String> {
    match (told - true_value).abs() <= 1e-9 * true_value.abs().max(1.0) {
        true => Ok(()),
        false => Err(format!("{told} instead of {true_value}")),
    }
}

/// All operations.
pub fn any(_: &Series) -> bool {
    true
}

/// Those that failed.
pub fn failed(series: &Series) -> bool {
    series.outcome == "failure"
}

/// Those that did not end.
pub fn unfinished(series: &Series) -> bool {
    series.outcome == "unfinished"
}

/// Those that did what was asked.
pub fn succeeded(series: &Series) -> bool {
    series.outcome == "success"
}

/// Those that ended.
pub fn ended(series: &Series) -> bool {
    series.outcome != "unfinished"
}
