//! The tests under Wine, in a Windows folder of their own, with a network provider that plays MPR's
//! part.

use crate::cargo::cargo;
use crate::dist::{self, Built};
use crate::packages::Need;
use crate::recorder::Recorder;
use crate::run::{Log, Run};
use crate::windows::{RECORDER, Toolchain};
use crate::{Result, folder, packages};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path in the prefix.
const SYSTEM32: &str = "drive_c/windows/system32";

/// The tests that run under Wine.
const TEST: [&str; 5] = ["test", "--package", "mpr-otel-tests", "--test", "wine"];

/// Runs Windows programs.
const WINE: Need = Need {
    name: "Wine",
    packages: &["wine", "wine64"],
    // Debian's package `wine` alone is installed but contains no Wine to run.
    is_there: || {
        Command::new("wine").arg("--version").output().is_ok_and(|output| output.status.success())
    },
};

/// Makes the tests' certificates. Wine takes a private key in PKCS #12 only if it is an RSA key.
const OPENSSL: Need = Need {
    name: "OpenSSL",
    packages: &["openssl"],
    is_there: || folder::program("openssl").is_some(),
};

/// Builds the programs of the test, sets up a fresh Windows and runs `tests/wine.rs` against it.
pub fn steps(run: &mut Run, x64: &Toolchain, built: &Built, recorder: &Recorder) {
    let stage = Stage::new();
    let ready = run.step("prepare wine", |log| {
        packages::ensure(&[WINE, OPENSSL], log)?;
        stage.build(x64, built, recorder, log)?;
        stage.set_up(log)
    });
    if ready {
        run.step("unit wine", |log| stage.unit_tests(x64, log));
        run.step("wine", |log| stage.test(log));
        stage.shut_down();
    }
}

/// The folders of these tests.
struct Stage {
    /// The programs that were built: the product's as they ship, and the test's own.
    programs: PathBuf,
    /// Wine's prefix.
    prefix: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let folder = folder::target().join("wine");
        Self { programs: folder.join("programs"), prefix: folder.join("prefix") }
    }

    fn build(
        &self,
        x64: &Toolchain,
        built: &Built,
        recorder: &Recorder,
        log: &mut Log,
    ) -> Result<()> {
        remove(&self.programs)?;
        built.copy_to(&self.programs)?;
        dist::copy(&recorder.x64, &self.programs.join(RECORDER))?;
        let action_dll = x64.build_msi_action(log)?;
        dist::copy(&action_dll, &self.programs.join("mpr_otel_msi_action.dll"))?;
        let provider = x64.build_wine_provider(log)?;
        dist::copy(&provider, &self.programs.join("mpr_otel_wine_provider.dll"))?;
        let source = folder::root().join("tests").join("wine");
        let warnings = ["-Wall", "-Wextra", "-Werror", "-O1"];
        log.run(
            x64.gcc()
                .args(warnings)
                .arg("-municode")
                .arg(source.join("caller").join("caller.c"))
                .arg("-o")
                .arg(self.programs.join("caller.exe"))
                .arg("-lmpr"),
        )?;
        log.run(
            x64.gcc()
                .args(warnings)
                .arg("-municode")
                .arg(source.join("relay").join("relay.c"))
                .arg("-o")
                .arg(self.programs.join("relay.exe"))
                .arg("-lws2_32"),
        )?;
        log.run(
            x64.gcc()
                .args(warnings)
                .arg("-municode")
                .arg(source.join("store").join("store.c"))
                .arg("-o")
                .arg(self.programs.join("store.exe"))
                .arg("-lcrypt32"),
        )?;
        log.run(
            x64.gcc()
                .args(warnings)
                .arg("-shared")
                .arg(source.join("prng").join("prng.c"))
                .arg("-o")
                .arg(self.programs.join("bcryptprimitives.dll"))
                .arg("-ladvapi32"),
        )?;
        // This is built now, because Wine's services do not wait for a compiler.
        log.run(x64.unit_tests("wine").arg("--no-run"))?;
        log.run(cargo(&TEST).arg("--no-run"))
    }

    /// Makes a fresh Windows in which the product's programs run, and in which mapping a drive
    /// calls the test's provider.
    fn set_up(&self, log: &mut Log) -> Result<()> {
        self.shut_down();
        remove(&self.prefix)?;
        fs::create_dir_all(&self.prefix)?;
        log.run(self.wine("wineboot").arg("--init"))?;
        log.run(self.wine("wineserver").arg("--wait"))?;
        // From here on Wine's services stay alive between programs. Otherwise each program would
        // start them again, and a reader of its output would have to wait for their end.
        log.run(self.wine("wineserver").arg("--persistent=300"))?;
        let system32 = self.prefix.join(SYSTEM32);
        for dll in ["mpr_otel_wine_provider.dll", "bcryptprimitives.dll"] {
            let installed = system32.join(dll);
            // Later versions of Wine have that folder.
            if !installed.exists() {
                dist::copy(&self.programs.join(dll), &installed)?;
            }
        }
        let registry = folder::root().join("tests").join("wine").join("provider.reg");
        log.run(self.wine("wine").arg("regedit").arg("/S").arg(registry))
    }

    /// Ends the processes that may run in the prefix.
    fn shut_down(&self) {
        // It is not an error if there is nothing to end.
        let _ = self.wine("wineserver").arg("--kill").output();
    }

    /// Runs the unit tests of the code that calls Windows, as far as Wine supports it.
    fn unit_tests(&self, x64: &Toolchain, log: &mut Log) -> Result<()> {
        let mut tests = x64.unit_tests("wine");
        tests.envs(self.environment()).env_remove("DISPLAY");
        log.run(&mut tests)?;
        log.note_results()
    }

    fn test(&self, log: &mut Log) -> Result<()> {
        let mut cargo = cargo(&TEST);
        cargo.env("MPR_OTEL_TEST_WINE", &self.programs).env("WINEPREFIX", &self.prefix);
        log.run(&mut cargo)?;
        log.note_results()
    }

    /// A program of Wine, without a display and without Wine's downloads.
    fn wine(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).env_remove("DISPLAY");
        command
    }

    fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            ("WINEPREFIX", self.prefix.clone().into()),
            ("WINEARCH", "win64".into()),
            ("WINEDEBUG", "-all".into()),
            ("WINEDLLOVERRIDES", "mscoree,mshtml=".into()),
        ]
    }
}

/// Removes a folder and everything in it, if it exists.
fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()).into())
        }
        _ => Ok(()),
    }
}
