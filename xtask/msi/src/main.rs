//! Writes the Windows Installer package of files that are built already.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A command-line tool talks on both.

use mpr_otel_msi::{Architecture, Package, Payload, Result};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Usage: mpr-otel-msi [--arm64] <folder of what ships> <folder of the policy> <action DLL> <package>
";

fn main() -> ExitCode {
    match write() {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("mpr-otel-msi: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<String> {
    let mut architecture = Architecture::X64;
    let mut paths: Vec<PathBuf> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--arm64" => architecture = Architecture::Arm64,
            path => paths.push(path.into()),
        }
    }
    let [shipped, policies, action_dll, to] = &paths[..] else {
        return Err(HELP.into());
    };
    let package = Package {
        architecture,
        payload: Payload::read(shipped, policies, architecture)?,
        action_dll: fs::read(action_dll)
            .map_err(|error| format!("cannot read {}: {error}", action_dll.display()))?,
    };
    let bytes = package.write()?;
    fs::write(to, &bytes).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    let [product, upgrade] = package.codes()?;
    Ok(format!(
        "ProductCode {product}\nUpgradeCode {upgrade}\n{}: version {} for {}, {} bytes",
        to.display(),
        package.version()?,
        architecture.template(),
        bytes.len()
    ))
}
