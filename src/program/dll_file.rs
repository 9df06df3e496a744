//! What a DLL's file says of itself, read without loading it.

use crate::architecture::Architecture;

/// The DLL's file name.
#[cfg_attr(not(windows), allow(dead_code))] // Elsewhere there is none.
pub(super) const LIBRARY: &str = "mpr_otel.dll";

/// Facts of a PE file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DllFile {
    /// `None` for others, and for files that are no DLL at all.
    pub(super) architecture: Option<Architecture>,
    /// The file version of its version resource.
    pub(super) version: Option<[u16; 4]>,
    /// The version of the ledgers that it makes, as its version resource says; `None` for DLLs of version
    /// 0.1, which do not say it.
    #[cfg_attr(not(windows), allow(dead_code))] // `install` alone asks.
    pub(super) ledger_version: Option<u32>,
}

impl DllFile {
    /// Finds them in the file's content.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            architecture: architecture(bytes),
            version: version(bytes),
            ledger_version: ledger_version(bytes),
        }
    }

    /// The version as Windows shows it.
    pub(super) fn version_text(&self) -> Option<String> {
        self.version.map(|[major, minor, patch, build]| format!("{major}.{minor}.{patch}.{build}"))
    }
}

/// The header's place stands at 0x3C; it begins with a signature and the machine.
fn architecture(bytes: &[u8]) -> Option<Architecture> {
    let at: [u8; 4] = bytes.get(0x3C..0x40)?.try_into().ok()?;
    let header = bytes.get(u32::from_le_bytes(at) as usize..)?;
    let machine: [u8; 2] = header.strip_prefix(b"PE\0\0")?.get(..2)?.try_into().ok()?;
    Architecture::of_machine(u16::from_le_bytes(machine))
}

/// VS_FIXEDFILEINFO (verrsrc.h): the signature, its own version, then two words of the file's,
/// each with its high half first.
fn version(bytes: &[u8]) -> Option<[u16; 4]> {
    let at = bytes.windows(4).position(|four| four == 0xFEEF_04BD_u32.to_le_bytes())?;
    let half = |offset: usize| {
        let two: [u8; 2] = bytes.get(at + offset..at + offset + 2)?.try_into().ok()?;
        Some(u16::from_le_bytes(two))
    };
    Some([half(10)?, half(8)?, half(14)?, half(12)?])
}

/// A String of a StringFileInfo (verrsrc.h): its key in UTF-16 with a NUL, and, at the next multiple of
/// four bytes, the same of its value.
fn ledger_version(bytes: &[u8]) -> Option<u32> {
    let key: Vec<u8> = "LedgerVersion\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = bytes.windows(key.len()).position(|part| part == key)?;
    let (units, _) = bytes.get(at + key.len()..)?.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    let digits = units.skip_while(|unit| *unit == 0).take_while(|unit| *unit != 0).take(8);
    String::from_utf16(&digits.collect::<Vec<u16>>()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x80];
        bytes[0x3C] = 0x80;
        bytes.extend(b"PE\0\0");
        bytes.extend(machine.to_le_bytes());
        bytes
    }

    #[test]
    fn the_machine_tells_the_architecture() {
        let architecture = |machine| DllFile::parse(&file(machine)).architecture;
        assert_eq!(architecture(0x8664), Some(Architecture::Amd64));
        assert_eq!(architecture(0x014C), Some(Architecture::X86));
        assert_eq!(architecture(0xAA64), Some(Architecture::Arm64));
        assert_eq!(architecture(0x0200), None);
    }

    #[test]
    fn the_version_resource_tells_the_version() {
        let mut bytes = file(0x8664);
        for word in [0xFEEF_04BD_u32, 0x0001_0000, 0x0001_0002, 0x0003_0004] {
            bytes.extend(word.to_le_bytes());
        }
        assert_eq!(DllFile::parse(&bytes).version_text().as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn the_version_resource_tells_the_version_of_its_ledgers() {
        let read = |key: &str, value: &str| {
            let mut bytes = file(0x8664);
            let text = format!("{key}\0\0{value}\0more\0");
            bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            DllFile::parse(&bytes).ledger_version
        };
        assert_eq!(read("LedgerVersion", "2"), Some(2));
        assert_eq!(read("LedgerVersion", "12"), Some(12));
        assert_eq!(read("LedgerVersions", "2"), None);
        assert_eq!(read("LedgerVersion", "two"), None);
        assert_eq!(read("LedgerVersion", ""), None);
    }

    #[test]
    fn what_is_no_dll_says_nothing() {
        let nothing = DllFile { architecture: None, version: None, ledger_version: None };
        for bytes in [&b""[..], b"MZ", &[0xFF; 0x40], &0xFEEF_04BD_u32.to_le_bytes()] {
            assert_eq!(DllFile::parse(bytes), nothing, "{bytes:?}");
        }
    }
}
