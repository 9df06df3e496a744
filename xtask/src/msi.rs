//! `cargo xtask msi`: the Windows Installer package of the files that `cargo xtask dist` built, and
//! winget's manifests for it.
//!
//! Another program, xtask/msi, writes the package, because it needs the table of settings and with
//! it most of the product.

use crate::cargo::cargo;
use crate::dist;
use crate::run::{Log, Run};
use crate::sign::Signer;
use crate::windows::{Architecture, Toolchain};
use crate::winget::{self, Installer, Manifests};
use crate::{Result, VERSION, checksums, folder};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A package, and the codes by which Windows knows it.
pub struct Msi {
    /// The file.
    pub file: PathBuf,
    architecture: &'static str,
    product_code: String,
    upgrade_code: String,
}

/// Writes the package for x64, or for Arm from what `cargo xtask dist --llvm` built.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let mut run = Run::new()?;
    match arguments {
        [] => run.step("msi x64", |log| manifests(&[Msi::x64(None, log)?], log)),
        ["--arm64"] => run.step("msi arm64", |log| manifests(&[Msi::arm64(log)?], log)),
        _ => return Err("msi takes nothing, or --arm64".into()),
    };
    Ok(run.finish())
}

/// Writes winget's manifests for these packages.
pub fn manifests(packages: &[Msi], log: &mut Log) -> Result<()> {
    let mut installers = Vec::new();
    let mut upgrade_code = String::new();
    for msi in packages {
        upgrade_code.clone_from(&msi.upgrade_code);
        installers.push(Installer {
            architecture: msi.architecture,
            file: name(msi.architecture),
            sha256: checksums::sha256(&msi.file)?,
            product_code: msi.product_code.clone(),
        });
    }
    let manifests = Manifests { version: VERSION.to_owned(), upgrade_code, installers };
    log.note(format!("winget: {}", manifests.write(&winget::folder())?.display()));
    Ok(())
}

/// The file name of a package in a release.
pub fn name(architecture: &str) -> String {
    format!("mpr-otel-{VERSION}-{architecture}.msi")
}

impl Msi {
    /// Of `target/dist`. Signs the DLL of its actions, which Windows runs before any other file is there; the
    /// package itself is signed last, by its user.
    pub fn x64(signer: Option<&Signer>, log: &mut Log) -> Result<Self> {
        let mut action_dll = Toolchain::ensure(Architecture::X64, log)?.build_msi_action(log)?;
        if let Some(signer) = signer {
            let signed = folder::target().join("mpr_otel_msi_action.dll");
            dist::copy(&action_dll, &signed)?;
            signer.sign(&signed, log)?;
            action_dll = signed;
        }
        Self::write("x64", &[], &folder::target().join("dist"), &action_dll, log)
    }

    /// The package of `target/dist-llvm`.
    pub fn arm64(log: &mut Log) -> Result<Self> {
        let action_dll = Toolchain::ensure_llvm(Architecture::Arm64, log)?.build_msi_action(log)?;
        Self::write("arm64", &["--arm64"], &folder::target().join("dist-llvm"), &action_dll, log)
    }

    fn write(
        architecture: &'static str,
        flags: &[&str],
        shipped: &Path,
        action_dll: &Path,
        log: &mut Log,
    ) -> Result<Self> {
        let policies: PathBuf = folder::root().join("deploy/windows/PolicyDefinitions");
        let file = folder::target().join(format!("mpr-otel-{architecture}.msi"));
        let mut writer = cargo(&["run", "--quiet", "--package", "mpr-otel-msi", "--"]);
        log.run(writer.args(flags).args([shipped, &policies, action_dll, &file]))?;
        let said = log.text()?;
        log.note(said.lines().last().unwrap_or_default());
        let code = |name: &str| {
            let code = said.lines().rev().find_map(|line| line.strip_prefix(name));
            code.map(str::to_owned).ok_or_else(|| format!("the writer did not say {name}"))
        };
        let (product_code, upgrade_code) = (code("ProductCode ")?, code("UpgradeCode ")?);
        Ok(Self { file, architecture, product_code, upgrade_code })
    }
}

/// Writes the templates of group policy into the repository.
pub fn policy() -> Result<ExitCode> {
    let mut run = Run::new()?;
    run.step("policy", |log| {
        log.run(&mut cargo(&["run", "--quiet", "--package", "mpr-otel-policy"]))
    });
    Ok(run.finish())
}
