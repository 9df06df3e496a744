//! The files of the workspace that tests start and load.
//!
//! No package depends on the DLL, so Cargo does not build it for a test. Each file is the one
//! that a variable names, such as one that ships; without the variable Cargo is asked for it, so
//! it is never older than its source.

use crate::double::LIBRARY;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The shared library: `MPR_OTEL_TEST_LIBRARY`, or this workspace's.
pub fn library() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    built(&FILE, "MPR_OTEL_TEST_LIBRARY", "mpr-otel-dll", LIBRARY)
}

/// The program `mpr-otel`: `MPR_OTEL_TEST_PROGRAM`, or this workspace's.
pub fn program() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    built(&FILE, "MPR_OTEL_TEST_PROGRAM", "mpr-otel", "mpr-otel")
}

/// The program `mpr-otel-lab`: `MPR_OTEL_TEST_LAB`, or this workspace's.
pub fn lab() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    built(&FILE, "MPR_OTEL_TEST_LAB", "mpr-otel-lab", "mpr-otel-lab")
}

/// The folder of the workspace.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Cargo's folder for files of the running test's profile, such as target/debug.
pub fn target() -> PathBuf {
    // The test is target/debug/deps/<test>.
    env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf()
}

fn built(file: &OnceLock<PathBuf>, variable: &str, package: &str, name: &str) -> PathBuf {
    let file = file.get_or_init(|| match env::var_os(variable) {
        Some(named) => named.into(),
        None => {
            build(package);
            target().join(format!(
                "{name}{}",
                if name == LIBRARY { "" } else { env::consts::EXE_SUFFIX }
            ))
        }
    });
    assert!(file.is_file(), "{} is not there; {variable} names another", file.display());
    file.clone()
}

fn build(package: &str) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", package]).current_dir(repository());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "{package} does not build");
}
