//! What one source has for one value.

use super::parse;

/// What a registry key holds for a value: its text, or `None` if the key or the value does not
/// exist.
pub type Reading = Result<Option<String>, Unusable>;

/// Why a registry value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The value cannot be read. It could be `Disabled`, so this process is switched off.
    Unreadable(RegistryError),
    /// The value is wrong. The text says why, and what to write instead.
    Malformed(String),
}

/// The key or the value exists, but Windows did not let this process read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    r"HKLM\{key} cannot be read (error {code:#010x}); give all users the right to read the key, or remove it"
)]
pub struct RegistryError {
    /// The key, under `HKEY_LOCAL_MACHINE`.
    pub key: &'static str,
    /// What Windows said, as an HRESULT.
    pub code: i32,
}

impl RegistryError {
    /// Judges an HRESULT. `Ok(None)` means that the key or the value does not exist. After any
    /// other code it may exist.
    #[cfg_attr(not(windows), allow(dead_code))] // Elsewhere there is no registry.
    pub(super) fn unless_absent<T>(key: &'static str, code: i32) -> Result<Option<T>, Self> {
        // ERROR_FILE_NOT_FOUND and ERROR_PATH_NOT_FOUND (winerror.h, HRESULT_FROM_WIN32).
        match code.cast_unsigned() {
            0x8007_0002 | 0x8007_0003 => Ok(None),
            _ => Err(Self { key, code }),
        }
    }
}

/// The value without the spaces around it. `None` if nothing is left.
pub(super) fn filled(value: Option<String>) -> Option<String> {
    value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Whether a switch is on in the first source that has a value for it.
pub(super) fn is_on<const SOURCES: usize>(readings: [Reading; SOURCES]) -> bool {
    let first = readings.into_iter().find_map(|reading| reading.map(filled).transpose());
    first.is_some_and(|text| text.is_ok_and(|text| parse::boolean(&text) == Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HRESULT_FROM_WIN32
    fn judged(code: u32) -> Result<Option<()>, RegistryError> {
        RegistryError::unless_absent("KEY", (code | 0x8007_0000).cast_signed())
    }

    #[test]
    fn only_a_key_or_value_that_is_not_there_counts_as_no_setting() {
        for not_found in [2, 3] {
            assert_eq!(judged(not_found), Ok(None), "{not_found}");
        }
        // Access denied, sharing, no memory, corrupt, I/O, key deleted, more data, no service.
        for other in [0, 1, 5, 6, 8, 13, 32, 234, 1009, 1015, 1016, 1017, 1018, 1072, 1450, 1722] {
            assert!(judged(other).is_err(), "{other}");
        }
        // The same numbers of another facility are something else.
        assert!(RegistryError::unless_absent::<()>("KEY", 2).is_err());
    }
}
