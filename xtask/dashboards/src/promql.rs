//! The query of a series.

use crate::Result;
use crate::source::{Over, Series, Source, named};
use std::fmt::Write as _;

/// Counts operations.
const CALLS: &str = "mpr_calls_total";
/// Measures them.
const DURATION: &str = "mpr_duration_seconds";
/// Chooses among recorded series.
const SERVERS: &str = "server_address=~\"$server\"";

/// What a series shows.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'a> {
    /// How many operations; with a second selection, 0 where there are only those.
    Count(&'a str, Option<&'a str>),
    /// Which part of the second selection is of the first.
    Share(&'a str, &'a str),
    /// How long operations took together.
    Seconds(&'a str),
    /// How much longer than `slow_seconds` they took together, at least: each counts up to
    /// the bound of the histogram below it.
    SecondsAbove(&'a str),
    /// A quantile of how long they took.
    Quantile(f64, &'a str),
    /// The increase of another counter, of the selected operations if it counts operations.
    Counter(&'a str, &'a str),
    /// What a rule recorded.
    Recorded(&'a str),
    /// An expression of its own.
    Expression(&'a str),
}

impl Series {
    /// What it shows.
    pub fn shape(&self) -> Result<Shape<'_>> {
        let of = self.of.as_deref();
        let among = self.among.as_deref();
        let shapes = [
            self.count.as_deref().map(|which| Shape::Count(which, of)),
            self.share.as_deref().zip(of).map(|(which, of)| Shape::Share(which, of)),
            self.seconds.as_deref().map(Shape::Seconds),
            self.seconds_above.as_deref().map(Shape::SecondsAbove),
            self.quantile.zip(among).map(|(quantile, among)| Shape::Quantile(quantile, among)),
            self.counter.as_deref().map(|metric| Shape::Counter(metric, among.unwrap_or("any"))),
            self.recorded.as_deref().map(Shape::Recorded),
            self.expr.as_deref().map(Shape::Expression),
        ];
        let mut shapes = shapes.into_iter().flatten();
        match (shapes.next(), shapes.next()) {
            (Some(shape), None) => Ok(shape),
            _ => Err(format!("shows nothing, or more than one thing: {self:?}").into()),
        }
    }
}

/// The PromQL of a series.
pub fn query(source: &Source, series: &Series) -> Result<String> {
    let text = Sums::of(source, series)?.shown_by(series)?;
    let text = match (series.positive, text.ends_with('\n')) {
        (false, _) => text,
        (true, true) => text + "> 0",
        (true, false) => text + " > 0",
    };
    Ok(match &series.within {
        None => text,
        Some(part) => {
            let part = source.expand(&format!("<{part}>"))?;
            format!("({text}) and on ({}) {part}", series.by.join(", "))
        }
    })
}

/// The sums that a series is made of.
struct Sums<'a> {
    source: &'a Source,
    /// What all of them are among, as matchers.
    base: String,
    /// Over which time.
    over: &'a Over,
    /// Labels that they keep.
    by: Vec<&'a str>,
}

impl<'a> Sums<'a> {
    fn of(source: &'a Source, series: &'a Series) -> Result<Self> {
        let base = format!("<{}>", series.base.as_deref().unwrap_or("chosen"));
        let by = series.by.iter().map(String::as_str).collect();
        Ok(Self { source, base: source.expand(&base)?, over: &series.over, by })
    }

    /// What the series shows, whatever its sign and wherever it is shown.
    fn shown_by(&self, series: &Series) -> Result<String> {
        Ok(match series.shape()? {
            Shape::Count(which, None) => self.sum(CALLS, which)?,
            Shape::Count(which, Some(of)) => {
                format!("{} or 0 * {}", self.sum(CALLS, which)?, self.sum(CALLS, of)?)
            }
            Shape::Share(which, of) if series.positive => {
                format!("{}\n/\n{}\n", self.sum(CALLS, which)?, self.sum(CALLS, of)?)
            }
            Shape::Share(which, of) => {
                let all = self.sum(CALLS, of)?;
                format!("({} or 0 * {all}) / ({all} > 0)", self.sum(CALLS, which)?)
            }
            Shape::Seconds(which) => self.sum(&format!("{DURATION}_sum"), which)?,
            Shape::Counter(metric, which) => self.sum(metric, which)?,
            Shape::SecondsAbove(which) => self.seconds_above(which)?,
            Shape::Quantile(quantile, among) => {
                let by: Vec<&str> = self.by.iter().copied().chain(["le"]).collect();
                let buckets = self.sum_of(&format!("{DURATION}_bucket"), among, "", &by)?;
                format!("histogram_quantile({quantile}, {buckets})")
            }
            Shape::Recorded(rule) => format!("{rule}{{{SERVERS}}}"),
            Shape::Expression(text) => self.source.expand(text)?,
        })
    }

    /// Of a metric, what a selection chooses.
    fn sum(&self, metric: &str, which: &str) -> Result<String> {
        self.sum_of(metric, which, "", &self.by)
    }

    /// The same with `more` matchers, and by other labels.
    fn sum_of(&self, metric: &str, which: &str, more: &str, by: &[&str]) -> Result<String> {
        let (function, range, factor) = match self.over {
            Over::Range => ("increase", "$__range", ""),
            Over::Second => ("rate", "$__rate_interval", ""),
            Over::Minute => ("rate", "$__rate_interval", "60 * "),
            Over::Last(range) => ("increase", range.as_str(), ""),
        };
        let which = named(&self.source.signals.selections, "selection", which)?;
        let which = self.source.expand(which)?;
        let matchers = [self.base.as_str(), which.as_str(), more];
        let matchers: Vec<&str> = matchers.into_iter().filter(|m| !m.is_empty()).collect();
        let matchers = matchers.join(", ");
        let by = if by.is_empty() { String::new() } else { format!(" by ({}) ", by.join(", ")) };
        Ok(format!("{factor}sum{by}({function}({metric}{{{matchers}}}[{range}]))"))
    }

    /// How many seconds operations took beyond what is slow, as far as buckets can say it.
    fn seconds_above(&self, which: &str) -> Result<String> {
        let slow = self.source.number("slow_seconds")?;
        let bounds = self.source.signals.bounds.iter().copied();
        let bounds: Vec<f64> = bounds.filter(|bound| *bound >= slow).collect();
        let bucket = |le: &str| {
            self.sum_of(&format!("{DURATION}_bucket"), which, &format!("le=\"{le}\""), &self.by)
        };
        let (least, most) = (bounds.first().copied(), bounds.last().copied());
        let whole = most.unwrap_or_default() - least.unwrap_or_default();
        let mut text = format!("{whole} * {}", bucket("+Inf")?);
        for pair in bounds.windows(2) {
            let _ = write!(text, " - {} * {}", pair[1] - pair[0], bucket(&pair[1].to_string())?);
        }
        Ok(format!("clamp_min({text}, 0)"))
    }
}
