//! `cargo xtask release`: puts everything that is published for a version into `target/publish`.
//!
//! `.github/workflows/release.yml` runs it; `cargo xtask test` does not.

use crate::cargo::cargo;
use crate::dist::{self, copy};
use crate::msi::{self, Msi};
use crate::packages::Need;
use crate::run::{Log, Run};
use crate::sbom::{self, Subject};
use crate::sign::Signer;
use crate::windows::{Abi, Architecture, Target};
use crate::{Result, VERSION, changelog, checksums, folder, notices, packages, test, winget};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

/// Packs the files for Windows.
const ZIP: Need =
    Need { name: "zip", packages: &["zip"], is_there: || folder::program("zip").is_some() };

/// What runs on the fleet's side: one archive.
const FLEET: [&str; 10] = [
    "collector-config",
    "dashboards",
    "deploy/alertmanager",
    "deploy/backends",
    "deploy/identity",
    "deploy/linux",
    "deploy/prometheus",
    "deploy/scaled",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    /// A rehearsal runs no tests, and its version need not be in the changelog yet.
    is_rehearsal: bool,
    /// The tag that is released.
    tag: Option<String>,
    signer: Option<Signer>,
}

impl Order {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut order = Self::default();
        let mut rest = arguments;
        loop {
            match rest {
                ["--rehearsal", more @ ..] => (order.is_rehearsal, rest) = (true, more),
                ["--tag", tag, more @ ..] => (order.tag, rest) = (Some((*tag).to_owned()), more),
                _ => break,
            }
        }
        order.signer = Signer::parse(rest)?;
        match &order.tag {
            Some(tag) if *tag != format!("v{VERSION}") => {
                Err(format!("the tag {tag} does not belong to version {VERSION}").into())
            }
            _ => Ok(order),
        }
    }
}

/// Fills `target/publish`.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let order = Order::parse(arguments)?;
    let mut run = Run::new()?;
    let mut notes = String::new();
    let ready = run.step("check release", |log| {
        packages::ensure(&[ZIP], log)?;
        refuse_changes()?;
        notes = changelog::section(if order.is_rehearsal { "Unreleased" } else { VERSION })?;
        Ok(())
    });
    let ready = ready && (order.is_rehearsal || test::steps(&mut run));
    if ready && dist::steps(&mut run) {
        let mut msi = None;
        let same = run.step("msi", |log| {
            msi = Some(Msi::x64(None, log)?);
            Ok(())
        }) && run.step("build again", build_again)
            && run.step("compare", |log| compare(&again().join("target"), log));
        if same && let Some(mut msi) = msi {
            let signed = order.signer.is_none_or(|signer| {
                run.step("sign", |log| {
                    dist::sign_all(&signer, log)?;
                    // The package has the signed files in it.
                    msi = Msi::x64(Some(&signer), log)?;
                    signer.sign(&msi.file, log)
                })
            });
            if signed {
                run.step("publish", |log| publish(&msi, &notes, log));
            }
        }
    }
    Ok(run.finish())
}

/// An error unless everything that is published is committed.
fn refuse_changes() -> Result<()> {
    let mut status = Command::new("git");
    let changes = notices::output(status.args(["status", "--porcelain"]))?;
    match changes.lines().next() {
        None => Ok(()),
        Some(line) => {
            Err(format!("not committed: {}; commit it, or remove it", line.trim()).into())
        }
    }
}

/// The folder of the second build.
fn again() -> PathBuf {
    folder::target().join("again")
}

/// Builds the committed files again, from nothing, in another folder.
fn build_again(log: &mut Log) -> Result<()> {
    let again = again();
    if again.exists() {
        fs::remove_dir_all(&again)?;
    }
    log.run(Command::new("git").args(["clone", "--quiet"]).arg(folder::root()).arg(&again))?;
    for command in ["dist", "msi"] {
        let mut build = cargo(&["run", "--quiet", "--package", "xtask", "--manifest-path"]);
        build.arg(again.join("Cargo.toml")).args(["--", command]);
        log.run(build.env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(())
}

/// An error if the second build, in `other`, is not the same byte for byte.
fn compare(other: &Path, log: &mut Log) -> Result<()> {
    let mut different = Vec::new();
    let mut count = 0;
    for part in ["dist", "mpr-otel-x64.msi"] {
        count += differences(&folder::target(), other, Path::new(part), &mut different)?;
    }
    if !different.is_empty() {
        return Err(format!("built twice, and not the same: {}", different.join(", ")).into());
    }
    log.note(format!("{count} files built twice, and the same"));
    for file in ["mpr-otel-x64.msi", "dist/mpr_otel.dll"] {
        log.note(format!("{}  {file}", checksums::sha256(&other.join(file))?));
    }
    // The second build needs as much disk space as the first.
    Ok(fs::remove_dir_all(again())?)
}

/// Compares a file, or all files of a folder. Returns how many files were compared.
fn differences(one: &Path, other: &Path, part: &Path, found: &mut Vec<String>) -> Result<usize> {
    let (first, second) = (one.join(part), other.join(part));
    if !first.is_dir() {
        let read = |path: &Path| fs::read(path).ok();
        if read(&first) != read(&second) {
            found.push(part.display().to_string());
        }
        return Ok(1);
    }
    let names = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).collect()
    };
    let mut all = [names(&first), names(&second)].concat();
    all.sort();
    all.dedup();
    let mut count = 0;
    for name in all {
        count += differences(one, other, &part.join(name), found)?;
    }
    Ok(count)
}

/// Fills the folder `target/publish`.
fn publish(msi: &Msi, notes: &str, log: &mut Log) -> Result<()> {
    let (to, shipped) = (folder::target().join("publish"), folder::target().join("dist"));
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    copy(&msi.file, &to.join(msi::name("x64")))?;
    zip(&shipped, &to.join(format!("mpr-otel-{VERSION}-windows-x64.zip")), log)?;
    let name = format!("mpr-otel-{VERSION}-fleet");
    let mut archive = Command::new("git");
    archive.args(["archive", "--format=tar.gz", &format!("--prefix={name}/"), "--output"]);
    log.run(archive.arg(to.join(format!("{name}.tar.gz"))).arg("HEAD").args(FLEET))?;
    copy(&shipped.join("THIRD-PARTY-NOTICES.txt"), &to.join("THIRD-PARTY-NOTICES.txt"))?;
    for (file, kind, package) in
        [("mpr_otel.dll", "library", "mpr-otel-dll"), ("mpr-otel.exe", "application", "mpr-otel")]
    {
        let target = Target { architecture: Architecture::X64, abi: Abi::Gnu };
        let sha256 = checksums::sha256(&shipped.join(file))?;
        let bill = sbom::text(&Subject { file, kind, package, target, sha256 })?;
        fs::write(to.join(format!("{file}.cdx.json")), bill)?;
    }
    msi::manifests(std::slice::from_ref(msi), log)?;
    for manifest in winget::files()? {
        copy(&manifest, &to.join(manifest.file_name().unwrap_or_default()))?;
    }
    let names = names(&to)?;
    fs::write(to.join("SHA256SUMS"), checksums::sums(&to, &names)?)?;
    // This is the text of the release and not one of its files.
    fs::write(folder::target().join("release-notes.md"), notes)?;
    log.note(format!("in {}:", to.display()));
    for name in names {
        log.note(format!("{:>9} bytes  {name}", fs::metadata(to.join(&name))?.len()));
    }
    Ok(())
}

/// The names of the files in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Packs a folder's files, each with the time of the commit, so that the same files give the same bytes.
fn zip(from: &Path, to: &Path, log: &mut Log) -> Result<()> {
    let mut time = Command::new("git");
    let seconds = notices::output(time.args(["log", "-1", "--format=%ct"]))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.trim().parse()?);
    let mut files = Vec::new();
    list(from, Path::new(""), time, &mut files)?;
    files.sort();
    // Runs in the folder, so that the archive has only names: no owner, no outer folder, no access
    // time.
    let script = "cd \"$1\" && shift && exec zip -q -X -D \"$@\"";
    let mut zip = Command::new("sh");
    zip.args(["-c", script, "zip"]).arg(from).arg(to).args(files).env("TZ", "UTC");
    log.run(&mut zip)
}

/// Adds the files of `root/folder`, relative to `root`, and sets their time.
fn list(root: &Path, folder: &Path, time: SystemTime, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, &path, time, files)?;
        } else {
            fs::File::options().append(true).open(entry.path())?.set_modified(time)?;
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the test, which is removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, path: &str, text: &str) {
            let file = self.0.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_changed_or_missing_file_is_a_difference() {
        let folder = Folder::new("twice");
        for (path, text) in [
            ("one/dist/same", "a"),
            ("two/dist/same", "a"),
            ("one/dist/x86/other", "a"),
            ("two/dist/x86/other", "b"),
            ("one/dist/gone", ""),
            ("two/dist/new", ""),
        ] {
            folder.write(path, text);
        }
        let mut found = Vec::new();
        let [one, two] = ["one", "two"].map(|name| folder.0.join(name));
        let count = differences(&one, &two, Path::new("dist"), &mut found).unwrap();
        assert_eq!(found, ["dist/gone", "dist/new", "dist/x86/other"]);
        assert_eq!(count, 4);
        found.clear();
        differences(&one, &one, Path::new("dist"), &mut found).unwrap();
        assert!(found.is_empty());
    }

    #[test]
    fn sums_are_what_sha256sum_checks() {
        let folder = Folder::new("sums");
        folder.write("a", "");
        folder.write("b", "b");
        let sums = checksums::sums(&folder.0, &names(&folder.0).unwrap()).unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(sums.starts_with(&format!("{empty}  a\n")) && sums.ends_with("  b\n"), "{sums}");
        assert_eq!(checksums::sha256(&folder.0.join("a")).unwrap(), empty);
    }

    #[test]
    fn the_tag_has_to_be_that_of_the_version() {
        let tag = format!("v{VERSION}");
        let order = Order::parse(&["--rehearsal", "--tag", &tag, "--sign", "c", "k"]).unwrap();
        assert!(order.is_rehearsal && order.signer.is_some());
        assert_eq!(Order::parse(&[]).unwrap(), Order::default());
        assert!(Order::parse(&["--tag", "v999.0.0"]).is_err());
        assert!(Order::parse(&["--tag"]).is_err());
        assert!(Order::parse(&["--untested"]).is_err());
    }

    #[test]
    fn everything_that_is_archived_for_the_fleet_exists() {
        for path in FLEET {
            assert!(folder::root().join(path).exists(), "{path}");
        }
        // The Windows files are in the package, and no other folder is left out.
        for folder in fs::read_dir(folder::root().join("deploy")).unwrap() {
            let name = folder.unwrap().file_name().into_string().unwrap();
            let is_archived = FLEET.contains(&&*format!("deploy/{name}"));
            assert!(is_archived || name == "windows", "deploy/{name} is in no archive");
        }
    }
}
