//! The package is the same each time, and its checks find what would break an installation.
#![allow(clippy::unwrap_used, clippy::panic)]

use mpr_otel_msi::{Architecture, Package, Payload, check};
use msi::{Delete, Expr, Insert, Select, Update, Value};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

type Database = msi::Package<Cursor<Vec<u8>>>;

/// As much of a program as the writer reads: a header, and a version resource.
fn program(architecture: Architecture, version: [u16; 4]) -> Vec<u8> {
    let mut bytes = vec![0; 0x40];
    bytes[0x3C] = 0x40;
    bytes.extend(b"PE\0\0");
    bytes.extend(architecture.machine().to_le_bytes());
    bytes.extend([0xBD, 0x04, 0xEF, 0xFE, 0, 0, 1, 0]);
    let [major, minor, patch, build] = version;
    bytes.extend([minor, major, build, patch].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend((0..6_000_u32).flat_map(|word| (word ^ (word >> 3)).to_le_bytes()));
    bytes
}

/// As `mpr-otel install` wants to find them there.
const ON_ARM: [&str; 6] = [
    "mpr-otel.exe",
    "mpr_otel.dll",
    "mpr_otel_arm64.dll",
    "mpr_otel_x64.dll",
    "x64/mpr-otel.exe",
    "x86/mpr_otel.dll",
];

struct Shipped(TempDir);

impl Shipped {
    fn new(architecture: Architecture, version: [u16; 4]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (programs, names) = match architecture {
            Architecture::X64 => {
                ("dist", &["mpr-otel.exe", "mpr_otel.dll", "x86/mpr_otel.dll"][..])
            }
            Architecture::Arm64 => ("dist/arm64", &ON_ARM[..]),
        };
        for name in names {
            write(&folder.path().join(programs).join(name), &program(architecture, version));
        }
        for file in [
            "dist/LICENSE-APACHE",
            "dist/LICENSE-MIT",
            "dist/THIRD-PARTY-NOTICES.txt",
            "dist/third-party/rust-standard-library.html",
            "dist/third-party/mingw-w64.txt",
            "policy/mpr-otel.admx",
            "policy/en-US/mpr-otel.adml",
        ] {
            write(&folder.path().join(file), file.as_bytes());
        }
        Self(folder)
    }

    fn package(&self, architecture: Architecture) -> mpr_otel_msi::Result<Package> {
        let folder = self.0.path();
        let payload = Payload::read(&folder.join("dist"), &folder.join("policy"), architecture)?;
        Ok(Package { architecture, payload, action_dll: b"\0Prepare\0Run\0RunIfThere\0".to_vec() })
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn x64() -> Package {
    Shipped::new(Architecture::X64, [1, 2, 3, 0]).package(Architecture::X64).unwrap()
}

fn property(bytes: &[u8], name: &str) -> String {
    let mut database = Database::open(Cursor::new(bytes.to_vec())).unwrap();
    let rows = database.select_rows(Select::table("Property")).unwrap();
    let row = rows.into_iter().find(|row| row["Property"].as_str() == Some(name)).unwrap();
    row["Value"].as_str().unwrap().to_owned()
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let package = x64();
    let bytes = package.write().unwrap();
    // A time that a file format keeps has another value in two seconds; the files are read anew, too.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert!(x64().write().unwrap() == bytes);
    check(&bytes, &package).unwrap();
}

#[test]
fn a_version_is_a_product_and_all_are_upgrades_of_one_another() {
    let of = |architecture, version| {
        let bytes = Shipped::new(architecture, version).package(architecture).unwrap().write();
        let bytes = bytes.unwrap();
        (property(&bytes, "ProductCode"), property(&bytes, "UpgradeCode"))
    };
    let one = of(Architecture::X64, [1, 2, 3, 0]);
    let next = of(Architecture::X64, [1, 2, 4, 0]);
    let arm = of(Architecture::Arm64, [1, 2, 3, 0]);
    assert!(one.0 != next.0 && one.0 != arm.0 && next.0 != arm.0);
    assert!(one.1 == next.1 && one.1 == arm.1);
    // Version 5, variant 1 (RFC 9562).
    assert_eq!((&one.0[15..16], &one.1[15..16]), ("5", "5"));
    // What is installed looks for it.
    assert_eq!(one.1, "{944DABC0-C6E4-5099-B266-9DBAA93D0168}");
}

#[test]
fn a_package_for_arm_says_so_and_takes_nothing_of_another_machine() {
    let arm = Shipped::new(Architecture::Arm64, [1, 2, 3, 0]);
    let bytes = arm.package(Architecture::Arm64).unwrap().write().unwrap();
    let database = Database::open(Cursor::new(bytes)).unwrap();
    assert_eq!(database.summary_info().arch(), Some("Arm64"));
    let mut database = database;
    let rows = database.select_rows(Select::table("File")).unwrap();
    let names: Vec<String> = rows.map(|row| row["FileName"].as_str().unwrap().to_owned()).collect();
    // Long names stand behind short ones.
    for name in ON_ARM {
        let name = name.rsplit('/').next().unwrap();
        assert!(names.iter().any(|one| one.rsplit('|').next() == Some(name)), "{name}: {names:?}");
    }
    // What is in the place of a program for x64 is for Arm.
    let x64 = Shipped::new(Architecture::X64, [1, 2, 3, 0]);
    write(&x64.0.path().join("dist/mpr-otel.exe"), &program(Architecture::Arm64, [1, 2, 3, 0]));
    let refused = x64.package(Architecture::X64).unwrap_err().to_string();
    assert!(refused.contains("and not 8664"), "{refused}");
}

#[test]
fn a_program_without_a_version_makes_no_package() {
    let shipped = Shipped::new(Architecture::X64, [256, 0, 0, 0]);
    let refused = shipped.package(Architecture::X64).unwrap().write().unwrap_err().to_string();
    assert!(refused.contains("at most 255.255.65535"), "{refused}");
}

/// What somebody could do to a package, and what the check says of it.
type Damage = (&'static str, fn(&mut Database));

fn set(database: &mut Database, table: &str, key: (&str, &str), column: &str, value: Value) {
    let row = Expr::col(key.0).eq(Expr::string(key.1));
    database.update_rows(Update::table(table).set(column, value).with(row)).unwrap();
}

fn delete(database: &mut Database, table: &str, key: (&str, &str)) {
    let row = Expr::col(key.0).eq(Expr::string(key.1));
    database.delete_rows(Delete::from(table).with(row)).unwrap();
}

const DAMAGES: [Damage; 14] = [
    ("File.Version of mpr-otel.exe is `` and not `1.2.3.0`", |database| {
        set(database, "File", ("File", "f_mpr_otel_exe"), "Version", Value::Null);
    }),
    ("belongs to no feature", |database| {
        delete(database, "FeatureComponents", ("Component_", "f_mpr_otel_dll"));
    }),
    ("Component.Directory_: Directory has no `SystemFolder`", |database| {
        let key = ("Component", "f_mpr_otel_dll");
        set(database, "Component", key, "Directory_", Value::from("SystemFolder"));
    }),
    ("is not below InstallFolder", |database| {
        let row = ["System64Folder", "TARGETDIR", "."].map(Value::from);
        database.insert_rows(Insert::into("Directory").row(row.into())).unwrap();
        let key = ("Component", "f_mpr_otel_dll");
        set(database, "Component", key, "Directory_", Value::from("System64Folder"));
    }),
    ("REBOOT is `` and not `ReallySuppress`", |database| {
        delete(database, "Property", ("Property", "REBOOT"));
    }),
    ("MSIRESTARTMANAGERCONTROL is ``", |database| {
        delete(database, "Property", ("Property", "MSIRESTARTMANAGERCONTROL"));
    }),
    ("property DISABLED does not reach the service", |database| {
        let key = ("Property", "SecureCustomProperties");
        set(database, "Property", key, "Value", Value::from("PURGE"));
    }),
    ("Install at 6700 is on the wrong side", |database| {
        let key = ("Action", "Install");
        set(database, "InstallExecuteSequence", key, "Sequence", Value::Int(6700));
    }),
    ("nothing before Install takes back", |database| {
        for action in ["Restore", "Undo", "Uninstall"] {
            delete(database, "InstallExecuteSequence", ("Action", action));
            delete(database, "CustomAction", ("Action", action));
        }
    }),
    ("action Undo is in no sequence", |database| {
        delete(database, "InstallExecuteSequence", ("Action", "Undo"));
    }),
    ("there is no action ScheduleReboot", |database| {
        let row = vec![Value::from("ScheduleReboot"), Value::Null, Value::Int(6550)];
        database.insert_rows(Insert::into("InstallExecuteSequence").row(row)).unwrap();
    }),
    ("action Install: the DLL has no Ran", |database| {
        set(database, "CustomAction", ("Action", "Install"), "Target", Value::from("Ran"));
    }),
    ("there is a table Registry, which nothing checks", |database| {
        let column = msi::Column::build("Registry").primary_key().id_string(72);
        database.create_table("Registry", vec![column]).unwrap();
    }),
    ("is another one in the cabinet", |database| {
        let mut cabinet = Vec::new();
        database.read_stream("payload.cab").unwrap().read_to_end(&mut cabinet).unwrap();
        let mut other = Shipped::new(Architecture::X64, [1, 2, 3, 0]);
        write(&other.0.path().join("dist/LICENSE-MIT"), b"dist/LICENSE-BSD");
        other = Shipped(other.0);
        let other = other.package(Architecture::X64).unwrap().write().unwrap();
        let mut other = Database::open(Cursor::new(other)).unwrap();
        cabinet.clear();
        other.read_stream("payload.cab").unwrap().read_to_end(&mut cabinet).unwrap();
        database.write_stream("payload.cab").unwrap().write_all(&cabinet).unwrap();
    }),
];

#[test]
fn the_check_finds_each_damage() {
    let package = x64();
    let bytes = package.write().unwrap();
    for (complaint, damage) in DAMAGES {
        let mut database = Database::open(Cursor::new(bytes.clone())).unwrap();
        damage(&mut database);
        let damaged = database.into_inner().unwrap().into_inner();
        let problem = check(&damaged, &package).expect_err(complaint).to_string();
        assert!(problem.contains(complaint), "{complaint}: {problem}");
    }
}

#[test]
fn msiinfo_reads_the_same_tables() {
    let package = x64();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), package.write().unwrap()).unwrap();
    let read = |what: &[&str]| {
        let output =
            Command::new("msiinfo").arg(what[0]).arg(file.path()).args(&what[1..]).output();
        let output = match output {
            Ok(output) => output,
            // `cargo xtask test` installs it; a machine without it has the first reader.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("{error}"),
        };
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(tables) = read(&["tables"]) else { return };
    for table in ["File", "InstallExecuteSequence", "Property", "Upgrade", "_Validation"] {
        assert!(tables.lines().any(|line| line == table), "{table} is not in {tables}");
    }
    let files = read(&["export", "File"]).unwrap();
    let program = files.lines().find(|line| line.starts_with("f_mpr_otel_exe\t")).unwrap();
    assert!(program.contains("|mpr-otel.exe\t") && program.contains("\t1.2.3.0\t0\t"), "{program}");
    let summary = read(&["suminfo"]).unwrap();
    assert!(summary.contains("x64;1033"), "{summary}");
}
