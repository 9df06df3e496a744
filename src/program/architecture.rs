//! The machine code of a program or a DLL.

#![cfg_attr(not(windows), allow(dead_code))] // Elsewhere only the verdict's tests make one.

use serde::Serialize;
use std::fmt;

/// A kind of machine code, named as in the semantic conventions' `host.arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Architecture {
    Amd64,
    Arm64,
    X86,
}

impl Architecture {
    /// The architecture of this program.
    pub(crate) const OWN: Self = if cfg!(target_arch = "x86") {
        Self::X86
    } else if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Amd64
    };

    /// The architecture with this number in a PE header (IMAGE_FILE_MACHINE_*, winnt.h).
    pub(crate) fn of_machine(machine: u16) -> Option<Self> {
        match machine {
            0x8664 => Some(Self::Amd64),
            0xAA64 => Some(Self::Arm64),
            0x014C => Some(Self::X86),
            _ => None,
        }
    }

    /// The width of its pointers, in bits.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Amd64 | Self::Arm64 => 64,
            Self::X86 => 32,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::X86 => "x86",
        })
    }
}
