//! The OTLP resources: what spans and metrics say about their machine.

use crate::attribute::{Attributes, resource};
use crate::machine::Machine;
use crate::settings::Settings;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// The OTLP resource of a machine. It is the same for all of the machine's processes, so that the
/// metrics that a Collector derives from spans are not split by process.
pub fn resource(settings: &Settings, machine: Machine) -> Resource {
    named(settings, settings.service_name.clone(), None, machine)
}

/// The resource of the agent's telemetry about itself. It has another service name, so that its
/// spans are never counted as connection operations, and one instance for each machine.
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
    list.add_some(&resource::HOST_ARCH, machine.arch);
    list.add(&resource::OS_TYPE, machine.os);
    list.add_some(&resource::OS_VERSION, machine.os_version);
    list.add_some(&resource::OS_BUILD_ID, machine.os_build);
    list.add_some(&resource::SITE, machine.site);
    list.add(&resource::TELEMETRY_SDK_NAME, "opentelemetry");
    list.add(&resource::TELEMETRY_SDK_LANGUAGE, "rust");
    list.add(&resource::TELEMETRY_SDK_VERSION, SDK_VERSION);
    let further = settings.resource_attributes.iter();
    #[allow(clippy::disallowed_methods)] // Their keys are a setting.
    let further = further.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    // Built from an empty builder: the default builder would read the host's
    // OTEL_RESOURCE_ATTRIBUTES. The last value of a key counts, so a known value wins over a
    // setting.
    Resource::builder_empty().with_attributes(further).with_attributes(list.into_list()).build()
}

/// Version of `opentelemetry_sdk`, set by the build script from Cargo.lock.
const SDK_VERSION: &str = env!("MPR_OTEL_SDK_VERSION");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::System;
    use opentelemetry::Key;

    fn get(resource: &Resource, key: &'static str) -> Option<String> {
        resource.get(&Key::from_static_str(key)).map(|value| value.to_string())
    }

    #[test]
    fn a_setting_adds_attributes_and_does_not_change_known_ones() {
        let named = |key: &str| (key.to_owned(), "named".to_owned());
        let keys = ["host.arch", "os.version", "os.build_id", "host.id", "host.name", "mpr.site"];
        let mut settings = Settings::resolve(&System::host());
        settings.resource_attributes =
            keys.into_iter().chain(["os.type", "team"]).map(named).collect();
        let unknown = Machine {
            name: None,
            id: None,
            arch: None,
            os: "windows",
            os_version: None,
            os_build: None,
            site: None,
        };
        let known = || Some("known".to_owned());
        let machine = Machine {
            name: known(),
            id: known(),
            arch: known(),
            os: "windows",
            os_version: known(),
            os_build: known(),
            site: known(),
        };
        let resource = |machine| super::resource(&settings, machine);
        let (unknown, machine) = (resource(unknown), resource(machine));
        for key in keys {
            assert_eq!(get(&machine, key).as_deref(), Some("known"), "{key}");
            assert_eq!(get(&unknown, key).as_deref(), Some("named"), "{key}");
        }
        assert_eq!(get(&unknown, "os.type").as_deref(), Some("windows"));
        assert_eq!(get(&machine, "team").as_deref(), Some("named"));
    }
}
