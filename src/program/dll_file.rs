//! What a DLL's file says of itself, read without loading it.

/// Facts of a PE file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DllFile {
    /// 32 or 64; `None` for other machines, and for files that are no DLL at all.
    pub(super) bits: Option<u32>,
    /// The file version of its version resource.
    pub(super) version: Option<[u16; 4]>,
}

impl DllFile {
    /// Finds them in the file's content.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self { bits: bits(bytes), version: version(bytes) }
    }

    /// The version as Windows shows it.
    pub(super) fn version_text(&self) -> Option<String> {
        self.version.map(|[major, minor, patch, build]| format!("{major}.{minor}.{patch}.{build}"))
    }
}

/// The header's place stands at 0x3C; it begins with a signature and the machine.
fn bits(bytes: &[u8]) -> Option<u32> {
    let at: [u8; 4] = bytes.get(0x3C..0x40)?.try_into().ok()?;
    let header = bytes.get(u32::from_le_bytes(at) as usize..)?;
    match header.strip_prefix(b"PE\0\0")?.get(..2)? {
        [0x64, 0x86] => Some(64), // IMAGE_FILE_MACHINE_AMD64
        [0x4C, 0x01] => Some(32), // IMAGE_FILE_MACHINE_I386
        _ => None,
    }
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
    fn the_machine_tells_the_bits() {
        assert_eq!(DllFile::parse(&file(0x8664)).bits, Some(64));
        assert_eq!(DllFile::parse(&file(0x014C)).bits, Some(32));
        assert_eq!(DllFile::parse(&file(0xAA64)).bits, None);
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
    fn what_is_no_dll_says_nothing() {
        let nothing = DllFile { bits: None, version: None };
        for bytes in [&b""[..], b"MZ", &[0xFF; 0x40], &0xFEEF_04BD_u32.to_le_bytes()] {
            assert_eq!(DllFile::parse(bytes), nothing, "{bytes:?}");
        }
    }
}
