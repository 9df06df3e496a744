//! A Jaeger that is asked.

use crate::{Result, http};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Traces of simulated time may be dated a day before and after now.
const SPAN_OF_TIME: Duration = Duration::from_secs(2 * 86_400);

/// A running Jaeger.
#[derive(Clone, Debug)]
pub struct Jaeger {
    url: String,
}

/// A search for traces, in the terms of Grafana's data source.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `service.name`.
    pub service: String,
    /// Tags in logfmt: `host.name=pc-1 mpr.outcome=failure`.
    pub tags: String,
    /// The shortest duration, such as `2500ms`; empty for any.
    pub least: String,
    /// The most traces that are answered.
    pub limit: u64,
}

impl Jaeger {
    /// The one at this address.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// The spans that are found.
    pub fn spans(&self, search: &Search) -> Result<Vec<Value>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let start = (now - SPAN_OF_TIME).as_micros().to_string();
        let end = (now + SPAN_OF_TIME).as_micros().to_string();
        let tags: Map<String, Value> = search
            .tags
            .split_whitespace()
            .filter_map(|tag| tag.split_once('='))
            .map(|(name, value)| (name.to_owned(), Value::from(value.trim_matches('"'))))
            .collect();
        let (tags, limit) = (Value::from(tags).to_string(), search.limit.to_string());
        let mut parameters = vec![
            ("service", search.service.as_str()),
            ("tags", &tags),
            ("limit", &limit),
            ("start", &start),
            ("end", &end),
        ];
        if !search.least.is_empty() {
            parameters.push(("minDuration", &search.least));
        }
        let answer = http::get_json(&format!("{}/api/traces", self.url), &parameters)?;
        let traces = answer["data"].as_array().ok_or_else(|| format!("no traces: {answer}"))?;
        Ok(traces
            .iter()
            .flat_map(|trace| trace["spans"].as_array().cloned().unwrap_or_default())
            .collect())
    }
}
