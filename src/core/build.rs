//! Passes the version of the OpenTelemetry SDK to the code.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const LOCK: &str = "../../Cargo.lock";
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LOCK}");
    let lock = std::fs::read_to_string(LOCK)?;
    let version = locked_version(&lock, "opentelemetry_sdk")
        .ok_or("Cargo.lock does not name opentelemetry_sdk; commit it as it is")?;
    println!("cargo::rustc-env=MPR_OTEL_SDK_VERSION={version}");
    Ok(())
}

/// The version of `package` in a Cargo.lock.
fn locked_version<'lock>(lock: &'lock str, package: &str) -> Option<&'lock str> {
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    entry.split_once('"').map(|(version, _)| version)
}
