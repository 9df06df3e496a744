//! Group policy's templates against the program: what a policy writes is what the settings read.

use super::*;
use roxmltree::{Document, Node};
use std::fmt::Write as _;

const POLICIES: &str = r"SOFTWARE\Policies\mpr-otel";

/// A registry value as regedit's files have it, and how `status` shows it.
type Written = (String, String);

fn elements<'a>(node: Node<'a, 'a>, tag: &str) -> Vec<Node<'a, 'a>> {
    node.descendants().filter(|node| node.tag_name().name() == tag).collect()
}

/// What an editor of group policy writes for a policy that is switched on.
fn written(policy: Node<'_, '_>) -> Written {
    let number = |number: &str| -> Written {
        (format!("dword:{:08x}", number.parse::<u32>().unwrap()), number.to_owned())
    };
    // Regedit's files double backslashes.
    let text = |text: &str| (format!("\"{}\"", text.replace('\\', r"\\")), text.to_owned());
    if let [on] = elements(policy, "enabledValue")[..] {
        let on = elements(on, "decimal")[0].attribute("value").unwrap();
        return (number(on).0, "true".to_owned());
    }
    if let [decimal] = elements(policy, "decimal")[..] {
        return number(decimal.attribute("maxValue").unwrap());
    }
    if let [.., last] = elements(policy, "item")[..] {
        return text(elements(last, "string")[0].text().unwrap());
    }
    if !elements(policy, "multiText").is_empty() {
        let units = "a=1\0b=2\0\0".encode_utf16().flat_map(u16::to_le_bytes);
        let units: Vec<String> = units.map(|byte| format!("{byte:02x}")).collect();
        let separator = if policy.attribute("name") == Some("PrivateShares") { ";" } else { "," };
        return (format!("hex(7):{}", units.join(",")), format!("a=1{separator}b=2"));
    }
    assert_eq!(elements(policy, "text").len(), 1, "{policy:?}");
    match policy.attribute("name").unwrap() {
        "Endpoint" => (
            "\"https://collector.corp.example:4318\"".to_owned(),
            "https://collector.corp.example:4318/v1/traces".to_owned(),
        ),
        "DfsRoots" => text(r"\\corp.example\dfs;\\corp\dfs"),
        "ServiceName" => text("drives"),
        "Proxy" => text("http://proxy.corp.example:8080"),
        "ClientCertificate" => text("0123456789ABCDEF0123456789ABCDEF01234567"),
        // The others are files and folders.
        name => text(&format!(r"C:\policy\{name}")),
    }
}

#[test]
fn each_policy_is_read_as_it_is_written() {
    let windows = Windows::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/windows/PolicyDefinitions");
    let definitions = fs::read_to_string(folder.join("mpr-otel.admx")).unwrap();
    let document = Document::parse(&definitions).unwrap();
    let mut file =
        format!("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\{POLICIES}]\r\n");
    let mut expected = BTreeMap::new();
    for policy in elements(document.root_element(), "policy") {
        assert_eq!(policy.attribute("key"), Some(POLICIES));
        let value = policy.descendants().find_map(|node| node.attribute("valueName")).unwrap();
        let (data, shown) = written(policy);
        write!(file, "\"{value}\"={data}\r\n").unwrap();
        expected.insert(value.to_owned(), shown);
    }
    let path = windows.folder.path().join("policy.reg");
    // As regedit itself writes them.
    let units = "\u{FEFF}".encode_utf16().chain(file.encode_utf16());
    fs::write(&path, units.flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    let mut regedit = windows.command("regedit");
    let imported = end(regedit.args(["/S", &windows_path(&path)]).spawn().unwrap());
    let status = windows.mpr_otel(&["status", "--json"]);
    let removed = windows.reg(&["delete", &format!(r"HKLM\{POLICIES}"), "/f"]);
    assert_eq!((imported.code, removed.code), (Some(0), Some(0)));
    let status = status.json();
    let mut read = BTreeMap::new();
    for setting in status["settings"].as_array().unwrap() {
        if setting["origin"] == "group policy" {
            assert_eq!(setting["malformed"], Value::Null, "{setting}");
            let text = |field: &str| setting[field].as_str().unwrap().to_owned();
            read.insert(text("registry"), text("value"));
        }
    }
    assert_eq!(read, expected);
}
