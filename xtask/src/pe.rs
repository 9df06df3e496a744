//! Checks what Windows' loader reads in a DLL or a program.

mod imports;
mod marks;
mod unwind;

use crate::windows::{Abi, Architecture, Target, arm64x};
use crate::{Result, folder};
use marks::Marks;
use object::read::pe::{
    ExportTable, ImageNtHeaders, ImportTable, PeFile, ResourceDirectory,
    ResourceDirectoryEntryData, ResourceDirectoryTable, ResourceNameOrId,
};
use object::{LittleEndian as LE, pe};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// The names that MPR looks for, undecorated.
const EXPORTS: [&str; 2] = ["AddConnectNotify", "CancelConnectNotify"];

/// DLLs that every Windows 10 and Server 2016, and later versions, have. The notification DLL
/// imports fewer of them: src/dll/imports-*.txt.
const SYSTEM: [&str; 14] = [
    "advapi32.dll",
    "api-ms-win-core-synch-l1-2-0.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "crypt32.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ncrypt.dll",
    "ntdll.dll",
    "oleaut32.dll",
    "secur32.dll",
    "userenv.dll",
    "ws2_32.dll",
];

/// The most bytes of the DLL, because it is mapped into every program that maps a drive.
const DLL_LIMIT: usize = 1_200_000;

/// The tables of one file.
struct Tables {
    machine: pe::Machine,
    exports: Vec<String>,
    imports: BTreeSet<String>,
    version: Option<[u16; 4]>,
    marks: Marks,
}

/// `cargo xtask pe`: checks files that were built before, or by another program, and prints a line
/// about each.
pub fn run(triple: &str, files: &[&str]) -> Result<ExitCode> {
    let target = Target::named(triple)
        .ok_or_else(|| format!("{triple} is no target that mpr-otel is built for"))?;
    for path in files.iter().map(Path::new) {
        let (tables, data) = check(path, target)?;
        if path.ends_with("mpr_otel.dll") {
            tables.check_exports(path)?;
        }
        println!("{}", tables.summary(path, target, data.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the notification DLL. Returns a line about it.
pub fn check_dll(path: &Path, target: Target) -> Result<String> {
    let (tables, data) = check(path, target)?;
    tables.check_exports(path)?;
    let list = folder::root().join(format!("src/dll/imports-{}.txt", target.triple()));
    let listed =
        fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let complaints = imports::complaints(&listed, &tables.imports);
    if !complaints.is_empty() {
        return Err(
            format!("{}: {} ({})", path.display(), complaints.join("; "), list.display()).into()
        );
    }
    if data.len() > DLL_LIMIT {
        return Err(format!(
            "{} has {} bytes, which is over {DLL_LIMIT}; what did the last dependency bring?",
            path.display(),
            data.len()
        )
        .into());
    }
    Ok(tables.summary(path, target, data.len()))
}

/// Checks the program. Returns a line about it.
pub fn check_program(path: &Path, target: Target) -> Result<String> {
    let (tables, data) = check(path, target)?;
    Ok(tables.summary(path, target, data.len()))
}

/// Checks the recorder, which does not ship. Returns a line about it.
pub fn check_recorder(path: &Path, target: Target) -> Result<String> {
    let (tables, data) = check_loads(path, target)?;
    for name in EXPORTS {
        if !tables.exports.iter().any(|export| export == name) {
            return Err(format!(
                "{} exports {:?} and not {name} (build.rs tells the linker)",
                path.display(),
                tables.exports
            )
            .into());
        }
    }
    Ok(tables.summary(path, target, data.len()))
}

/// Checks the DLL without code that arm64 and emulated x64 programs load (windows/arm64x.rs).
/// Returns a line about it.
pub fn check_forwarder(path: &Path) -> Result<String> {
    let target = Target { architecture: Architecture::Arm64, abi: Abi::Llvm };
    let (tables, data) = check_loads(path, target)?;
    let failed = |what: &str| Err(format!("{} {what}", path.display()).into());
    if tables.exports != EXPORTS {
        return failed("does not export what MPR looks for");
    }
    if !tables.marks.is_hybrid() {
        return failed(
            "is not Arm64X; the linker needs a load configuration of both kinds for that",
        );
    }
    if !tables.marks.imports_from_system32() {
        return failed("may lead to DLLs in the folder of the program that loads it");
    }
    for dll in [arm64x::NATIVE, arm64x::EMULATED] {
        for export in EXPORTS {
            let to = format!("{}.{export}", dll.trim_end_matches(".dll"));
            if !data.windows(to.len()).any(|bytes| bytes == to.as_bytes()) {
                return failed(&format!("does not lead to {to}"));
            }
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!(
        "{name} for arm64 and x64: {} bytes, Arm64X; {}; leads to {} and {}",
        data.len(),
        tables.marks.summary(),
        arm64x::NATIVE,
        arm64x::EMULATED
    ))
}

/// The version resource of a 64-bit file: VS_VERSIONINFO and everything in it (verrsrc.h).
pub fn version_resource(path: &Path) -> Result<Vec<u8>> {
    let data = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = PeFile::<pe::ImageNtHeaders64>::parse(&*data)?;
    let directories = file.data_directories();
    let resources = directories.resource_directory(&*data, &file.section_table())?;
    let resource = match resources {
        Some(resources) => version_data(&data, &file, resources)?,
        None => None,
    };
    Ok(resource.ok_or_else(|| format!("{} has no version", path.display()))?.to_vec())
}

/// Checks what must be true of every file that ships.
fn check(path: &Path, target: Target) -> Result<(Tables, Vec<u8>)> {
    let (tables, data) = check_loads(path, target)?;
    let expected = package_version()?;
    let mut complaints = tables.marks.missing(target);
    if tables.version != Some(expected) {
        complaints.push(format!(
            "its file version is {:?} and not {expected:?}; is windres installed (build.rs)?",
            tables.version
        ));
    }
    if !complaints.is_empty() {
        return Err(format!("{}: {}", path.display(), complaints.join("; ")).into());
    }
    Ok((tables, data))
}

/// Checks what every Windows 10 needs in a file that it loads.
fn check_loads(path: &Path, target: Target) -> Result<(Tables, Vec<u8>)> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let data = fs::read(path).map_err(|error| failed(&error))?;
    let tables = match target.architecture {
        Architecture::X86 => Tables::read::<pe::ImageNtHeaders32>(&data),
        Architecture::X64 | Architecture::Arm64 => Tables::read::<pe::ImageNtHeaders64>(&data),
    };
    let tables = tables.map_err(|error| failed(&error))?;
    if tables.machine != target.architecture.machine() {
        return Err(
            format!("{} is for another machine: {:?}", path.display(), tables.machine).into()
        );
    }
    let foreign: Vec<&str> =
        tables.imports.iter().map(String::as_str).filter(|name| !is_system(name)).collect();
    if !foreign.is_empty() {
        return Err(format!(
            "{} imports {}, which not every Windows 10 has; link it in or do without",
            path.display(),
            foreign.join(", ")
        )
        .into());
    }
    if (target.architecture, target.abi) == (Architecture::X86, Abi::Gnu) {
        unwind::check(&data).map_err(|error| failed(&error))?;
    }
    Ok((tables, data))
}

fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name) || name.starts_with("api-ms-win-crt-")
}

/// The workspace's version in the form that Windows uses.
fn package_version() -> Result<[u16; 4]> {
    let part = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok([
        part(env!("CARGO_PKG_VERSION_MAJOR"))?,
        part(env!("CARGO_PKG_VERSION_MINOR"))?,
        part(env!("CARGO_PKG_VERSION_PATCH"))?,
        0,
    ])
}

impl Tables {
    fn read<Headers: ImageNtHeaders>(data: &[u8]) -> Result<Self> {
        let file = PeFile::<Headers>::parse(data)?;
        let directories = file.data_directories();
        let resources = directories.resource_directory(data, &file.section_table())?;
        Ok(Self {
            machine: file.nt_headers().file_header().machine.get(LE),
            exports: file.export_table()?.map_or(Ok(Vec::new()), |table| exports(&table))?,
            imports: file.import_table()?.map_or(Ok(BTreeSet::new()), |table| imports(&table))?,
            version: match resources {
                Some(resources) => version_data(data, &file, resources)?.and_then(fixed_version),
                None => None,
            },
            marks: Marks::read(data, &file)?,
        })
    }

    fn check_exports(&self, path: &Path) -> Result<()> {
        if self.exports == EXPORTS {
            return Ok(());
        }
        Err(format!(
            "{} exports {:?}; MPR looks for exactly {EXPORTS:?} (build.rs tells the linker)",
            path.display(),
            self.exports
        )
        .into())
    }

    fn summary(&self, path: &Path, target: Target, size: usize) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let imports: Vec<&str> =
            self.imports.iter().map(|name| name.trim_end_matches(".dll")).collect();
        format!(
            "{name} for {}: {size} bytes; {}; imports {}",
            target.triple(),
            self.marks.summary(),
            imports.join(" ")
        )
    }
}

fn exports(table: &ExportTable<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for export in table.exports()? {
        names.push(match export.name {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => format!("#{}", export.ordinal),
        });
    }
    names.sort();
    Ok(names)
}

fn imports(table: &ImportTable<'_>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let name = table.name(descriptor.name.get(LE))?;
        names.insert(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    Ok(names)
}

/// The version resource.
fn version_data<'data, Headers: ImageNtHeaders>(
    data: &'data [u8],
    file: &PeFile<'data, Headers>,
    resources: ResourceDirectory<'_>,
) -> Result<Option<&'data [u8]>> {
    // The levels are type, name and language. Each has one entry.
    let types = resources.root()?;
    let of_type = types.entries.iter().find(
        |entry| matches!(entry.name_or_id(), ResourceNameOrId::Id(id) if id == pe::RT_VERSION),
    );
    let mut entry = of_type;
    while let Some(found) = entry {
        match found.data(resources)? {
            ResourceDirectoryEntryData::Table(ResourceDirectoryTable { entries, .. }) => {
                entry = entries.first();
            }
            ResourceDirectoryEntryData::Data(place) => {
                let bytes = file.section_table().pe_data_at(data, place.offset_to_data.get(LE));
                return Ok(bytes.and_then(|bytes| bytes.get(..place.size.get(LE) as usize)));
            }
        }
    }
    Ok(None)
}

/// The file version in a version resource (VS_FIXEDFILEINFO in verrsrc.h). Its four parts come two
/// words after the signature, and in each pair the high word is first.
fn fixed_version(bytes: &[u8]) -> Option<[u16; 4]> {
    let at = bytes.windows(4).position(|four| four == 0xFEEF_04BD_u32.to_le_bytes())?;
    let part = |offset: usize| {
        let two = bytes.get(at + 8 + offset..at + 10 + offset)?;
        Some(u16::from_le_bytes([two[0], two[1]]))
    };
    Some([part(2)?, part(0)?, part(6)?, part(4)?])
}
