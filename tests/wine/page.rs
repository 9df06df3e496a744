//! deploy/windows/README.md, as somebody does it who reads it: each command is copied from the page.

use super::msi::{Msi, Ten};
use super::*;

const PAGE: &str = include_str!("../../deploy/windows/README.md");
/// What is a domain's on the page, and a folder here.
const SYSVOL: (&str, &str) = (r"\\corp.example\SYSVOL", r"C:\sysvol");
const COLLECTOR: &str = "https://collector.corp.example:4318";
const POLICY: &str = r"HKLM\SOFTWARE\Policies\mpr-otel";

/// The lines of the page that are commands.
fn commands() -> Vec<&'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("    ")).collect()
}

impl Windows {
    /// Runs a line as a terminal does, in the folder of the package.
    fn typed(&self, line: &str, folder: &Path) -> Ended {
        let file = folder.join("typed.cmd");
        fs::write(&file, format!("@echo off\r\n{line}\r\nexit /b %ERRORLEVEL%\r\n")).unwrap();
        let mut command = self.command("cmd");
        command.args(["/c", &windows_path(&file)]).current_dir(folder);
        end(command.spawn().unwrap())
    }
}

#[test]
fn the_page_leads_from_a_machine_without_it_to_one_that_is_proven() {
    let windows = Ten::new();
    windows.set_up_network(&json!([{ "name": IPC }]));
    let msi = Msi::x64(&windows, 0);
    let folder = windows.folder.path().join("page");
    fs::create_dir(&folder).unwrap();
    fs::copy(&msi.file, folder.join("mpr-otel-x64.msi")).unwrap();
    let sysvol = windows.file("sysvol");
    fs::create_dir_all(sysvol.join("corp.example/Policies")).unwrap();
    let endpoint = windows.receiver.endpoint();
    // Wine gives services another ProgramData than programs.
    let ledger_dir = ["add", POLICY, "/v", "LedgerDir", "/d", LEDGERS, "/f"];
    assert_eq!(windows.reg(&ledger_dir).code, Some(0));
    // How often each was run.
    let mut run: BTreeMap<&str, usize> = BTreeMap::new();
    for line in commands() {
        let here = line.replace(COLLECTOR, &endpoint).replace(SYSVOL.0, SYSVOL.1);
        if line.starts_with("reg query") {
            // Group policy's part: a template is there now, and somebody has filled in a policy of it.
            let template = sysvol.join("corp.example/Policies/PolicyDefinitions/mpr-otel.admx");
            assert!(fs::read_to_string(template).unwrap().contains("\"ServiceName\""));
            let policy = ["add", POLICY, "/v", "ServiceName", "/d", "fleet", "/f"];
            assert_eq!(windows.reg(&policy).code, Some(0));
        }
        let ended = windows.typed(&here, &folder);
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        let word = match line.strip_prefix(r#""C:\Program Files\mpr-otel\mpr-otel.exe" "#) {
            Some(command) => command,
            None => line.split(' ').next().unwrap(),
        };
        *run.entry(word).or_default() += 1;
        // What the page promises of it.
        match (word, run[word]) {
            ("msiexec", 1) => {
                let said = fs::read(folder.join("mpr-otel.log")).unwrap();
                let said = String::from_utf8_lossy(&said).replace('\0', "");
                assert!(said.contains("mpr-otel: "), "{said}");
            }
            ("msiexec", 2) => {
                let value = |name: &str| windows.setting(name);
                assert_eq!(value("Privacy").as_deref(), Some("none"));
                assert_eq!(value("BatchDelayMs"), None);
                assert_eq!(value("Endpoint").as_deref(), Some(&*endpoint));
            }
            ("msiexec", 3) => assert_eq!(windows.listed_versions(), Vec::<String>::new()),
            ("probe", _) => assert!(ended.output.contains("delivered"), "{ended:?}"),
            ("reg", _) => assert!(ended.output.contains("fleet"), "{ended:?}"),
            ("status", 2) => assert!(ended.output.contains("group policy"), "{ended:?}"),
            _ => {}
        }
    }
    assert_eq!(windows.reg(&["delete", POLICY, "/f"]).code, Some(0));
    fs::remove_dir_all(sysvol).unwrap();
    assert_eq!(windows.mpr_otel(&["uninstall"]).code, Some(0));
    let run: Vec<_> = run.into_iter().collect();
    assert_eq!(run, [("msiexec", 3), ("probe", 1), ("reg", 1), ("status", 2), ("xcopy", 1)]);
}
