//! Build script of the packages that ship: tells the linker what a notification DLL needs, and
//! gives every file a version resource.

use std::env::var;
use std::error::Error;

/// The newest version of a ledger that this release reads and writes: `NEWEST_VERSION` of the core.
const LEDGER_VERSION: &str = "2";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../build.rs");
    let family = var("CARGO_CFG_TARGET_FAMILY")?;
    if var("CARGO_PKG_NAME")? == "mpr-otel-dll" {
        link_dll(&family)?;
    }
    if family == "windows" {
        // What Explorer shows of a file, and what an MSI upgrade compares.
        winresource::WindowsResource::new()
            .set("FileDescription", &var("CARGO_PKG_DESCRIPTION")?)
            // `install` registers no DLL whose ledgers the agent does not read.
            .set("LedgerVersion", LEDGER_VERSION)
            .set("LegalCopyright", &format!("Licensed under {}", var("CARGO_PKG_LICENSE")?))
            .compile()
            .map_err(|error| {
                format!(
                    "cannot compile the version resource: {error}; \
                     install windres (binutils of mingw-w64) or rc.exe (Windows SDK)"
                )
            })?;
    }
    Ok(())
}

fn link_dll(family: &str) -> Result<(), Box<dyn Error>> {
    match (family, var("CARGO_CFG_TARGET_ENV")?.as_str()) {
        // dlclose must not unmap code that the exporter's thread runs.
        ("unix", _) if var("CARGO_CFG_TARGET_OS")? == "linux" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        }
        // stdcall decorates names (`AddConnectNotify@8`); MPR looks for the plain ones. `cargo xtask`
        // has ld.lld link, without a compiler in between, and gives it the flag itself.
        ("windows", "gnu") if !linked_by_lld() => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,--kill-at");
        }
        ("windows", "msvc") if var("CARGO_CFG_TARGET_ARCH")? == "x86" => {
            for name in ["AddConnectNotify", "CancelConnectNotify"] {
                println!("cargo::rustc-cdylib-link-arg=/EXPORT:{name}=_{name}@8");
            }
        }
        _ => {}
    }
    Ok(())
}

fn linked_by_lld() -> bool {
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("linker-flavor=ld.lld"))
}
