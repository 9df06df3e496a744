//! The tables that the package has, and what their columns take.
//!
//! A column is written as Microsoft's archive files have it ("ASCII Text Archive Files"): `s72` is a text
//! of at most 72 characters, `l` one that may be translated, `i2` and `i4` a number of so many bytes, `v0`
//! a stream; a capital lets it be null. A `*` before the name makes it a part of the key. Then comes the
//! category of the text ("Column Data Types"), and after `>` the table whose key it names.

use crate::Result;
use msi::{Category, Column, Value};

/// Names and columns, from Microsoft's page of each table.
pub(crate) const TABLES: &[(&str, &str)] = &[
    ("AppSearch", "*Property s72 Identifier, *Signature_ s72 Identifier"),
    ("Binary", "*Name s72 Identifier, Data v0"),
    (
        "Component",
        "*Component s72 Identifier, ComponentId S38 Guid, \
         Directory_ s72 Identifier >Directory, Attributes i2, Condition S255 Condition, \
         KeyPath S72 Identifier >File",
    ),
    (
        "CustomAction",
        "*Action s72 Identifier, Type i2, Source S72 CustomSource, Target S255 Formatted, \
         ExtendedType I4",
    ),
    (
        "Directory",
        "*Directory s72 Identifier, Directory_Parent S72 Identifier >Directory, \
         DefaultDir l255 DefaultDir",
    ),
    (
        "Feature",
        "*Feature s38 Identifier, Feature_Parent S38 Identifier >Feature, Title L64 Text, \
         Description L255 Text, Display I2, Level i2, Directory_ S72 UpperCase, Attributes i2",
    ),
    (
        "FeatureComponents",
        "*Feature_ s38 Identifier >Feature, *Component_ s72 Identifier >Component",
    ),
    (
        "File",
        "*File s72 Identifier, Component_ s72 Identifier >Component, FileName l255 Filename, \
         FileSize i4, Version S72 Version, Language S20 Language, Attributes I2, Sequence i2",
    ),
    ("LaunchCondition", "*Condition s255 Condition, Description l255 Formatted"),
    (
        "Media",
        "*DiskId i2, LastSequence i2, DiskPrompt L64 Text, Cabinet S255 Cabinet, \
         VolumeLabel S32 Text, Source S72 Property",
    ),
    ("Property", "*Property s72 Identifier, Value l0 Text"),
    (
        "RegLocator",
        "*Signature_ s72 Identifier, Root i2, Key s255 RegPath, Name S255 Formatted, Type I2",
    ),
    (
        "ServiceControl",
        "*ServiceControl s72 Identifier, Name l255 Formatted, Event i2, \
         Arguments S255 Formatted, Wait I2, Component_ s72 Identifier >Component",
    ),
    (
        "Upgrade",
        "*UpgradeCode s38 Guid, *VersionMin S20 Text, *VersionMax S20 Text, \
         *Language S255 Language, *Attributes i4, Remove S255 Formatted, \
         ActionProperty s72 UpperCase",
    ),
    ("AdminExecuteSequence", SEQUENCE),
    ("AdminUISequence", SEQUENCE),
    ("AdvtExecuteSequence", SEQUENCE),
    ("InstallExecuteSequence", SEQUENCE),
    ("InstallUISequence", SEQUENCE),
];

const SEQUENCE: &str = "*Action s72 Identifier, Condition S255 Condition, Sequence I2";

/// The columns of a table, one by one.
pub(crate) fn columns(text: &str) -> impl Iterator<Item = &str> {
    text.split(", ")
}

/// A column's name.
pub(crate) fn name(column: &str) -> &str {
    column.split(' ').next().unwrap_or_default().trim_start_matches('*')
}

/// The table that a column's values are keys of.
pub(crate) fn foreign(column: &str) -> Option<&str> {
    column.split_once('>').map(|(_, table)| table)
}

/// A column as the crate makes it.
pub(crate) fn column(text: &str) -> Result<Column> {
    let mut words = text.split(' ');
    let name = words.next().unwrap_or_default();
    let kind = words.next().ok_or_else(|| format!("`{text}` has no type"))?;
    let (letter, size) = kind.split_at(1);
    let size: usize = size.parse()?;
    let mut column = Column::build(name.trim_start_matches('*'));
    if name.starts_with('*') {
        column = column.primary_key();
    }
    if letter.chars().all(char::is_uppercase) {
        column = column.nullable();
    }
    if letter.eq_ignore_ascii_case("l") {
        column = column.localizable();
    }
    for word in words {
        column = match word.strip_prefix('>') {
            Some(table) => column.foreign_key(table, 1),
            None => column.category(word.parse::<Category>()?),
        };
    }
    Ok(match (letter.to_ascii_lowercase().as_str(), size) {
        ("i", 2) => column.int16(),
        ("i", 4) => column.int32(),
        ("s" | "l", size) => column.string(size),
        ("v", _) => column.binary(),
        _ => return Err(format!("`{kind}` is no type of a column").into()),
    })
}

/// A value of such a column, from its text: nothing is null.
pub(crate) fn value(column: &str, text: &str) -> Result<Value> {
    let kind = column.split(' ').nth(1).unwrap_or_default().to_ascii_lowercase();
    Ok(match kind.chars().next() {
        Some('v') => Value::Binary,
        _ if text.is_empty() => Value::Null,
        Some('i') => Value::Int(text.parse()?),
        _ => Value::from(text),
    })
}
