//! The package: tables, cabinet and action DLL in one file.

use crate::actions::{ACTIONS, DLL, FOLDER, SEQUENCES};
use crate::payload::{PROGRAM, named};
use crate::properties::{self, NATIVE, NEWER, OLDER, SERVICE, WINDOWS_10};
use crate::{Architecture, Payload, Result, cabinet, codes, compound, schema};
use msi::{CodePage, Insert, LanguageId, PackageType, Value};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::time::UNIX_EPOCH;

pub(crate) type Database = msi::Package<Cursor<Vec<u8>>>;

const NAME: &str = "mpr-otel";
/// The one feature: neither the DLL nor the agent is of use without the other.
const FEATURE: &str = "Main";
pub(crate) const CABINET: &str = "payload.cab";
const SERVICE_NAME: &str = "mpr-otel-agent";
/// English of the United States. There is no dialog, and messages are in English.
const LANGUAGE: u16 = 1033;
// msidefs.h, and Microsoft's pages of the tables.
const IS_64_BIT: i32 = 0x100;
const VITAL: i32 = 0x200;
const NOT_ABSENT: i32 = 0x10;
const STOP_BEFORE_BOTH: i32 = 0x2 | 0x20;
const WAIT: i32 = 1;
const MIGRATE_FEATURES: i32 = 1;
const ONLY_DETECT: i32 = 2;
const LOCAL_MACHINE: i32 = 2;
const RAW_VALUE_64: i32 = 0x2 | 0x10;

/// What goes into a package.
#[derive(Clone, Debug)]
pub struct Package {
    /// For which machines.
    pub architecture: Architecture,
    /// What is installed.
    pub payload: Payload,
    /// The DLL of deploy/windows/msi, for the same machines.
    pub action_dll: Vec<u8>,
}

impl Package {
    /// The version of the program in it, as Windows Installer compares it: three numbers.
    ///
    /// # Errors
    ///
    /// The program has no version, or one that Windows Installer cannot have.
    pub fn version(&self) -> Result<String> {
        let program = self.payload.program()?;
        match program.version {
            // "ProductVersion property": 255.255.65535 at most, and a fourth number is not compared.
            Some([major @ 0..=255, minor @ 0..=255, patch, _]) => {
                Ok(format!("{major}.{minor}.{patch}"))
            }
            version => Err(format!(
                "{PROGRAM} has the version {version:?}; an MSI's is at most 255.255.65535"
            )
            .into()),
        }
    }

    /// Writes it. The same contents give the same bytes.
    ///
    /// # Errors
    ///
    /// A table does not take a value, or [`check`](crate::check) finds something.
    pub fn write(&self) -> Result<Vec<u8>> {
        let cabinet = cabinet::cabinet(&self.payload.files)?;
        let product = codes::product(&self.version()?, self.architecture);
        let mut package = Database::create(PackageType::Installer, Cursor::new(Vec::new()))?;
        package.set_database_codepage(CodePage::Windows1252);
        let content = [&cabinet[..], &self.action_dll].concat();
        let summary = package.summary_info_mut();
        summary.set_title("Installation Database");
        summary.set_subject(NAME);
        summary.set_author(NAME);
        summary.set_arch(self.architecture.template());
        summary.set_languages(&[LanguageId::from(LANGUAGE)]);
        summary.set_uuid(codes::package(&product, &content));
        // Compressed files with long names; Windows Installer 5.0; read-only recommended.
        summary.set_word_count(2);
        summary.set_page_count(500);
        summary.set_doc_security(2);
        summary.set_creating_application("cargo xtask msi");
        summary.set_creation_time(UNIX_EPOCH);
        summary.set_last_save_time(UNIX_EPOCH);
        let mut rows = self.rows(&product)?;
        for (table, columns) in schema::TABLES {
            let columns = columns.iter().map(|text| schema::column(text));
            package.create_table(*table, columns.collect::<Result<_>>()?)?;
            if let Some(rows) = rows.remove(table) {
                package.insert_rows(Insert::into(*table).rows(rows))?;
            }
        }
        package.write_stream(&format!("Binary.{DLL}"))?.write_all(&self.action_dll)?;
        package.write_stream(CABINET)?.write_all(&cabinet)?;
        let bytes = compound::with_small_sectors(package.into_inner()?.into_inner())?;
        crate::check(&bytes, self)?;
        Ok(bytes)
    }

    fn rows(&self, product: &str) -> Result<BTreeMap<&'static str, Vec<Vec<Value>>>> {
        let mut rows = Rows::default();
        self.files(&mut rows);
        self.conditions(&mut rows)?;
        let properties = [
            ("ALLUSERS", "1".to_owned()),
            ("ARPCOMMENTS", "Measures drive and share mappings.".to_owned()),
            ("ARPNOMODIFY", "1".to_owned()),
            ("Manufacturer", NAME.to_owned()),
            // An address may have a password in it, and each of the others is a command line.
            ("MsiHiddenProperties", "ENDPOINT;Install;Restore;Uninstall;Undo".to_owned()),
            // Otherwise programs that use a file are ended, and Windows is restarted, without a question
            // if there is no dialog.
            ("MSIRESTARTMANAGERCONTROL", "Disable".to_owned()),
            ("REBOOT", "ReallySuppress".to_owned()),
            ("NoneIsAValue", properties::with_none()),
            ("ProductCode", product.to_owned()),
            ("ProductLanguage", LANGUAGE.to_string()),
            ("ProductName", NAME.to_owned()),
            ("ProductVersion", self.version()?),
            // Whole, whatever version of a file is there: all of them belong together.
            ("REINSTALLMODE", "amus".to_owned()),
            ("SecureCustomProperties", properties::secure()),
            ("SettingFlags", properties::flags()),
            ("UpgradeCode", codes::upgrade()),
        ];
        for (name, value) in properties {
            rows.add("Property", [s(name), s(value)]);
        }
        rows.add("Binary", [s(DLL), Value::Binary]);
        rows.add(
            "ServiceControl",
            [
                s("Agent"),
                s(SERVICE_NAME),
                Value::Int(STOP_BEFORE_BOTH),
                Value::Null,
                Value::Int(WAIT),
                s(&self.payload.program()?.id),
            ],
        );
        for action in ACTIONS {
            rows.add(
                "CustomAction",
                [
                    s(action.name),
                    Value::Int(action.kind),
                    s(action.source),
                    s(action.target),
                    Value::Null,
                ],
            );
        }
        for (table, steps) in SEQUENCES {
            for (action, condition, place) in steps {
                rows.add(table, [s(*action), optional(condition), Value::Int(*place)]);
            }
        }
        Ok(rows.0)
    }

    /// Directories, components, files, and what they belong to.
    fn files(&self, rows: &mut Rows) {
        let files = &self.payload.files;
        rows.add("Directory", [s("TARGETDIR"), Value::Null, s("SourceDir")]);
        rows.add("Directory", [s("ProgramFiles64Folder"), s("TARGETDIR"), s(".")]);
        rows.add("Directory", [s(FOLDER), s("ProgramFiles64Folder"), s(named(NAME, 1))]);
        for (number, path) in self.payload.folders().into_iter().enumerate() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            rows.add(
                "Directory",
                [s(directory(path)), s(directory(parent)), s(named(name, number + 1))],
            );
        }
        let level = 1;
        rows.add(
            "Feature",
            [
                s(FEATURE),
                Value::Null,
                s(NAME),
                Value::Null,
                Value::Int(1),
                Value::Int(level),
                Value::Null,
                Value::Int(NOT_ABSENT),
            ],
        );
        for (place, file) in (1..).zip(files) {
            let (folder, name) = file.split();
            rows.add(
                "Component",
                [
                    s(&file.id),
                    s(codes::component(&file.path)),
                    s(directory(folder)),
                    Value::Int(IS_64_BIT),
                    Value::Null,
                    s(&file.id),
                ],
            );
            rows.add("FeatureComponents", [s(FEATURE), s(&file.id)]);
            let version =
                file.version.map(|version| version.map(|part| part.to_string()).join("."));
            rows.add(
                "File",
                [
                    s(&file.id),
                    s(&file.id),
                    s(named(name, place as usize)),
                    Value::Int(file.content.len() as i32),
                    version.as_ref().map_or(Value::Null, s),
                    // Of a file with a version: neutral.
                    version.as_ref().map_or(Value::Null, |_| s("0")),
                    Value::Int(VITAL),
                    Value::Int(place),
                ],
            );
        }
        rows.add(
            "Media",
            [
                Value::Int(1),
                Value::Int(files.len() as i32),
                Value::Null,
                s(format!("#{CABINET}")),
                Value::Null,
                Value::Null,
            ],
        );
    }

    /// What has to hold, and what is looked up for it.
    fn conditions(&self, rows: &mut Rows) -> Result<()> {
        let (code, version) = (codes::upgrade(), self.version()?);
        let upgrade = |from: Option<&str>, to: Option<&str>, attributes, property| {
            [
                s(&code),
                from.map_or(Value::Null, s),
                to.map_or(Value::Null, s),
                Value::Null,
                Value::Int(attributes),
                Value::Null,
                s(property),
            ]
        };
        rows.add("Upgrade", upgrade(None, Some(&version), MIGRATE_FEATURES, OLDER));
        rows.add("Upgrade", upgrade(Some(&version), None, ONLY_DETECT, NEWER));
        const ENVIRONMENT: &str = r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment";
        const SERVICE_KEY: &str = r"SYSTEM\CurrentControlSet\Services\mpr-otel-agent";
        const WINDOWS_KEY: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
        for (property, key, name) in [
            (NATIVE, ENVIRONMENT, "PROCESSOR_ARCHITECTURE"),
            (SERVICE, SERVICE_KEY, "ImagePath"),
            // Windows 10 has it, and all that came later.
            (WINDOWS_10, WINDOWS_KEY, "CurrentMajorVersionNumber"),
        ] {
            let signature = format!("Find{property}");
            rows.add("AppSearch", [s(property), s(&signature)]);
            rows.add(
                "RegLocator",
                [
                    s(signature),
                    Value::Int(LOCAL_MACHINE),
                    s(key),
                    s(name),
                    Value::Int(RAW_VALUE_64),
                ],
            );
        }
        let native = match self.architecture {
            Architecture::X64 => format!("{NATIVE} <> \"ARM64\""),
            Architecture::Arm64 => format!("{NATIVE} = \"ARM64\""),
        };
        for (condition, otherwise) in [
            (
                format!("NOT {NEWER}"),
                "A later version of mpr-otel is installed. It stays; uninstall it first to go back.",
            ),
            (
                format!("VersionNT64 AND {WINDOWS_10}"),
                "mpr-otel needs 64-bit Windows 10 or Windows Server 2016, or later.",
            ),
            (
                native,
                "This package is for other processors. On Windows on Arm the one for arm64 is \
                 needed, elsewhere the one for x64.",
            ),
            ("Privileged".to_owned(), "This needs administrator rights."),
        ] {
            rows.add("LaunchCondition", [s(format!("Installed OR ({condition})")), s(otherwise)]);
        }
        Ok(())
    }
}

/// Rows by table.
#[derive(Default)]
struct Rows(BTreeMap<&'static str, Vec<Vec<Value>>>);

impl Rows {
    fn add<const N: usize>(&mut self, table: &'static str, row: [Value; N]) {
        self.0.entry(table).or_default().push(row.into());
    }
}

fn s(text: impl Into<String>) -> Value {
    Value::Str(text.into())
}

fn optional(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { s(text) }
}

/// The key of a folder below the product's own.
fn directory(path: &str) -> String {
    match path {
        "" => FOLDER.to_owned(),
        path => path.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_") + "_Folder",
    }
}
