//! The targets of files for Windows.

use object::pe;
use std::fmt;

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64 bits, from Intel and AMD.
    X64,
    /// 32 bits, from Intel and AMD.
    X86,
    /// 64 bits, from Arm.
    Arm64,
}

impl Architecture {
    /// The architecture's number in a file's header.
    pub fn machine(self) -> pe::Machine {
        match self {
            Self::X64 => pe::IMAGE_FILE_MACHINE_AMD64,
            Self::X86 => pe::IMAGE_FILE_MACHINE_I386,
            Self::Arm64 => pe::IMAGE_FILE_MACHINE_ARM64,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::X64 => "x64",
            Self::X86 => "x86",
            Self::Arm64 => "arm64",
        })
    }
}

/// The C runtime that is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// mingw-w64's.
    Gnu,
    /// The runtime that zig has: mingw-w64 over the system's own runtime (UCRT).
    Llvm,
    /// Microsoft's. Nothing in the project is built with it.
    Msvc,
}

/// What a file is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The processor.
    pub architecture: Architecture,
    /// The C runtime.
    pub abi: Abi,
}

impl Target {
    /// The target with this name.
    pub fn named(triple: &str) -> Option<Self> {
        let architectures = [Architecture::X64, Architecture::X86, Architecture::Arm64];
        let all = architectures.into_iter().flat_map(|architecture| {
            [Abi::Gnu, Abi::Llvm, Abi::Msvc].map(|abi| Self { architecture, abi })
        });
        all.into_iter().find(|target| target.triple() == triple)
    }

    /// Rust's name of the target.
    pub fn triple(self) -> &'static str {
        match (self.architecture, self.abi) {
            (Architecture::X64, Abi::Gnu) => "x86_64-pc-windows-gnu",
            (Architecture::X86, Abi::Gnu) => "i686-pc-windows-gnu",
            (Architecture::X64, Abi::Llvm) => "x86_64-pc-windows-gnullvm",
            (Architecture::X86, Abi::Llvm) => "i686-pc-windows-gnullvm",
            (Architecture::X64, Abi::Msvc) => "x86_64-pc-windows-msvc",
            (Architecture::X86, Abi::Msvc) => "i686-pc-windows-msvc",
            // Debian has no mingw-w64 for Arm, so nothing is built under this name.
            (Architecture::Arm64, Abi::Gnu) => "aarch64-pc-windows-gnu",
            (Architecture::Arm64, Abi::Llvm) => "aarch64-pc-windows-gnullvm",
            (Architecture::Arm64, Abi::Msvc) => "aarch64-pc-windows-msvc",
        }
    }

    /// Whether a file for this target has the CET mark. It may have the mark if its processor can
    /// have a shadow stack and its code only ever returns to the caller.
    ///
    /// On x64 Windows itself unwinds, and it keeps the shadow stack consistent. On x86 Windows does
    /// so only for MSVC. Other unwinders replace return addresses: with the mark, a processor with
    /// a shadow stack would end the host at the first caught panic.
    pub fn has_shadow_stack(self) -> bool {
        match self.architecture {
            Architecture::X64 => true,
            Architecture::X86 => self.abi == Abi::Msvc,
            Architecture::Arm64 => false,
        }
    }

    /// Whether Control Flow Guard covers the file. rustc does not support it for GNU's targets.
    pub fn is_guarded(self) -> bool {
        self.abi != Abi::Gnu
    }
}
