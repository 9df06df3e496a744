//! Reads a package back and says what is wrong with it. Windows has `wix msi validate` for this; here the
//! rules are those that this package depends on.

use crate::actions::{FINALIZE, FOLDER, IN_SCRIPT, INITIALIZE, PLACES, ROLLBACK};
use crate::package::{CABINET, Database, Package};
use crate::properties;
use crate::schema::{TABLES, columns, foreign, name};
use crate::{Result, codes, compound};
use msi::{Select, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

/// Checks a file that `package` was written to.
///
/// # Errors
///
/// What is wrong, with the table and the row.
pub fn check(bytes: &[u8], package: &Package) -> Result<()> {
    // [MS-CFB] 2.2: the major version follows a signature, a CLSID and the minor version.
    if bytes.get(26..28) != Some(&[3, 0]) {
        return Err("its sectors are not of 512 bytes, and osslsigncode does not sign it".into());
    }
    if bytes.len() > compound::LIMIT {
        let limit = compound::LIMIT;
        return Err(format!(
            "it has {} bytes, and osslsigncode signs {limit} at most; what did the last file bring?",
            bytes.len()
        )
        .into());
    }
    let tables = Tables::read(bytes)?;
    tables.keys()?;
    tables.properties(package)?;
    tables.files(package)?;
    tables.cabinet(package)?;
    tables.actions(package)?;
    tables.sequences()
}

/// Every table, as text: what is null is empty.
struct Tables {
    rows: BTreeMap<&'static str, Vec<BTreeMap<String, String>>>,
    template: Option<String>,
    cabinet: Vec<u8>,
}

impl Tables {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut database = Database::open(Cursor::new(bytes.to_vec()))?;
        let mut rows = BTreeMap::new();
        for (table, text) in TABLES {
            let mut read = Vec::new();
            for row in database.select_rows(Select::table(*table))? {
                let value = |name: &str| match &row[name] {
                    Value::Int(number) => number.to_string(),
                    Value::Str(text) => text.clone(),
                    Value::Null | Value::Binary => String::new(),
                };
                let names = columns(text).map(name);
                read.push(names.map(|name| (name.to_owned(), value(name))).collect());
            }
            rows.insert(*table, read);
        }
        if let Some(table) = database.tables().find(|table| {
            let name = table.name();
            !name.starts_with('_') && !rows.contains_key(name)
        }) {
            return Err(format!("there is a table {}, which nothing checks", table.name()).into());
        }
        let template = database.summary_info().arch().map(str::to_owned);
        let mut cabinet = Vec::new();
        database.read_stream(CABINET)?.read_to_end(&mut cabinet)?;
        Ok(Self { rows, template, cabinet })
    }

    fn of(&self, table: &str) -> impl Iterator<Item = &BTreeMap<String, String>> {
        self.rows.get(table).into_iter().flatten()
    }

    fn column<'a>(&'a self, table: &str, column: &'a str) -> impl Iterator<Item = &'a str> {
        self.of(table).map(move |row| &*row[column])
    }

    fn property(&self, name: &str) -> &str {
        let row = self.of("Property").find(|row| row["Property"] == name);
        row.map_or("", |row| &row["Value"])
    }

    /// What names a row of another table, names one that is there.
    fn keys(&self) -> Result<()> {
        for (table, text) in TABLES {
            for column in columns(text) {
                let Some(target) = foreign(column) else { continue };
                let key = TABLES.iter().find(|(table, _)| *table == target);
                let key = key.map_or("", |(_, text)| name(text));
                let name = name(column);
                let there: BTreeSet<&str> = self.column(target, key).collect();
                for value in self.column(table, name).filter(|value| !value.is_empty()) {
                    if !there.contains(value) {
                        return Err(format!("{table}.{name}: {target} has no `{value}`").into());
                    }
                }
            }
        }
        let featured: BTreeSet<&str> = self.column("FeatureComponents", "Component_").collect();
        match self.column("Component", "Component").find(|name| !featured.contains(name)) {
            Some(name) => Err(format!("component {name} belongs to no feature").into()),
            None => Ok(()),
        }
    }

    fn properties(&self, package: &Package) -> Result<()> {
        let version = package.version()?;
        let template = package.architecture.template();
        for (name, there, expected) in [
            ("the template", self.template.as_deref().unwrap_or_default(), template),
            ("ProductVersion", self.property("ProductVersion"), &*version),
            ("UpgradeCode", self.property("UpgradeCode"), &*codes::upgrade()),
            ("REBOOT", self.property("REBOOT"), "ReallySuppress"),
            ("MSIRESTARTMANAGERCONTROL", self.property("MSIRESTARTMANAGERCONTROL"), "Disable"),
            ("ALLUSERS", self.property("ALLUSERS"), "1"),
        ] {
            if there != expected {
                return Err(format!("{name} is `{there}` and not `{expected}`").into());
            }
        }
        let secure = self.property("SecureCustomProperties").split(';');
        let secure: BTreeSet<&str> = secure.collect();
        let settings = self.property("SettingFlags").split(';');
        let settings = settings.filter_map(|flag| flag.split('=').next());
        let found = self.column("AppSearch", "Property");
        let upgrades = self.column("Upgrade", "ActionProperty");
        for name in settings.chain(found).chain(upgrades).chain([properties::PURGE]) {
            if name != name.to_uppercase() || !secure.contains(name) {
                return Err(format!(
                    "property {name} does not reach the service that installs: it is to be in \
                     capitals and among SecureCustomProperties"
                )
                .into());
            }
        }
        Ok(())
    }

    fn files(&self, package: &Package) -> Result<()> {
        let folders: BTreeMap<&str, &str> = self
            .of("Directory")
            .map(|row| (&*row["Directory"], &*row["Directory_Parent"]))
            .collect();
        for component in self.of("Component") {
            let mut folder = &*component["Directory_"];
            while folder != FOLDER {
                folder = folders.get(folder).copied().unwrap_or_default();
                if folder.is_empty() {
                    return Err(format!(
                        "component {} is not below {FOLDER}: programs hold what is in a folder of \
                         the system, and Windows would be restarted for it",
                        component["Component"]
                    )
                    .into());
                }
            }
        }
        let files: Vec<_> = self.of("File").collect();
        if files.len() != package.payload.files.len() {
            return Err("File has not a row for each file".into());
        }
        for (place, (row, file)) in (1..).zip(files.iter().zip(&package.payload.files)) {
            for (column, expected) in [
                ("File", file.id.clone()),
                ("FileSize", file.content.len().to_string()),
                ("Version", file.version_text()),
                ("Sequence", i32::to_string(&place)),
            ] {
                if row[column] != expected {
                    return Err(format!(
                        "File.{column} of {} is `{}` and not `{expected}`, as in the file",
                        file.path, row[column]
                    )
                    .into());
                }
            }
        }
        let codes: BTreeSet<&str> = self.column("Component", "ComponentId").collect();
        match codes.len() == self.of("Component").count() {
            true => Ok(()),
            false => Err("two components have one code".into()),
        }
    }

    /// What is unpacked is what went in.
    fn cabinet(&self, package: &Package) -> Result<()> {
        let mut cabinet = cab::Cabinet::new(Cursor::new(&self.cabinet))?;
        for file in &package.payload.files {
            let mut content = Vec::new();
            cabinet.read_file(&file.id)?.read_to_end(&mut content)?;
            if content != file.content {
                return Err(format!("{} is another one in the cabinet", file.path).into());
            }
        }
        Ok(())
    }

    fn actions(&self, package: &Package) -> Result<()> {
        for row in self.of("CustomAction") {
            let (name, target) = (&row["Action"], &row["Target"]);
            // In the DLL's table of names, which ends each with a zero.
            let exported = [target.as_bytes(), &[0]].concat();
            let of_dll = self.column("Binary", "Name").any(|stream| stream == row["Source"]);
            if of_dll && !package.action_dll.windows(exported.len()).any(|name| name == exported) {
                return Err(format!("action {name}: the DLL has no {target}").into());
            }
            if !TABLES.iter().any(|(table, _)| self.place(table, name).is_some()) {
                return Err(format!("action {name} is in no sequence").into());
            }
        }
        Ok(())
    }

    fn place(&self, sequence: &str, action: &str) -> Option<i32> {
        if !sequence.ends_with("Sequence") {
            return None;
        }
        let row = self.of(sequence).find(|row| row["Action"] == action)?;
        row["Sequence"].parse().ok()
    }

    fn sequences(&self) -> Result<()> {
        let kinds: BTreeMap<&str, i32> = self
            .of("CustomAction")
            .filter_map(|row| Some((&*row["Action"], row["Type"].parse().ok()?)))
            .collect();
        for (table, _) in TABLES.iter().filter(|(table, _)| table.ends_with("Sequence")) {
            let places: BTreeSet<&str> = self.column(table, "Sequence").collect();
            if places.len() != self.of(table).count() {
                return Err(format!("{table}: two actions have one place").into());
            }
            let begin = self.place(table, INITIALIZE).unwrap_or(i32::MAX);
            let end = self.place(table, FINALIZE).unwrap_or(i32::MAX);
            let mut undone = false;
            let mut rows: Vec<_> = self.of(table).collect();
            rows.sort_by_key(|row| row["Sequence"].parse::<i32>().unwrap_or_default());
            for row in rows {
                let (name, place) = (&*row["Action"], row["Sequence"].parse::<i32>()?);
                let Some(kind) = kinds.get(name) else {
                    match PLACES.iter().any(|(known, _)| *known == name) {
                        true => continue,
                        false => return Err(format!("{table}: there is no action {name}").into()),
                    }
                };
                let in_script = kind & IN_SCRIPT != 0;
                if in_script != (begin < place && place < end) {
                    return Err(format!(
                        "{table}: {name} at {place} is on the wrong side of {INITIALIZE}"
                    )
                    .into());
                }
                undone |= kind & ROLLBACK != 0;
                if in_script && !undone {
                    return Err(
                        format!("{table}: nothing before {name} takes back what it does").into()
                    );
                }
            }
        }
        Ok(())
    }
}
