//! The files that are installed below `Program Files\mpr-otel`.

use crate::{Architecture, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is taken from the folder of what ships. A folder is taken with all that is in it.
const PAPERS: [&str; 4] =
    ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-NOTICES.txt", "third-party"];
const FOR_X64: &[&str] = &["mpr-otel.exe", "mpr_otel.dll", "x86/mpr_otel.dll"];
/// From the folder in it that is named so. The DLL leads each kind of program to its own.
const FOR_ARM64: &[&str] = &[
    "mpr-otel.exe",
    "mpr_otel.dll",
    "mpr_otel_arm64.dll",
    "mpr_otel_x64.dll",
    "x64/mpr-otel.exe",
    "x86/mpr_otel.dll",
];

/// The program that the service and the actions run.
pub(crate) const PROGRAM: &str = "mpr-otel.exe";

/// The files, sorted by path.
#[derive(Clone, Debug)]
pub struct Payload {
    pub(crate) files: Vec<File>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Where it is installed, with `/`.
    pub(crate) path: String,
    /// Its key in the tables and its name in the cabinet.
    pub(crate) id: String,
    pub(crate) content: Vec<u8>,
    /// In its version resource.
    pub(crate) version: Option<[u16; 4]>,
}

impl Payload {
    /// Reads what ships from the folder that `cargo xtask dist` fills, for Arm with `--llvm`, and the
    /// policy's templates.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the program is of another machine than the package.
    pub fn read(shipped: &Path, policies: &Path, architecture: Architecture) -> Result<Self> {
        let mut files = Vec::new();
        let (programs, names) = match architecture {
            Architecture::X64 => (shipped.to_owned(), FOR_X64),
            Architecture::Arm64 => (shipped.join("arm64"), FOR_ARM64),
        };
        for name in names {
            files.push(File::read(&programs.join(name), (*name).to_owned())?);
        }
        let mut papers = Vec::new();
        for paper in PAPERS {
            list(shipped, paper, &mut papers)?;
        }
        for paper in papers {
            files.push(File::read(&shipped.join(&paper), paper)?);
        }
        let mut paths = Vec::new();
        list(policies, ".", &mut paths)?;
        for path in paths {
            let path = path.trim_start_matches("./");
            files.push(File::read(&policies.join(path), format!("PolicyDefinitions/{path}"))?);
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Self { files }.checked(architecture)
    }

    fn checked(self, architecture: Architecture) -> Result<Self> {
        let program = self.program()?;
        let machine = machine(&program.content);
        if machine != Some(architecture.machine()) {
            return Err(format!(
                "{PROGRAM} is for machine {machine:x?} and not {:x}; name the folder of what was built for {}",
                architecture.machine(),
                architecture.template()
            )
            .into());
        }
        Ok(self)
    }

    pub(crate) fn program(&self) -> Result<&File> {
        let program = self.files.iter().find(|file| file.path == PROGRAM);
        Ok(program.ok_or_else(|| format!("{PROGRAM} is not among the files"))?)
    }

    /// The folders below the product's own, outer ones first.
    pub(crate) fn folders(&self) -> BTreeSet<&str> {
        let parents = |file: &'_ File| -> Vec<usize> {
            file.path.match_indices('/').map(|(end, _)| end).collect()
        };
        let of = |file| parents(file).into_iter().map(move |end| (file, end));
        self.files.iter().flat_map(of).map(|(file, end)| &file.path[..end]).collect()
    }
}

impl File {
    fn read(from: &Path, path: String) -> Result<Self> {
        let content = fs::read(from).map_err(|error| {
            format!("cannot read {}: {error}; `cargo xtask dist` makes it", from.display())
        })?;
        Ok(Self { id: identifier(&path), version: file_version(&content), path, content })
    }

    /// As the Version column has it; empty if it has none.
    pub(crate) fn version_text(&self) -> String {
        let version = self.version.map(|version| version.map(|part| part.to_string()).join("."));
        version.unwrap_or_default()
    }

    /// Its folder, and its name.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }
}

/// Adds the paths of the files below `root/path`, relative to `root`.
fn list(root: &Path, path: &str, paths: &mut Vec<String>) -> Result<()> {
    let whole = root.join(path);
    if !whole.is_dir() {
        paths.push(path.to_owned());
        return Ok(());
    }
    let failed = |error| format!("cannot read {}: {error}", whole.display());
    for entry in fs::read_dir(&whole).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        list(root, &format!("{path}/{}", name.to_string_lossy()), paths)?;
    }
    Ok(())
}

/// A key for a path (Microsoft: "Identifier").
pub(crate) fn identifier(path: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    format!("f_{}", path.chars().map(plain).collect::<String>())
}

/// The name as the Filename column has it: with a short one before it unless it is short itself, as the
/// `number`th of its folder.
pub(crate) fn named(name: &str, number: usize) -> String {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_plain = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric());
    if stem.len() <= 8 && extension.len() <= 3 && is_plain(stem) && is_plain(extension) {
        return name.to_owned();
    }
    let letters = |text: &str, count| -> String {
        let plain = text.chars().filter(char::is_ascii_alphanumeric).take(count);
        plain.map(|letter| letter.to_ascii_uppercase()).collect()
    };
    let short = format!("{}~{number}", letters(stem, 5));
    match letters(extension, 3) {
        none if none.is_empty() => format!("{short}|{name}"),
        extension => format!("{short}.{extension}|{name}"),
    }
}

/// The machine that a program is for: the word after the signature of its header (winnt.h).
fn machine(program: &[u8]) -> Option<u16> {
    let header = u32::from_le_bytes(program.get(0x3C..0x40)?.try_into().ok()?) as usize;
    let machine = program.get(header..)?.strip_prefix(b"PE\0\0")?.get(..2)?;
    Some(u16::from_le_bytes(machine.try_into().ok()?))
}

/// The file version of a program's resources: four words of VS_FIXEDFILEINFO (verrsrc.h), which begins
/// with its signature and the version of the structure.
pub(crate) fn file_version(content: &[u8]) -> Option<[u16; 4]> {
    machine(content)?;
    let start = [0xBD, 0x04, 0xEF, 0xFE, 0, 0, 1, 0];
    let at = content.windows(start.len()).position(|window| window == start)?;
    let word = |offset: usize| -> Option<u16> {
        Some(u16::from_le_bytes(content.get(at + offset..at + offset + 2)?.try_into().ok()?))
    };
    Some([word(10)?, word(8)?, word(14)?, word(12)?])
}
