//! Chooses one value for a setting among its sources.

use super::lookup::Lookup;
use super::reading::{Reading, RegistryError, Unusable, filled, is_on};
use super::table::{Context, Name, Setting};
use super::{ALLOW_INSECURE, ENDPOINT, Malformed, Reports, SettingReport, Source};

/// Resolves the settings one after another.
pub(super) struct Resolver<'a> {
    lookup: &'a dyn Lookup,
    allow_insecure: bool,
    /// The source of the endpoint, once the endpoint is resolved.
    endpoint: Option<Source>,
    unreadable: Option<RegistryError>,
    withheld: Option<RegistryError>,
    /// `None` if no reports were asked for.
    reports: Option<Vec<SettingReport>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(lookup: &'a dyn Lookup) -> Self {
        let name = Name { registry: ALLOW_INSECURE };
        let environment = Ok(lookup.environment(&name.variable()));
        Self {
            lookup,
            allow_insecure: is_on([
                lookup.policy(name.registry),
                lookup.machine(name.registry),
                environment,
            ]),
            endpoint: None,
            unreadable: None,
            withheld: None,
            reports: None,
        }
    }

    pub(super) fn with_reports(lookup: &'a dyn Lookup) -> Self {
        Self { reports: Some(Vec::new()), ..Self::new(lookup) }
    }

    pub(super) fn setting<T>(&mut self, setting: &Setting<T>) -> T {
        let mut malformed = None;
        let mut refused = |source, problem| {
            malformed = Some(Malformed { source, problem });
            ((setting.default)(), Source::Default)
        };
        let (value, source) = match self.first(setting) {
            Ok(None) => ((setting.default)(), Source::Default),
            Ok(Some((source, text))) => {
                let context = Context { source, allow_insecure: self.allow_insecure };
                match (setting.parse)(&text, &context) {
                    Ok(value) => (value, source),
                    Err(problem) => refused(source, problem),
                }
            }
            Err((source, Unusable::Malformed(problem))) => refused(source, problem),
            // This process must not read the agent's key. That does not disable the process.
            Err((Source::Agent, Unusable::Unreadable(error))) => {
                self.withheld.get_or_insert(error);
                ((setting.default)(), Source::Agent)
            }
            Err((source, Unusable::Unreadable(error))) => {
                self.unreadable.get_or_insert(error);
                refused(source, error.to_string())
            }
        };
        if setting.name.registry == ENDPOINT {
            self.endpoint = Some(source);
        }
        if let Some(reports) = &mut self.reports {
            let shown = match source {
                Source::Agent if self.withheld.is_some() => "administrators read it".to_owned(),
                _ => (setting.show)(&value),
            };
            let exposed = exposed(self.lookup, setting);
            reports.push(SettingReport {
                name: setting.name,
                value: shown,
                source,
                malformed,
                exposed,
            });
        }
        value
    }

    /// The registry key that could not be read, if there is one.
    pub(super) fn unreadable(&self) -> Option<RegistryError> {
        self.unreadable
    }

    /// The agent's key, if this process could not read it.
    pub(super) fn withheld(&self) -> Option<RegistryError> {
        self.withheld
    }

    pub(super) fn into_reports(self) -> Reports {
        Reports(self.reports.unwrap_or_default())
    }

    /// The value of the highest source that has one.
    fn first<T>(
        &self,
        setting: &Setting<T>,
    ) -> Result<Option<(Source, String)>, (Source, Unusable)> {
        let Name { registry } = setting.name;
        if setting.secret
            && let Some(reading) = self.lookup.secret(registry)
        {
            return self.secret(reading).map_err(|unusable| (Source::Agent, unusable));
        }
        let registries = [
            (Source::Policy, self.lookup.policy(registry)),
            (Source::Registry, self.lookup.machine(registry)),
        ];
        for (source, reading) in registries {
            if let Some(text) = filled(reading.map_err(|unusable| (source, unusable))?) {
                return Ok(Some((source, text)));
            }
        }
        if setting.of_registry_alone {
            return Ok(None);
        }
        if let Some(text) = filled(self.lookup.environment(&setting.name.variable())) {
            return Ok(Some((Source::Environment, text)));
        }
        let counts = !setting.of_endpoint || self.endpoint_may_be_the_hosts();
        let variables = if counts { setting.otel } else { &[] };
        Ok(variables.iter().find_map(|variable| {
            let text = filled(self.lookup.open_telemetry(variable))?;
            Some((Source::OtelEnvironment(variable), text))
        }))
    }

    /// The secret in the agent's key. It is not sent to an endpoint that a user named.
    fn secret(&self, reading: Reading) -> Result<Option<(Source, String)>, Unusable> {
        let Some(text) = filled(reading?) else { return Ok(None) };
        match self.endpoint {
            Some(Source::Environment | Source::OtelEnvironment(_)) => Err(Unusable::Malformed(
                "not sent to an endpoint that the environment names; set Endpoint in the registry"
                    .to_owned(),
            )),
            _ => Ok(Some((Source::Agent, text))),
        }
    }

    /// Whether OpenTelemetry's variables count for settings that belong to the endpoint.
    /// Credentials and trust belong to one endpoint: OpenTelemetry's headers are not sent to an
    /// endpoint that another source named.
    fn endpoint_may_be_the_hosts(&self) -> bool {
        matches!(self.endpoint, Some(Source::OtelEnvironment(_) | Source::Default))
    }
}

/// The source in which every user can read this secret, if there is one. The secret is not used
/// from there.
fn exposed<T>(lookup: &dyn Lookup, setting: &Setting<T>) -> Option<Source> {
    let Name { registry } = setting.name;
    if !setting.secret || lookup.secret(registry).is_none() {
        return None;
    }
    let stands = |reading: Reading| match reading {
        Ok(text) => filled(text).is_some(),
        // A value of any type counts, because somebody wrote it there.
        Err(Unusable::Malformed(_)) => true,
        Err(Unusable::Unreadable(_)) => false,
    };
    match (stands(lookup.policy(registry)), stands(lookup.machine(registry))) {
        (true, _) => Some(Source::Policy),
        (false, true) => Some(Source::Registry),
        (false, false) => None,
    }
}
