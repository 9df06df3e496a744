//! Tells the linker what a notification DLL needs, and the code which SDK it is built with.

use std::env::var;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock")?;
    let version = locked_version(&lock, "opentelemetry_sdk")
        .ok_or("Cargo.lock does not name opentelemetry_sdk; commit it as it is")?;
    println!("cargo::rustc-env=MPR_OTEL_SDK_VERSION={version}");

    match (var("CARGO_CFG_TARGET_FAMILY")?.as_str(), var("CARGO_CFG_TARGET_ENV")?.as_str()) {
        // dlclose must not unmap code that the exporter's thread runs.
        ("unix", _) if var("CARGO_CFG_TARGET_OS")? == "linux" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        }
        // stdcall decorates names (`AddConnectNotify@8`); MPR looks for the plain ones.
        ("windows", "gnu") => println!("cargo::rustc-cdylib-link-arg=-Wl,--kill-at"),
        ("windows", "msvc") if var("CARGO_CFG_TARGET_ARCH")? == "x86" => {
            for name in ["AddConnectNotify", "CancelConnectNotify"] {
                println!("cargo::rustc-cdylib-link-arg=/EXPORT:{name}=_{name}@8");
            }
        }
        _ => {}
    }
    if var("CARGO_CFG_TARGET_FAMILY")? == "windows" {
        // What Explorer shows of the DLL and the program, and what an MSI upgrade compares.
        winresource::WindowsResource::new()
            .set("FileDescription", "mpr-otel: measures drive and share mappings")
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

/// The version of `package` in a Cargo.lock.
fn locked_version<'lock>(lock: &'lock str, package: &str) -> Option<&'lock str> {
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    entry.split_once('"').map(|(version, _)| version)
}
