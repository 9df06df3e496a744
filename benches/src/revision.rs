//! Another revision's shared library, built as that revision ships it.

use crate::{Result, ship};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A commit and its library.
#[derive(Debug)]
pub struct Revision {
    /// Its hash, in full.
    pub commit: String,
    /// The library that was built from it.
    pub library: PathBuf,
}

impl Revision {
    /// Builds the library of the commit that `name` stands for, unless that was done before.
    pub fn build(name: &str) -> Result<Self> {
        let commit = commit(name)?;
        let folder = ship::target()?.join("against");
        let library = folder.join(format!("{commit}.so"));
        if !library.is_file() {
            let tree = Worktree::add(&folder.join(&commit), &commit)?;
            let built = folder.join("target");
            ship::run(build(&tree.0, &built))?;
            // In one step, so that a library which is there is whole.
            let partial = library.with_extension("partial");
            fs::copy(built.join("release").join(mpr_otel_lab::double::LIBRARY), &partial)?;
            fs::rename(&partial, &library)?;
        }
        Ok(Self { commit, library })
    }

    /// How the tables call it.
    pub fn label(&self) -> String {
        format!("mpr-otel at {}", &self.commit[..7])
    }
}

/// The commit that `name` stands for.
fn commit(name: &str) -> Result<String> {
    let output = git()
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{name}^{{commit}}"))
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` is no revision here; `git log --oneline` shows some").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// How the library in `tree` is built as it ships: from 0.2 on a package makes it alone.
fn build(tree: &Path, target: &Path) -> Command {
    let arguments: &[&str] = if tree.join("src/dll/Cargo.toml").is_file() {
        &["build", "--release", "--package", "mpr-otel-dll"]
    } else {
        &["rustc", "--release", "--package", "mpr-otel", "--lib", "--crate-type", "cdylib"]
    };
    let mut cargo = ship::cargo(tree, arguments);
    cargo.env("CARGO_TARGET_DIR", target);
    cargo
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(ship::root());
    git
}

/// A checkout of one commit, which is removed when it is dropped.
struct Worktree(PathBuf);

impl Worktree {
    fn add(folder: &Path, commit: &str) -> Result<Self> {
        // A run that was killed may have left one.
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let mut git = git();
        git.args(["worktree", "add", "--quiet", "--force", "--detach"]).arg(folder).arg(commit);
        ship::run(git)?;
        Ok(Self(folder.to_path_buf()))
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        // It may not be there; what is left is ignored by git and replaced by the next run.
        let mut git = git();
        let _ = git.args(["worktree", "remove", "--force"]).arg(&self.0).output();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_revision_is_refused_by_name() {
        let refused = commit("no-such-revision").unwrap_err().to_string();
        assert!(refused.starts_with("`no-such-revision` is no revision here"), "{refused}");
        assert!(commit("--help").is_err());
    }

    #[test]
    fn a_revision_is_built_by_the_package_that_it_has() {
        let today = build(&ship::root(), Path::new("target"));
        assert!(today.get_args().any(|word| word == "mpr-otel-dll"), "{today:?}");
        let before = build(Path::new("nowhere"), Path::new("target"));
        assert!(before.get_args().any(|word| word == "cdylib"), "{before:?}");
    }
}
