//! The Windows Installer package of mpr-otel.
//!
//! It is a carrier: it puts files into `Program Files`, and has the product's own program install and
//! uninstall itself from there. So an MSI does what `mpr-otel install` does and is tested for, and no
//! file that running programs use is a file of the MSI: Windows Installer would ask for a restart, or
//! end the programs.
//!
//! The same files give the same bytes: every code follows from a name (RFC 9562, UUID version 5), and
//! no time is written.

mod actions;
mod cabinet;
mod check;
mod codes;
mod compound;
mod package;
mod payload;
mod properties;
mod schema;

pub use check::check;
pub use package::Package;
pub use payload::Payload;

/// What stops the writer or fails a check, with what to do next.
pub type Failure = Box<dyn std::error::Error>;
/// As usual.
pub type Result<T> = std::result::Result<T, Failure>;

/// The processors of the machine that a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// AMD64 and Intel 64.
    X64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// As the summary information's template names it (Microsoft: "Template Summary property").
    pub fn template(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Arm64 => "Arm64",
        }
    }

    /// The machine in the header of its programs (winnt.h, IMAGE_FILE_MACHINE_*).
    pub fn machine(self) -> u16 {
        match self {
            Self::X64 => 0x8664,
            Self::Arm64 => 0xAA64,
        }
    }
}
