//! What every span says of its machine.

use crate::platform;
use crate::settings::Settings;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// Which machine telemetry is of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `host.name`.
    pub name: Option<String>,
    /// `host.id`.
    pub id: Option<String>,
    /// `os.type`.
    pub os: &'static str,
}

impl Machine {
    /// The machine that this runs on.
    pub fn this() -> Self {
        Self { name: platform::host_name(), id: platform::host_id(), os: platform::OS_TYPE }
    }
}

/// The OTLP resource of a machine: the same for all of its processes, so that the metrics a
/// Collector derives from spans are not split by process.
pub fn resource(settings: &Settings, machine: Machine) -> Resource {
    named(settings, settings.service_name.clone(), None, machine)
}

/// The resource of the agent's telemetry about itself: a service of its own, so that its spans
/// are never counted as connection operations, and an instance for each machine.
pub fn agent_resource(settings: &Settings, machine: Machine) -> Resource {
    let instance = machine.id.clone().or_else(|| machine.name.clone());
    named(settings, format!("{}-agent", settings.service_name), instance, machine)
}

fn named(
    settings: &Settings,
    service: String,
    instance: Option<String>,
    machine: Machine,
) -> Resource {
    let mut attributes: Vec<KeyValue> = settings
        .resource_attributes
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    attributes.extend([
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("os.type", machine.os),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.version", SDK_VERSION),
    ]);
    attributes.extend(instance.map(|id| KeyValue::new("service.instance.id", id)));
    attributes.extend(machine.name.map(|name| KeyValue::new("host.name", name)));
    attributes.extend(machine.id.map(|id| KeyValue::new("host.id", id)));
    // Empty: the default builder would read the host's OTEL_RESOURCE_ATTRIBUTES.
    Resource::builder_empty().with_attributes(attributes).build()
}

/// Version of `opentelemetry_sdk`, set by the build script from Cargo.lock.
const SDK_VERSION: &str = env!("MPR_OTEL_SDK_VERSION");
