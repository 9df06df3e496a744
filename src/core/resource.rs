//! What every span says of its machine.

use crate::attribute::{Attributes, resource};
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
    let mut list = Attributes::default();
    list.add(&resource::SERVICE_NAME, service);
    list.add(&resource::SERVICE_VERSION, env!("CARGO_PKG_VERSION"));
    list.add_some(&resource::SERVICE_INSTANCE_ID, instance);
    list.add_some(&resource::HOST_NAME, machine.name);
    list.add_some(&resource::HOST_ID, machine.id);
    list.add(&resource::OS_TYPE, machine.os);
    list.add(&resource::TELEMETRY_SDK_NAME, "opentelemetry");
    list.add(&resource::TELEMETRY_SDK_LANGUAGE, "rust");
    list.add(&resource::TELEMETRY_SDK_VERSION, SDK_VERSION);
    let further = settings.resource_attributes.iter();
    // Empty: the default builder would read the host's OTEL_RESOURCE_ATTRIBUTES. What is ours comes
    // last, and so wins.
    Resource::builder_empty()
        .with_attributes(further.map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .with_attributes(list.into_list())
        .build()
}

/// Version of `opentelemetry_sdk`, set by the build script from Cargo.lock.
const SDK_VERSION: &str = env!("MPR_OTEL_SDK_VERSION");
