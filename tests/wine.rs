//! The Windows build under Wine: an unchanged program calls WNet, Wine's mpr.dll calls the test's
//! network provider, and the provider plays MPR's part with the DLL that ships.
//!
//! `cargo xtask test` builds everything, puts its place into `MPR_OTEL_TEST_WINE` and runs this
//! file. A plain `cargo test` leaves it out (Cargo.toml).
#![cfg(unix)]
// The tests print a line if there is nothing to test with.
#![allow(clippy::print_stdout)]

#[path = "wine/msi.rs"]
mod msi;
#[path = "wine/page.rs"]
mod page;
#[path = "wine/policy.rs"]
mod policy;

use mpr_otel_core::control_page::ControlPage;
use mpr_otel_core::ledger::{self, Tally, is_ledger_name};
use mpr_otel_core::machine::host_id;
use mpr_otel_lab::equipment::json_page;
use mpr_otel_lab::equipment::stage::{PATIENCE, Received, received, show};
use mpr_otel_lab::receiver::{Answer, Behaviour, Receiver, Request, Stream};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NOTIFYEES: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\NetworkProvider\Notifyees";
const SETTINGS: &str = r"HKLM\SOFTWARE\mpr-otel";
/// The key of the agent's secrets.
const SECRETS: &str = r"HKLM\SOFTWARE\mpr-otel\Agent";
const SERVICE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\mpr-otel-agent";
/// The name under which the agent writes to the Application log.
const EVENT_SOURCE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\mpr-otel";
/// The key with the version of Windows.
const VERSION: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
/// The key in which Netlogon keeps the site.
const NETLOGON: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Netlogon\Parameters";
/// The default folder of the ledgers, and a log beside it.
const LEDGERS: &str = r"C:\ProgramData\mpr-otel\ledger";
const LOG: &str = r"C:\ProgramData\mpr-otel\log.txt";
/// The share that the tests map.
const SHARE: &str = r"\\files01\projects";
/// The share whose server does not answer.
const HANGS: &str = r"\\files01\hangs";

/// A Windows without mpr-otel, for one test at a time.
struct Windows {
    programs: PathBuf,
    prefix: PathBuf,
    /// Files that the tests write for programs to read.
    folder: TempDir,
    receiver: Receiver,
    _turn: MutexGuard<'static, ()>,
}

/// How a program ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    /// The signal that ended Wine's process for the program.
    signal: Option<i32>,
    output: String,
    errors: String,
    /// What Wine itself printed when a process ended while one of its threads, such as the
    /// exporter, was in the middle of a request to Wine's server. It is for a person who wants to
    /// know why a test failed.
    #[allow(dead_code)]
    wine: String,
}

impl Ended {
    /// Whether the program ended with this code, or was on its way to.
    ///
    /// Wine's server kills a process that has not gone 16 ms after it began to end, as happens
    /// when another thread of it, such as the exporter, is in a part of Wine that no signal
    /// interrupts. Then nobody hears the code. (150 callers without the DLL: none; with it: one.)
    fn ended_with(&self, code: i32) -> bool {
        const SIGKILL: i32 = 9;
        self.code == Some(code) || self.signal == Some(SIGKILL)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        // Windows ends its lines with CR and LF.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        let (wine, errors) = text(&output.stderr)
            .split_inclusive('\n')
            .map(str::to_owned)
            .partition::<Vec<_>, _>(|line| line.starts_with("wine client error:"));
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            output: text(&output.stdout),
            errors: errors.concat(),
            wine: wine.concat(),
        }
    }
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What the probe maps, in the network's script, and takes as long as [`share`].
fn probed() -> Value {
    json!([
        { "name": IPC, "takes_ms": 250 },
        { "name": MISSING, "takes_ms": 250, "status": 67 },
    ])
}

/// [`SHARE`] in the network's script. A host makes its ledger while a mapping takes so long: POST waits for
/// it for 50 ms at most, which a busy machine may need.
fn share() -> Value {
    json!({ "name": SHARE, "takes_ms": 250 })
}

impl Windows {
    fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let programs = std::env::var_os("MPR_OTEL_TEST_WINE").expect(
            "MPR_OTEL_TEST_WINE is not set; run `cargo xtask test --windows`, which sets it",
        );
        let prefix = std::env::var_os("WINEPREFIX").expect("a prefix of the tests' own");
        let windows = Self {
            programs: programs.into(),
            prefix: prefix.into(),
            folder: tempfile::tempdir().unwrap(),
            receiver: Receiver::start().unwrap(),
            // If a test failed, it removed everything, or the next line finds out.
            _turn: TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()),
        };
        assert_eq!(windows.mpr_otel(&["uninstall"]).code, Some(0));
        windows.set_up_network(&json!([]));
        windows
    }

    /// Says what happens to operations on which name.
    fn set_up_network(&self, script: &Value) {
        fs::write(self.folder.path().join("script.json"), script.to_string()).unwrap();
    }

    /// A Windows program with Wine's environment, and without the test's own settings.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("wine");
        for (name, _) in std::env::vars() {
            let foreign = ["OTEL_", "MPR_OTEL_"].iter().any(|part| name.starts_with(part));
            if foreign || name == "TRACEPARENT" {
                command.env_remove(name);
            }
        }
        command
            .arg(program.as_ref())
            .env("WINEPREFIX", &self.prefix)
            .env("WINEARCH", "win64")
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY")
            .env("MPR_TEST_SCRIPT", windows_path(&self.folder.path().join("script.json")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn mpr_otel(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(self.programs.join("mpr-otel.exe"));
        end(command.args(arguments).spawn().unwrap())
    }

    /// Installs so that spans go to the test's receiver soon. Returns what `--json` prints.
    fn install_with_agent(&self, arguments: &[&str]) -> Value {
        let endpoint = self.receiver.endpoint();
        let mut all = vec!["install", "--json", "--batch-delay-ms", "20"];
        all.extend(arguments);
        if !arguments.contains(&"--endpoint") {
            all.extend(["--endpoint", &endpoint]);
        }
        let ended = self.mpr_otel(&all);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()
    }

    /// The same for programs that send by themselves, unless the arguments say otherwise. Stops the
    /// agent, so that only these programs send.
    fn install(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        if !arguments.contains(&"--delivery") {
            all.push("--in-process");
        }
        let installed = self.install_with_agent(&all);
        self.stop_agent();
        installed
    }

    fn stop_agent(&self) {
        let mut sc = self.command("sc");
        let ended = end(sc.args(["stop", "mpr-otel-agent"]).spawn().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        self.until(|| self.service().contains("STOPPED"));
    }

    /// The release after this one: it works as well and has other bytes.
    fn next_version(&self) -> PathBuf {
        let next = self.folder.path().join("next");
        fs::create_dir_all(next.join("x86")).unwrap();
        for file in ["mpr-otel.exe", "mpr_otel.dll", "x86/mpr_otel.dll"] {
            let mut bytes = fs::read(self.programs.join(file)).unwrap();
            bytes.push(0);
            fs::write(next.join(file), bytes).unwrap();
        }
        next
    }

    /// What the service manager says about the agent.
    fn service(&self) -> String {
        let mut sc = self.command("sc");
        end(sc.args(["query", "mpr-otel-agent"]).spawn().unwrap()).output
    }

    /// The text of the last event with this number that the agent of [`LEDGERS`] reported to the
    /// Application log since it was last asked to stop. Wine keeps no events, so this is what the
    /// agent remembers of them.
    fn event(&self, id: &str) -> Option<String> {
        let recent = fs::read(self.file("ProgramData/mpr-otel/ledger/agent/events.json")).ok()?;
        let recent: Value = serde_json::from_slice(&recent).ok()?;
        Some(recent[id]["text"].as_str()?.to_owned())
    }

    /// The agent in the foreground, which has started.
    fn agent(&self) -> Running {
        let mut command = self.command(self.programs.join("mpr-otel.exe"));
        let mut agent = Running(command.arg("agent").spawn().unwrap());
        let said = BufReader::new(agent.0.stderr.take().unwrap());
        let started = said.lines().any(|line| line.unwrap().contains("the agent has started"));
        assert!(started, "the agent ended: {:?}", agent.0.wait());
        agent
    }

    /// The program that maps drives.
    fn caller(&self, words: &[&str]) -> Command {
        let mut command = self.command(self.programs.join("caller.exe"));
        command.args(words);
        command
    }

    /// Runs a caller to its end. It must write nothing to its standard error.
    fn call(&self, words: &[&str]) -> Ended {
        let ended = end(self.caller(words).spawn().unwrap());
        assert_eq!(ended.errors, "", "{ended:?}");
        ended
    }

    /// Waits for `count` spans.
    fn spans(&self, count: usize) -> Vec<Received> {
        let mut spans = Vec::new();
        while spans.len() < count {
            let request = self.receiver.requests().recv_timeout(PATIENCE).expect("a request");
            spans.extend(received(request));
        }
        assert_eq!(spans.len(), count, "more spans than operations");
        spans
    }

    /// Waits until `spans` has the spans of `count` operations, by their ids. A span that a host
    /// was sending when it ended is sent again by the agent or `drain`, with the same id.
    fn gather(&self, spans: &mut BTreeMap<Vec<u8>, Received>, count: usize) {
        while spans.len() < count {
            let request = self.receiver.requests().recv_timeout(PATIENCE).expect("a request");
            spans.extend(
                received(request).into_iter().map(|span| (span.span.span_id.clone(), span)),
            );
        }
        assert_eq!(spans.len(), count, "more spans than operations");
    }

    /// A caller that hangs in an operation that does not end, and its process id on Windows.
    fn hanging(&self) -> (Running, u64) {
        let caller = Running(self.caller(&["add2", "X:", HANGS]).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let open = self.json(&["inflight", "--json"]);
            if let [operation] = &open["operations"].as_array().unwrap()[..] {
                assert_eq!(operation["operation"], "add", "{open}");
                assert_eq!(operation["remote_name"], HANGS, "{open}");
                assert_eq!(operation["local_name"], "X:", "{open}");
                assert_eq!(operation["server"], "files01", "{open}");
                assert_eq!(operation["share"], "hangs", "{open}");
                assert_eq!(operation["executable"], "caller.exe", "{open}");
                assert!(operation["user"].as_str().unwrap().starts_with("S-1-5-"), "{open}");
                return (caller, operation["pid"].as_u64().unwrap());
            }
            assert!(Instant::now() < deadline, "nothing is open: {open}");
        }
    }

    /// Ends a process as the task manager does (TerminateProcess).
    fn terminate(&self, mut caller: Running, pid: u64) {
        let mut taskkill = self.command("taskkill");
        let ended = end(taskkill.args(["/f", "/pid", &pid.to_string()]).spawn().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        caller.0.wait().unwrap();
    }

    /// What the program prints with `--json`. It must succeed.
    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.mpr_otel(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()
    }

    /// Waits until there is no ledger of any host.
    fn until_no_ledgers(&self) {
        self.until(|| self.ledgers().is_empty());
    }

    fn until(&self, settled: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !settled() {
            assert!(Instant::now() < deadline, "{:?}", self.ledgers());
            std::thread::yield_now();
        }
    }

    /// A file of Windows, by its path on drive C.
    fn file(&self, path: &str) -> PathBuf {
        self.prefix.join("drive_c").join(path)
    }

    fn ledgers(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.file("ProgramData/mpr-otel/ledger"));
        let files = files.into_iter().flatten().map(|file| file.unwrap());
        files
            .filter(|file| is_ledger_name(file.file_name().to_str().unwrap()))
            .map(|file| file.path())
            .collect()
    }

    /// The sum of all ledgers' counters.
    fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for file in self.ledgers() {
            sum += ledger::read_tally(&file).unwrap();
        }
        sum
    }

    /// Wine's `reg`.
    fn reg(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command("reg");
        end(command.args(arguments).spawn().unwrap())
    }

    /// The product's files in Windows' folders, and its keys in the registry.
    fn traces(&self) -> Vec<String> {
        let mut traces = Vec::new();
        // Wine gives services another ProgramData: users/Public.
        for folder in
            ["windows/system32", "windows/syswow64", "ProgramData", "Program Files", "users/Public"]
        {
            for file in fs::read_dir(self.file(folder)).into_iter().flatten() {
                let name = file.unwrap().file_name().into_string().unwrap();
                let ours = name.starts_with("mpr_otel.dll") || name == "mpr-otel";
                traces.extend(ours.then(|| format!("{folder}/{name}")));
            }
        }
        for key in [NOTIFYEES, SETTINGS, SERVICE, EVENT_SOURCE] {
            let found = self.reg(&["query", key]);
            traces.extend((found.code == Some(0)).then_some(found.output));
        }
        traces
    }
}

/// A program that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Closes a program's input and waits for its end.
fn end(mut child: Child) -> Ended {
    drop(child.stdin.take());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the program hung: {:?}", Ended::from(child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap().into()
}

/// The warnings of `install` must all be about things that Wine's services lack; Windows' have
/// them.
fn expect_warnings_of_wine(installed: &Value) {
    for warning in installed["warnings"].as_array().unwrap() {
        assert!(warning.as_str().unwrap().ends_with("(os error 124)"), "{warning}");
    }
}

fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.to_str().unwrap().replace('/', r"\"))
}

/// All attributes of a span, except those that differ from run to run.
fn attributes(span: &Received) -> BTreeMap<String, String> {
    let mut attributes: BTreeMap<String, String> = span
        .span
        .attributes
        .iter()
        .map(|attribute| (attribute.key.clone(), show(attribute.value.as_ref().unwrap())))
        .collect();
    for varying in ["process.pid", "thread.id", "mpr.session.id"] {
        let value = attributes.remove(varying).expect(varying);
        assert!(value.parse::<u32>().is_ok(), "{varying} = {value}");
    }
    assert_eq!(attributes.remove("process.executable.name").as_deref(), Some("caller.exe"));
    // Wine's only user is an administrator, and the one token of a logon is elevated.
    assert_eq!(attributes.remove("mpr.elevation").as_deref(), Some("full"));
    attributes
}

fn expect_attributes(span: &Received, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(attributes(span), expected, "a new attribute goes into this list");
}

/// What the spans of all operations have in common.
fn is_a_clients_call_of_this_machine(span: &Received) {
    assert_eq!(span.span.kind, SpanKind::Client as i32);
    assert_eq!(span.scope, "mpr-otel");
    let resource = |key: &str| span.resource(key).unwrap_or_else(|| panic!("{key}"));
    assert_eq!(resource("service.name"), "mpr-otel");
    assert_eq!(resource("os.type"), "windows");
    assert!(!resource("host.name").is_empty());
    let failed = span.get("mpr.outcome").as_deref() == Some("failure");
    let status = span.span.status.clone().unwrap_or_default();
    let expected = if failed { StatusCode::Error } else { StatusCode::Unset };
    assert_eq!(status.code, expected as i32, "{span:?}");
    assert_eq!(status.message.is_empty(), !failed, "{span:?}");
    let by_name = format!("mpr.{}_connection", span.get("mpr.operation.name").unwrap());
    assert_eq!(span.span.name, by_name);
}

#[test]
fn each_function_of_wnet_becomes_a_span_with_all_its_facts() {
    let windows = Windows::new();
    windows.set_up_network(&json!([
        { "name": r"\\FILES01.corp.example\projects\x", "takes_ms": 120, "provider": "Test Network" },
        { "name": r"\\files01\payroll", "takes_ms": 30, "status": 5 },
        { "name": r"\\10.0.0.7\share", "status": 53 },
        { "name": r"\\dav.corp.example@SSL@8443\DavWWWRoot\plans", "status": 1326 },
        { "name": r"\\files01\prompted", "status": 1223 },
        { "name": "X:", "takes_ms": 40, "provider": "Test Network" },
        { "name": "Y:", "status": 2250 },
    ]));
    windows.install(&[]);
    let caller = windows
        .caller(&["add2", "X:", r"\\FILES01.corp.example\projects\x"])
        .args(["flags", "4", "add3", "-", r"\\files01\payroll", "flags", "0"])
        .args(["use", "-", r"\\10.0.0.7\share"])
        .args(["add", "W:", r"\\dav.corp.example@SSL@8443\DavWWWRoot\plans"])
        .args(["type", "2", "add2", "-", r"\\files01\prompted", "type", "1"])
        .args(["add2", "-", r"\\nobody\knows"])
        .args(["force", "1", "cancel2", "X:", "force", "0", "cancel", "Y:", "wait", "exit", "7"])
        .spawn()
        .unwrap();
    let spans = windows.spans(8);
    let ended = end(caller);
    assert!(ended.ended_with(7), "{ended:?}");
    assert_eq!(ended.errors, "");
    let codes = "add2 0\nadd3 5\nuse 53\nadd 1326\nadd2 1223\nadd2 67\ncancel2 0\ncancel 2250\n";
    assert_eq!(ended.output, codes);

    for (span, least) in spans.iter().zip([120, 30, 0, 0, 0, 0, 40, 0]) {
        assert!(span.duration() >= Duration::from_millis(least), "{:?}", span.duration());
        is_a_clients_call_of_this_machine(span);
    }
    let [projects, payroll, share, plans, prompted, unknown, cancelled, not_there] = &spans[..]
    else {
        panic!()
    };
    expect_attributes(
        projects,
        &[
            ("mpr.operation.name", "add"),
            ("mpr.outcome", "success"),
            ("mpr.status.code", "0"),
            ("mpr.local.name", "X:"),
            ("mpr.remote.name", r"\\FILES01.corp.example\projects"),
            ("server.address", "files01.corp.example"),
            ("mpr.share.name", "projects"),
            ("mpr.resource.type", "disk"),
        ],
    );
    expect_attributes(
        payroll,
        &[
            ("mpr.operation.name", "add"),
            ("mpr.outcome", "failure"),
            ("mpr.status.code", "5"),
            ("error.type", "ERROR_ACCESS_DENIED"),
            ("mpr.error.class", "authorization"),
            ("mpr.remote.name", r"\\files01\payroll"),
            ("server.address", "files01"),
            ("mpr.share.name", "payroll"),
            ("mpr.resource.type", "disk"),
            ("mpr.connect.flags", "[TEMPORARY]"),
        ],
    );
    expect_attributes(
        share,
        &[
            ("mpr.operation.name", "add"),
            ("mpr.outcome", "failure"),
            ("mpr.status.code", "53"),
            ("error.type", "ERROR_BAD_NETPATH"),
            ("mpr.error.class", "unreachable"),
            ("mpr.remote.name", r"\\10.0.0.7\share"),
            ("server.address", "10.0.0.7"),
            ("mpr.share.name", "share"),
            ("mpr.resource.type", "disk"),
        ],
    );
    let plans = attributes(plans);
    assert_eq!(plans["error.type"], "ERROR_LOGON_FAILURE");
    assert_eq!(plans["mpr.error.class"], "authentication");
    assert_eq!(plans["server.address"], "dav.corp.example");
    assert_eq!(plans["server.port"], "8443");
    assert_eq!(plans["mpr.local.name"], "W:");
    assert_eq!(plans["network.protocol.name"], "webdav");
    expect_attributes(
        prompted,
        &[
            ("mpr.operation.name", "add"),
            ("mpr.outcome", "cancelled"),
            ("mpr.status.code", "1223"),
            ("mpr.remote.name", r"\\files01\prompted"),
            ("server.address", "files01"),
            ("mpr.share.name", "prompted"),
            ("mpr.resource.type", "print"),
        ],
    );
    assert_eq!(unknown.get("error.type").as_deref(), Some("ERROR_BAD_NET_NAME"));
    assert_eq!(unknown.get("mpr.error.class").as_deref(), Some("not_found"));
    expect_attributes(
        cancelled,
        &[
            ("mpr.operation.name", "cancel"),
            ("mpr.outcome", "success"),
            ("mpr.status.code", "0"),
            ("mpr.local.name", "X:"),
            ("mpr.provider.name", "Test Network"),
            ("mpr.force", "true"),
        ],
    );
    expect_attributes(
        not_there,
        &[
            ("mpr.operation.name", "cancel"),
            ("mpr.outcome", "nothing_to_do"),
            ("mpr.status.code", "2250"),
            ("mpr.local.name", "Y:"),
            ("mpr.force", "false"),
        ],
    );
}

#[test]
fn a_host_that_ends_at_once_or_is_killed_keeps_its_exit_code_and_loses_nothing() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&[]);
    for (verb, code) in [("exit", 7), ("kill", 9)] {
        for _ in 0..5 {
            let code_text = code.to_string();
            let ended = windows.call(&["add2", "-", SHARE, verb, &code_text]);
            assert!(ended.ended_with(code) && ended.output == "add2 0\n", "{ended:?}");
        }
    }
    let tally = windows.tally();
    assert_eq!(tally.seen, 10, "{tally:?}");
    assert_eq!(tally.exported + tally.pending(), 10, "{tally:?}");
}

/// The library starts and exports on a thread that has no token except the process'.
#[test]
fn a_span_says_whether_its_thread_impersonated() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&[]);
    let add = ["add2", "-", SHARE];
    let words = [&["impersonate"][..], &add, &["wait", "exit", "0"]].concat();
    let impersonating = windows.caller(&words).spawn().unwrap();
    let span = windows.spans(1).remove(0);
    assert!(end(impersonating).ended_with(0));
    assert_eq!(span.get("mpr.impersonated").as_deref(), Some("true"));
    let plain = windows.caller(&[&add[..], &["wait", "exit", "0"]].concat()).spawn().unwrap();
    let span = windows.spans(1).remove(0);
    assert!(end(plain).ended_with(0));
    assert_eq!(span.get("mpr.impersonated"), None);
}

#[test]
fn a_host_whose_collector_is_gone_notices_nothing() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    // Nobody listens on port 1.
    windows.install(&["--endpoint", "http://127.0.0.1:1"]);
    let add = ["add2", "-", SHARE];
    let ended = windows.call(&[&add[..], &add, &["exit", "3"]].concat());
    assert!(ended.ended_with(3) && ended.output == "add2 0\nadd2 0\n", "{ended:?}");
    assert_eq!(windows.tally().seen, 2);
}

/// Wine gives every process an administrator's full rights.
#[test]
fn the_environment_of_an_elevated_host_counts_for_nothing_even_where_the_registry_allows_it() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&["--allow-environment", "1", "--resource-attributes", "site=berlin"]);
    let caller = windows
        .caller(&["add2", "-", SHARE, "wait"])
        .env("MPR_OTEL_DISABLED", "true")
        .env("MPR_OTEL_SERVICE_NAME", "host")
        .env("OTEL_SDK_DISABLED", "true")
        .env("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .spawn()
        .unwrap();
    let spans = windows.spans(1);
    assert!(end(caller).ended_with(0));
    assert_eq!(spans[0].resource("service.name").as_deref(), Some("mpr-otel"));
    assert_eq!(spans[0].resource("site").as_deref(), Some("berlin"));
    assert!(spans[0].span.parent_span_id.is_empty());

    // An excluded program is not recorded at all.
    windows.install(&["--exclude-processes", "CALL*.exe"]);
    for ledger in windows.ledgers() {
        fs::remove_file(ledger).unwrap();
    }
    let ended = windows.call(&["add2", "-", SHARE]);
    assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
    assert_eq!(windows.ledgers(), Vec::<PathBuf>::new());
}

#[test]
fn without_an_endpoint_a_host_records_and_sends_nothing() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&["--endpoint", ""]);
    let ended = windows.call(&["add2", "-", SHARE, "exit", "0"]);
    assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
    let tally = windows.tally();
    assert_eq!((tally.seen, tally.pending()), (1, 1), "{tally:?}");
    assert_eq!(verdict(&windows), judged(1, "never", &["no_endpoint"]));
    // When an endpoint is named, it gets the recorded operations.
    windows.install(&[]);
    windows.json(&["drain", "--json"]);
    windows.spans(1);
    windows.until_no_ledgers();
}

#[test]
fn a_text_in_the_registry_is_expanded_with_windows_own_folders_and_no_variable() {
    let windows = Windows::new();
    windows.install(&[]);
    let shown = |text: &str| {
        let value = ["/v", "ServiceName", "/t", "REG_EXPAND_SZ", "/d", text, "/f"];
        assert_eq!(windows.reg(&[&["add", SETTINGS][..], &value].concat()).code, Some(0));
        let mut command = windows.command(windows.programs.join("mpr-otel.exe"));
        command.args(["status", "--json"]).env("ProgramData", r"C:\elsewhere");
        let status = end(command.spawn().unwrap()).json();
        let settings = status["settings"].as_array().unwrap();
        let of = |name: &str| settings.iter().find(|setting| setting["registry"] == name).unwrap();
        assert_eq!(of("LedgerDir")["value"], LEDGERS);
        let name = of("ServiceName");
        (name["value"].as_str().unwrap().to_ascii_lowercase(), name["malformed"].clone())
    };
    let (value, malformed) = shown("%SYSTEMROOT%|%ProgramData%");
    assert_eq!((&*value, malformed), (r"c:\windows|c:\programdata", Value::Null));
    let (value, malformed) = shown("%TEMP%");
    assert_eq!(value, "mpr-otel");
    assert!(malformed.as_str().unwrap().starts_with("%TEMP% is unknown here"), "{malformed}");
}

/// From a 64-bit program. It was not run that 32-bit and emulated programs send the same: Wine
/// without its 32-bit part starts neither.
#[test]
fn the_resource_names_the_windows_version_the_build_and_the_site() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&["--resource-attributes", "mpr.site=named,os.build_id=named"]);
    let write = |key: &str, value: &str, kind: &str, data: &str| {
        let written = windows.reg(&["add", key, "/v", value, "/t", kind, "/d", data, "/f"]);
        assert_eq!(written.code, Some(0), "{written:?}");
    };
    let read = |key: &str, value: &str| {
        let found = windows.reg(&["query", key, "/v", value]);
        assert_eq!(found.code, Some(0), "{found:?}");
        found.output.split_whitespace().last().unwrap().to_owned()
    };
    let sent = || {
        let caller = windows.caller(&["add2", "-", SHARE, "wait"]).spawn().unwrap();
        let span = windows.spans(1).remove(0);
        assert!(end(caller).ended_with(0));
        move |key: &str| span.resource(key)
    };
    let build = read(VERSION, "CurrentBuildNumber");
    let guid = read(r"HKLM\SOFTWARE\Microsoft\Cryptography", "MachineGuid");
    write(VERSION, "CurrentMajorVersionNumber", "REG_DWORD", "10");
    write(VERSION, "CurrentMinorVersionNumber", "REG_DWORD", "0");
    write(VERSION, "UBR", "REG_DWORD", "2314");
    write(NETLOGON, "DynamicSiteName", "REG_SZ", "Branch North ");
    let resource = sent();
    assert_eq!(resource("os.version"), Some(format!("10.0.{build}")));
    assert_eq!(resource("os.build_id"), Some(format!("{build}.2314")));
    assert_eq!(resource("mpr.site").as_deref(), Some("Branch North"));
    assert_eq!(resource("host.arch").as_deref(), Some("amd64"));
    let name = resource("host.name").unwrap();
    let computer = name.split('.').next().unwrap();
    assert_eq!(resource("host.id"), Some(host_id(&guid, computer)));

    for (key, value) in [(VERSION, "UBR"), (NETLOGON, "DynamicSiteName")] {
        let deleted = windows.reg(&["delete", key, "/v", value, "/f"]);
        assert_eq!(deleted.code, Some(0), "{deleted:?}");
    }
    let resource = sent();
    assert_eq!(resource("os.build_id"), Some(format!("{build}.0")));
    // No site is known, so the setting's value counts.
    assert_eq!(resource("mpr.site").as_deref(), Some("named"));
    assert_eq!(resource("host.id"), Some(host_id(&guid, computer)));
}

#[test]
fn install_can_be_repeated_and_uninstall_leaves_no_trace() {
    let windows = Windows::new();
    assert_eq!(windows.traces(), Vec::<String>::new());
    let first = windows.install(&["--log", LOG]);
    let changes = |report: &Value| -> Vec<(u64, String)> {
        let dlls = report["dlls"].as_array().unwrap();
        dlls.iter()
            .map(|dll| (dll["bits"].as_u64().unwrap(), dll["change"].as_str().unwrap().to_owned()))
            .collect()
    };
    assert_eq!(changes(&first), [(64, "created".to_owned()), (32, "created".to_owned())]);
    expect_warnings_of_wine(&first);
    let second = windows.install(&["--log", ""]);
    assert_eq!(changes(&second), [(64, "unchanged".to_owned()), (32, "unchanged".to_owned())]);
    for (installed, shipped) in [
        ("windows/system32/mpr_otel.dll", "mpr_otel.dll"),
        ("windows/syswow64/mpr_otel.dll", "x86/mpr_otel.dll"),
    ] {
        let shipped = fs::read(windows.programs.join(shipped)).unwrap();
        assert!(fs::read(windows.file(installed)).unwrap() == shipped, "{installed}");
    }
    let value = windows.reg(&["query", NOTIFYEES, "/v", "mpr-otel"]).output;
    assert!(value.contains("REG_EXPAND_SZ"), "{value}");
    assert!(value.contains(r"%SystemRoot%\System32\mpr_otel.dll"), "{value}");
    let source = windows.reg(&["query", EVENT_SOURCE]).output;
    for line in [
        r"    EventMessageFile    REG_EXPAND_SZ    %SystemRoot%\System32\EventCreate.exe",
        "    TypesSupported    REG_DWORD    0x7",
    ] {
        assert!(source.lines().any(|one| one.trim_end() == line), "{line} is not in {source}");
    }
    let settings = windows.reg(&["query", SETTINGS]).output;
    assert!(settings.contains("Endpoint"), "{settings}");
    assert!(!settings.contains("Log"), "an empty value removes the setting: {settings}");

    let status = windows.mpr_otel(&["status", "--json"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let status = status.json();
    assert_eq!(status["registration"]["entry"]["well_formed"], true, "{status}");
    let version = format!("{}.0", env!("CARGO_PKG_VERSION"));
    let dlls = status["registration"]["dlls"].as_array().unwrap();
    let seen = |field: &str| -> Vec<&Value> { dlls.iter().map(|dll| &dll[field]).collect() };
    assert_eq!(seen("programs"), ["amd64", "x86"]);
    assert_eq!(seen("architecture"), ["amd64", "x86"]);
    assert_eq!(seen("version"), [&*version, &*version]);
    assert_eq!(seen("installed"), [true, true]);
    assert_eq!(dlls[0]["load"]["result"], "loaded", "{status}");
    assert_eq!(dlls[1]["load"]["result"], "not_tried", "{status}");
    let settings = status["settings"].as_array().unwrap();
    let endpoint = settings.iter().find(|setting| setting["registry"] == "Endpoint").unwrap();
    assert_eq!(endpoint["origin"], "registry");

    let uninstalled = windows.mpr_otel(&["uninstall", "--json"]);
    assert_eq!(uninstalled.code, Some(0), "{uninstalled:?}");
    assert_eq!(uninstalled.json()["at_restart"], json!([]));
    assert_eq!(windows.traces(), Vec::<String>::new());
    let again = windows.mpr_otel(&["uninstall"]);
    assert_eq!((again.code, again.output.as_str()), (Some(0), "Nothing was installed.\n"));
    assert_eq!(windows.mpr_otel(&["status"]).code, Some(1));
}

#[test]
fn install_makes_the_control_page_and_uninstall_stops_running_hosts_through_it() {
    let windows = Windows::new();
    windows.install(&[]);
    let path = windows.file("ProgramData/mpr-otel/ledger/agent/control");
    let bytes = fs::read(&path).unwrap();
    assert_eq!((bytes.len(), &bytes[..8]), (4096, &b"MPRCTRL\0"[..]));
    // The page as a running host maps it, from now to the end.
    let page = ControlPage::open(&path).unwrap().unwrap();
    assert!(!page.stop_is_set() && page.heartbeat_age().is_none());
    let shown = &windows.mpr_otel(&["status", "--json"]).json()["control_page"];
    assert_eq!(shown["stop"], false, "{shown}");

    windows.install(&["--disabled", "true"]);
    assert!(page.stop_is_set(), "without an agent, too");
    windows.install(&["--disabled", ""]);
    assert!(!page.stop_is_set());

    windows.json(&["uninstall", "--json"]);
    assert!(page.stop_is_set());
    assert!(!path.exists());
    assert_eq!(windows.traces(), Vec::<String>::new());
}

/// A text that occurs nowhere else, and the header value that contains it.
const SECRET: &str = "Zwq7Kd0WineSecretPv3";
const HEADER: &str = "authorization=Bearer%20Zwq7Kd0WineSecretPv3";
const VALUE: &str = "Bearer Zwq7Kd0WineSecretPv3";

impl Windows {
    /// Installs with [`HEADER`], which the program reads from its standard input.
    fn install_secret(&self, endpoint: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(self.programs.join("mpr-otel.exe"));
        command.args(["install", "--json", "--batch-delay-ms", "20", "--endpoint", endpoint]);
        let mut child = command.args(["--headers-file", "-"]).args(arguments).spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{HEADER}").unwrap();
        let ended = end(child);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// The same, without an agent that sends at the same time.
    fn install_secret_alone(&self, endpoint: &str, arguments: &[&str]) -> Ended {
        let ended = self.install_secret(endpoint, arguments);
        self.stop_agent();
        ended
    }

    /// The value of `Authorization` in the next request with spans.
    fn authorization(&self) -> Option<String> {
        loop {
            let request = self.receiver.requests().recv_timeout(PATIENCE).expect("a request");
            let authorization = request.header("authorization").map(str::to_owned);
            if !received(request).is_empty() {
                return authorization;
            }
        }
    }

    /// The files of this Windows, and of the tests, that have [`SECRET`] in them, in UTF-8 or UTF-16.
    fn files_with_the_secret(&self) -> Vec<String> {
        let utf_16: String = SECRET.chars().map(|letter| format!(r"{letter}\x00")).collect();
        let mut grep = Command::new("grep");
        let found = grep
            .args(["-rlaP", &format!("{SECRET}|{utf_16}")])
            .args([&self.prefix, self.folder.path()])
            .env("LC_ALL", "C")
            .output()
            .expect("grep");
        // Files appear and disappear meanwhile, so the exit code does not count.
        let files = String::from_utf8(found.stdout).unwrap();
        let names = files.lines().map(|file| file.rsplit('/').next().unwrap().to_owned());
        names.collect()
    }
}

/// A collector that is a service of Windows. It passes everything on to the test's receiver, which
/// is not a service.
struct CollectorService<'windows> {
    windows: &'windows Windows,
    endpoint: String,
}

impl<'windows> CollectorService<'windows> {
    const NAME: &'static str = "mpr-otel-test-collector";

    fn start(windows: &'windows Windows) -> Self {
        let file = windows.folder.path().join("port");
        let relay = windows_path(&windows.programs.join("relay.exe"));
        let target = windows.receiver.address().port();
        let line = format!("{relay} {target} {}", windows_path(&file));
        let mut collector = Self { windows, endpoint: String::new() };
        for words in [&["create", Self::NAME, "binPath=", &line][..], &["start", Self::NAME]] {
            let ended = collector.sc(words);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        let port = || fs::read_to_string(&file).unwrap_or_default();
        windows.until(|| port().ends_with('\n'));
        collector.endpoint = format!("http://127.0.0.1:{}", port().trim_end());
        collector
    }

    fn sc(&self, words: &[&str]) -> Ended {
        let mut sc = self.windows.command("sc");
        end(sc.args(words).spawn().unwrap())
    }
}

impl Drop for CollectorService<'_> {
    fn drop(&mut self) {
        for verb in ["stop", "delete"] {
            self.sc(&[verb, Self::NAME]);
        }
    }
}

/// The command lines of this machine that have [`SECRET`] in them.
fn command_lines_with_the_secret() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let lines = processes.filter_map(|path| fs::read(path.join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(SECRET)).collect()
}

#[test]
fn a_secret_is_in_the_agents_key_and_in_no_other_file_output_or_command_line() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    let collector = CollectorService::start(&windows);
    let install_secret =
        |arguments: &[&str]| windows.install_secret(&collector.endpoint, arguments);
    // Wine gives services another ProgramData than programs, so the folder is named.
    let install = ["--ledger-dir", LEDGERS, "--log", LOG];
    let mut said = vec![install_secret(&install)];
    let map = || {
        let ended = windows.call(&["add2", "-", SHARE]);
        assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
        ended
    };
    said.push(map());
    assert_eq!(windows.authorization().as_deref(), Some(VALUE), "the service has the secret");
    windows.until_no_ledgers();
    assert_eq!(command_lines_with_the_secret(), Vec::<String>::new());

    let status = windows.mpr_otel(&["status", "--json"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let report = status.json();
    let headers = report["settings"].as_array().unwrap().iter();
    let headers = headers.clone().find(|setting| setting["registry"] == "Headers").unwrap();
    assert_eq!(headers["value"], "authorization=***");
    assert_eq!(headers["origin"], "agent's registry key");
    assert_eq!(report["endpoint"]["collector"], "accepts");
    said.extend([status, windows.mpr_otel(&["status"]), windows.mpr_otel(&["drain"])]);

    // Without the service, the agent in the foreground and `drain` have the secret, too.
    windows.stop_agent();
    said.push(map());
    said.push(windows.mpr_otel(&["drain", "--json"]));
    assert_eq!(windows.authorization().as_deref(), Some(VALUE), "drain has it");
    let agent = windows.agent();
    said.push(map());
    assert_eq!(windows.authorization().as_deref(), Some(VALUE), "the agent has it");
    drop(agent);

    // A host that sends by itself has no secret, whatever its environment says.
    let in_process = windows.install(&["--endpoint", &collector.endpoint]);
    let warnings = in_process["warnings"].to_string();
    assert!(!warnings.contains("headers"), "nothing is said of what was not given: {warnings}");
    let in_process = install_secret(&["--in-process"]);
    windows.stop_agent();
    let warnings = in_process.json()["warnings"].to_string();
    assert!(warnings.contains("send without these headers"), "{warnings}");
    // It is not known what a killed agent sent, so the next agent sends it again.
    while windows.receiver.requests().try_recv().is_ok() {}
    said.push(in_process);
    let mut caller = windows.caller(&["add2", "-", SHARE, "wait"]);
    let caller = caller.env("MPR_OTEL_HEADERS", "authorization=users").spawn().unwrap();
    assert_eq!(windows.authorization(), None);
    said.push(end(caller));

    let log = fs::read_to_string(windows.file("ProgramData/mpr-otel/log.txt")).unwrap();
    assert!(log.contains("the agent has started"), "{log}");
    let planted = windows.file("planted.txt");
    let units = SECRET.encode_utf16().flat_map(u16::to_le_bytes);
    fs::write(&planted, units.collect::<Vec<u8>>()).unwrap();
    let found = windows.files_with_the_secret();
    fs::remove_file(&planted).unwrap();
    assert!(found.contains(&"planted.txt".to_owned()), "the search finds nothing: {found:?}");
    // Wine keeps the registry in this file. It writes the file now and then, and first under
    // another name.
    let is_registry = |name: &String| name == "system.reg" || name.starts_with("reg");
    let others = found.iter().filter(|name| !is_registry(name) && *name != "planted.txt");
    assert_eq!(others.count(), 0, "{found:?}");

    let values = windows.reg(&["query", SECRETS]).output;
    assert!(values.contains(SECRET), "{values}");
    said.push(windows.mpr_otel(&["uninstall", "--json"]));
    assert_eq!(windows.traces(), Vec::<String>::new());
    assert_ne!(windows.reg(&["query", SECRETS]).code, Some(0));
    for ended in said {
        assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
    }
}

/// It was not run that Windows keeps users from the key: here Wine does it.
#[test]
fn the_secrets_key_has_its_rights_even_if_a_user_made_one_before() {
    let windows = Windows::new();
    let key = SECRETS.strip_prefix(r"HKLM\").unwrap();
    let settings = SETTINGS.strip_prefix(r"HKLM\").unwrap();
    let look = || {
        let words = ["rights", key, "ordinary", "read-key", settings, "read-key", key];
        let ended = windows.call(&words);
        ended.output
    };
    let added = windows.reg(&["add", SECRETS, "/v", "Other", "/d", "kept", "/f"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let before = look();
    assert!(before.ends_with("ordinary 0\nread-key 0\nread-key 0\n"), "{before}");
    windows.install_secret(&windows.receiver.endpoint(), &[]);
    let agent = "S-1-5-80-139323045-3942798927-2009074384-3749619935-1740272134";
    let after = look();
    assert!(after.ends_with("rights 0\nordinary 0\nread-key 0\nread-key 5\n"), "{after}");
    let (owner, list) = after.lines().next().unwrap().split_once("D:").unwrap();
    assert_eq!(owner, "O:BA");
    // Wine forgets that the list is protected (`P`), and inherits nothing anyway.
    let (_, entries) = list.split_once('(').unwrap();
    let entries: BTreeSet<&str> = entries.trim_end_matches(')').split(")(").collect();
    let reads = format!("A;CI;KR;;;{agent}");
    assert_eq!(entries, BTreeSet::from(["A;CI;KA;;;SY", "A;CI;KA;;;BA", &reads]), "{after}");
    let values = windows.reg(&["query", SECRETS]).output;
    assert!(values.contains("kept") && values.contains(SECRET), "{values}");
    // The secret is written again and then removed.
    windows.install_secret(&windows.receiver.endpoint(), &[]);
    assert!(look().ends_with("read-key 5\n"));
    windows.install(&["--headers-file", ""]);
    let values = windows.reg(&["query", SECRETS]).output;
    assert!(values.contains("kept") && !values.contains("Headers"), "{values}");
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_secret_that_every_user_can_read_is_not_sent_and_status_says_so() {
    let windows = Windows::new();
    const POLICY: &str = r"HKLM\SOFTWARE\Policies\mpr-otel";
    let collector = CollectorService::start(&windows);
    let to_it = ["--endpoint", &collector.endpoint];
    windows.install(&to_it);
    for key in [SETTINGS, POLICY] {
        let value = ["add", key, "/v", "Headers", "/d", HEADER, "/f"];
        assert_eq!(windows.reg(&value).code, Some(0));
        let status = windows.mpr_otel(&["status", "--json"]);
        let request = windows.receiver.requests().recv_timeout(PATIENCE).unwrap();
        assert_eq!(request.header("authorization"), None);
        assert!(!format!("{status:?}").contains(SECRET), "{status:?}");
        assert_eq!(verdict(&windows), judged(0, "arrives", &["secret_exposed"]));
        windows.receiver.requests().recv_timeout(PATIENCE).unwrap();
        if key == SETTINGS {
            // This moves the secret to the agent's key.
            windows.install_secret_alone(&collector.endpoint, &[]);
            assert_eq!(verdict(&windows), judged(0, "arrives", &[]));
            let request = windows.receiver.requests().recv_timeout(PATIENCE).unwrap();
            assert_eq!(request.header("authorization"), Some(VALUE));
            windows.install(&[&to_it[..], &["--headers-file", ""]].concat());
        }
    }
    assert_eq!(windows.reg(&["delete", POLICY, "/f"]).code, Some(0));
    windows.json(&["uninstall", "--json"]);
}

#[test]
fn a_secret_goes_in_clear_text_only_to_a_service_and_status_names_another_listener() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    // The test's receiver is not a service of Windows.
    windows.install_secret_alone(&windows.receiver.endpoint(), &[]);
    let ended = windows.call(&["add2", "-", SHARE]);
    assert!(ended.ended_with(0), "{ended:?}");
    let status = windows.mpr_otel(&["status", "--json"]).json();
    assert_eq!(status["endpoint"]["collector"], "withheld", "{status}");
    let who = status["endpoint"]["detail"].as_str().unwrap();
    let port = windows.receiver.address().port();
    assert!(who.contains(&format!("listens on port {port} and is not a service")), "{who}");
    assert_eq!(verdict(&windows), judged(1, "never", &["no_agent", "secret_withheld"]));
    let drained = windows.mpr_otel(&["drain", "--json"]);
    assert_eq!(drained.code, Some(1), "{drained:?}");
    let drained = drained.json();
    assert_eq!((&drained["exported"], &drained["waiting"]), (&json!(0), &json!(1)), "{drained}");
    assert!(drained["trouble"].as_str().unwrap().contains("is not a service"), "{drained}");
    assert!(windows.receiver.requests().try_recv().is_err(), "it was sent something");

    let collector = CollectorService::start(&windows);
    windows.install(&["--endpoint", &collector.endpoint, "--delivery", "agent"]);
    let status = windows.mpr_otel(&["status", "--json"]).json();
    assert_eq!(status["endpoint"]["collector"], "accepts", "{status}");
    let drained = windows.json(&["drain", "--json"]);
    assert_eq!(drained["exported"], 1, "{drained}");
    assert_eq!(windows.authorization().as_deref(), Some(VALUE));
    // If no process listens, that is reported in another way.
    drop(collector);
    assert_eq!(verdict(&windows), judged(1, "never", &["no_agent", "collector_away"]));
    windows.json(&["uninstall", "--json"]);
}

/// Exit code, arrival and problems that `status --json` gives.
fn verdict(windows: &Windows) -> (Option<i32>, String, Vec<String>) {
    let status = windows.mpr_otel(&["status", "--json"]);
    let verdict = &status.json()["verdict"];
    let problems = verdict["problems"].as_array().unwrap().iter();
    let names = problems.map(|problem| problem["name"].as_str().unwrap().to_owned());
    (status.code, verdict["arrival"].as_str().unwrap().to_owned(), names.collect())
}

/// The value that [`verdict`] should return.
fn judged(code: i32, arrival: &str, problems: &[&str]) -> (Option<i32>, String, Vec<String>) {
    (Some(code), arrival.to_owned(), problems.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn status_says_whether_operations_arrive_and_what_is_wrong() {
    let windows = Windows::new();
    assert!(verdict(&windows).2.contains(&"not_registered".to_owned()));
    windows.install(&[]);
    assert_eq!(verdict(&windows), judged(0, "arrives", &[]));

    windows.install(&["--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(verdict(&windows), judged(3, "waits", &["collector_away"]));
    windows.install(&["--disabled", "true"]);
    assert_eq!(verdict(&windows), judged(1, "never", &["disabled"]));
    windows.install(&["--disabled", "", "--delivery", "agent"]);
    assert_eq!(verdict(&windows), judged(1, "never", &["no_agent"]));
    windows.install(&["--delivery", ""]);

    let [x64, x86] = ["system32", "syswow64"]
        .map(|folder| windows.file(&format!("windows/{folder}/mpr_otel.dll")));
    let shipped = |file: &str| fs::read(windows.programs.join(file)).unwrap();
    fs::remove_file(&x86).unwrap();
    assert_eq!(verdict(&windows), judged(1, "partly", &["dll_missing"]));
    fs::write(&x86, shipped("mpr_otel.dll")).unwrap();
    assert_eq!(verdict(&windows), judged(1, "partly", &["dll_of_wrong_architecture"]));
    fs::write(&x64, shipped("x86/mpr_otel.dll")).unwrap();
    let both = ["dll_of_wrong_architecture", "dll_of_wrong_architecture"];
    assert_eq!(verdict(&windows), judged(1, "never", &both));
    windows.install(&[]);
    assert_eq!(verdict(&windows), judged(0, "arrives", &[]));

    // A DLL that no program can load, because its end is cut off.
    let whole = shipped("mpr_otel.dll");
    fs::write(&x64, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(verdict(&windows), judged(1, "partly", &["dll_not_loaded"]));
    windows.install(&[]);
    windows.json(&["uninstall", "--json"]);
}

#[test]
fn status_follows_the_registered_path_to_its_file_however_it_is_spelt() {
    let windows = Windows::new();
    windows.install(&[]);
    let register = |name: &str, kind: &str, data: &str| {
        let value = ["add", NOTIFYEES, "/v", name, "/t", kind, "/d", data, "/f"];
        assert_eq!(windows.reg(&value).code, Some(0));
    };
    register("mpr-otel", "REG_EXPAND_SZ", r"C:\WINDOWS\system32\..\system32\mpr_otel.dll");
    assert_eq!(verdict(&windows), judged(0, "arrives", &[]));
    register("mpr-otel", "REG_SZ", r"C:\windows\system32\mpr_otel.dll");
    assert_eq!(verdict(&windows), judged(1, "never", &["malformed_registration"]));
    register("mpr-otel", "REG_EXPAND_SZ", "mpr_otel.dll");
    assert!(verdict(&windows).2.contains(&"malformed_registration".to_owned()));

    // The DLL works, but it is not the one that was installed, and nothing leads 32-bit programs
    // there.
    let other = windows.file("other/mpr_otel.dll");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(windows.programs.join("mpr_otel.dll"), &other).unwrap();
    register("mpr-otel", "REG_EXPAND_SZ", r"%SystemDrive%\other\mpr_otel.dll");
    let expected = judged(1, "partly", &["other_dll", "dll_of_wrong_architecture"]);
    assert_eq!(verdict(&windows), expected);

    // Another installer's value, under another name.
    assert_eq!(windows.reg(&["delete", NOTIFYEES, "/v", "mpr-otel", "/f"]).code, Some(0));
    register("drives", "REG_EXPAND_SZ", r"%SystemRoot%\System32\mpr_otel.dll");
    assert_eq!(verdict(&windows), judged(0, "arrives", &[]));
    assert_eq!(windows.reg(&["delete", NOTIFYEES, "/v", "drives", "/f"]).code, Some(0));
    fs::remove_dir_all(other.parent().unwrap()).unwrap();
    windows.json(&["uninstall", "--json"]);
}

#[test]
fn json_has_the_fields_that_the_page_gives_it_on_windows() {
    let windows = Windows::new();
    let protection = [("/v", "EnableSvchostMitigationPolicy"), ("/t", "REG_DWORD"), ("/d", "1")];
    const SVCHOST: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\SCMConfig";
    let words: Vec<&str> = protection.iter().flat_map(|(flag, value)| [*flag, *value]).collect();
    let added = windows.reg(&[&["add", SVCHOST][..], &words, &["/f"]].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    let set = |paths: &[&str]| -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    };

    let installed = windows.install_with_agent(&["--ledger-dir", LEDGERS]);
    let status = || windows.mpr_otel(&["status", "--json"]).json();
    windows.until(|| status()["control_page"]["last_heartbeat_unix_ms"].is_u64());
    let well = status();
    let x64 = windows.file("windows/system32/mpr_otel.dll");
    fs::write(&x64, &fs::read(&x64).unwrap()[..100_000]).unwrap();
    fs::remove_file(windows.file("windows/syswow64/mpr_otel.dll")).unwrap();
    let broken = status();
    let never = json_page::compare("mpr-otel status", &[well.clone(), broken]);
    // A machine of this kind without a fault does not have these: an unreadable list, an Arm64X
    // DLL, a malformed setting, a folder that cannot be listed, spans that were sent, and an
    // exporter that failed.
    let absent = [
        "registration.problem",
        "registration.dlls[].leads_to",
        "settings[].malformed",
        "ledgers.problem",
        "ledgers.last_export_unix_ms",
        "ledgers.agent.last_export_unix_ms",
        "ledgers.agent.blocked_since_unix_ms",
        "ledgers.agent.trouble",
        "ledgers.last_errors[]",
    ];
    assert_eq!(never, set(&absent));
    let protections = well["protections"].as_array().unwrap();
    let svchost = protections.iter().find(|one| one["name"] == "svchost_mitigation").unwrap();
    assert_eq!(svchost["value"], "1");
    assert!(svchost["meaning"].as_str().unwrap().starts_with("on: "), "{svchost}");
    let control = protections.iter().find(|one| one["name"] == "app_control_policy").unwrap();
    assert_eq!(control["value"], Value::Null, "not set: {control}");

    let more = ["--collector-dir", r"C:\ProgramData\otelcol-mpr", "--log", ""];
    let never =
        json_page::compare("mpr-otel install", &[installed, windows.install_with_agent(&more)]);
    // Nothing was in use, belonged to another user, or was switched off.
    let absent = [
        "agent.placement.superseded",
        "agent.problem",
        "disabled_by",
        "dlls[].superseded",
        "put_aside[]",
        "warnings[]",
    ];
    assert!(never.is_subset(&set(&absent)), "{never:?}");
    let uninstalled = windows.json(&["uninstall", "--json"]);
    let never = json_page::compare("mpr-otel uninstall", &[uninstalled]);
    assert!(never.is_subset(&set(&["at_restart[]", "kept[]"])), "{never:?}");
    let deleted = windows.reg(&["delete", SVCHOST, "/v", "EnableSvchostMitigationPolicy", "/f"]);
    assert_eq!(deleted.code, Some(0));
}

#[test]
fn uninstall_leaves_other_peoples_files_and_says_so() {
    let windows = Windows::new();
    windows.install(&[]);
    let ledgers = windows.file("ProgramData/mpr-otel/ledger");
    let notes = ["notes.txt", "notes.ledger", "agent/notes.new"].map(|name| ledgers.join(name));
    for note in &notes {
        fs::write(note, "not ours").unwrap();
    }
    let uninstalled = windows.json(&["uninstall", "--json"]);
    let kept: Vec<&str> = uninstalled["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kept| {
            kept.as_str().unwrap().strip_suffix(", because it holds other files, too").unwrap()
        })
        .collect();
    let agent = format!(r"{LEDGERS}\agent");
    assert_eq!(kept, [&*agent, LEDGERS, r"C:\ProgramData\mpr-otel"]);
    for note in &notes {
        assert_eq!(fs::read_to_string(note).unwrap(), "not ours");
        fs::remove_file(note).unwrap();
    }
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn other_notification_dlls_stay_registered() {
    let windows = Windows::new();
    let other = ["/v", "other", "/t", "REG_EXPAND_SZ", "/d", r"C:\other.dll", "/f"];
    assert_eq!(windows.reg(&[&["add", NOTIFYEES][..], &other].concat()).code, Some(0));
    windows.install(&[]);
    assert_eq!(windows.mpr_otel(&["uninstall"]).code, Some(0));
    let left = windows.reg(&["query", NOTIFYEES]).output;
    assert!(left.contains(r"C:\other.dll") && !left.contains("mpr-otel"), "{left}");
    assert_eq!(windows.reg(&["delete", NOTIFYEES, "/f"]).code, Some(0));
}

#[test]
fn a_wrong_setting_or_a_broken_release_changes_nothing() {
    let windows = Windows::new();
    for (flag, value, complaint) in [
        ("--endpoint", "collector:4318", "--endpoint: not a URL such as http://"),
        ("--timeout-ms", "0", "--timeout-ms: `0` is not a whole number from 1"),
        ("--ledger-dir", r"\\files01\ledger", "--ledger-dir: "),
        ("--ledger-dir", r"C:\windows", r"--ledger-dir: C:\windows holds "),
        ("--log", "log.txt", "--log: `log.txt` is not an absolute path"),
        ("--headers-file", r"C:\no\such.file", r"--headers-file: cannot read C:\no\such.file: "),
        ("--endpoint", "http://127.0.0.1:4318/v1/traces", "--endpoint: /v1/traces is added"),
        ("--ca-certificate", r"C:\no\such.pem", "by group policy (docs/SETTINGS.md), and remove"),
        ("--exclude-processes", r"C:\windows\explorer.exe", "write explorer.exe"),
        ("--in-process", "--delivery=agent", "name one of --in-process and --delivery"),
        ("--collector-dir", r"C:\windows", r"--collector-dir: C:\windows is not empty"),
    ] {
        let refused = windows.mpr_otel(&["install", flag, value]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.errors.contains(complaint), "{refused:?}");
    }
    // The DLL is for the wrong width.
    let broken = windows.folder.path();
    fs::copy(windows.programs.join("mpr-otel.exe"), broken.join("mpr-otel.exe")).unwrap();
    fs::copy(windows.programs.join("x86/mpr_otel.dll"), broken.join("mpr_otel.dll")).unwrap();
    let mut command = windows.command(broken.join("mpr-otel.exe"));
    let refused = end(command.arg("install").spawn().unwrap());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("is not the 64-bit DLL"), "{refused:?}");
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_dll_whose_ledgers_this_program_does_not_read_is_not_installed() {
    let windows = Windows::new();
    let next = windows.next_version();
    let install = || {
        let mut command = windows.command(next.join("mpr-otel.exe"));
        end(command.args(["install", "--in-process"]).spawn().unwrap())
    };
    for file in ["mpr_otel.dll", "x86/mpr_otel.dll"] {
        let good = fs::read(next.join(file)).unwrap();
        let key: Vec<u8> = "LedgerVersion".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let at = good.windows(key.len()).position(|part| part == key).unwrap();
        let digit = at + key.len() + good[at + key.len()..].iter().position(|it| *it != 0).unwrap();
        let mut newer = good.clone();
        newer[digit] += 1;
        fs::write(next.join(file), newer).unwrap();
        let refused = install();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.errors.contains("is from another release than this program"),
            "{refused:?}"
        );
        assert_eq!(windows.traces(), Vec::<String>::new());
        fs::write(next.join(file), good).unwrap();
    }
    assert_eq!(install().code, Some(0));
    windows.json(&["uninstall", "--json"]);
}

#[test]
fn a_release_without_a_dll_for_32_bit_programs_leaves_none_of_an_earlier_one() {
    let windows = Windows::new();
    windows.install(&[]);
    let next = windows.next_version();
    fs::remove_file(next.join("x86/mpr_otel.dll")).unwrap();
    let mut command = windows.command(next.join("mpr-otel.exe"));
    let installed = end(command.args(["install", "--json"]).spawn().unwrap());
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let installed = installed.json();
    let dlls = &installed["dlls"];
    assert_eq!((&dlls[0]["change"], &dlls[1]["change"]), (&json!("replaced"), &json!("removed")));
    let programs = json!([
        { "architecture": "amd64", "have_dll": true },
        { "architecture": "x86", "have_dll": false },
    ]);
    assert_eq!(installed["programs"], programs);
    assert!(!windows.file("windows/syswow64/mpr_otel.dll").exists());
    let mut command = windows.command(next.join("mpr-otel.exe"));
    let said = end(command.arg("install").spawn().unwrap()).output;
    assert!(said.contains("x86 programs: no DLL, so they are not recorded\n"), "{said}");
    assert!(said.contains("amd64 programs that start from now on are recorded"), "{said}");
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn install_reports_what_is_in_effect_and_not_what_it_was_asked_for() {
    let windows = Windows::new();
    const POLICY: &str = r"HKLM\SOFTWARE\Policies\mpr-otel";
    let said = |arguments: &[&str]| {
        let ended = windows.mpr_otel(&[&["install"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let last = ended.output.lines().last().unwrap().to_owned();
        (ended.output, last)
    };
    let policy = |name: &str, data: &str| {
        let value = ["add", POLICY, "/v", name, "/d", data, "/f"];
        assert_eq!(windows.reg(&value).code, Some(0));
    };
    let (_, last) = said(&[]);
    assert!(
        last.contains("are recorded, and nothing is sent: no setting names a collector"),
        "{last}"
    );
    let (text, last) = said(&["--endpoint", &windows.receiver.endpoint(), "--service-name", "x"]);
    assert!(text.contains("\nServiceName = x\n"), "{text}");
    assert!(last.contains("are recorded, and the agent sends to http://127.0.0.1:"), "{last}");
    let (text, last) = said(&["--service-name", "", "--log", LOG, "--disabled", "true"]);
    assert!(text.contains("\nServiceName: removed\n"), "{text}");
    let off = "Installed, and switched off: Disabled is true";
    assert!(last.starts_with(&format!("{off} (registry)")), "{last}");
    said(&["--log", "", "--disabled", ""]);

    policy("Endpoint", "http://127.0.0.1:9");
    let (text, last) = said(&["--endpoint", &windows.receiver.endpoint()]);
    let counts = "  group policy counts instead: http://127.0.0.1:9/v1/traces\n";
    assert!(text.contains(counts), "{text}");
    assert!(last.contains("sends to http://127.0.0.1:9/v1/traces"), "{last}");
    let installed = windows.install_with_agent(&[]);
    let endpoint = installed["settings"].as_array().unwrap().iter();
    let endpoint = endpoint.clone().find(|setting| setting["name"] == "Endpoint").unwrap();
    assert_eq!(endpoint["is_overridden"], true, "{installed}");
    assert_eq!(endpoint["in_effect"], "http://127.0.0.1:9/v1/traces", "{installed}");
    policy("Disabled", "1");
    let (_, last) = said(&[]);
    assert!(last.starts_with(&format!("{off} (group policy)")), "{last}");
    assert_eq!(windows.reg(&["delete", POLICY, "/f"]).code, Some(0));

    // A setting keeps its value until another one is given.
    let delivery = |arguments: &[&str]| windows.install_with_agent(arguments)["delivery"].clone();
    assert_eq!(delivery(&[]), "agent");
    assert_eq!(delivery(&["--in-process"]), "in-process");
    assert_eq!(delivery(&[]), "in-process");
    assert_eq!(delivery(&["--delivery", "agent"]), "agent");
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_place_that_others_could_move_is_refused_and_their_folder_is_moved_away() {
    let windows = Windows::new();
    let open = |folder: &Path| {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    };
    let shared = windows.file("shared");
    open(&shared);
    for (flag, folder) in
        [("--ledger-dir", r"C:\shared\ledger"), ("--collector-dir", r"C:\shared\a\b")]
    {
        let refused = windows.mpr_otel(&["install", flag, folder]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let complaint = format!(r"{flag}: C:\shared: others than administrators");
        assert!(refused.errors.contains(&complaint), "{refused:?}");
        assert_eq!(windows.traces(), Vec::<String>::new());
    }
    fs::remove_dir(&shared).unwrap();

    // These folders are such as a user makes who expects the product to be installed.
    let squatted = windows.file("ProgramData/mpr-otel");
    for folder in ["", "ledger", "ledger/agent"] {
        open(&squatted.join(folder));
    }
    fs::write(squatted.join("ledger/agent/store.redb"), "a user's").unwrap();
    let installed = windows.install(&[]);
    assert_eq!(installed["put_aside"], json!([r"C:\ProgramData\mpr-otel.aside-1"]));
    assert_eq!(
        windows.json(&["status", "--json"])["ledgers"]["ownership"]["others_may_remove"],
        false
    );
    assert!(fs::read(squatted.join("ledger/agent/store.redb")).unwrap() != b"a user's");
    let aside = windows.file("ProgramData/mpr-otel.aside-1");
    assert_eq!(fs::read(aside.join("ledger/agent/store.redb")).unwrap(), b"a user's");
    // The product's own folder is kept, with its contents.
    let note = squatted.join("ledger/4712-0123456789abcdef.ledger");
    fs::write(&note, "").unwrap();
    assert_eq!(windows.install(&[])["put_aside"], json!([]));
    assert!(note.exists());
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
    fs::remove_dir_all(aside).unwrap();
}

#[test]
fn uninstall_removes_the_folders_of_earlier_settings_and_keeps_a_list_that_existed_before() {
    let windows = Windows::new();
    assert_eq!(windows.reg(&["add", NOTIFYEES, "/f"]).code, Some(0));
    let places = [r"C:\first\inner\ledger", r"C:\second\ledger", LEDGERS];
    for place in places {
        windows.install(&["--ledger-dir", place]);
    }
    // A folder that `install` did not make is not removed.
    fs::create_dir(windows.file("third")).unwrap();
    let collector = ["--ledger-dir", r"C:\third\ledger", "--collector-dir", r"C:\queues\mpr"];
    let installed = windows.install(&collector);
    assert_eq!(installed["collector_dir"], r"C:\queues\mpr");
    let warnings = installed["warnings"].to_string();
    assert!(warnings.contains(r"C:\\first\\inner\\ledger still holds"), "{warnings}");
    let uninstalled = windows.json(&["uninstall", "--json"]);
    assert_eq!(uninstalled["kept"], json!([]), "{uninstalled}");
    for gone in ["first", "second", "third/ledger", "queues"] {
        assert!(!windows.file(gone).exists(), "{gone}");
    }
    fs::remove_dir(windows.file("third")).unwrap();
    let list = windows.reg(&["query", NOTIFYEES]);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(!list.output.contains("mpr-otel"), "{list:?}");
    assert_eq!(windows.reg(&["delete", NOTIFYEES, "/f"]).code, Some(0));
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn the_agent_removes_a_replaced_dll_when_no_program_uses_it() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&[]);
    let caller = windows.caller(&["add2", "-", SHARE, "wait", "exit", "5"]).spawn().unwrap();
    windows.spans(1);
    let mut command = windows.command(windows.next_version().join("mpr-otel.exe"));
    let installed = end(command.args(["install", "--json"]).spawn().unwrap());
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let old = windows.file("windows/system32/mpr_otel.dll.1.old");
    // The service has tried to remove the file and could not.
    assert!(old.exists());
    windows.stop_agent();
    assert!(end(caller).ended_with(5));
    let other = old.with_file_name("mpr_otel.dll.x.old");
    fs::write(&other, "not ours").unwrap();
    let agent = windows.agent();
    windows.until(|| !old.exists());
    drop(agent);
    assert!(other.exists());
    fs::remove_file(other).unwrap();
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_dll_in_use_is_replaced_and_removed_under_a_running_host() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&[]);
    let caller = windows.caller(&["add2", "-", SHARE, "wait", "exit", "5"]).spawn();
    windows.spans(1);
    let next = windows.next_version();
    let mut command = windows.command(next.join("mpr-otel.exe"));
    let installed = end(command.args(["install", "--json"]).spawn().unwrap());
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let installed = installed.json();
    let dlls = &installed["dlls"];
    assert_eq!((&dlls[0]["change"], &dlls[1]["change"]), (&json!("replaced"), &json!("replaced")));
    let old = windows.file("windows/system32/mpr_otel.dll.1.old");
    assert_eq!(dlls[0]["superseded"], r"C:\windows\system32\mpr_otel.dll.1.old", "{installed}");
    assert!(old.exists());
    assert!(
        fs::read(windows.file("windows/system32/mpr_otel.dll")).unwrap()
            == fs::read(next.join("mpr_otel.dll")).unwrap()
    );

    let uninstalled = windows.mpr_otel(&["uninstall", "--json"]);
    assert_eq!(uninstalled.code, Some(0), "{uninstalled:?}");
    // No value is left by which a program would find the DLL. Files in use wait for a restart.
    let scheduled = uninstalled.json()["at_restart"].to_string();
    for trace in windows.traces() {
        let name = trace.rsplit('/').next().unwrap();
        assert!(scheduled.contains(name) && name != "mpr_otel.dll", "{trace}: {scheduled}");
    }
    let ended = end(caller.unwrap());
    assert!(ended.ended_with(5) && ended.errors.is_empty(), "{ended:?}");
}

#[test]
fn hosts_that_end_right_after_mapping_lose_nothing_and_leave_nothing_while_the_agent_runs() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&[]);
    let _agent = windows.agent();
    let mut spans = BTreeMap::new();
    for hosts in [10, 20, 30] {
        for _ in 0..10 {
            let ended = windows.call(&["add2", "-", SHARE]);
            assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
        }
        windows.gather(&mut spans, hosts);
        windows.until_no_ledgers();
    }
    for span in spans.values() {
        assert_eq!(span.get("mpr.outcome").as_deref(), Some("success"), "{span:?}");
        assert_eq!(span.get("mpr.remote.name").as_deref(), Some(SHARE));
    }
}

#[test]
fn operations_of_killed_hosts_are_exported_and_open_ones_as_unfinished() {
    let windows = Windows::new();
    windows.set_up_network(&json!([
        share(),
        { "name": HANGS, "takes_ms": 3_600_000 },
    ]));
    for delivery in ["in-process", "agent"] {
        windows.install(&["--delivery", delivery]);
        for (verb, code) in [("exit", 7), ("kill", 9)] {
            let ended = windows.call(&["add2", "-", SHARE, verb, &code.to_string()]);
            assert!(ended.ended_with(code) && ended.output == "add2 0\n", "{ended:?}");
        }
        let (caller, pid) = windows.hanging();
        windows.terminate(caller, pid);
    }
    let _agent = windows.agent();
    let mut spans = BTreeMap::new();
    windows.gather(&mut spans, 6);
    windows.until_no_ledgers();
    let (open, finished): (Vec<_>, Vec<_>) =
        spans.values().partition(|span| span.get("mpr.remote.name").as_deref() == Some(HANGS));
    assert_eq!((open.len(), finished.len()), (2, 4), "{spans:?}");
    for span in open {
        assert_eq!(span.get("mpr.outcome").as_deref(), Some("unfinished"));
        assert_eq!(span.get("error.type").as_deref(), Some("unfinished"));
        assert_eq!(span.get("mpr.recovered").as_deref(), Some("true"));
        assert_eq!(span.get("mpr.status.code"), None);
    }
    let outcomes = finished.iter().map(|span| span.get("mpr.outcome").unwrap());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["success"; 4]);
    // At least the spans of the hosts that leave delivery to the agent.
    let recovered = finished.iter().filter(|span| span.get("mpr.recovered").is_some()).count();
    assert!(recovered >= 2, "{recovered}");
}

#[test]
fn inflight_shows_open_operations_and_drain_sends_those_of_dead_hosts() {
    let windows = Windows::new();
    windows.set_up_network(&json!([{ "name": HANGS, "takes_ms": 3_600_000 }]));
    windows.install(&[]);
    let nothing = windows.json(&["inflight", "--json"]);
    assert_eq!((&nothing["hosts"], &nothing["operations"]), (&json!(0), &json!([])));
    let (caller, pid) = windows.hanging();
    // A live host's ledger is not drained.
    let drained = windows.json(&["drain", "--json"]);
    assert_eq!((&drained["ledgers"], &drained["operations"]), (&json!(0), &json!(0)), "{drained}");
    windows.terminate(caller, pid);
    assert_eq!(windows.json(&["inflight", "--json"])["operations"], json!([]));
    let survey = windows.json(&["drain", "--dry-run", "--json"]);
    assert_eq!((&survey["ledgers"], &survey["operations"]), (&json!(1), &json!(1)), "{survey}");
    let drained = windows.json(&["drain", "--json"]);
    assert_eq!((&drained["ledgers"], &drained["exported"]), (&json!(1), &json!(1)), "{drained}");
    assert_eq!((&drained["lost"], &drained["waiting"]), (&json!(0), &json!(0)), "{drained}");
    assert_eq!(windows.spans(1)[0].get("mpr.recovered").as_deref(), Some("true"));
    assert_eq!(windows.ledgers(), Vec::<PathBuf>::new());
}

#[test]
fn a_host_that_leaves_delivery_to_the_agent_has_no_thread_and_no_socket_of_the_library() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    // A host that has mapped a drive and waits.
    let start = || {
        let mut caller = windows.caller(&["add2", "-", SHARE, "wait"]).spawn().unwrap();
        let mut said = BufReader::new(caller.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "add2 0");
        caller
    };
    let finish = |caller: Child| {
        let ended = end(caller);
        assert!(ended.ended_with(0) && ended.errors.is_empty(), "{ended:?}");
    };

    let caller = start();
    let (threads, sockets) = (threads(&caller), sockets(&caller));
    assert_eq!(OF_SENDERS.map(|dll| has_loaded(&caller, dll)), [false, false]);
    finish(caller);

    // Now there is something to see.
    windows.install(&["--delivery", "in-process"]);
    let caller = start();
    windows.spans(1);
    assert!(self::threads(&caller) > threads, "ours, and those of WinHTTP");
    assert!(self::sockets(&caller) > sockets, "one to the collector");
    assert_eq!(OF_SENDERS.map(|dll| has_loaded(&caller, dll)), [true, true]);
    // Otherwise the span would be sent again.
    windows.until(|| windows.tally().exported == 1);
    finish(caller);

    let installed = windows.install(&["--delivery", "agent"]);
    expect_warnings_of_wine(&installed);
    let _agent = windows.agent();
    windows.until_no_ledgers();
    let caller = start();
    let spans = windows.spans(1);
    // The agent sent it while the host lived.
    assert_eq!(spans[0].get("mpr.recovered"), None);
    assert_eq!(spans[0].get("mpr.outcome").as_deref(), Some("success"));
    assert_eq!(attributes(&spans[0])["mpr.remote.name"], SHARE);
    assert_eq!((self::threads(&caller), self::sockets(&caller)), (threads, sockets));
    assert_eq!(OF_SENDERS.map(|dll| has_loaded(&caller, dll)), [false, false]);
    assert_eq!(windows.ledgers().len(), 1);
    finish(caller);
    windows.until_no_ledgers();
}

/// Whether a program has loaded this DLL of Windows.
fn has_loaded(program: &Child, dll: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{}/maps", program.id())).unwrap();
    maps.to_lowercase().contains(&format!("/{dll}"))
}

/// DLLs of programs that send over the network. The product's DLL does not import them.
const OF_SENDERS: [&str; 2] = ["winhttp.dll", "ws2_32.dll"];

/// A program in a folder that a user can write to, with a DLL in it that has the name of one of
/// Windows' DLLs. For the DLLs that the product's DLL imports this was not run, because Wine
/// ignores DependentLoadFlags.
#[test]
fn a_dll_beside_a_program_does_not_replace_one_of_windows() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    windows.install(&["--delivery", "in-process"]);
    let folder = tempfile::tempdir().unwrap();
    let put = |file: &str, name: &str| {
        fs::copy(windows.programs.join(file), folder.path().join(name)).unwrap();
    };
    put("caller.exe", "caller.exe");
    // Wine has no such DLL of its own.
    put("bcryptprimitives.dll", "bcryptprimitives.dll");
    // The file is a DLL that loads, and it has no function of WinHTTP.
    put("bcryptprimitives.dll", "winhttp.dll");
    let mut caller = windows.command(folder.path().join("caller.exe"));
    let caller = caller.args(["add2", "-", SHARE, "wait"]).spawn().unwrap();
    let spans = windows.spans(1);
    assert_eq!(spans[0].get("mpr.outcome").as_deref(), Some("success"));
    assert!(has_loaded(&caller, "winhttp.dll"));
    assert!(!has_loaded(&caller, &format!("{}/winhttp.dll", folder.path().display())[1..]));
    // Otherwise the span would be sent again.
    windows.until(|| windows.tally().exported == 1);
    let ended = end(caller);
    assert!(ended.ended_with(0) && ended.errors.is_empty(), "{ended:?}");
}

/// Threads of a program.
fn threads(program: &Child) -> usize {
    fs::read_dir(format!("/proc/{}/task", program.id())).unwrap().count()
}

/// Sockets that a program has open, Wine's own among them.
fn sockets(program: &Child) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", program.id())).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn the_agent_is_a_service_that_takes_over_can_be_updated_and_is_removed_without_a_trace() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    // Wine gives services another ProgramData than programs, so the folder is named.
    let made = windows.install_with_agent(&["--ledger-dir", LEDGERS, "--log", LOG]);
    let agent = |report: &Value| {
        let agent = &report["agent"];
        assert_eq!(agent["service"], "mpr-otel-agent", "{report}");
        assert_eq!(agent["problem"], Value::Null, "{report}");
        (agent["change"].clone(), agent["placement"]["change"].clone())
    };
    assert_eq!(agent(&made), (json!("created"), json!("created")));
    expect_warnings_of_wine(&made);
    assert!(windows.service().contains("RUNNING"), "{}", windows.service());
    let entry = windows.reg(&["query", SERVICE]).output;
    for value in [
        r#""C:\Program Files\mpr-otel\mpr-otel.exe" agent --service"#,
        r"NT SERVICE\mpr-otel-agent",
        "mpr-otel agent",
    ] {
        assert!(entry.contains(value), "{value} is not in {entry}");
    }
    assert_eq!(windows.json(&["status", "--json"])["ledgers"]["agent"]["running"], true);
    let version = env!("CARGO_PKG_VERSION");
    let started = format!(
        "The agent of mpr-otel {version} has started. It empties {LEDGERS}, and sends to 127.0.0.1. "
    );
    windows.until(|| windows.event("1").is_some_and(|text| text.starts_with(&started)));

    let ended = windows.call(&["add2", "-", SHARE]);
    assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
    let spans = windows.spans(1);
    assert_eq!(spans[0].get("mpr.outcome").as_deref(), Some("success"));
    assert_eq!(spans[0].get("process.executable.name").as_deref(), Some("caller.exe"));
    windows.until_no_ledgers();

    let again = windows.install_with_agent(&[]);
    assert_eq!(agent(&again), (json!("updated"), json!("unchanged")));
    // The next version replaces the running one.
    let mut next = windows.command(windows.next_version().join("mpr-otel.exe"));
    let installed = end(next.args(["install", "--json"]).spawn().unwrap());
    assert_eq!(installed.code, Some(0), "{installed:?}");
    assert_eq!(agent(&installed.json()), (json!("updated"), json!("replaced")));
    let ended = windows.call(&["add2", "-", SHARE]);
    assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
    windows.spans(1);

    // While the agent runs and has a copy of a damaged ledger, and after a host died while it made
    // its ledger.
    let ledgers = windows.file("ProgramData/mpr-otel/ledger");
    let damaged = ledgers.join("agent/damaged/S-1-5-21-1");
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join("4711-0123456789abcdef.ledger"), "damaged").unwrap();
    fs::write(ledgers.join("4712-0123456789abcdef.ledger"), "").unwrap();
    let uninstalled = windows.json(&["uninstall", "--json"]);
    assert_eq!((&uninstalled["at_restart"], &uninstalled["kept"]), (&json!([]), &json!([])));
    assert_eq!(windows.traces(), Vec::<String>::new());
}

#[test]
fn a_policy_that_comes_later_ends_the_service_because_windows_starts_it_with_that_one() {
    const POLICY: &str = r"HKLM\SOFTWARE\Policies\mpr-otel";
    let windows = Windows::new();
    windows.install_with_agent(&["--ledger-dir", LEDGERS, "--log", LOG]);
    let value = ["add", POLICY, "/v", "Endpoint", "/d", "http://127.0.0.1:9", "/f"];
    assert_eq!(windows.reg(&value).code, Some(0));
    let log = || fs::read_to_string(windows.file("ProgramData/mpr-otel/log.txt")).unwrap();
    windows.until(|| log().contains("the settings have changed"));
    windows.until(|| windows.service().contains("STOPPED"));
    // A code is a failure to the service manager, which starts the service again. Wine's does not.
    let code = windows.service();
    let code = code.lines().find(|line| line.contains("SERVICE_EXIT_CODE")).unwrap_or_default();
    assert!(code.contains(" 5 "), "{code:?}");
    assert_eq!(windows.event("3"), None);

    windows.json(&["install", "--json"]);
    let begun = windows.event("1").unwrap_or_default();
    assert!(begun.contains("sends to 127.0.0.1"), "{begun}");
    assert_eq!(windows.reg(&["delete", POLICY, "/f"]).code, Some(0));
    windows.json(&["uninstall", "--json"]);
}

#[test]
fn a_service_that_cannot_be_the_agent_says_why_and_can_be_repaired() {
    let windows = Windows::new();
    windows.install(&["--ledger-dir", LEDGERS, "--log", LOG]);
    let log = || fs::read_to_string(windows.file("ProgramData/mpr-otel/log.txt")).unwrap();
    let other = windows.agent();
    let refused = windows.mpr_otel(&["install"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = "another agent empties the ledger folder (code 3)";
    assert!(refused.errors.contains(why), "{refused:?}");
    let what = "the agent does not run, so operations of programs that have ended are not sent: ";
    assert!(refused.errors.contains(what), "{refused:?}");
    let refused =
        windows.mpr_otel(&["install", "--delivery", "agent", "--endpoint", "http://127.0.0.1:9"]);
    assert!(refused.errors.contains("the agent does not run, so nothing is sent"), "{refused:?}");
    let last = refused.output.lines().last().unwrap();
    assert!(last.contains("and the agent is to send to http://127.0.0.1:9/v1/traces"), "{last}");
    assert!(log().contains("ERROR the agent ends: another agent empties"), "{}", log());
    assert!(windows.service().contains("STOPPED"), "{}", windows.service());
    let reported = windows.event("3").unwrap_or_default();
    let expected = format!("The agent has ended: another agent empties {LEDGERS}; ");
    assert!(reported.starts_with(&expected), "{reported:?}");
    drop(other);
    assert_eq!(windows.install_with_agent(&[])["agent"]["change"], "updated");
    assert!(windows.service().contains("RUNNING"), "{}", windows.service());
    let twice = windows.mpr_otel(&["agent"]);
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert!(twice.errors.contains("another agent empties"), "{twice:?}");

    windows.stop_agent();
    assert!(log().lines().last().unwrap().ends_with("the agent stops"), "{}", log());
    // After a requested stop, each start and failure is reported again.
    windows.until(|| windows.event("1").is_none());
    assert_eq!(windows.event("3"), None);
    assert!(!log().contains("cannot write to the Application log"), "{}", log());

    // The program that uninstalls is the one that has to be removed.
    let mut installed = windows.command(r"C:\Program Files\mpr-otel\mpr-otel.exe");
    let uninstalled = end(installed.args(["uninstall", "--json"]).spawn().unwrap());
    assert_eq!(uninstalled.code, Some(0), "{uninstalled:?}");
    let uninstalled = uninstalled.json();
    assert_eq!(uninstalled["kept"], json!([]));
    let at_restart =
        [r"C:\Program Files\mpr-otel\mpr-otel.exe.1.old", r"C:\Program Files\mpr-otel"];
    assert_eq!(uninstalled["at_restart"], json!(at_restart));
    assert_eq!(windows.traces(), ["Program Files/mpr-otel"]);
    windows.json(&["uninstall", "--json"]);
    assert_eq!(windows.traces(), Vec::<String>::new());

    // A process does not become a service because a person types the flag.
    let typed = windows.mpr_otel(&["agent", "--service"]);
    assert_eq!(typed.code, Some(1), "{typed:?}");
    assert!(typed.errors.contains("is not a service"), "{typed:?}");
    assert!(typed.errors.contains("mpr-otel install"), "{typed:?}");
}

/// On Windows the environment counts for an ordinary user; that the demo then works was not run.
#[test]
fn the_demo_says_what_to_do_if_its_programs_environment_does_not_count() {
    let windows = Windows::new();
    let mut lab = windows.command(windows.programs.join("mpr-otel-lab.exe"));
    let demo = end(lab.args(["demo", "--json"]).spawn().unwrap());
    assert_eq!(demo.code, Some(1), "{demo:?}");
    let said = demo.output + &demo.errors;
    assert!(said.contains("set AllowEnvironment to 1") && said.contains("ordinary user"), "{said}");
}

/// The DLL that writes down every call of itself, registered by hand as docs/WINDOWS.md says.
struct Recorder<'windows> {
    windows: &'windows Windows,
}

impl<'windows> Recorder<'windows> {
    const DLL: &'static str = "mpr_otel_recorder.dll";
    const VALUE: &'static str = "mpr-otel-recorder";

    fn register(windows: &'windows Windows) -> Self {
        let recorder = Self { windows };
        fs::copy(windows.programs.join(Self::DLL), recorder.dll()).unwrap();
        fs::create_dir_all(recorder.folder()).unwrap();
        let data = format!(r"%SystemRoot%\System32\{}", Self::DLL);
        let value = ["/v", Self::VALUE, "/t", "REG_EXPAND_SZ", "/d", &data, "/f"];
        assert_eq!(windows.reg(&[&["add", NOTIFYEES][..], &value].concat()).code, Some(0));
        recorder
    }

    fn dll(&self) -> PathBuf {
        self.windows.file("windows/system32").join(Self::DLL)
    }

    fn folder(&self) -> PathBuf {
        self.windows.file("mpr-otel-recorder")
    }

    /// The lines that were written so far. Every line is complete.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder().join("calls.jsonl")).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        let removed = [fs::remove_dir_all(self.folder()), fs::remove_file(self.dll())];
        let value = self.windows.reg(&["delete", NOTIFYEES, "/v", Self::VALUE, "/f"]);
        let key = self.windows.reg(&["query", NOTIFYEES]).output;
        if !key.contains("REG_") {
            self.windows.reg(&["delete", NOTIFYEES, "/f"]);
        }
        // If a test failed, its own reason is printed first.
        if !std::thread::panicking() {
            assert!(removed.iter().all(Result::is_ok) && value.code == Some(0), "{removed:?}");
        }
    }
}

/// The address that the provider passes in undefined fields. Nothing can be read there.
const WILD: u64 = 0x11;

/// Whether a string was recorded as unreadable.
fn is_wild(text: &Value) -> bool {
    text["address"] == WILD && text["unreadable"].is_u64() && text["text"].is_null()
}

#[test]
fn the_recorder_writes_down_each_call_as_it_came_beside_mpr_otel() {
    let windows = Windows::new();
    windows.set_up_network(&json!([
        { "name": SHARE, "provider": "Test Network" },
        { "name": r"\\files01\payroll", "status": 5 },
        { "name": "X:", "provider": "Test Network" },
    ]));
    windows.install(&[]);
    let recorder = Recorder::register(&windows);
    let caller = windows
        .caller(&["flags", "4", "add2", "X:", SHARE, "flags", "0"])
        .args(["add2", "-", r"\\files01\payroll", "force", "1", "cancel2", "X:", "wait"])
        .spawn()
        .unwrap();
    // Both DLLs are notified of everything.
    assert_eq!(windows.spans(3).len(), 3);
    let ended = end(caller);
    assert!(ended.ended_with(0) && ended.errors.is_empty(), "{ended:?}");
    assert_eq!(ended.output, "add2 0\nadd2 5\ncancel2 0\n");

    let lines = recorder.lines();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let (add, cancel) = ("AddConnectNotify", "CancelConnectNotify");
    assert_eq!(events, ["Loaded", add, add, add, add, cancel, cancel]);
    let [_, added_pre, added, refused_pre, refused, cancelled_pre, cancelled] = &lines[..] else {
        panic!()
    };
    for (number, pre, post, status) in
        [(1, added_pre, added, 0), (2, refused_pre, refused, 5), (3, cancelled_pre, cancelled, 0)]
    {
        let info = |line: &Value| {
            ["dwNotifyStatus", "dwOperationStatus", "lpContext", "lpContext_left"]
                .map(|field| line["NOTIFYINFO"][field].as_u64().unwrap())
        };
        assert_eq!(info(pre), [1, 0, 0, number]);
        assert_eq!(info(post), [2, status, number, number]);
    }

    let resource = &added_pre["NOTIFYADD"]["NetResource"];
    assert_eq!(added_pre["NOTIFYADD"]["dwAddFlags"], 4);
    assert_eq!(added_pre["NOTIFYADD"]["hwndOwner"], 0);
    assert_eq!(resource["dwType"], 1);
    // The provider's values in fields that the contract leaves undefined.
    for field in ["dwScope", "dwDisplayType", "dwUsage"] {
        assert_eq!(resource[field], 0xDEAD_BEEF_u32, "{field}");
    }
    assert_eq!(resource["lpLocalName"]["text"], "X:");
    assert_eq!(resource["lpRemoteName"]["text"], SHARE);
    assert!(is_wild(&resource["lpComment"]) && is_wild(&resource["lpProvider"]), "{resource}");
    let provider = |line: &Value| line["NOTIFYADD"]["NetResource"]["lpProvider"].clone();
    assert!(is_wild(&provider(added)) && is_wild(&provider(refused)), "{added} {refused}");
    let nothing = json!({ "address": 0 });
    assert_eq!(refused["NOTIFYADD"]["NetResource"]["lpLocalName"], nothing);
    let cancel = &cancelled_pre["NOTIFYCANCEL"];
    assert_eq!(cancel["lpName"]["text"], "X:");
    assert_eq!((&cancel["dwFlags"], &cancel["fForce"]), (&json!(0), &json!(1)));
    assert!(is_wild(&cancel["lpProvider"]), "{cancel}");
    assert_eq!(cancelled["NOTIFYCANCEL"]["lpProvider"]["text"], "Test Network");

    each_line_says_when_and_from_where_the_call_came(&lines);
}

fn each_line_says_when_and_from_where_the_call_came(lines: &[Value]) {
    let mut before = 0;
    for line in lines {
        let counter = line["time"]["counter_ns"].as_u64().unwrap();
        assert!(counter >= before, "{line}");
        before = counter;
        assert_eq!(line["process"]["id"], lines[0]["process"]["id"]);
        assert!(line["process"]["image"].as_str().unwrap().ends_with(r"\caller.exe"), "{line}");
        assert_eq!(line["process"]["architecture"], "x86_64");
        let token = &line["process"]["token"];
        assert!(token["user"].as_str().unwrap().starts_with("S-1-5-"), "{line}");
        assert!(token["session"].is_u64() && token["logon"].is_string(), "{line}");
        assert_eq!(line["thread"]["token"], Value::Null);
    }
    for line in &lines[1..] {
        assert_eq!(line["new_thread"]["ended"], true, "{line}");
        let stack = line["stack"].to_string();
        for module in [Recorder::DLL, "mpr_otel_wine_provider.dll"] {
            assert!(stack.contains(&format!("{module}+0x")), "{module}: {line}");
        }
    }
}

#[test]
fn the_recorder_recognises_an_impersonating_thread_and_a_held_loader_lock() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    let recorder = Recorder::register(&windows);
    let add = ["add2", "-", SHARE];
    let ended = windows.call(&[&add[..], &["impersonate"], &add, &["lock"], &add].concat());
    assert_eq!(ended.output, "add2 0\nimpersonate 0\nadd2 0\nlock 0\nadd2 0\n", "{ended:?}");
    let lines = recorder.lines();
    let told = lines.iter().skip(1).map(|line| {
        let impersonation = line["thread"]["token"]["impersonation"].as_str();
        (impersonation, line["new_thread"]["ended"].as_bool().unwrap())
    });
    // PRE and POST of each operation.
    let impersonates = Some("impersonation");
    let expected = [(None, true), (impersonates, true), (impersonates, false)];
    assert_eq!(told.collect::<Vec<_>>(), expected.map(|each| [each; 2]).concat());
}

#[test]
fn lines_of_many_processes_do_not_mix_and_without_a_folder_there_are_none() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    let recorder = Recorder::register(&windows);
    let add = ["add2", "-", SHARE];
    let callers: Vec<Child> =
        (0..6).map(|_| windows.caller(&add.repeat(5)).spawn().unwrap()).collect();
    for caller in callers {
        let ended = end(caller);
        assert!(ended.ended_with(0) && ended.output == "add2 0\n".repeat(5), "{ended:?}");
    }
    // Each process writes one line when the DLL is loaded, and two for each operation.
    assert_eq!(recorder.lines().len(), 6 * (1 + 2 * 5));

    fs::remove_dir_all(recorder.folder()).unwrap();
    assert_eq!(windows.call(&add).output, "add2 0\n");
    assert!(!recorder.folder().exists());
    fs::create_dir(recorder.folder()).unwrap();
}

/// The shares that the probe maps.
const IPC: &str = r"\\localhost\IPC$";
const MISSING: &str = r"\\localhost\mpr-otel-no-such-share";
const ADDS: [&str; 3] = ["WNetAddConnection2W", "WNetAddConnection3W", "WNetUseConnectionW"];
const CANCELS: [&str; 2] = ["WNetCancelConnectionW", "WNetCancelConnection2W"];

impl Windows {
    /// Runs the probe, with only these ways if there are any, and expects this exit code.
    fn probe(&self, only: &[&str], code: i32) -> Vec<Value> {
        let mut arguments = vec!["probe", "--json"];
        arguments.extend(only.iter().flat_map(|way| ["--only", *way]));
        let ended = self.mpr_otel(&arguments);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let report = ended.json();
        assert_eq!((&report["target"], &report["missing"]), (&json!(IPC), &json!(MISSING)));
        assert_eq!(report["exit_code"], code, "{report}");
        json_page::compare("mpr-otel probe", std::slice::from_ref(&report));
        report["ways"].as_array().unwrap().clone()
    }
}

/// The way, operation and verdict of each row.
fn verdicts(rows: &[Value]) -> Vec<(&str, &str, &str)> {
    let text = |row: &'_ Value, key: &str| row[key].as_str().unwrap().to_owned().leak() as &str;
    rows.iter().map(|row| (text(row, "way"), text(row, "operation"), text(row, "result"))).collect()
}

#[test]
fn the_probe_finds_every_way_of_a_sound_machine_notified_and_delivered() {
    let windows = Windows::new();
    windows.set_up_network(&probed());
    windows.install(&[]);
    let rows = windows.probe(&[], 0);
    // Ways that Wine does not have.
    let mut expected: Vec<(&str, &str, &str)> =
        ["net use", "New-SmbMapping", "WScript.Network"].map(|way| (way, "map", "absent")).into();
    for way in ADDS {
        expected.extend([(way, "map", "notified"), (way, "map_missing", "notified")]);
    }
    expected.insert(7, ("WNetAddConnection4W", "map", "absent"));
    expected.extend(CANCELS.map(|way| (way, "cancel", "notified")));
    assert_eq!(verdicts(&rows), expected);
    for row in rows.iter().filter(|row| row["result"] == "notified") {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        let (least, status) = if row["operation"] == "map_missing" { (0.0, 67) } else { (30.0, 0) };
        assert_eq!((&row["call_status"], &row["post_status"]), (&json!(status), &json!(status)));
        assert!(number("call_ms") >= least && number("span_ms") >= least, "{row}");
        assert_eq!(
            (&row["status_agrees"], &row["delivered"]),
            (&json!(true), &json!(true)),
            "{row}"
        );
        assert!(number("delivered_after_ms") <= 10_000.0, "{row}");
        assert_eq!(
            (&row["architecture"], &row["detail"]),
            (&json!("amd64"), &Value::Null),
            "{row}"
        );
    }
    // Each mapping that succeeded was cancelled: five of each, and three of the missing share.
    let mut operations = BTreeMap::new();
    for span in windows.spans(13) {
        let outcome = span.get("mpr.outcome").unwrap();
        *operations.entry((span.get("mpr.operation.name").unwrap(), outcome)).or_insert(0) += 1;
    }
    let operations: Vec<_> =
        operations.iter().map(|((name, end), n)| (&name[..], &end[..], *n)).collect();
    let expected = [("add", "failure", 3), ("add", "success", 5), ("cancel", "success", 5)];
    assert_eq!(operations, expected);
}

#[test]
fn the_probe_shows_the_way_that_mpr_does_not_notify_and_the_status_that_post_did_not_have() {
    let windows = Windows::new();
    windows.set_up_network(&json!([
        { "name": IPC, "not_notified": "WNetUseConnectionW" },
        { "name": MISSING, "status": 67, "returns": 1222 },
    ]));
    windows.install(&[]);
    let rows = windows.probe(&["WNetAddConnection2W", "WNetUseConnectionW"], 1);
    let notified = [
        ("WNetAddConnection2W", "map", "notified"),
        ("WNetAddConnection2W", "map_missing", "notified"),
        ("WNetUseConnectionW", "map", "not_notified"),
        ("WNetUseConnectionW", "map_missing", "notified"),
    ];
    assert_eq!(verdicts(&rows), notified);
    assert_eq!(rows[2]["detail"], "MPR did not load the DLL");
    for row in [&rows[1], &rows[3]] {
        assert_eq!((&row["call_status"], &row["post_status"]), (&json!(1222), &json!(67)), "{row}");
        assert_eq!(
            (&row["status_agrees"], &row["delivered"]),
            (&json!(false), &json!(true)),
            "{row}"
        );
    }
}

#[test]
fn the_probe_says_why_a_program_does_not_have_the_dll() {
    let windows = Windows::new();
    windows.set_up_network(&json!([{ "name": IPC }]));
    let expect = |result: &str, detail: &str| {
        for row in windows.probe(&["WNetAddConnection2W", "WNetCancelConnectionW"], 1) {
            assert_eq!(row["result"], result, "{row}");
            assert!(row["detail"].as_str().unwrap().contains(detail), "{row}");
        }
    };
    expect("not_registered", "mpr-otel install");
    windows.install(&["--exclude-processes", "mpr-*.exe"]);
    expect("excluded", "ExcludeProcesses");
    windows.install(&["--exclude-processes", "", "--disabled", "true"]);
    expect("disabled", "Disabled");
    windows.install(&["--disabled", ""]);
    let dll = windows.file("windows/system32/mpr_otel.dll");
    fs::remove_file(&dll).unwrap();
    expect("not_found", "error 126");
    fs::copy(windows.programs.join("x86/mpr_otel.dll"), &dll).unwrap();
    expect("wrong_architecture", "error 193");
    // The header is right, so only loading shows the fault.
    let whole = fs::read(windows.programs.join("mpr_otel.dll")).unwrap();
    fs::write(&dll, &whole[..8192]).unwrap();
    expect("wrong_architecture", "or damaged (error 193)");
}

#[test]
fn the_probe_says_why_a_record_is_not_delivered() {
    let windows = Windows::new();
    windows.set_up_network(&json!([{ "name": IPC }]));
    let expect = |detail: &str| {
        let rows = windows.probe(&["WNetCancelConnectionW"], 1);
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((&row["result"], &row["delivered"]), (&json!("notified"), &json!(false)));
        assert_eq!(row["delivered_after_ms"], Value::Null);
        assert!(row["detail"].as_str().unwrap().contains(detail), "{row}");
    };
    // Nobody listens on port 1.
    windows.install(&["--endpoint", "http://127.0.0.1:1"]);
    expect("the collector did not take it");
    windows.install(&["--delivery", "agent"]);
    expect("no agent runs");
    let _agent = windows.agent();
    assert_eq!(windows.probe(&["WNetCancelConnectionW"], 0)[0]["delivered"], true);
}

#[test]
fn a_mapping_of_a_killed_program_is_cancelled_by_the_probe() {
    let windows = Windows::new();
    // The program dies after it has made its ledger, because earlier operations are lost with it.
    let network = json!([{ "name": IPC, "takes_ms": 2000, "kills": "probe-caller" }]);
    windows.set_up_network(&network);
    windows.install(&[]);
    let rows = windows.probe(&["WNetAddConnection2W"], 2);
    assert_eq!(verdicts(&rows), [("WNetAddConnection2W", "map", "unknown")]);
    assert_eq!(rows[0]["detail"], "its program has ended");
    let mut spans = BTreeMap::new();
    let _agent = windows.agent();
    windows.gather(&mut spans, 2);
    let names = spans.values().map(|span| span.get("mpr.operation.name").unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["add", "cancel"], "one is the killed program's");
}

#[test]
fn net_is_held_at_its_end_until_its_ledger_has_been_read() {
    let windows = Windows::new();
    windows.set_up_network(&probed());
    windows.install(&[]);
    // The agent sends what an ended program left.
    let _agent = windows.agent();
    // Wine's own `net` does not map. Wine runs it nevertheless, unless a setting says otherwise.
    let net = windows.file("windows/system32/net.exe");
    let wines = fs::read(&net).unwrap();
    fs::copy(windows.programs.join("caller.exe"), &net).unwrap();
    let mut command = windows.command(windows.programs.join("mpr-otel.exe"));
    command.args(["probe", "--json", "--only", "net use", "--only", "WNetAddConnection2W"]);
    command.env("WINEDLLOVERRIDES", "mscoree,mshtml=;net.exe=n");
    let ended = end(command.spawn().unwrap());
    fs::write(&net, wines).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.json();
    let rows = report["ways"].as_array().unwrap();
    for (row, (operation, status)) in
        rows.iter().zip([("map", 0), ("cancel", 0), ("map_missing", 67)])
    {
        assert_eq!((&row["way"], &row["operation"]), (&json!("net use"), &json!(operation)));
        assert_eq!(
            (&row["result"], &row["delivered"]),
            (&json!("notified"), &json!(true)),
            "{row}"
        );
        assert_eq!((&row["call_status"], &row["post_status"]), (&json!(status), &json!(status)));
        assert_eq!(row["call_ms"], Value::Null, "it does not say");
    }
    assert_eq!(rows.len(), 5, "{report}");
}

/// An authority that this Windows trusts from the beginning, and its certificates, as files in PEM.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// In PKCS #12.
    const PASSWORD: &'static str = "of the tests";
    /// The name of the machine, which its certificate has as its subject.
    const MACHINE: &'static str = "agent01.corp.example";

    /// The keys are RSA keys, because Wine takes no others.
    fn new() -> Self {
        let certificates = Self { folder: tempfile::tempdir().unwrap() };
        let authority = ["-subj", "/CN=mpr-otel's authority for its tests"];
        certificates.make("ca", &authority);
        let of_authority = |name: &str, subject: &str, usage: &str| {
            let (subject, usage) = (format!("/CN={subject}"), format!("extendedKeyUsage={usage}"));
            let names = format!("subjectAltName=DNS:{name}");
            let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", &subject];
            let says =
                ["-addext", &usage, "-addext", &names, "-addext", "basicConstraints=CA:FALSE"];
            certificates.make(name, &[by, says].concat());
        };
        of_authority("localhost", "localhost", "serverAuth");
        of_authority("elsewhere", "elsewhere", "serverAuth");
        of_authority("machine", Self::MACHINE, "clientAuth");
        certificates.openssl(&["x509", "-in", "ca.pem", "-outform", "der", "-out", "ca.der"]);
        certificates.pack("machine");
        // A certificate of the same machine, from an authority that no collector knows, and valid
        // for less time.
        let older = format!("/CN={}", Self::MACHINE);
        certificates.make("older", &["-subj", &older, "-days", "1"]);
        certificates.pack("older");
        certificates
    }

    fn pack(&self, name: &str) {
        let [certificate, key, packed] = ["pem", "key", "pfx"].map(|kind| format!("{name}.{kind}"));
        let password = format!("pass:{}", Self::PASSWORD);
        let pair = ["pkcs12", "-export", "-in", &certificate, "-inkey", &key];
        self.openssl(&[&pair[..], &["-passout", &password, "-out", &packed]].concat());
    }

    fn make(&self, name: &str, says: &[&str]) {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "2"];
        self.openssl(&[&new, says, &["-out", &certificate, "-keyout", &key]].concat());
    }

    fn openssl(&self, words: &[&str]) -> String {
        let mut openssl = Command::new("openssl");
        let ended = openssl.args(words).current_dir(self.folder.path()).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The thumbprint of the machine's certificate.
    fn thumbprint(&self) -> String {
        let said = self.openssl(&["x509", "-in", "machine.pem", "-noout", "-fingerprint", "-sha1"]);
        said.trim_end().split_once('=').unwrap().1.to_owned()
    }

    /// A collector with the certificate for this name. If it is `strict`, it wants a client
    /// certificate.
    fn collector(&self, name: &str, strict: bool) -> Receiver {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let read = |name: &str| CertificateDer::from_pem_file(self.file(name)).unwrap();
        let config = if strict {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(read("ca.pem")).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        } else {
            config.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key"))).unwrap();
        let chain = vec![read(&format!("{name}.pem"))];
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        Receiver::behaving(Tls(config)).unwrap()
    }
}

/// A collector behind TLS.
struct Tls(Arc<rustls::ServerConfig>);

impl Behaviour for Tls {
    fn accept(&self, connection: TcpStream) -> io::Result<Box<dyn Stream>> {
        let session =
            rustls::ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        Ok(Box::new(rustls::StreamOwned::new(session, connection)))
    }

    fn answer(&self, _request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        Some(Answer::ok())
    }
}

impl Windows {
    /// Puts a certificate into a store of this machine.
    fn store(&self, words: &[&str]) {
        let mut store = self.command(self.programs.join("store.exe"));
        let ended = end(store.args(words).spawn().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    /// What `status` reports about the collector.
    fn collector(&self) -> (String, String) {
        let endpoint = &self.mpr_otel(&["status", "--json"]).json()["endpoint"];
        let said = |field: &str| endpoint[field].as_str().unwrap().to_owned();
        (said("collector"), said("detail"))
    }
}

/// Wine's WinHTTP knows no addresses in certificates, so the collector is called `localhost`.
#[test]
fn over_tls_the_machines_authorities_and_its_own_certificate_count() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    let certificates = Certificates::new();
    let at = |collector: &Receiver| format!("https://localhost:{}", collector.address().port());
    let plain = certificates.collector("localhost", false);
    let map = || {
        let ended = windows.call(&["add2", "-", SHARE, "wait"]);
        assert!(ended.ended_with(0) && ended.output == "add2 0\n", "{ended:?}");
    };
    let is_sent_to = |collector: &Receiver| {
        let has_spans = |request| !received(request).is_empty();
        while !has_spans(collector.requests().recv_timeout(PATIENCE).expect("a request")) {}
    };

    // An authority that the machine does not know.
    windows.install(&["--endpoint", &at(&plain)]);
    let (collector, detail) = windows.collector();
    assert_eq!(collector, "away", "{detail}");
    assert!(detail.contains("Trusted Root Certification Authorities"), "{detail}");
    assert!(plain.requests().try_recv().is_err(), "it was sent something");

    // The same collector, after the machine trusts its authority: for a program, and for the
    // service.
    windows.store(&["root", &windows_path(&certificates.file("ca.der"))]);
    assert_eq!(windows.collector().0, "accepts");
    map();
    windows.json(&["drain", "--json"]);
    is_sent_to(&plain);
    windows.install_with_agent(&["--endpoint", &at(&plain), "--ledger-dir", LEDGERS]);
    map();
    is_sent_to(&plain);
    windows.stop_agent();

    // A certificate for another name.
    let elsewhere = certificates.collector("elsewhere", false);
    windows.install(&["--endpoint", &at(&elsewhere)]);
    let (collector, detail) = windows.collector();
    assert_eq!(collector, "away", "{detail}");
    assert!(detail.contains("another name than localhost"), "{detail}");
    assert!(elsewhere.requests().try_recv().is_err(), "it was sent something");

    // A collector that wants a certificate gets none, then one that the machine does not have, then
    // the right one.
    let strict = certificates.collector("localhost", true);
    windows.install(&["--endpoint", &at(&strict)]);
    assert_eq!(windows.collector().0, "away");
    let thumbprint = certificates.thumbprint();
    let install = ["--endpoint", &at(&strict), "--client-certificate", &thumbprint];
    let warnings = windows.install(&install)["warnings"].to_string();
    assert!(warnings.contains("without a client certificate"), "{warnings}");
    let (collector, detail) = windows.collector();
    assert_eq!(collector, "away", "{detail}");
    assert!(detail.contains(r"LocalMachine\My has no such certificate"), "{detail}");
    // Wine has only one place for keys, and the last key stays in it.
    for name in ["older.pfx", "machine.pfx"] {
        let pfx = windows_path(&certificates.file(name));
        windows.store(&["my", &pfx, Certificates::PASSWORD]);
    }
    for name in [&thumbprint, ".CORP.example", Certificates::MACHINE] {
        windows.install(&["--endpoint", &at(&strict), "--client-certificate", name]);
        let (collector, detail) = windows.collector();
        assert_eq!(collector, "accepts", "{name}: {detail}");
    }
    // A program shows no certificate, so its span does not go; `drain` sends it.
    while strict.requests().try_recv().is_ok() {}
    map();
    assert!(windows.tally().pending() > 0);
    assert!(strict.requests().try_recv().is_err(), "a program has shown a certificate");
    windows.json(&["drain", "--json"]);
    is_sent_to(&strict);

    // A file of authorities is only for other systems.
    let refused = windows.mpr_otel(&["install", "--ca-certificate", r"C:\ca.pem"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.errors.contains("group policy"), "{refused:?}");
    windows.install(&["--client-certificate", "", "--endpoint", &at(&plain)]);
    let added = ["add", SETTINGS, "/v", "CaCertificate", "/d", r"C:\ca.pem", "/f"];
    assert_eq!(windows.reg(&added).code, Some(0));
    assert_eq!(verdict(&windows).2, ["malformed_setting"]);
    windows.install(&["--endpoint", &at(&plain), "--ca-certificate", ""]);
    let misspelt = ["add", SETTINGS, "/v", "EndPiont", "/d", "https://c.corp.example", "/f"];
    assert_eq!(windows.reg(&misspelt).code, Some(0));
    assert_eq!(verdict(&windows), judged(0, "arrives", &["unknown_setting"]));
    assert_eq!(windows.reg(&["delete", SETTINGS, "/v", "EndPiont", "/f"]).code, Some(0));
    assert_eq!(verdict(&windows), judged(0, "arrives", &[]));
    windows.json(&["uninstall", "--json"]);
}

/// No machine has the collector's name, so what arrives came through the proxy, which is the test's
/// receiver. A script and Windows' own proxy settings were not run, because Wine's WinHTTP then
/// uses no proxy.
#[test]
fn the_agent_sends_through_its_proxy_and_a_program_and_its_environment_through_none() {
    let windows = Windows::new();
    windows.set_up_network(&json!([share()]));
    const COLLECTOR: &str = "http://collector.corp.example:4318";
    let proxy = windows.receiver.endpoint();
    let to_it = ["--endpoint", COLLECTOR, "--allow-insecure", "1", "--proxy", &proxy];
    windows.install(&to_it);
    let mut caller = windows.caller(&["add2", "-", SHARE]);
    let ended = end(caller.env("http_proxy", &proxy).spawn().unwrap());
    assert!(ended.ended_with(0), "{ended:?}");
    assert_eq!(windows.tally().pending(), 1);
    assert!(windows.receiver.requests().try_recv().is_err(), "a program has used the proxy");
    assert_eq!(windows.collector().0, "accepts");
    windows.json(&["drain", "--json"]);
    loop {
        let request = windows.receiver.requests().recv_timeout(PATIENCE).expect("a request");
        assert_eq!(request.path, format!("{COLLECTOR}/v1/traces"));
        assert_eq!(request.header("proxy-authorization"), None);
        if !received(request).is_empty() {
            break;
        }
    }
    windows.install(&["--endpoint", COLLECTOR, "--proxy", "none"]);
    let (collector, detail) = windows.collector();
    assert_eq!(collector, "away", "{detail}");
    assert!(detail.contains("no address is known for collector.corp.example"), "{detail}");
    windows.json(&["uninstall", "--json"]);
}
