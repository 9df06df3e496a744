//! What Windows' loader reads in a DLL or program, checked against what ours may say.

use crate::Result;
use crate::windows::Architecture;
use object::read::pe::{
    ExportTable, ImageNtHeaders, ImportTable, PeFile, ResourceDirectory,
    ResourceDirectoryEntryData, ResourceDirectoryTable, ResourceNameOrId,
};
use object::{LittleEndian as LE, pe};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What MPR looks for: both names, plain.
const EXPORTS: [&str; 2] = ["AddConnectNotify", "CancelConnectNotify"];

/// DLLs of every Windows 10 and Server 2016, and later.
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

/// The DLL is mapped into every program that maps a drive: bytes at most.
const DLL_LIMIT: usize = 1_700_000;

/// The tables of one file.
struct Tables {
    machine: pe::Machine,
    exports: Vec<String>,
    imports: BTreeSet<String>,
    version: Option<[u16; 4]>,
}

/// Checks the notification DLL. Returns what there is to say of it in one line.
pub fn check_dll(path: &Path, architecture: Architecture) -> Result<String> {
    let (tables, size) = check(path, architecture)?;
    if tables.exports != EXPORTS {
        return Err(format!(
            "{} exports {:?}; MPR looks for exactly {EXPORTS:?} (build.rs tells the linker)",
            path.display(),
            tables.exports
        )
        .into());
    }
    if size > DLL_LIMIT {
        return Err(format!(
            "{} has {size} bytes, which is over {DLL_LIMIT}; what did the last dependency bring?",
            path.display()
        )
        .into());
    }
    Ok(tables.summary(path, architecture, size))
}

/// Checks the program. Returns what there is to say of it in one line.
pub fn check_program(path: &Path, architecture: Architecture) -> Result<String> {
    let (tables, size) = check(path, architecture)?;
    Ok(tables.summary(path, architecture, size))
}

/// Checks the recorder, which does not ship. Returns what there is to say of it in one line.
pub fn check_recorder(path: &Path, architecture: Architecture) -> Result<String> {
    let (tables, size) = check_loads(path, architecture)?;
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
    Ok(tables.summary(path, architecture, size))
}

/// What holds for all that ships.
fn check(path: &Path, architecture: Architecture) -> Result<(Tables, usize)> {
    let (tables, size) = check_loads(path, architecture)?;
    let expected = package_version()?;
    if tables.version != Some(expected) {
        return Err(format!(
            "{}'s file version is {:?} and not {expected:?}; is windres installed (build.rs)?",
            path.display(),
            tables.version
        )
        .into());
    }
    Ok((tables, size))
}

/// What every Windows 10 asks of a file that it loads.
fn check_loads(path: &Path, architecture: Architecture) -> Result<(Tables, usize)> {
    let data = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (tables, machine) = match architecture {
        Architecture::X64 => {
            (Tables::read::<pe::ImageNtHeaders64>(&data), pe::IMAGE_FILE_MACHINE_AMD64)
        }
        Architecture::X86 => {
            (Tables::read::<pe::ImageNtHeaders32>(&data), pe::IMAGE_FILE_MACHINE_I386)
        }
    };
    let tables = tables.map_err(|error| format!("{}: {error}", path.display()))?;
    if tables.machine != machine {
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
    Ok((tables, data.len()))
}

fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name) || name.starts_with("api-ms-win-crt-")
}

/// The workspace's version as Windows writes it.
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
                Some(resources) => version(data, &file, resources)?,
                None => None,
            },
        })
    }

    fn summary(&self, path: &Path, architecture: Architecture, size: usize) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let imports: Vec<&str> =
            self.imports.iter().map(|name| name.trim_end_matches(".dll")).collect();
        format!("{name} for {}: {size} bytes, imports {}", architecture.triple(), imports.join(" "))
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

/// The file version in the version resource (VS_FIXEDFILEINFO in verrsrc.h).
fn version<Headers: ImageNtHeaders>(
    data: &[u8],
    file: &PeFile<'_, Headers>,
    resources: ResourceDirectory<'_>,
) -> Result<Option<[u16; 4]>> {
    // Type, name, language; each has one entry.
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
                let address = place.offset_to_data.get(LE);
                let bytes = file.section_table().pe_data_at(data, address).unwrap_or_default();
                return Ok(fixed_version(bytes));
            }
        }
    }
    Ok(None)
}

/// Two words after VS_FIXEDFILEINFO's signature stand the four parts, each pair high word first.
fn fixed_version(bytes: &[u8]) -> Option<[u16; 4]> {
    let at = bytes.windows(4).position(|four| four == 0xFEEF_04BD_u32.to_le_bytes())?;
    let part = |offset: usize| {
        let two = bytes.get(at + 8 + offset..at + 10 + offset)?;
        Some(u16::from_le_bytes([two[0], two[1]]))
    };
    Some([part(2)?, part(0)?, part(6)?, part(4)?])
}
