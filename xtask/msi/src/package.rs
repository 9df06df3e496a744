//! The package: tables, cabinet and action DLL in one file.

use crate::actions::{ACTIONS, CONDITIONS, DLL, FOLDER, sequences};
use crate::payload::{PROGRAM, named};
use crate::properties::{self, NATIVE, NEWER, OLDER, SERVICE, WINDOWS_10};
use crate::{Architecture, Payload, Result, cabinet, codes, compound, schema};
use msi::{CodePage, Insert, LanguageId, PackageType};
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
// msidefs.h, and Microsoft's pages of the tables: 0x100, 0x200, 0x10, 0x2 | 0x20, and 0x2 | 0x10.
const IS_64_BIT: &str = "256";
const VITAL: &str = "512";
const NOT_ABSENT: &str = "16";
const STOP_BEFORE_BOTH: &str = "34";
const RAW_VALUE_64: &str = "18";
const WAIT: &str = "1";
const MIGRATE_FEATURES: &str = "1";
const ONLY_DETECT: &str = "2";
const LOCAL_MACHINE: &str = "2";
/// Under `HKEY_LOCAL_MACHINE`.
const ENVIRONMENT_KEY: &str = r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment";
const SERVICE_KEY: &str = r"SYSTEM\CurrentControlSet\Services\mpr-otel-agent";
const WINDOWS_KEY: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";

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

    /// What Windows lists it by: the codes of this release, and of all releases.
    ///
    /// # Errors
    ///
    /// As [`version`](Self::version).
    pub fn codes(&self) -> Result<[String; 2]> {
        Ok([codes::product(&self.version()?, self.architecture), codes::upgrade()])
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
        let mut rows = Rows::default();
        self.properties(&product, &mut rows)?;
        self.files(&mut rows)?;
        self.conditions(&mut rows)?;
        actions(&mut rows);
        let content = [format!("{rows:?}").as_bytes(), &cabinet, &self.action_dll].concat();
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
        for (table, columns) in schema::TABLES {
            let made = schema::columns(columns).map(schema::column);
            package.create_table(*table, made.collect::<Result<_>>()?)?;
            for row in rows.0.remove(table).into_iter().flatten() {
                let row = schema::columns(columns).zip(row);
                let row = row.map(|(column, text)| schema::value(column, &text));
                package.insert_rows(Insert::into(*table).row(row.collect::<Result<_>>()?))?;
            }
        }
        package.write_stream(&format!("Binary.{DLL}"))?.write_all(&self.action_dll)?;
        package.write_stream(CABINET)?.write_all(&cabinet)?;
        let bytes = compound::with_small_sectors(package.into_inner()?.into_inner())?;
        crate::check(&bytes, self)?;
        Ok(bytes)
    }

    fn properties(&self, product: &str, rows: &mut Rows) -> Result<()> {
        let (version, language) = (self.version()?, LANGUAGE.to_string());
        for (name, value) in [
            ("ALLUSERS", "1"),
            ("ARPCOMMENTS", "Records drive and share mappings."),
            ("ARPNOMODIFY", "1"),
            ("Manufacturer", NAME),
            // An address may have a password in it, and each of the others is a command line.
            ("MsiHiddenProperties", "ENDPOINT;Install;Restore;Uninstall;Undo"),
            // Otherwise programs that use a file are ended, and Windows is restarted, without a question
            // if there is no dialog.
            ("MSIRESTARTMANAGERCONTROL", "Disable"),
            ("REBOOT", "ReallySuppress"),
            ("NoneIsAValue", &properties::with_none()),
            ("ProductCode", product),
            ("ProductLanguage", &language),
            ("ProductName", NAME),
            ("ProductVersion", &version),
            // Whole, whatever version of a file is there: all of them belong together.
            ("REINSTALLMODE", "amus"),
            ("SecureCustomProperties", &properties::secure()),
            ("SettingFlags", &properties::flags()),
            ("UpgradeCode", &codes::upgrade()),
        ] {
            rows.add("Property", &[name, value]);
        }
        Ok(())
    }

    /// Directories, components, files, and what they belong to.
    fn files(&self, rows: &mut Rows) -> Result<()> {
        rows.add("Directory", &["TARGETDIR", "", "SourceDir"]);
        rows.add("Directory", &["ProgramFiles64Folder", "TARGETDIR", "."]);
        rows.add("Directory", &[FOLDER, "ProgramFiles64Folder", &named(NAME, 1)]);
        for (number, path) in (1..).zip(self.payload.folders()) {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            rows.add("Directory", &[&directory(path), &directory(parent), &named(name, number)]);
        }
        rows.add("Feature", &[FEATURE, "", NAME, "", "1", "1", "", NOT_ABSENT]);
        let files = &self.payload.files;
        for (place, file) in (1..).zip(files) {
            let ((folder, name), id) = (file.split(), &*file.id);
            let (code, directory) = (codes::component(&file.path), directory(folder));
            rows.add("Component", &[id, &code, &directory, IS_64_BIT, "", id]);
            rows.add("FeatureComponents", &[FEATURE, id]);
            let size = file.content.len().to_string();
            let version = file.version_text();
            // Of a file with a version: neutral.
            let language = if version.is_empty() { "" } else { "0" };
            let name = named(name, place);
            let place = place.to_string();
            rows.add("File", &[id, id, &name, &size, &version, language, VITAL, &place]);
        }
        let (last, cabinet) = (files.len().to_string(), format!("#{CABINET}"));
        rows.add("Media", &["1", &last, "", &cabinet, "", ""]);
        let program = &self.payload.program()?.id;
        let stop = ["Agent", SERVICE_NAME, STOP_BEFORE_BOTH, "", WAIT, program];
        rows.add("ServiceControl", &stop);
        Ok(())
    }

    /// What has to hold, and what is looked up for it.
    fn conditions(&self, rows: &mut Rows) -> Result<()> {
        let (code, version) = (&*codes::upgrade(), &*self.version()?);
        rows.add("Upgrade", &[code, "", version, "", MIGRATE_FEATURES, "", OLDER]);
        rows.add("Upgrade", &[code, version, "", "", ONLY_DETECT, "", NEWER]);
        for (property, key, name) in [
            (NATIVE, ENVIRONMENT_KEY, "PROCESSOR_ARCHITECTURE"),
            (SERVICE, SERVICE_KEY, "ImagePath"),
            // Windows 10 has it, and all that came later.
            (WINDOWS_10, WINDOWS_KEY, "CurrentMajorVersionNumber"),
        ] {
            let signature = format!("Find{property}");
            rows.add("AppSearch", &[property, &signature]);
            rows.add("RegLocator", &[&signature, LOCAL_MACHINE, key, name, RAW_VALUE_64]);
        }
        let native = match self.architecture {
            Architecture::X64 => format!("{NATIVE} <> \"ARM64\""),
            Architecture::Arm64 => format!("{NATIVE} = \"ARM64\""),
        };
        for (condition, otherwise) in [
            (
                &*format!("NOT {NEWER}"),
                "A later version of mpr-otel is installed. It stays; uninstall it first to go back.",
            ),
            (
                &format!("VersionNT64 AND {WINDOWS_10}"),
                "mpr-otel needs 64-bit Windows 10 or Windows Server 2016, or later.",
            ),
            (
                &native,
                "This package is for other processors. On Windows on Arm the one for arm64 is \
                 needed, elsewhere the one for x64.",
            ),
            ("Privileged", "This needs administrator rights."),
        ] {
            rows.add("LaunchCondition", &[&format!("Installed OR ({condition})"), otherwise]);
        }
        Ok(())
    }
}

/// The DLL, its actions, and every sequence.
fn actions(rows: &mut Rows) {
    rows.add("Binary", &[DLL, ""]);
    for action in ACTIONS {
        let kind = action.kind.to_string();
        rows.add("CustomAction", &[action.name, &kind, action.source, action.target, ""]);
    }
    for (table, steps) in sequences() {
        for (name, place) in steps {
            let condition = CONDITIONS.iter().find(|(action, _)| *action == name);
            let condition = condition.map_or("", |(_, condition)| condition);
            rows.add(table, &[name, condition, &place.to_string()]);
        }
    }
}

/// Rows by table, each value as text.
#[derive(Debug, Default)]
struct Rows(BTreeMap<&'static str, Vec<Vec<String>>>);

impl Rows {
    fn add(&mut self, table: &'static str, row: &[&str]) {
        let row = row.iter().map(|text| (*text).to_owned()).collect();
        self.0.entry(table).or_default().push(row);
    }
}

/// The key of a folder below the product's own.
fn directory(path: &str) -> String {
    match path {
        "" => FOLDER.to_owned(),
        path => path.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_") + "_Folder",
    }
}
