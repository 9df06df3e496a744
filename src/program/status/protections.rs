//! Windows' own protections that decide which DLLs programs load, as the registry sets them.
//!
//! These are facts and not causes. Whether they refuse the DLL is shown by the trial of loading it.

#![cfg_attr(not(windows), allow(dead_code))] // Windows alone has a registry.

use crate::answer::Failure;
use crate::printable::Printable;
use serde::Serialize;
use std::io::Write;

/// A registry value that switches a protection.
#[derive(Debug, Serialize)]
pub(super) struct Protection {
    /// The protection's name.
    pub(super) name: &'static str,
    /// The registry value, below `HKEY_LOCAL_MACHINE`.
    pub(super) registry: Printable,
    /// The value; `None` if it is not set.
    pub(super) value: Option<Printable>,
    /// What the value means, if Microsoft documents it.
    pub(super) meaning: Option<&'static str>,
}

/// The place of a protection in the registry, and the meaning of its values.
struct Row {
    name: &'static str,
    key: &'static str,
    value: &'static str,
    meanings: &'static [(u32, &'static str)],
}

/// Each row names the page of Microsoft's documentation that has the value.
const ROWS: &[Row] = &[
    // "Test your app with Smart App Control": 0 off, 1 on, 2 evaluation.
    Row {
        name: "smart_app_control",
        key: r"SYSTEM\CurrentControlSet\Control\CI\Policy",
        value: "VerifiedAndReputablePolicyState",
        meanings: &[
            (0, "off"),
            (1, "on: DLLs need a signature or a reputation"),
            (2, "evaluation: nothing is refused"),
        ],
    },
    // "Deploy App Control policies by using Group Policy"; DeviceGuard.admx.
    Row {
        name: "app_control_policy",
        key: r"SOFTWARE\Policies\Microsoft\Windows\DeviceGuard",
        value: "DeployConfigCIPolicy",
        meanings: &[(0, "none by group policy"), (1, "deployed by group policy")],
    },
    // "Enable virtualization-based protection of code integrity".
    Row {
        name: "virtualization_based_security",
        key: r"SYSTEM\CurrentControlSet\Control\DeviceGuard",
        value: "EnableVirtualizationBasedSecurity",
        meanings: &[(0, "off"), (1, "on")],
    },
    // The same page. This protection is about kernel code, so it refuses no program's DLL.
    Row {
        name: "memory_integrity",
        key: r"SYSTEM\CurrentControlSet\Control\DeviceGuard\Scenarios\HypervisorEnforcedCodeIntegrity",
        value: "Enabled",
        meanings: &[(0, "off"), (1, "on")],
    },
    // "ServiceControlManager Policy CSP", SvchostProcessMitigation.
    Row {
        name: "svchost_mitigation",
        key: r"SYSTEM\CurrentControlSet\Control\SCMConfig",
        value: "EnableSvchostMitigationPolicy",
        meanings: &[
            (0, "off"),
            (
                1,
                "on: svchost.exe loads only DLLs that Microsoft signed, so mappings by services of \
                 Windows (group policy's drives) are not recorded",
            ),
        ],
    },
];

impl Protection {
    /// Reads all protections.
    #[cfg(windows)]
    pub(super) fn all() -> Vec<Self> {
        ROWS.iter().map(Self::read).collect()
    }

    #[cfg(windows)]
    fn read(row: &Row) -> Self {
        let key = windows_registry::LOCAL_MACHINE.options().read().wow64_64().open(row.key);
        let found = key.and_then(|key| key.get_u32(row.value)).map_err(std::io::Error::from);
        let (value, meaning) = match found {
            Ok(number) => (Some(number.to_string().into()), row.meaning(number)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
            Err(error) => (Some(format!("cannot be read: {error}").into()), None),
        };
        let registry = format!(r"{}\{}", row.key, row.value).into();
        Self { name: row.name, registry, value, meaning }
    }

    /// Only Windows has such protections.
    #[cfg(not(windows))]
    pub(super) fn all() -> Vec<Self> {
        Vec::new()
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let value = self.value.as_deref().unwrap_or("not set");
        let meaning = self.meaning.map(|meaning| format!(" ({meaning})")).unwrap_or_default();
        writeln!(out, "  {:<29} {value}{meaning}", self.name)?;
        Ok(())
    }
}

impl Row {
    fn meaning(&self, number: u32) -> Option<&'static str> {
        self.meanings.iter().find(|(value, _)| *value == number).map(|(_, meaning)| *meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smart_app_control_has_the_three_states_that_microsoft_documents() {
        let row = ROWS.iter().find(|row| row.name == "smart_app_control").unwrap();
        let begins = |number, word: &str| row.meaning(number).unwrap().starts_with(word);
        assert!(begins(0, "off") && begins(1, "on") && begins(2, "evaluation"));
        assert_eq!(row.meaning(3), None);
    }
}
