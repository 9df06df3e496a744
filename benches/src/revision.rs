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
        Self::build_in(&ship::root(), &ship::target()?.join("against"), name)
    }

    /// The same with this repository, in this folder.
    fn build_in(repository: &Path, folder: &Path, name: &str) -> Result<Self> {
        let commit = commit(repository, name)?;
        let library = folder.join(format!("{commit}.so"));
        if !library.is_file() {
            let tree = Worktree::add(repository, folder.join(&commit), &commit)?;
            let built = folder.join("target");
            ship::run(build(&tree.folder, &built))?;
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
fn commit(repository: &Path, name: &str) -> Result<String> {
    let output = git(repository)
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

fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository);
    git
}

/// A checkout of one commit, which is removed when it is dropped.
struct Worktree<'a> {
    repository: &'a Path,
    folder: PathBuf,
}

impl<'a> Worktree<'a> {
    fn add(repository: &'a Path, folder: PathBuf, commit: &str) -> Result<Self> {
        // A run that was killed may have left one.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut git = git(repository);
        git.args(["worktree", "add", "--quiet", "--force", "--detach"]).arg(&folder).arg(commit);
        ship::run(git)?;
        Ok(Self { repository, folder })
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        // It may not be there; what is left is ignored by git and replaced by the next run.
        let mut git = git(self.repository);
        let _ = git.args(["worktree", "remove", "--force"]).arg(&self.folder).output();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_revision_is_refused_by_name() {
        let refused = commit(&ship::root(), "no-such-revision").unwrap_err().to_string();
        assert!(refused.starts_with("`no-such-revision` is no revision here"), "{refused}");
        assert!(commit(&ship::root(), "--help").is_err());
    }

    #[test]
    fn a_revision_is_built_by_the_package_that_it_has() {
        let today = build(&ship::root(), Path::new("target"));
        assert!(today.get_args().any(|word| word == "mpr-otel-dll"), "{today:?}");
        let before = build(Path::new("nowhere"), Path::new("target"));
        assert!(before.get_args().any(|word| word == "cdylib"), "{before:?}");
    }

    /// A repository whose one commit has a library with nothing in it.
    fn repository() -> tempfile::TempDir {
        let repository = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = repository.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = ['src/dll']\nresolver = '3'\n");
        write(
            "src/dll/Cargo.toml",
            "[package]\nname = 'mpr-otel-dll'\nedition = '2024'\n\
             [lib]\nname = 'mpr_otel'\npath = 'lib.rs'\ncrate-type = ['cdylib']\n",
        );
        write("src/dll/lib.rs", "");
        let author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"];
        let commit = ["commit", "--quiet", "--message", "One library"];
        for arguments in [&["init", "--quiet"][..], &["add", "."], &commit] {
            let mut git = git(repository.path());
            git.args(["-c", "init.defaultBranch=main"]).args(author).args(arguments);
            ship::run(git).unwrap();
        }
        repository
    }

    #[test]
    fn a_revision_is_built_once_whatever_a_killed_run_left() {
        let repository = repository();
        let (root, folder) = (repository.path(), repository.path().join("target/against"));
        let commit = commit(root, "HEAD").unwrap();
        std::mem::forget(Worktree::add(root, folder.join(&commit), &commit).unwrap());
        let build = || Revision::build_in(root, &folder, "HEAD").unwrap().library;
        let library = build();
        assert!(fs::metadata(&library).unwrap().len() > 0);
        fs::write(&library, "the first build").unwrap();
        assert_eq!(fs::read_to_string(build()).unwrap(), "the first build");
        let worktrees = git(root).args(["worktree", "list", "--porcelain"]).output().unwrap();
        let worktrees = String::from_utf8(worktrees.stdout).unwrap();
        assert_eq!(worktrees.matches("worktree ").count(), 1, "{worktrees}");
    }
}
