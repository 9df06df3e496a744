//! Whether the collector takes spans.

use super::verdict::Collector;
use crate::answer::Failure;
use crate::guard::may_have_secrets;
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
        let url = report.map(|report| report.value.as_str().into()).unwrap_or_default();
        if settings.endpoint.is_none() {
            let detail = "no setting names a collector: recorded, not sent".into();
            return Self { url, collector: Collector::Unnamed, detail };
        }
        // Without the headers that the agent sends it would say nothing about the agent.
        if settings.withheld.is_some() {
            let detail = "not tried: administrators alone read the headers for it".into();
            return Self { url, collector: Collector::Untried, detail };
        }
        let mut courier = Courier::new(settings.clone()).of_agent(may_have_secrets);
        let (collector, detail) = match courier.probe() {
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
            Verdict::Later { reason, cause: Cause::Withheld, .. } => (Collector::Withheld, reason),
            Verdict::Later { reason, cause: Cause::Busy | Cause::Failing, .. } => {
                (Collector::Away, format!("takes nothing now: {reason}"))
            }
            Verdict::Later { reason, .. } => {
                (Collector::Away, format!("does not answer: {reason}"))
            }
        };
        Self { url, collector, detail: detail.into() }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Self { url, collector, detail } = self;
        match collector {
            Collector::Accepts => writeln!(out, "\nEndpoint: {url} ok: {detail}")?,
            Collector::Untried => writeln!(out, "\nEndpoint: {url} {detail}")?,
            _ => writeln!(out, "\nEndpoint: {url} FAILED: {detail}")?,
        }
        Ok(())
    }
}
