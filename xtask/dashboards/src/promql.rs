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
    let base = format!("<{}>", series.base.as_deref().unwrap_or("chosen"));
    let base = source.expand(&base)?;
    let sum_at = |metric: &str, which: &str, more: &str, by: &[&str]| -> Result<String> {
        let (function, range, factor) = match &series.over {
            Over::Range => ("increase", "$__range", ""),
            Over::Second => ("rate", "$__rate_interval", ""),
            Over::Minute => ("rate", "$__rate_interval", "60 * "),
            Over::Last(range) => ("increase", range.as_str(), ""),
        };
        let which = source.expand(named(&source.signals.selections, "selection", which)?)?;
        let matchers = [base.as_str(), which.as_str(), more];
        let matchers: Vec<&str> = matchers.into_iter().filter(|m| !m.is_empty()).collect();
        let matchers = matchers.join(", ");
        let by = if by.is_empty() { String::new() } else { format!(" by ({}) ", by.join(", ")) };
        Ok(format!("{factor}sum{by}({function}({metric}{{{matchers}}}[{range}]))"))
    };
    let sum = |metric: &str, which: &str, by: &[&str]| sum_at(metric, which, "", by);
    let by: Vec<&str> = series.by.iter().map(String::as_str).collect();
    let text = match series.shape()? {
        Shape::Count(which, None) => sum(CALLS, which, &by)?,
        Shape::Count(which, Some(of)) => {
            format!("{} or 0 * {}", sum(CALLS, which, &by)?, sum(CALLS, of, &by)?)
        }
        Shape::Share(which, of) if series.positive => {
            format!("{}\n/\n{}\n", sum(CALLS, which, &by)?, sum(CALLS, of, &by)?)
        }
        Shape::Share(which, of) => {
            let all = sum(CALLS, of, &by)?;
            format!("({} or 0 * {all}) / ({all} > 0)", sum(CALLS, which, &by)?)
        }
        Shape::Seconds(which) => sum(&format!("{DURATION}_sum"), which, &by)?,
        Shape::Counter(metric, which) => sum(metric, which, &by)?,
        Shape::SecondsAbove(which) => {
            let slow = source.number("slow_seconds")?;
            let bounds = source.signals.bounds.iter().copied();
            let bounds: Vec<f64> = bounds.filter(|bound| *bound >= slow).collect();
            let bucket = |le: &str| {
                sum_at(&format!("{DURATION}_bucket"), which, &format!("le=\"{le}\""), &by)
            };
            let (least, most) = (bounds.first().copied(), bounds.last().copied());
            let whole = most.unwrap_or_default() - least.unwrap_or_default();
            let mut text = format!("{whole} * {}", bucket("+Inf")?);
            for pair in bounds.windows(2) {
                let _ =
                    write!(text, " - {} * {}", pair[1] - pair[0], bucket(&pair[1].to_string())?);
            }
            format!("clamp_min({text}, 0)")
        }
        Shape::Quantile(quantile, among) => {
            let by: Vec<&str> = by.iter().copied().chain(["le"]).collect();
            let buckets = sum(&format!("{DURATION}_bucket"), among, &by)?;
            format!("histogram_quantile({quantile}, {buckets})")
        }
        Shape::Recorded(rule) => format!("{rule}{{{SERVERS}}}"),
        Shape::Expression(text) => source.expand(text)?,
    };
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
