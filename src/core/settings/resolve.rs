//! The rule that picks one value among the sources.

use super::list::Setting;
use super::{Lookup, Malformed, Origin, Report};

/// Resolves one setting after another and keeps the reports.
pub(super) struct Resolver<'a> {
    lookup: &'a dyn Lookup,
    ignore_otel: bool,
    reports: Vec<Report>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(lookup: &'a dyn Lookup) -> Self {
        Self { lookup, ignore_otel: false, reports: Vec::new() }
    }

    /// Whether the settings that follow skip OpenTelemetry's own variables.
    pub(super) fn ignore_otel(&mut self, ignore: bool) {
        self.ignore_otel = ignore;
    }

    /// Where the last setting's value came from.
    pub(super) fn origin(&self) -> Origin {
        self.reports.last().map_or(Origin::Default, |report| report.origin)
    }

    pub(super) fn setting<T>(&mut self, setting: &Setting<T>) -> T {
        let mut malformed = None;
        let (value, origin) = match self.first(setting) {
            None => ((setting.default)(), Origin::Default),
            Some((origin, text)) => match (setting.parse)(&text, origin) {
                Ok(value) => (value, origin),
                Err(problem) => {
                    malformed = Some(Malformed { origin, problem });
                    ((setting.default)(), Origin::Default)
                }
            },
        };
        let shown = (setting.show)(&value);
        self.reports.push(Report { name: setting.name, value: shown, origin, malformed });
        value
    }

    pub(super) fn into_reports(self) -> Vec<Report> {
        self.reports
    }

    /// The highest source that has a value.
    fn first<T>(&self, setting: &Setting<T>) -> Option<(Origin, String)> {
        let filled = |value: Option<String>| {
            value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let name = setting.name;
        filled(self.lookup.policy(name.registry))
            .map(|text| (Origin::Policy, text))
            .or_else(|| {
                filled(self.lookup.machine(name.registry)).map(|text| (Origin::Registry, text))
            })
            .or_else(|| {
                filled(self.lookup.environment(name.variable))
                    .map(|text| (Origin::Environment, text))
            })
            .or_else(|| {
                let variables = if self.ignore_otel { &[] } else { setting.otel };
                variables.iter().find_map(|variable| {
                    filled(self.lookup.environment(variable))
                        .map(|text| (Origin::OtelEnvironment(variable), text))
                })
            })
    }
}
