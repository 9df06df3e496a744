//! A Prometheus that is asked.

use crate::{Result, http};
use serde_json::Value;
use std::collections::BTreeMap;

/// The labels of a series, without its name.
pub type Labels = BTreeMap<String, String>;

/// One series of an answer to an instant query.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Labels,
    /// Its value at the instant.
    pub value: f64,
}

/// One series of an answer to a range query.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its labels.
    pub labels: Labels,
    /// Times in seconds since 1970, and values.
    pub points: Vec<(f64, f64)>,
}

/// A running Prometheus.
#[derive(Clone, Debug)]
pub struct Prometheus {
    url: String,
}

impl Prometheus {
    /// The one at this address.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to an instant query, at a time in seconds since 1970 or now.
    pub fn query(&self, expression: &str, at: Option<f64>) -> Result<Vec<Sample>> {
        let at = at.map(|at| at.to_string());
        let mut parameters = vec![("query", expression)];
        parameters.extend(at.as_deref().map(|at| ("time", at)));
        let data = self.data("/api/v1/query", &parameters)?;
        let result = &data["result"];
        match data["resultType"].as_str() {
            Some("vector") => list(result)?
                .iter()
                .map(|series| {
                    Ok(Sample { labels: labels(series)?, value: number(&series["value"][1])? })
                })
                .collect(),
            Some("scalar") => {
                Ok(vec![Sample { labels: Labels::new(), value: number(&result[1])? }])
            }
            other => Err(format!("{expression}: an answer of type {other:?}").into()),
        }
    }

    /// A single number; 0 where there is none.
    pub fn number(&self, expression: &str, at: Option<f64>) -> Result<f64> {
        match self.query(expression, at)?.as_slice() {
            [] => Ok(0.0),
            [one] => Ok(one.value),
            many => Err(format!("{expression}: more than a number: {many:?}").into()),
        }
    }

    /// The answer to a range query; times and step in seconds.
    pub fn range(&self, expression: &str, (from, to): (f64, f64), step: f64) -> Result<Vec<Track>> {
        let (from, to, step) = (from.to_string(), to.to_string(), step.to_string());
        let parameters =
            [("query", expression), ("start", &from), ("end", &to), ("step", step.as_str())];
        let data = self.data("/api/v1/query_range", &parameters)?;
        list(&data["result"])?.iter().map(track).collect()
    }

    /// Every sample of the selected series, as stored.
    pub fn samples(&self, selector: &str, seconds: f64, at: f64) -> Result<Vec<Track>> {
        let expression = format!("{selector}[{}ms]", (seconds * 1e3).ceil());
        let at = at.to_string();
        let data = self.data("/api/v1/query", &[("query", &expression), ("time", &at)])?;
        list(&data["result"])?.iter().map(track).collect()
    }

    /// Asks for something to be done.
    pub fn post(&self, path: &str) -> Result<()> {
        http::post(&format!("{}{path}", self.url))
    }

    /// What an endpoint of the API says under `data`.
    pub fn data(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let answer = http::get_json(&format!("{}{path}", self.url), parameters)?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(format!("{path} {parameters:?}: {answer}").into()),
        }
    }
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().ok_or_else(|| format!("no list: {value}").into())
}

fn track(series: &Value) -> Result<Track> {
    let points = list(&series["values"])?.iter().map(|point| {
        let time = point[0].as_f64().ok_or_else(|| format!("no time: {point}"))?;
        Ok((time, number(&point[1])?))
    });
    Ok(Track { labels: labels(series)?, points: points.collect::<Result<_>>()? })
}

fn labels(series: &Value) -> Result<Labels> {
    let metric = series["metric"].as_object().ok_or_else(|| format!("no labels: {series}"))?;
    let named = metric.iter().filter(|(name, _)| *name != "__name__");
    Ok(named.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect())
}

/// Prometheus writes numbers as text, for the sake of NaN and infinity.
fn number(value: &Value) -> Result<f64> {
    let text = value.as_str().ok_or_else(|| format!("no number: {value}"))?;
    Ok(text.parse()?)
}
