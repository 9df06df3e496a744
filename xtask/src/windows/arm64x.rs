//! The DLL without code that Windows on Arm loads into native and into emulated programs.
//!
//! Native and emulated programs find their DLLs under one name in one System32, and neither kind
//! can run the other's code. An Arm64X file (Microsoft: "Arm64X PE files", "Build Arm64X files")
//! shows each kind of program other exports. The exports of this one lead to `mpr_otel_arm64.dll`
//! and `mpr_otel_x64.dll`, which are beside it.

use crate::run::Log;
use crate::{Result, folder, pe};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The DLL for arm64 programs.
pub const NATIVE: &str = "mpr_otel_arm64.dll";
/// The DLL for emulated x64 programs.
pub const EMULATED: &str = "mpr_otel_x64.dll";

/// Builds the DLL. Its version is that of `native`, the DLL for arm64.
pub fn build(native: &Path, log: &mut Log) -> Result<PathBuf> {
    let source = folder::root().join("src").join("dll").join("arm64x");
    let target = folder::target().join("windows-llvm").join("arm64x");
    fs::create_dir_all(&target)?;
    for (name, triple) in [("native", "aarch64-windows-msvc"), ("ec", "arm64ec-windows-msvc")] {
        log.run(
            Command::new("llvm-mc-22")
                .arg(format!("-triple={triple}"))
                .arg("-filetype=obj")
                .arg(source.join(name).with_extension("s"))
                .arg("-o")
                .arg(target.join(name).with_extension("obj")),
        )?;
    }
    let version = target.join("version.res");
    fs::write(&version, resource_file(&pe::version_resource(native)?))?;
    let dll = target.join("mpr_otel.dll");
    let flag = |flag: &str, path: &Path| format!("{flag}:{}", path.display());
    log.run(
        Command::new(super::llvm::LINKER)
            .args(["-dll", "-noentry", "-machine:arm64x", "-Brepro"])
            .arg(flag("-defarm64native", &source.join("native.def")))
            .arg(flag("-def", &source.join("x64.def")))
            .arg(flag("-out", &dll))
            .args(["native.obj", "ec.obj"].map(|name| target.join(name)))
            .arg(&version),
    )?;
    Ok(dll)
}

/// A compiled resource file that contains only this version (RESOURCEHEADER, Win32 documentation).
fn resource_file(version: &[u8]) -> Vec<u8> {
    /// This value means that the type and the name are given by an id.
    const ID: u16 = 0xFFFF;
    const RT_VERSION: u16 = 16;
    let header = |size: u32, [kind, name]: [u16; 2]| {
        let mut header = Vec::new();
        header.extend(size.to_le_bytes());
        header.extend(0x20_u32.to_le_bytes());
        header.extend([ID, kind, ID, name].into_iter().flat_map(u16::to_le_bytes));
        // The fields are data version, memory flags, language, version and characteristics.
        header.extend([0; 16]);
        header
    };
    let mut file = header(0, [0, 0]);
    file.extend(header(version.len() as u32, [RT_VERSION, 1]));
    file.extend(version);
    file.resize(file.len().next_multiple_of(4), 0);
    file
}
