//! Group policy's administrative templates: one policy for each setting of Windows that is no secret.
//!
//! A secret has no policy: every user of the domain can read what a policy says. Names are those of the
//! registry values, and stay: who imported a template into Intune cannot replace it by one that lacks what
//! a profile uses.

mod text;

use mpr_otel_core::settings::{ALL, Form, Row};
use std::fmt::Write;
use std::path::PathBuf;
use text::{display_name, escaped, explanation, item, plain};

/// Where Windows looks for templates, here and in a domain's Central Store: definitions, and below them
/// a folder for each language.
const FOLDER: &str = "deploy/windows/PolicyDefinitions";
/// The registry key that policies write to, under `HKEY_LOCAL_MACHINE`.
const KEY: &str = r"SOFTWARE\Policies\mpr-otel";
/// The schema's namespace (Microsoft: "ADMX Schema", [MS-GPREG]).
const NAMESPACE: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";
/// An id has letters, digits and underscores alone.
const PREFIX: &str = "mprotel";
/// Characters of a text at most: the schema's default. Longer ones were cut by Windows' editor.
const LONGEST: u32 = 1023;
/// Lines of a list at most.
const MOST_LINES: u32 = 200;

/// The settings that have a policy.
pub fn settings() -> impl Iterator<Item = &'static Row> {
    ALL.iter().filter(|row| !row.secret && !row.not_on_windows)
}

/// The files, by their paths in the repository.
pub fn files() -> [(PathBuf, String); 2] {
    let folder = PathBuf::from(FOLDER);
    [
        (folder.join("mpr-otel.admx"), windows_lines(&definitions())),
        (folder.join("en-US").join("mpr-otel.adml"), windows_lines(&resources())),
    ]
}

/// The definitions: which policy writes what.
fn definitions() -> String {
    let policies: String = settings().map(policy).collect();
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<!-- Made by `cargo xtask policy` from the table of settings. -->
<policyDefinitions xmlns="{NAMESPACE}" revision="1.0" schemaVersion="1.0">
  <policyNamespaces>
    <target prefix="{PREFIX}" namespace="mpr-otel.Policies"/>
  </policyNamespaces>
  <resources minRequiredRevision="1.0"/>
  <supportedOn>
    <definitions>
      <definition name="SUPPORTED_{PREFIX}" displayName="$(string.SUPPORTED_{PREFIX})"/>
    </definitions>
  </supportedOn>
  <categories>
    <category name="{PREFIX}" displayName="$(string.{PREFIX})"/>
  </categories>
  <policies>
{policies}  </policies>
</policyDefinitions>
"#
    )
}

fn policy(row: &'static Row) -> String {
    let name = row.name.registry;
    let id = format!("id=\"{name}\" valueName=\"{name}\"");
    let (attributes, values) = match row.form {
        Form::Switch => (
            format!(" valueName=\"{name}\""),
            "      <enabledValue><decimal value=\"1\"/></enabledValue>\n      \
             <disabledValue><decimal value=\"0\"/></disabledValue>\n"
                .to_owned(),
        ),
        Form::Number(least, most) => presented(
            name,
            &format!("<decimal {id} required=\"true\" minValue=\"{least}\" maxValue=\"{most}\"/>"),
        ),
        Form::Choice(choices) => {
            let items: String = choices.iter().fold(String::new(), |mut items, choice| {
                let item = item(name, choice);
                let _ = writeln!(
                    items,
                    "          <item displayName=\"$(string.{item})\"><value><string>{choice}\
                     </string></value></item>"
                );
                items
            });
            presented(name, &format!("<enum {id} required=\"true\">\n{items}        </enum>"))
        }
        Form::List => presented(
            name,
            &format!(
                "<multiText {id} required=\"true\" maxLength=\"{LONGEST}\" \
                 maxStrings=\"{MOST_LINES}\"/>"
            ),
        ),
        Form::ChoiceOrText(_) | Form::Text => {
            presented(name, &format!("<text {id} required=\"true\" maxLength=\"{LONGEST}\"/>"))
        }
    };
    format!(
        "    <policy name=\"{name}\" class=\"Machine\" displayName=\"$(string.{name})\" \
         explainText=\"$(string.{name}_Help)\" key=\"{KEY}\"{attributes}>
      <parentCategory ref=\"{PREFIX}\"/>
      <supportedOn ref=\"SUPPORTED_{PREFIX}\"/>
{values}    </policy>
"
    )
}

/// A policy with one value that is entered: its attributes, and what it holds.
fn presented(name: &str, element: &str) -> (String, String) {
    (
        format!(" presentation=\"$(presentation.{name})\""),
        format!("      <elements>\n        {element}\n      </elements>\n"),
    )
}

/// The words and the fields, in English.
fn resources() -> String {
    let mut strings = String::new();
    let mut string = |id: &str, text: &str| {
        let _ = writeln!(strings, "      <string id=\"{id}\">{}</string>", escaped(text));
    };
    string(PREFIX, "mpr-otel");
    string(
        &format!("SUPPORTED_{PREFIX}"),
        "mpr-otel on Windows 10, Windows Server 2016, and later",
    );
    let mut presentations = String::new();
    for row in settings() {
        let name = row.name.registry;
        string(name, &display_name(name));
        string(&format!("{name}_Help"), &explanation(row, KEY));
        if let Form::Choice(choices) = row.form {
            for choice in choices {
                string(&item(name, choice), choice);
            }
        }
        if let Some(field) = field(row) {
            let _ = writeln!(
                presentations,
                "      <presentation id=\"{name}\">\n        {field}\n      </presentation>"
            );
        }
    }
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<!-- Made by `cargo xtask policy` from the table of settings. -->
<policyDefinitionResources xmlns="{NAMESPACE}" revision="1.0" schemaVersion="1.0">
  <displayName>mpr-otel</displayName>
  <description>Records drive and share mappings.</description>
  <resources>
    <stringTable>
{strings}    </stringTable>
    <presentationTable>
{presentations}    </presentationTable>
  </resources>
</policyDefinitionResources>
"#
    )
}

/// Where the value is entered. A switch has none: the policy itself is on or off.
fn field(row: &Row) -> Option<String> {
    let name = row.name.registry;
    let label = escaped(&display_name(name));
    let default = plain(&(row.default)());
    Some(match row.form {
        Form::Switch => return None,
        Form::Number(..) => {
            let step = "spin=\"false\"";
            format!(
                "<decimalTextBox refId=\"{name}\" defaultValue=\"{default}\" {step}>{label}</decimalTextBox>"
            )
        }
        Form::Choice(choices) => {
            let place = choices.iter().position(|choice| *choice == default).unwrap_or_default();
            format!(
                "<dropdownList refId=\"{name}\" noSort=\"true\" defaultItem=\"{place}\">{label}</dropdownList>"
            )
        }
        Form::List => {
            format!("<text>{label}, one a line</text>\n        <multiTextBox refId=\"{name}\"/>")
        }
        Form::ChoiceOrText(_) | Form::Text => {
            format!("<textBox refId=\"{name}\"><label>{label}</label></textBox>")
        }
    })
}

/// As Windows' editors have them.
fn windows_lines(text: &str) -> String {
    text.replace('\n', "\r\n")
}
