//! `cargo xtask msi`: the Windows Installer package of what `cargo xtask dist` put together.
//!
//! The package is written by a program of its own (xtask/msi), because it needs the table of settings,
//! and with it most of the product.

use crate::cargo::cargo;
use crate::run::{Log, Run};
use crate::windows::{Architecture, Toolchain};
use crate::{Result, folder};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes the package for x64, or for Arm of a folder that was filled on Windows on Arm: there is no
/// compiler for it here.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let dist = folder::target().join("dist");
    let mut run = Run::new()?;
    match arguments {
        [] => run.step("msi x64", |log| {
            let action_dll = Toolchain::ensure(Architecture::X64, log)?.build_msi_action(log)?;
            write(&[], &dist, &action_dll, &folder::target().join("mpr-otel-x64.msi"), log)
        }),
        ["--arm64", shipped, action_dll] => run.step("msi arm64", |log| {
            let package = folder::target().join("mpr-otel-arm64.msi");
            write(&["--arm64"], Path::new(shipped), Path::new(action_dll), &package, log)
        }),
        _ => return Err("msi takes nothing, or --arm64 <folder> <action DLL>".into()),
    };
    Ok(run.finish())
}

fn write(
    flags: &[&str],
    shipped: &Path,
    action_dll: &Path,
    package: &Path,
    log: &mut Log,
) -> Result<()> {
    let policies: PathBuf = folder::root().join("deploy/windows/PolicyDefinitions");
    let mut writer = cargo(&["run", "--quiet", "--package", "mpr-otel-msi", "--"]);
    log.run(writer.args(flags).args([shipped, &policies, action_dll, package]))?;
    log.note(log.text()?.lines().last().unwrap_or_default());
    Ok(())
}

/// Writes the templates of group policy into the repository.
pub fn policy() -> Result<ExitCode> {
    let mut run = Run::new()?;
    run.step("policy", |log| {
        log.run(&mut cargo(&["run", "--quiet", "--package", "mpr-otel-policy"]))
    });
    Ok(run.finish())
}
