//! The rule that picks one value among the sources.

use super::table::{Name, Setting};
use super::{ENDPOINT, Lookup, Malformed, SettingReport, Source};

/// Resolves one setting after another and keeps the reports.
pub(super) struct Resolver<'a> {
    lookup: &'a dyn Lookup,
    reports: Vec<SettingReport>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(lookup: &'a dyn Lookup) -> Self {
        Self { lookup, reports: Vec::new() }
    }

    pub(super) fn setting<T>(&mut self, setting: &Setting<T>) -> T {
        let mut malformed = None;
        let (value, source) = match self.first(setting) {
            None => ((setting.default)(), Source::Default),
            Some((source, text)) => match (setting.parse)(&text, source) {
                Ok(value) => (value, source),
                Err(problem) => {
                    malformed = Some(Malformed { source, problem });
                    ((setting.default)(), Source::Default)
                }
            },
        };
        let shown = (setting.show)(&value);
        self.reports.push(SettingReport { name: setting.name, value: shown, source, malformed });
        value
    }

    pub(super) fn into_reports(self) -> Vec<SettingReport> {
        self.reports
    }

    /// The highest source that has a value.
    fn first<T>(&self, setting: &Setting<T>) -> Option<(Source, String)> {
        let filled = |value: Option<String>| {
            value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let Name { registry } = setting.name;
        let own = |source, value| filled(value).map(|text| (source, text));
        own(Source::Policy, self.lookup.policy(registry))
            .or_else(|| own(Source::Registry, self.lookup.machine(registry)))
            .or_else(|| own(Source::Environment, self.lookup.environment(&setting.name.variable())))
            .or_else(|| {
                let counts = !setting.of_endpoint || self.endpoint_may_be_the_hosts();
                let variables = if counts { setting.otel } else { &[] };
                variables.iter().find_map(|variable| {
                    own(Source::OtelEnvironment(variable), self.lookup.environment(variable))
                })
            })
    }

    /// Credentials and trust belong to the endpoint they were meant for: a host's own OTLP headers
    /// never travel to an endpoint that somebody else configured.
    fn endpoint_may_be_the_hosts(&self) -> bool {
        let endpoint = self.reports.iter().find(|report| report.name.registry == ENDPOINT);
        endpoint.is_some_and(|report| {
            matches!(report.source, Source::OtelEnvironment(_) | Source::Default)
        })
    }
}
