//! The machine that the telemetry describes.

use crate::platform;
use hmac_sha256::Hash;
use std::sync::OnceLock;

/// The machine that the telemetry describes: `host.*` and `os.*` of the semantic conventions.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `host.name`.
    pub name: Option<String>,
    /// `host.id`, as [`host_id`] makes it.
    pub id: Option<String>,
    /// `host.arch`: the machine's architecture, which may differ from the process'.
    pub arch: Option<String>,
    /// `os.type`.
    pub os: &'static str,
    /// `os.version`.
    pub os_version: Option<String>,
    /// `os.build_id`.
    pub os_build: Option<String>,
    /// `mpr.site`: the Active Directory site.
    pub site: Option<String>,
}

impl Machine {
    /// The machine that this process runs on. Reads files or the registry, so only a thread that
    /// sends may call it, never a thread on which a notification came.
    pub fn this() -> Self {
        let id = Some(this_id().to_owned()).filter(|id| !id.is_empty());
        let (os_version, os_build) = platform::os_version();
        Self {
            name: platform::host_name(),
            id,
            arch: platform::machine_arch(),
            os: platform::OS_TYPE,
            os_version,
            os_build,
            site: platform::site().and_then(|text| site(&text)),
        }
    }
}

/// The id of this machine, read once. Only a thread that sends may call it, as with
/// [`Machine::this`].
fn this_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let installation = platform::installation_id().zip(platform::computer_name());
        installation.map(|(installation, name)| host_id(&installation, &name)).unwrap_or_default()
    })
}

/// `mpr.logon.id` of a logon to this machine: the first 16 hexadecimal digits of the SHA-256 of
/// `host.id`, the boot and the LUID. The boot and the LUID are eight bytes each, little endian.
pub fn logon_id(boot_id: u64, luid: u64) -> String {
    let mut hash = Hash::new();
    hash.update(this_id());
    hash.update(boot_id.to_le_bytes());
    hash.update(luid.to_le_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `host.id`: 64 lower-case hexadecimal digits of a SHA-256. It is the hash of the installation's
/// id, one byte 0, and the computer's name; both texts are UTF-8 in Unicode's lower case.
///
/// The id of the installation is MachineGuid on Windows and the machine id on Linux. Machines that
/// were cloned from one image have the same id and different names.
pub fn host_id(installation: &str, computer_name: &str) -> String {
    let mut hash = Hash::new();
    hash.update(installation.to_lowercase());
    hash.update([0]);
    hash.update(computer_name.to_lowercase());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a site without the NULs and blanks around it; `None` if nothing is left.
fn site(text: &str) -> Option<String> {
    let text = text.trim_matches(|character: char| character == '\0' || character.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "6F1C2B3A-0D4E-4A5B-8C6D-7E8F90A1B2C3";

    #[test]
    fn the_id_is_the_hash_that_other_tools_compute() {
        // printf '6f1c2b3a-0d4e-4a5b-8c6d-7e8f90a1b2c3\0desk-17' | sha256sum
        let known = "fd00816ca7e14c7cc2eb4d68a0bb259aa2176952822c8cd1ad0304a428575d85";
        assert_eq!(host_id(GUID, "DESK-17"), known);
        assert_eq!(host_id(&GUID.to_lowercase(), "desk-17"), known);
        // printf '6f1c2b3a-0d4e-4a5b-8c6d-7e8f90a1b2c3\0büro' | sha256sum
        assert_eq!(
            host_id(GUID, "BÜRO"),
            "29ee423b8918870408053708c7b78f8fa6cebf2f35b3f28924b72ae2ce88a731"
        );
    }

    #[test]
    fn clones_with_one_guid_have_ids_of_their_own() {
        assert_ne!(host_id(GUID, "desk-17"), host_id(GUID, "desk-18"));
        // The byte between the two texts separates them.
        assert_ne!(host_id("ab", "c"), host_id("a", "bc"));
    }

    #[test]
    fn a_sites_name_has_no_nuls_and_blanks_around_it() {
        assert_eq!(site("Berlin-Mitte").as_deref(), Some("Berlin-Mitte"));
        assert_eq!(
            site("Default-First-Site-Name\0\0 ").as_deref(),
            Some("Default-First-Site-Name")
        );
        assert_eq!(site(" North Wing \r\n").as_deref(), Some("North Wing"));
        for nothing in ["", "\0", " \0 \0"] {
            assert_eq!(site(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn this_machine_has_an_architecture_and_an_id_of_the_right_shape() {
        let machine = Machine::this();
        assert!(machine.arch.is_some_and(|arch| !arch.is_empty()));
        if let Some(id) = machine.id {
            assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
}
