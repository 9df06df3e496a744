//! What files for Windows are built for.

use object::pe;
use std::fmt;

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64 bits, Intel's and AMD's.
    X64,
    /// 32 bits of the same.
    X86,
    /// 64 bits, Arm's.
    Arm64,
}

impl Architecture {
    /// Its number in a file's header.
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

/// A C runtime that is linked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// mingw-w64's.
    Gnu,
    /// The one that zig brings, which is mingw-w64 over the system's own runtime (UCRT).
    Llvm,
    /// Microsoft's. Nothing here builds with it.
    Msvc,
}

/// What something is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The processor.
    pub architecture: Architecture,
    /// The C runtime.
    pub abi: Abi,
}

impl Target {
    /// The one with this name.
    pub fn named(triple: &str) -> Option<Self> {
        let architectures = [Architecture::X64, Architecture::X86, Architecture::Arm64];
        let all = architectures.into_iter().flat_map(|architecture| {
            [Abi::Gnu, Abi::Llvm, Abi::Msvc].map(|abi| Self { architecture, abi })
        });
        all.into_iter().find(|target| target.triple() == triple)
    }

    /// Rust's name of it.
    pub fn triple(self) -> &'static str {
        match (self.architecture, self.abi) {
            (Architecture::X64, Abi::Gnu) => "x86_64-pc-windows-gnu",
            (Architecture::X86, Abi::Gnu) => "i686-pc-windows-gnu",
            (Architecture::X64, Abi::Llvm) => "x86_64-pc-windows-gnullvm",
            (Architecture::X86, Abi::Llvm) => "i686-pc-windows-gnullvm",
            (Architecture::X64, Abi::Msvc) => "x86_64-pc-windows-msvc",
            (Architecture::X86, Abi::Msvc) => "i686-pc-windows-msvc",
            // mingw-w64 has none for it in Debian, so nothing is built under this name.
            (Architecture::Arm64, Abi::Gnu) => "aarch64-pc-windows-gnu",
            (Architecture::Arm64, Abi::Llvm) => "aarch64-pc-windows-gnullvm",
            (Architecture::Arm64, Abi::Msvc) => "aarch64-pc-windows-msvc",
        }
    }

    /// Whether its processor may have a shadow stack and its code never returns to another than its
    /// caller, so that a file has the CET mark.
    ///
    /// Windows itself unwinds x64, and keeps the shadow stack in step. On x86 it does so for MSVC alone;
    /// the others' unwinders replace return addresses: with the mark, a processor with a shadow stack
    /// would end the host at the first panic that is caught.
    pub fn has_shadow_stack(self) -> bool {
        match self.architecture {
            Architecture::X64 => true,
            Architecture::X86 => self.abi == Abi::Msvc,
            Architecture::Arm64 => false,
        }
    }

    /// Whether Control Flow Guard covers it: rustc leaves GNU's targets without.
    pub fn is_guarded(self) -> bool {
        self.abi != Abi::Gnu
    }
}
