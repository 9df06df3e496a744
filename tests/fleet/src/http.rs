//! Requests to the servers, all on loopback.

use crate::Result;
use serde_json::Value;
use std::time::Duration;

/// The largest answer that is read: a day's samples of a fleet.
const LARGEST: u64 = 1 << 30;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .into()
}

/// The JSON that an address answers with, whatever the status.
pub fn get_json(url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let request = agent().get(url).query_pairs(parameters.iter().copied());
    let mut answer = request.call().map_err(|error| format!("{url}: {error}"))?;
    let text = answer.body_mut().with_config().limit(LARGEST).read_to_string()?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{url}: {error}: {text}"))?)
}

/// Asks an address to do something.
pub fn post(url: &str) -> Result<()> {
    let answer = agent().post(url).send_empty().map_err(|error| format!("{url}: {error}"))?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("{url}: status {}", answer.status()).into())
    }
}

/// Whether an address answers with success.
pub fn is_well(url: &str) -> bool {
    agent().get(url).call().is_ok_and(|answer| answer.status().is_success())
}
