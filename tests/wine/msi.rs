//! The Windows Installer package, as msiexec of Wine installs it.
//!
//! Wine shows the low byte of an exit code, repairs nothing by a file's name, and does not tell a product
//! that it goes because a newer one comes: docs/WINDOWS.md lists what is left to try.

use super::*;
use mpr_otel_msi::{Architecture, Package, Payload};

/// ERROR_INSTALL_FAILURE and ERROR_INSTALL_PLATFORM_UNSUPPORTED (winerror.h), as Wine passes them on.
const FAILURE: i32 = 1603 & 0xFF;
const UNSUPPORTED: i32 = 1633 & 0xFF;
const UNINSTALL: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall";
/// Components of the machine's products, by the codes of both.
const COMPONENTS: &str =
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\UserData\S-1-5-18\Components";
/// What Wine writes by itself: how many processes of services it has started, and that there is no display.
const WINES_OWN: [&str; 2] = [r"\Control\ServiceCurrent]", r"\Control\Video\"];
const ENVIRONMENT: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";

/// A package in a file, and what msiexec last wrote into its log.
pub(super) struct Msi<'windows> {
    windows: &'windows Ten,
    pub(super) file: PathBuf,
    log: PathBuf,
}

impl<'windows> Msi<'windows> {
    /// The release that the tests have, or the `number`th after it: as good, and not the same.
    fn release(windows: &'windows Ten, number: u8, architecture: Architecture) -> Self {
        let folder = windows.folder.path().join(format!("release-{number}-{architecture:?}"));
        // Windows on Arm gets more files; the package is refused before it matters what is in them.
        let files: &[(&str, &str)] = match architecture {
            Architecture::X64 => &[
                ("mpr-otel.exe", "mpr-otel.exe"),
                ("mpr_otel.dll", "mpr_otel.dll"),
                ("x86/mpr_otel.dll", "x86/mpr_otel.dll"),
            ],
            Architecture::Arm64 => &[
                ("mpr-otel.exe", "arm64/mpr-otel.exe"),
                ("mpr_otel.dll", "arm64/mpr_otel.dll"),
                ("mpr_otel.dll", "arm64/mpr_otel_arm64.dll"),
                ("mpr_otel.dll", "arm64/mpr_otel_x64.dll"),
                ("mpr-otel.exe", "arm64/x64/mpr-otel.exe"),
                ("x86/mpr_otel.dll", "arm64/x86/mpr_otel.dll"),
            ],
        };
        for (from, file) in files {
            let mut bytes = fs::read(windows.programs.join(from)).unwrap();
            // The version of a file is its resource's (verrsrc.h, VS_FIXEDFILEINFO): the patch is the
            // high word of the second half.
            let start = [0xBD, 0x04, 0xEF, 0xFE, 0, 0, 1, 0];
            let at = bytes.windows(8).position(|window| window == start).unwrap();
            bytes[at + 14] += number;
            if architecture == Architecture::Arm64 && *file == "arm64/mpr-otel.exe" {
                let header = u32::from_le_bytes(bytes[0x3C..0x40].try_into().unwrap()) as usize;
                bytes[header + 4..header + 6].copy_from_slice(&0xAA64_u16.to_le_bytes());
            }
            write(&folder.join(file), &bytes);
        }
        for paper in
            ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-NOTICES.txt", "third-party/notices.txt"]
        {
            write(&folder.join(paper), paper.as_bytes());
        }
        let policies =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/windows/PolicyDefinitions");
        // The same each time, so it is written once.
        static WRITTEN: Mutex<BTreeMap<(u8, &str), Vec<u8>>> = Mutex::new(BTreeMap::new());
        let mut written = WRITTEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let bytes = written.entry((number, architecture.template())).or_insert_with(|| {
            let package = Package {
                architecture,
                payload: Payload::read(&folder, &policies, architecture).unwrap(),
                action_dll: fs::read(windows.programs.join("mpr_otel_msi_action.dll")).unwrap(),
            };
            package.write().unwrap()
        });
        let file = folder.join("mpr-otel.msi");
        fs::write(&file, bytes).unwrap();
        Self { windows, file, log: windows.folder.path().join("msi.log") }
    }

    pub(super) fn x64(windows: &'windows Ten, number: u8) -> Self {
        Self::release(windows, number, Architecture::X64)
    }

    /// `msiexec` without a dialog: what to do, and properties.
    fn msiexec(&self, what: &str, properties: &[&str]) -> Ended {
        let mut command = self.windows.command("msiexec");
        command.args([what, &windows_path(&self.file), "/qn", "/l*v", &windows_path(&self.log)]);
        // It says nothing. Wine's desktop, which it may start, has what it has, and lives as long as any
        // program that is on it.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        end(command.args(properties).spawn().unwrap())
    }

    fn install(&self, properties: &[&str]) {
        let ended = self.msiexec("/i", properties);
        assert_eq!(ended.code, Some(0), "{ended:?}\n{}", self.said());
    }

    fn uninstall(&self, properties: &[&str]) {
        let ended = self.msiexec("/x", properties);
        assert_eq!(ended.code, Some(0), "{ended:?}\n{}", self.said());
    }

    /// The lines of the action DLL in the log.
    fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = match log.strip_prefix(&[0xFF, 0xFE]) {
            Some(units) => {
                let units = units.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
                String::from_utf16_lossy(&units.collect::<Vec<_>>())
            }
            None => String::from_utf8_lossy(&log).into_owned(),
        };
        let ours = text.lines().filter_map(|line| line.split_once("mpr-otel: ")).map(|it| it.1);
        ours.map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

/// A Windows that has what Windows 10 has. Wine's is older.
pub(super) struct Ten(Windows);

const TEN: [&str; 3] = [VERSION, "/v", "CurrentMajorVersionNumber"];

impl Ten {
    pub(super) fn new() -> Self {
        let ten = Self(Windows::new());
        // What a test that failed left installed.
        for (code, _) in ten.products() {
            end(ten.command("msiexec").args(["/x", &code, "/qn", "PURGE=1"]).spawn().unwrap());
        }
        // Wine takes nothing of an installation that failed back: its components would be in the snapshot
        // before the next one.
        for empty in ["delete", "add"] {
            ten.reg(&[empty, COMPONENTS, "/f"]);
        }
        let set = [&["add"][..], &TEN, &["/t", "REG_DWORD", "/d", "10", "/f"]].concat();
        assert_eq!(ten.reg(&set).code, Some(0));
        ten
    }
}

impl Drop for Ten {
    fn drop(&mut self) {
        self.reg(&[&["delete"][..], &TEN, &["/f"]].concat());
    }
}

impl std::ops::Deref for Ten {
    type Target = Windows;

    fn deref(&self) -> &Windows {
        &self.0
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

impl Windows {
    /// What a setting is in the registry.
    pub(super) fn setting(&self, name: &str) -> Option<String> {
        let found = self.reg(&["query", SETTINGS, "/v", name]);
        let line = found.output.lines().find(|line| line.trim_start().starts_with(name))?;
        Some(line.split("REG_SZ").nth(1)?.trim().to_owned())
    }

    /// The product's codes and versions that Windows lists among its programs.
    fn products(&self) -> Vec<(String, String)> {
        let found = self.reg(&["query", UNINSTALL, "/s"]).output;
        let mut products = Vec::new();
        for product in found.split("HKEY_LOCAL_MACHINE").filter(|it| it.contains("mpr-otel")) {
            let key = product.lines().next().unwrap();
            let version = product.lines().find(|line| line.contains("DisplayVersion")).unwrap();
            let last = |text: &str, separator: char| {
                text.trim_end().rsplit(separator).next().unwrap().to_owned()
            };
            products.push((last(key, '\\'), last(version, ' ')));
        }
        products
    }

    pub(super) fn listed_versions(&self) -> Vec<String> {
        self.products().into_iter().map(|(_, version)| version).collect()
    }

    /// All files of drive C and all values of the machine's registry, but what changes by itself.
    fn snapshot(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut folders = vec![self.prefix.join("drive_c")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                all.insert(entry.path().to_str().unwrap().to_owned());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        let export = self.folder.path().join("machine.reg");
        let mut regedit = self.command("regedit");
        regedit.args(["/E", &windows_path(&export), "HKEY_LOCAL_MACHINE"]);
        assert_eq!(end(regedit.spawn().unwrap()).code, Some(0));
        let units = fs::read(&export).unwrap();
        let units = units.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let text = String::from_utf16_lossy(&units.collect::<Vec<_>>());
        let mut key = "";
        for line in text.lines().map(str::trim_end) {
            match line.starts_with('[') {
                true => key = line,
                false => _ = all.insert(format!("{key} {line}")),
            }
            all.insert(key.to_owned());
        }
        all.retain(|line| !WINES_OWN.iter().any(|part| line.contains(part)));
        all
    }
}

/// What is there now and was not, and what is not there any more.
fn difference(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    let new = after.difference(before).map(|it| format!("+ {it}"));
    new.chain(before.difference(after).map(|it| format!("- {it}"))).collect()
}

#[test]
fn an_msi_installs_with_its_properties_and_leaves_nothing() {
    let windows = Ten::new();
    let msi = Msi::x64(&windows, 0);
    let before = windows.snapshot();
    let endpoint = windows.receiver.endpoint();
    let file = windows.folder.path().join("headers");
    fs::write(&file, HEADER).unwrap();
    msi.install(&[
        &format!("ENDPOINT={endpoint}"),
        &format!("LEDGERDIR={LEDGERS}"),
        r#"DFSROOTS=\\corp.example\dfs;\\corp\a b"#,
        &format!("HEADERSFILE={}", windows_path(&file)),
    ]);
    let said = msi.said();
    for line in [
        "service mpr-otel-agent: created",
        r"C:\Program Files\mpr-otel\mpr-otel.exe: unchanged",
        r"C:\windows\system32\mpr_otel.dll: created",
        "Headers = authorization=***",
    ] {
        assert!(said.lines().any(|one| one == line), "{line} is not in {said}");
    }
    assert!(!fs::read_to_string(&msi.log).unwrap_or_default().contains(SECRET));
    assert!(windows.service().contains("RUNNING"), "{}", windows.service());
    let roots = windows.setting("DfsRoots");
    assert_eq!(roots.as_deref(), Some(r"\\corp.example\dfs;\\corp\a b"));
    assert_eq!(windows.setting("Delivery").as_deref(), Some("agent"));
    assert_eq!(windows.listed_versions(), [env!("CARGO_PKG_VERSION")]);
    assert!(windows.file("Program Files/mpr-otel/PolicyDefinitions/en-US/mpr-otel.adml").exists());
    assert_eq!(windows.reg(&["query", EVENT_SOURCE]).code, Some(0));
    // The secret does not go to a port that any program may listen on, so this is no good ending.
    let status = windows.mpr_otel(&["status", "--json"]).json();
    assert_eq!(status["ledgers"]["agent"]["running"], true, "{status}");

    msi.uninstall(&["PURGE=1"]);
    assert_eq!(difference(&before, &windows.snapshot()), Vec::<String>::new());
}

#[test]
fn what_is_given_wins_what_is_absent_stays_and_none_clears() {
    let windows = Ten::new();
    let msi = Msi::x64(&windows, 0);
    msi.install(&[
        "SERVICENAME=first",
        "BATCHMAX=7",
        "TIMEOUTMS=500",
        "PRIVACY=full",
        "PROXY=NONE",
    ]);
    // `none` is a proxy, and to say it is not to be silent about it.
    assert_eq!(windows.setting("Proxy").as_deref(), Some("NONE"));
    let status = windows.mpr_otel(&["status", "--json"]).json();
    let settings = status["settings"].as_array().unwrap();
    let proxy = settings.iter().find(|setting| setting["registry"] == "Proxy").unwrap();
    assert_eq!((&proxy["value"], &proxy["malformed"]), (&json!("none"), &Value::Null));
    // The same package again.
    msi.install(&["BATCHMAX=8", "TIMEOUTMS=NONE", "PRIVACY=NONE"]);
    let settings = |names: [&str; 4]| names.map(|name| windows.setting(name).unwrap_or_default());
    // `none` is a level of privacy, and so it is one in capitals.
    let expected = ["first", "8", "", "NONE"];
    assert_eq!(settings(["ServiceName", "BatchMax", "TimeoutMs", "Privacy"]), expected);
    assert_eq!(windows.listed_versions().len(), 1);

    // Without a word about it, the data stays when the product goes, and is there when it comes again.
    msi.uninstall(&[]);
    let left = windows.traces();
    let ours = |trace: &String| trace.contains("ProgramData") || trace.contains("SOFTWARE");
    assert!(left.iter().all(ours) && left.len() == 2, "{left:?}");
    msi.install(&["BATCHMAX=9"]);
    let expected = ["first", "9", "", "NONE"];
    assert_eq!(settings(["ServiceName", "BatchMax", "TimeoutMs", "Privacy"]), expected);
    msi.uninstall(&["PURGE=1"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn the_same_package_again_brings_back_what_is_missing_and_keeps_the_settings() {
    let windows = Ten::new();
    let msi = Msi::x64(&windows, 0);
    msi.install(&["SERVICENAME=first", "BATCHMAX=7"]);
    let gone = ["Program Files/mpr-otel/LICENSE-MIT", "Program Files/mpr-otel/mpr_otel.dll"];
    // As an administrator repairs, as Configuration Manager does, and with a new value for a setting.
    for (properties, batch_max) in
        [(&[][..], "7"), (&["REINSTALL=ALL", "REINSTALLMODE=amus"], "7"), (&["BATCHMAX=8"], "8")]
    {
        for file in gone {
            fs::remove_file(windows.file(file)).unwrap();
        }
        msi.install(properties);
        for file in gone {
            assert!(windows.file(file).exists(), "{file} is gone after {properties:?}");
        }
        assert_eq!(windows.setting("ServiceName").as_deref(), Some("first"));
        assert_eq!(windows.setting("BatchMax").as_deref(), Some(batch_max));
        assert_eq!(windows.listed_versions().len(), 1);
        assert!(windows.service().contains("RUNNING"), "{}", windows.service());
    }
    msi.uninstall(&["PURGE=1"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn an_upgrade_keeps_the_settings_and_the_program_that_holds_the_dll() {
    let windows = Ten::new();
    windows.set_up_network(&json!([share()]));
    let [msi, next] = [0, 1].map(|number| Msi::x64(&windows, number));
    let endpoint = format!("ENDPOINT={}", windows.receiver.endpoint());
    msi.install(&[&endpoint, "DELIVERY=in-process", "BATCHDELAYMS=20", "SERVICENAME=kept"]);
    let caller = windows.caller(&["add2", "-", SHARE, "wait", "exit", "5"]).spawn();
    windows.spans(1);
    // 3010, which asks for a restart, would be 194.
    next.install(&[]);
    assert_eq!(windows.setting("ServiceName").as_deref(), Some("kept"));
    let versions = windows.listed_versions();
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert_ne!(versions[0], env!("CARGO_PKG_VERSION"));
    let next_dll = fs::read(next.file.with_file_name("mpr_otel.dll")).unwrap();
    assert!(fs::read(windows.file("windows/system32/mpr_otel.dll")).unwrap() == next_dll);
    assert!(windows.service().contains("RUNNING"), "{}", windows.service());

    // Back it does not go, and what is there goes on.
    let refused = msi.msiexec("/i", &["SERVICENAME=other"]);
    assert_eq!(refused.code, Some(FAILURE), "{refused:?}");
    assert_eq!(windows.listed_versions(), versions);
    assert_eq!(windows.setting("ServiceName").as_deref(), Some("kept"));
    assert!(windows.service().contains("RUNNING"), "{}", windows.service());

    let ended = end(caller.unwrap());
    assert!(ended.ended_with(5) && ended.errors.is_empty(), "{ended:?}");
    next.uninstall(&["PURGE=1"]);
    assert_eq!(windows.listed_versions(), Vec::<String>::new());
}

#[test]
fn a_package_for_another_machine_is_refused_and_changes_nothing() {
    let windows = Ten::new();
    // Both before anything is set: Wine sets the architecture anew when its services start again, and they
    // end when nothing runs for five minutes.
    let arm = Msi::release(&windows, 0, Architecture::Arm64);
    let x64 = Msi::x64(&windows, 0);
    let refused = arm.msiexec("/i", &[]);
    assert_eq!(refused.code, Some(UNSUPPORTED), "{refused:?}");
    // Windows on Arm would run the programs, and could not load the DLL into its own.
    let name = ["/v", "PROCESSOR_ARCHITECTURE", "/t", "REG_SZ", "/f", "/d"];
    let set = |to| windows.reg(&[&["add", ENVIRONMENT][..], &name, &[to]].concat()).code;
    assert_eq!(set("ARM64"), Some(0));
    let refused = x64.msiexec("/i", &[]);
    assert_eq!(set("AMD64"), Some(0));
    assert_eq!(refused.code, Some(FAILURE), "{refused:?}");
    // Nor is a Windows before 10.
    assert_eq!(windows.reg(&[&["delete"][..], &TEN, &["/f"]].concat()).code, Some(0));
    let refused = x64.msiexec("/i", &[]);
    assert_eq!(refused.code, Some(FAILURE), "{refused:?}");
    assert_eq!(windows.traces(), Vec::<String>::new());
    assert_eq!(windows.listed_versions(), Vec::<String>::new());
}

#[test]
fn an_action_that_fails_fails_the_installation_and_says_why() {
    let windows = Ten::new();
    let msi = Msi::x64(&windows, 0);
    let failed = msi.msiexec("/i", &["ENDPOINT=http://127.0.0.1:4318/v1/traces"]);
    assert_ne!(failed.code, Some(0), "{failed:?}");
    let said = msi.said();
    assert!(said.contains("--endpoint: /v1/traces is added"), "{said}");
    assert_eq!(windows.listed_versions(), Vec::<String>::new());
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_service_that_does_not_start_is_a_warning() {
    let windows = Ten::new();
    let msi = Msi::x64(&windows, 0);
    let ledger_dir = format!("LEDGERDIR={LEDGERS}");
    msi.install(&[&ledger_dir]);
    windows.stop_agent();
    let other = windows.agent();
    msi.install(&["SERVICENAME=other"]);
    let said = msi.said();
    let warning = "warning: the agent does not run, so nothing is sent";
    assert!(said.lines().any(|line| line.starts_with(warning)), "{said}");
    assert_eq!(windows.setting("ServiceName").as_deref(), Some("other"));
    drop(other);
    msi.uninstall(&["PURGE=1"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_product_that_uninstalled_itself_is_uninstalled() {
    let windows = Ten::new();
    let msi = Msi::x64(&windows, 0);
    msi.install(&[]);
    // The program in `Program Files` is gone then, and Windows still lists the product.
    assert_eq!(windows.mpr_otel(&["uninstall"]).code, Some(0));
    assert_eq!(windows.listed_versions().len(), 1);
    msi.uninstall(&[]);
    assert!(msi.said().contains("mpr-otel.exe is not there"), "{}", msi.said());
    assert_eq!(windows.listed_versions(), Vec::<String>::new());
    assert_eq!(windows.traces(), Vec::<String>::new());
}
