//! Which processors' code a program or DLL has.

use serde::Serialize;

/// A machine type of a PE file (winnt.h: `IMAGE_FILE_MACHINE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Architecture {
    X64,
    X86,
    Arm64,
}

impl Architecture {
    /// That of this program.
    #[cfg(windows)]
    pub(crate) const OURS: Self = match () {
        () if cfg!(target_arch = "aarch64") => Self::Arm64,
        () if cfg!(target_arch = "x86") => Self::X86,
        () => Self::X64,
    };

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::X86 => "x86",
            Self::Arm64 => "arm64",
        }
    }

    /// That of the file; `None` if the file is for none of them.
    #[cfg(windows)]
    pub(crate) fn of_file(path: &std::path::Path) -> std::io::Result<Option<Self>> {
        Ok(Self::of_image(&std::fs::read(path)?))
    }

    /// The header's place stands at 0x3C; it begins with a signature and the machine.
    pub(crate) fn of_image(bytes: &[u8]) -> Option<Self> {
        let at: [u8; 4] = bytes.get(0x3C..0x40)?.try_into().ok()?;
        let header = bytes.get(u32::from_le_bytes(at) as usize..)?;
        match header.strip_prefix(b"PE\0\0")?.get(..2)? {
            [0x64, 0x86] => Some(Self::X64),
            [0x4C, 0x01] => Some(Self::X86),
            [0x64, 0xAA] => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Whether a program of this architecture may load a DLL of that one. A DLL for ARM64 may have
    /// code for x64 as well (Arm64X).
    pub(crate) fn may_load(self, dll: Self) -> bool {
        self == dll || (self, dll) == (Self::X64, Self::Arm64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_architecture() {
        let image = |machine: u16| {
            let mut bytes = vec![0; 0x80];
            bytes[0x3C] = 0x80;
            bytes.extend(b"PE\0\0");
            bytes.extend(machine.to_le_bytes());
            Architecture::of_image(&bytes)
        };
        assert_eq!(image(0x8664), Some(Architecture::X64));
        assert_eq!(image(0x014C), Some(Architecture::X86));
        assert_eq!(image(0xAA64), Some(Architecture::Arm64));
        assert_eq!(image(0x01C4), None);
        assert_eq!(Architecture::of_image(b"MZ"), None);
        assert_eq!(Architecture::of_image(&[0xFF; 0x40]), None);
    }
}
