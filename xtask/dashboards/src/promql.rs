//! The query of a series.

use crate::source::{Over, Series, Source};
use crate::{Error, Result};

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
    ///
    /// # Errors
    /// It says so in no way, or in more than one.
    pub fn shape(&self) -> Result<Shape<'_>> {
        let of = self.of.as_deref();
        let among = self.among.as_deref();
        let shapes = [
            self.count.as_deref().map(|which| Shape::Count(which, of)),
            self.share.as_deref().zip(of).map(|(which, of)| Shape::Share(which, of)),
            self.seconds.as_deref().map(Shape::Seconds),
            self.quantile.zip(among).map(|(quantile, among)| Shape::Quantile(quantile, among)),
            self.counter.as_deref().map(|metric| Shape::Counter(metric, among.unwrap_or("any"))),
            self.recorded.as_deref().map(Shape::Recorded),
            self.expr.as_deref().map(Shape::Expression),
        ];
        let mut shapes = shapes.into_iter().flatten();
        match (shapes.next(), shapes.next()) {
            (Some(shape), None) => Ok(shape),
            _ => Err(Error::new(format!("{self:?}"), "shows nothing, or more than one thing")),
        }
    }
}

/// The PromQL of a series.
///
/// # Errors
/// It shows nothing, or names what there is not.
pub fn query(source: &Source, series: &Series) -> Result<String> {
    let base = format!("<{}>", series.base.as_deref().unwrap_or("chosen"));
    let base = source.expand(&base)?;
    let sum = |metric: &str, which: &str, by: &[&str]| -> Result<String> {
        let (function, range, factor) = match &series.over {
            Over::Range => ("increase", "$__range", ""),
            Over::Second => ("rate", "$__rate_interval", ""),
            Over::Minute => ("rate", "$__rate_interval", "60 * "),
            Over::Last(range) => ("increase", range.as_str(), ""),
        };
        let which = source.signals.selections.get(which).ok_or_else(|| {
            Error::new("signals.yaml", format!("there is no selection {which:?}"))
        })?;
        let matchers = if which.is_empty() { base.clone() } else { format!("{base}, {which}") };
        let by = if by.is_empty() { String::new() } else { format!(" by ({}) ", by.join(", ")) };
        Ok(format!("{factor}sum{by}({function}({metric}{{{matchers}}}[{range}]))"))
    };
    let mut by: Vec<&str> = series.by.iter().map(String::as_str).collect();
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
        Shape::Quantile(quantile, among) => {
            by.push("le");
            let buckets = sum(&format!("{DURATION}_bucket"), among, &by)?;
            format!("histogram_quantile({quantile}, {buckets})")
        }
        Shape::Recorded(rule) => format!("{rule}{{{SERVERS}}}"),
        Shape::Expression(text) => source.expand(text)?,
    };
    Ok(match (series.positive, text.ends_with('\n')) {
        (false, _) => text,
        (true, true) => text + "> 0",
        (true, false) => text + " > 0",
    })
}
