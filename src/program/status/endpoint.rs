//! Whether the collector takes spans.

use super::verdict::Collector;
use crate::answer::Failure;
use crate::printable::Printable;
use mpr_otel_core::courier::{Cause, Courier, Verdict};
use mpr_otel_core::settings::{SettingReport, Settings};
use serde::Serialize;
use std::io::Write;

/// The collector's answer to an empty batch.
#[derive(Debug, Serialize)]
pub(super) struct Endpoint {
    pub(super) url: Printable,
    /// What it did with the batch.
    pub(super) collector: Collector,
    /// What it said.
    pub(super) detail: Printable,
}

impl Endpoint {
    /// Sends it an empty batch. `report`: how the setting came to its value.
    pub(super) fn try_out(settings: &Settings, report: Option<&SettingReport>) -> Self {
        let (collector, detail) = match Courier::new(settings.clone()).probe() {
            _ if settings.endpoint.is_none() => {
                (Collector::Unnamed, "no setting names a collector: recorded, not sent".to_owned())
            }
            Verdict::Accepted { message, .. } if message.is_empty() => {
                (Collector::Accepts, "accepts spans".to_owned())
            }
            Verdict::Accepted { message, .. } => {
                (Collector::Accepts, format!("accepts spans and says: {message}"))
            }
            Verdict::Refused { reason }
            | Verdict::Divide { reason }
            | Verdict::Later { reason, cause: Cause::Setup, .. } => {
                (Collector::Refuses, format!("refuses: {reason}"))
            }
            Verdict::Later { reason, cause: Cause::Busy | Cause::Failing, .. } => {
                (Collector::Away, format!("takes nothing now: {reason}"))
            }
            Verdict::Later { reason, .. } => {
                (Collector::Away, format!("does not answer: {reason}"))
            }
        };
        let url = report.map(|report| report.value.as_str().into());
        Self { url: url.unwrap_or_default(), collector, detail: detail.into() }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let sign = if self.collector == Collector::Accepts { "ok" } else { "FAILED" };
        writeln!(out, "\nEndpoint: {} {sign}: {}", self.url, self.detail)?;
        Ok(())
    }
}
