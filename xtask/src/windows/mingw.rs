//! mingw-w64's libraries, and LLVM's linker for them.
//!
//! GNU's linker writes no load configuration and no CET mark. Debian's gcc can start no other
//! linker, so rustc starts LLVM's linker itself.

use super::{Architecture, Target};
use crate::packages::Need;
use crate::{Result, folder};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The linker.
pub const LINKER: &str = "ld.lld-22";

/// The package that brings it.
const LLD: Need = Need {
    name: "LLVM's linker",
    packages: &["lld-22"],
    is_there: || folder::program(LINKER).is_some(),
};

/// The C compiler and the system's libraries for 64-bit Windows.
const X64: Need = Need {
    name: "mingw-w64 for x86_64",
    packages: &["gcc-mingw-w64-x86-64"],
    is_there: || folder::program(gcc(Architecture::X64)).is_some(),
};

/// The C compiler and the system's libraries for 32-bit Windows.
const X86: Need = Need {
    name: "mingw-w64 for i686",
    packages: &["gcc-mingw-w64-i686"],
    is_there: || folder::program(gcc(Architecture::X86)).is_some(),
};

/// Notices of mingw-w64's code, which is linked into every DLL and program, at their place on
/// Debian.
pub const NOTICES: &str = "/usr/share/doc/mingw-w64-common/copyright";

/// The packages that must be installed.
pub fn needs(architecture: Architecture) -> Result<[Need; 2]> {
    match architecture {
        Architecture::X64 => Ok([X64, LLD]),
        Architecture::X86 => Ok([X86, LLD]),
        Architecture::Arm64 => {
            Err("Debian has no mingw-w64 for Arm; `cargo xtask dist --llvm` builds for it".into())
        }
    }
}

/// The C compiler.
pub fn gcc(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X64 => "x86_64-w64-mingw32-gcc",
        Architecture::X86 => "i686-w64-mingw32-gcc",
        Architecture::Arm64 => "aarch64-w64-mingw32-gcc",
    }
}

/// Flags that make rustc use LLVM's linker.
pub fn flags(target: Target) -> Result<Vec<OsString>> {
    let mut flags: Vec<OsString> = [
        "-Clinker-flavor=ld.lld",
        // With this rustc adds the objects that begin a program or a DLL; gcc would add them
        // otherwise.
        "-Clink-self-contained=yes",
        // The same source gives the same bytes at any time.
        "-Clink-arg=--no-insert-timestamp",
    ]
    .map(OsString::from)
    .into();
    flags.push(format!("-Clinker={LINKER}").into());
    if target.has_shadow_stack() {
        flags.push("-Clink-arg=-Xlink=-cetcompat".into());
    }
    if target.architecture == Architecture::X86 {
        // stdcall decorates names, and MPR looks for undecorated ones.
        flags.push("-Clink-arg=--kill-at".into());
        // Objects from a library come after rustc's last object, which ends the table that libgcc
        // unwinds by. libgcc's own unwinder must be in that table (pe/unwind.rs), so it is linked
        // as a whole.
        for argument in ["--whole-archive", "-lgcc_eh", "--no-whole-archive"] {
            flags.push(format!("-Clink-arg={argument}").into());
        }
    }
    for file in ["libmingw32.a", "libgcc.a"] {
        let mut flag = OsString::from("-Lnative=");
        flag.push(folder_of(target.architecture, file)?);
        flags.push(flag);
    }
    Ok(flags)
}

/// The folder in which the compiler finds a library.
fn folder_of(architecture: Architecture, library: &str) -> Result<PathBuf> {
    let gcc = gcc(architecture);
    let output = Command::new(gcc)
        .arg(format!("-print-file-name={library}"))
        .output()
        .map_err(|error| format!("cannot start {gcc}: {error}"))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    // If the compiler finds no file, it prints only the name.
    match path.parent() {
        Some(folder) if path.is_absolute() => Ok(folder.to_owned()),
        _ => Err(format!("{gcc} does not find {library}; install mingw-w64 again").into()),
    }
}
