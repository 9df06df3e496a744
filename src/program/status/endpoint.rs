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
    /// The result.
    pub(super) collector: Collector,
    /// The collector's message.
    pub(super) detail: Printable,
}

impl Endpoint {
    /// Sends the collector an empty batch. `report` says where the setting's value came from.
    pub(super) fn try_out(settings: &Settings, report: Option<&SettingReport>) -> Self {
        let url = report.map(|report| report.value.as_str().into()).unwrap_or_default();
        if settings.endpoint.is_none() {
            let detail =
                "no setting names a collector, so operations are recorded and not sent".into();
            return Self { url, collector: Collector::Unnamed, detail };
        }
        // Without the agent's headers, the answer would not show what the agent gets.
        if settings.withheld.is_some() {
            let detail = "not tried: only administrators can read its headers".into();
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
