//! What the truth says that a query answers.

use mpr_otel_fleet::{Labels, Part, Sample, Truth};
use mpr_otel_lab::simulation::SeriesTruth;
use std::collections::BTreeMap;

/// Which operations.
pub type Which = fn(&SeriesTruth) -> bool;

/// Operations that are all of these.
type All = Vec<Which>;

/// What a query shows of a group of operations.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// How many.
    Count,
    /// How long they took together, in seconds.
    Seconds,
    /// Which part of the group, from 0 to 1.
    Share,
    /// How much longer than these seconds they took, each up to the bound of the histogram below it.
    SecondsAbove(f64),
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
#[derive(Clone, Debug)]
pub struct Expect {
    what: What,
    per: Per,
    /// Labels of the answer.
    by: Vec<String>,
    /// Operations that make a group exist.
    among: All,
    /// Those of them that are counted.
    of: All,
    /// Operations of which a group must have some; without any, it needs none.
    within: All,
    /// Whether groups whose number is 0 are left out.
    positive: bool,
}

impl Expect {
    /// Of all operations together.
    pub fn new(what: What) -> Self {
        Self {
            what,
            per: Per::Range,
            by: Vec::new(),
            among: Vec::new(),
            of: Vec::new(),
            within: Vec::new(),
            positive: false,
        }
    }

    /// In groups by these labels.
    pub fn by(self, by: &[String]) -> Self {
        Self { by: by.to_vec(), ..self }
    }

    /// Counts these only; the groups are those of all.
    pub fn of(mut self, of: Which) -> Self {
        self.of.push(of);
        self
    }

    /// Groups are those that have such operations, and no others.
    pub fn among(mut self, among: Which) -> Self {
        self.among.push(among);
        self
    }

    /// Only groups that have some of these.
    pub fn within(self, within: &[Which]) -> Self {
        Self { within: within.to_vec(), ..self }
    }

    /// Groups whose number is 0 are left out.
    pub fn positive(self, positive: bool) -> Self {
        Self { positive, ..self }
    }

    /// On average over the time.
    pub fn per(self, per: Per) -> Self {
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
        let by: Vec<&str> = self.by.iter().map(String::as_str).collect();
        let mut groups = truth.groups(&by, |series| are(&self.among, series));
        if !self.within.is_empty() {
            let within = truth.groups(&by, |series| are(&self.within, series));
            groups.retain(|labels, _| within.contains_key(labels));
        }
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
        Part(group.0.iter().copied().filter(|series| are(&self.of, series)).collect())
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
            What::SecondsAbove(seconds) => part.seconds_above(seconds),
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

fn are(all: &All, series: &SeriesTruth) -> bool {
    all.iter().all(|which| which(series))
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
pub fn any(_: &SeriesTruth) -> bool {
    true
}

/// Those that failed.
pub fn failed(series: &SeriesTruth) -> bool {
    series.outcome == "failure"
}
