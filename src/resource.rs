//! What every span says of its machine.

use crate::platform;
use crate::settings::Settings;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// The OTLP resource of this machine: the same for all of its processes, so that the metrics a
/// Collector derives from spans are not split by process.
pub fn resource(settings: &Settings) -> Resource {
    named(settings, settings.service_name.clone(), None)
}

/// The resource of the agent's telemetry about itself: a service of its own, so that its spans
/// are never counted as connection operations, and an instance for each machine.
pub fn agent_resource(settings: &Settings) -> Resource {
    let instance = platform::host_id().or_else(platform::host_name);
    named(settings, format!("{}-agent", settings.service_name), instance)
}

fn named(settings: &Settings, service: String, instance: Option<String>) -> Resource {
    let mut attributes: Vec<KeyValue> = settings
        .resource_attributes
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    attributes.extend([
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("os.type", platform::OS_TYPE),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.version", SDK_VERSION),
    ]);
    attributes.extend(instance.map(|id| KeyValue::new("service.instance.id", id)));
    attributes.extend(platform::host_name().map(|name| KeyValue::new("host.name", name)));
    attributes.extend(platform::host_id().map(|id| KeyValue::new("host.id", id)));
    // Empty: the default builder would read the host's OTEL_RESOURCE_ATTRIBUTES.
    Resource::builder_empty().with_attributes(attributes).build()
}

/// Version of `opentelemetry_sdk`, set by the build script from Cargo.lock.
const SDK_VERSION: &str = env!("MPR_OTEL_SDK_VERSION");
