//! Where raw values are read.

use super::ENDPOINT;

/// The sources of raw values. An empty value counts as unset.
pub trait Lookup {
    /// Value `name` of the group policy's registry key.
    fn policy(&self, name: &str) -> Option<String>;
    /// Value `name` of the installer's registry key.
    fn machine(&self, name: &str) -> Option<String>;
    /// Variable `name` of the process' environment.
    fn environment(&self, name: &str) -> Option<String>;
}

/// Under `HKEY_LOCAL_MACHINE`: what group policy writes.
#[cfg(windows)]
pub const POLICY_KEY: &str = r"SOFTWARE\Policies\mpr-otel";
/// Under `HKEY_LOCAL_MACHINE`: what the installer writes.
#[cfg(windows)]
pub const MACHINE_KEY: &str = r"SOFTWARE\mpr-otel";

/// This machine and this process.
#[derive(Debug)]
pub struct System {
    #[cfg(windows)]
    policy: Option<windows_registry::Key>,
    #[cfg(windows)]
    machine: Option<windows_registry::Key>,
}

impl System {
    /// Opens the registry keys, where there are any.
    pub fn open() -> Self {
        #[cfg(windows)]
        {
            // The 64-bit view, so that a 32-bit host reads the same settings.
            let open =
                |path| windows_registry::LOCAL_MACHINE.options().read().wow64_64().open(path).ok();
            Self { policy: open(POLICY_KEY), machine: open(MACHINE_KEY) }
        }
        #[cfg(not(windows))]
        Self {}
    }
}

impl Lookup for System {
    #[cfg(windows)]
    fn policy(&self, name: &str) -> Option<String> {
        registry_value(self.policy.as_ref()?, name)
    }

    #[cfg(windows)]
    fn machine(&self, name: &str) -> Option<String> {
        registry_value(self.machine.as_ref()?, name)
    }

    #[cfg(not(windows))]
    fn policy(&self, _name: &str) -> Option<String> {
        None
    }

    #[cfg(not(windows))]
    fn machine(&self, _name: &str) -> Option<String> {
        None
    }

    fn environment(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// What `lookup` says, but for the endpoint if one is given: that one wins.
#[derive(Debug)]
pub struct WithEndpoint<'a, L> {
    lookup: L,
    endpoint: Option<&'a str>,
}

impl<'a, L: Lookup> WithEndpoint<'a, L> {
    /// With this endpoint, if any.
    pub fn new(lookup: L, endpoint: Option<&'a str>) -> Self {
        Self { lookup, endpoint }
    }
}

impl<L: Lookup> Lookup for WithEndpoint<'_, L> {
    fn policy(&self, name: &str) -> Option<String> {
        match self.endpoint {
            Some(endpoint) if name == ENDPOINT => Some(endpoint.to_owned()),
            _ => self.lookup.policy(name),
        }
    }

    fn machine(&self, name: &str) -> Option<String> {
        self.lookup.machine(name)
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.lookup.environment(name)
    }
}

/// A value as text, whatever its type: REG_DWORD in decimal, REG_MULTI_SZ joined by commas.
#[cfg(windows)]
fn registry_value(key: &windows_registry::Key, name: &str) -> Option<String> {
    use windows_registry::Type;
    match key.get_type(name).ok()? {
        Type::String => key.get_string(name).ok(),
        Type::ExpandString => key.get_string(name).ok().map(|text| crate::platform::expand(&text)),
        Type::U32 | Type::U64 => key.get_u64(name).ok().map(|number| number.to_string()),
        Type::MultiString => key.get_multi_string(name).ok().map(|items| items.join(",")),
        // Present, but of a type that no setting has: let the parser refuse it.
        _ => Some("(binary)".to_owned()),
    }
}
