//! Facts about a DLL, read from its file without loading it.

use crate::architecture::Architecture;

/// The DLL's file name.
#[cfg_attr(not(windows), allow(dead_code))] // Elsewhere there is none.
pub(super) const LIBRARY: &str = "mpr_otel.dll";

/// The DLLs that the DLL of an Arm64X release leads to: the architecture of the programs that load
/// each, and its name.
#[cfg_attr(not(windows), allow(dead_code))] // As above.
pub(super) const FORWARDED: [(Architecture, &str); 2] =
    [(Architecture::Arm64, "mpr_otel_arm64.dll"), (Architecture::Amd64, "mpr_otel_x64.dll")];

/// The facts in a PE file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DllFile {
    /// `None` for other architectures, and for files that are not DLLs.
    pub(super) architecture: Option<Architecture>,
    /// Whether the file is Arm64X. By its header such a DLL is for arm64, but amd64 programs load
    /// it, too, and see other exports in it.
    pub(super) is_arm64x: bool,
    /// The file version in its version resource.
    pub(super) version: Option<[u16; 4]>,
    /// The version of the ledgers that the DLL makes, from its version resource. `None` for DLLs of
    /// version 0.1, which have no such entry.
    #[cfg_attr(not(windows), allow(dead_code))] // `install` alone asks.
    pub(super) ledger_version: Option<u32>,
}

impl DllFile {
    /// Reads the facts in the file's content.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            architecture: architecture(bytes),
            is_arm64x: is_arm64x(bytes),
            version: version(bytes),
            ledger_version: ledger_version(bytes),
        }
    }

    /// Whether programs of this architecture may load it.
    pub(super) fn loads_into(&self, programs: Architecture) -> bool {
        self.architecture == Some(programs) || self.is_arm64x && programs == Architecture::Amd64
    }

    /// The version in the form that Windows shows.
    pub(super) fn version_text(&self) -> Option<String> {
        self.version.map(|[major, minor, patch, build]| format!("{major}.{minor}.{patch}.{build}"))
    }
}

/// The PE header. Its offset is at 0x3C. It begins with a signature and the machine.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(number(bytes, 0x3C)?..)?.strip_prefix(b"PE\0\0")
}

fn architecture(bytes: &[u8]) -> Option<Architecture> {
    Architecture::of_machine(half(header(bytes)?, 0)?)
}

/// Whether the DLL is Arm64X. If it is, its load configuration (IMAGE_LOAD_CONFIG_DIRECTORY64,
/// winnt.h) says at 0xC8 where its two kinds of code are.
fn is_arm64x(bytes: &[u8]) -> bool {
    let pointer = || {
        let (header, config) = (header(bytes)?, load_config(bytes)?);
        let is_arm64 = architecture(bytes) == Some(Architecture::Arm64);
        let is_long = number(config, 0)? >= 0xD0 && half(header, 20)? == 0x20B;
        (is_arm64 && is_long).then(|| config.get(0xC8..0xD0))?
    };
    pointer().is_some_and(|pointer| pointer != [0; 8])
}

/// The load configuration of a 64-bit file. It is the eleventh directory after the optional
/// header's fields. A directory contains an address, and the table of sections says where that is
/// in the file.
fn load_config(bytes: &[u8]) -> Option<&[u8]> {
    let header = header(bytes)?;
    let (sections, optional) = (half(header, 2)?, half(header, 16)?);
    let address = number(header, 20 + 112 + 8 * 10)?;
    let table = header.get(20 + usize::from(optional)..)?;
    let (table, _) = table.as_chunks::<40>();
    table.iter().take(sections.into()).find_map(|section| {
        let into = address.checked_sub(number(section, 12)?)?;
        let begin = (into < number(section, 16)?).then_some(number(section, 20)?)?;
        bytes.get(begin.checked_add(into)?..)
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let two: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_le_bytes(two))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

/// The file version in VS_FIXEDFILEINFO (verrsrc.h). After the signature and the structure's own
/// version come two words of the file's version, each with its high half first.
fn version(bytes: &[u8]) -> Option<[u16; 4]> {
    let at = bytes.windows(4).position(|four| four == 0xFEEF_04BD_u32.to_le_bytes())?;
    let half = |offset: usize| half(bytes, at + offset);
    Some([half(10)?, half(8)?, half(14)?, half(12)?])
}

/// A String of a StringFileInfo (verrsrc.h): its key in UTF-16 with a NUL, and then, at a multiple
/// of four bytes, its value in the same form.
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
    fn the_machine_number_gives_the_architecture() {
        let architecture = |machine| DllFile::parse(&file(machine)).architecture;
        assert_eq!(architecture(0x8664), Some(Architecture::Amd64));
        assert_eq!(architecture(0x014C), Some(Architecture::X86));
        assert_eq!(architecture(0xAA64), Some(Architecture::Arm64));
        assert_eq!(architecture(0x0200), None);
    }

    /// A file with one section at 0x1000, which holds its load configuration.
    fn file_with_load_config(machine: u16, metadata: u64) -> Vec<u8> {
        let mut bytes = file(machine);
        bytes.resize(0x400, 0);
        let mut put = |at: usize, value: u32| {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        };
        let (header, optional) = (0x84, 0xF0);
        put(header + 2, 1);
        put(header + 16, optional);
        put(header + 20, 0x20B);
        put(header + 20 + 112 + 80, 0x1010);
        let section = header + 20 + optional as usize;
        for (at, value) in [(12, 0x1000), (16, 0x180), (20, 0x280)] {
            put(section + at, value);
        }
        put(0x290, 0x140);
        bytes[0x290 + 0xC8..0x290 + 0xD0].copy_from_slice(&metadata.to_le_bytes());
        bytes
    }

    #[test]
    fn an_arm64_dll_that_says_where_its_two_kinds_of_code_are_serves_both_kinds_of_programs() {
        use Architecture::{Amd64, Arm64, X86};
        let loads_into = |machine, metadata| {
            let dll = DllFile::parse(&file_with_load_config(machine, metadata));
            [Arm64, Amd64, X86].map(|programs| dll.loads_into(programs))
        };
        assert_eq!(loads_into(0xAA64, 0x1_8000_1000), [true, true, false]);
        assert_eq!(loads_into(0xAA64, 0), [true, false, false]);
        assert_eq!(loads_into(0x8664, 0), [false, true, false]);
        // In a file for amd64 this field has another meaning.
        assert_eq!(loads_into(0x8664, 0x1_8000_1000), [false, true, false]);
        assert_eq!(loads_into(0x014C, 0x1_8000_1000), [false, false, true]);
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_not_an_arm64x_dll() {
        let bytes = file_with_load_config(0xAA64, 0x1_8000_1000);
        assert!(DllFile::parse(&bytes).is_arm64x);
        for length in 0..0x290 + 0xD0 {
            assert!(!DllFile::parse(&bytes[..length]).is_arm64x, "{length:#x}");
        }
    }

    #[test]
    fn the_version_resource_gives_the_version() {
        let mut bytes = file(0x8664);
        for word in [0xFEEF_04BD_u32, 0x0001_0000, 0x0001_0002, 0x0003_0004] {
            bytes.extend(word.to_le_bytes());
        }
        assert_eq!(DllFile::parse(&bytes).version_text().as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn the_version_resource_gives_the_version_of_the_dlls_ledgers() {
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
    fn a_file_that_is_not_a_dll_gives_no_facts() {
        let nothing =
            DllFile { architecture: None, is_arm64x: false, version: None, ledger_version: None };
        for bytes in [&b""[..], b"MZ", &[0xFF; 0x40], &0xFEEF_04BD_u32.to_le_bytes()] {
            assert_eq!(DllFile::parse(bytes), nothing, "{bytes:?}");
        }
    }
}
