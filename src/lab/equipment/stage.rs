//! What the tests share: a stage with a receiver and a ledger folder, host processes, and spans
//! that are easy to ask.

use super::built::{lab, library, program, repository, target};
use crate::double::{self, Host, PlayReport, ScriptedCall, Step};
use crate::receiver::{Behaviour, Receiver, Request};
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::{self, LedgerError, SLOT_COUNT, Tally};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing in these tests takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Operations of a part of [`Stage::start_in_parts`]: with those of the part before, whose slots an agent
/// may be about to free, fewer than a ledger has slots.
const PART: usize = SLOT_COUNT / 2 - 1;

/// The C host program, compiled once.
pub fn c_host() -> &'static Path {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    HOST.get_or_init(|| compile_c_host("host", &[]))
}

/// The C host program that counts its threads' allocations. Not the usual one: valgrind brings an
/// allocator of its own.
pub fn counting_c_host() -> PathBuf {
    compile_c_host("counting-host", &["-DCOUNT_ALLOCATIONS"])
}

/// The C host program in which an allocation of the library's thread fails.
pub fn starving_c_host() -> PathBuf {
    compile_c_host("starving-host", &["-DFAIL_ALLOCATION"])
}

fn compile_c_host(name: &str, options: &[&str]) -> PathBuf {
    let source = repository().join("tests/c/host.c");
    // One for each test program: another may be running its own.
    let test = std::env::current_exe().unwrap();
    let test = test.file_name().unwrap().to_string_lossy();
    let program = target().join(format!("c-{name}-for-{test}"));
    let status = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o"])
        .args([&program, &source])
        .args(options)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler, `cc`, is needed; install gcc");
    assert!(status.success());
    program
}

/// A receiver, a folder for ledgers, and hosts whose settings point to both.
pub struct Stage {
    pub folder: TempDir,
    pub receiver: Receiver,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(Receiver::start().unwrap())
    }

    pub fn behaving(behaviour: impl Behaviour) -> Self {
        Self::with(Receiver::behaving(behaviour).unwrap())
    }

    fn with(receiver: Receiver) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), receiver }
    }

    pub fn ledgers(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log.txt")
    }

    /// What the agents of this stage logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// A command without the test's own settings, and with this stage's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars() {
            if name.starts_with("OTEL_") || name.starts_with("MPR_OTEL_") || name == "TRACEPARENT" {
                command.env_remove(name);
            }
        }
        command
            .env("MPR_OTEL_ENDPOINT", self.receiver.endpoint())
            .env("MPR_OTEL_LEDGER_DIR", self.ledgers())
            .env("MPR_OTEL_BATCH_DELAY_MS", "20")
            .env("MPR_OTEL_LOG", self.log())
            // Where `drain` keeps what it cannot send.
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A host of the MPR double, to be started with [`start`].
    pub fn host(&self) -> Command {
        let mut command = self.lab();
        command.arg("play").arg("--library").arg(library());
        command
    }

    /// The lab's program.
    pub fn lab(&self) -> Command {
        self.command(lab())
    }

    /// The program itself.
    pub fn program(&self) -> Command {
        self.command(program())
    }

    /// What `mpr-otel status --json` says.
    pub fn status(&self) -> serde_json::Value {
        let output = self.program().args(["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// What the agent wrote down about itself last; null before it did.
    pub fn report(&self) -> serde_json::Value {
        let path = LedgerFolder::new(self.ledgers()).agent().join("status.json");
        let text = std::fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(serde_json::Value::Null)
    }

    /// Waits until the agent says that it has seen, exported, lost and has in store so many
    /// operations.
    pub fn report_when(&self, seen: u64, exported: u64, lost: u64) -> serde_json::Value {
        let lost_in_all = |report: &serde_json::Value| {
            let reasons = report["lost"].as_object().into_iter().flatten();
            reasons.map(|(_, count)| count.as_u64().unwrap()).sum::<u64>()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            if report["seen"] == seen
                && report["exported"] == exported
                && lost_in_all(&report) == lost
                && report["pending"] == seen - exported - lost
            {
                return report;
            }
            assert!(Instant::now() < deadline, "{report}\n{}", self.logged());
            std::thread::yield_now();
        }
    }

    /// Operations that the hosts' ledgers count.
    pub fn seen_by_hosts(&self) -> u64 {
        self.tally().seen
    }

    /// Operations that the agent says it has seen.
    pub fn seen_by_agent(&self) -> u64 {
        self.report()["seen"].as_u64().unwrap_or(0)
    }

    /// Starts a host of the double that performs `steps` on one thread, a part after the other: the first
    /// operation alone, because until the library has its ledger there is room for few, and then no more
    /// at a time than a ledger holds. Each part waits until those before are `seen`, however long that
    /// takes on a busy machine.
    pub fn start_in_parts(
        &self,
        command: Command,
        steps: &[Step],
        seen: impl Fn(&Self) -> u64,
    ) -> (Running, PlayReport) {
        let others = seen(self);
        let (first, rest) = steps.split_at(1);
        let (mut running, mut report) = start(command, &lane(first.to_vec()));
        for part in rest.chunks(PART) {
            let played = (report.operations - report.untracked) as u64;
            self.until(|| seen(self) >= others + played);
            running.give(&lane(part.to_vec()));
            report += running.report();
        }
        (running, report)
    }

    /// The agent, to be started with [`spawn`].
    pub fn agent(&self) -> Command {
        let mut command = self.command(program());
        command.arg("agent").env("OTEL_METRIC_EXPORT_INTERVAL", "100");
        command
    }

    /// The C host in the given mode, to be started with [`start_c`].
    pub fn c(&self, mode: &str) -> Command {
        let mut command = self.command(c_host());
        command.arg(library()).arg(mode);
        command
    }

    /// Waits for the next request.
    pub fn request(&self) -> Request {
        self.receiver.requests().recv_timeout(PATIENCE).expect("a request")
    }

    /// Waits for `count` spans, whatever the requests they come in.
    pub fn spans(&self, count: usize) -> Vec<Received> {
        let mut spans = Vec::new();
        while spans.len() < count {
            spans.extend(received(self.request()));
        }
        assert_eq!(spans.len(), count, "more spans than operations");
        spans
    }

    /// The sum of all ledgers' counters.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for entry in LedgerFolder::new(self.ledgers()).list().unwrap() {
            match ledger::read_tally(&entry.path) {
                Ok(tally) => sum += tally,
                // An agent was faster.
                Err(LedgerError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => panic!("{error}"),
            }
        }
        sum
    }

    /// Waits until the ledgers' counters satisfy `settled`.
    pub fn tally_when(&self, settled: impl Fn(&Tally) -> bool) -> Tally {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tally = self.tally();
            if settled(&tally) {
                return tally;
            }
            assert!(
                Instant::now() < deadline,
                "{tally:?}\n{:?}\n{}",
                self.last_errors(),
                self.logged()
            );
            std::thread::yield_now();
        }
    }

    /// Waits until `settled`.
    pub fn until(&self, settled: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !settled() {
            assert!(Instant::now() < deadline, "{:?}\n{}", self.last_errors(), self.logged());
            std::thread::yield_now();
        }
    }

    /// Why the exporters in this stage's hosts failed last, as their ledgers say.
    pub fn last_errors(&self) -> Vec<String> {
        let ledgers = LedgerFolder::new(self.ledgers()).list().unwrap();
        ledgers.iter().filter_map(|entry| ledger::read_last_error(&entry.path).ok()).collect()
    }

    /// Waits until an exporter failed for a reason that has `text` in it, in any case.
    pub fn wait_for_error(&self, text: &str) {
        self.until(|| self.last_errors().iter().any(|error| error.to_lowercase().contains(text)));
    }
}

/// A running process. Dropped, as by a test that fails, it is ended.
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that the host prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Gives a host of the double a part to play.
    fn give(&mut self, part: &Host) {
        let part = format!("{}\n", serde_json::to_string(part).unwrap());
        self.child.stdin.as_mut().unwrap().write_all(part.as_bytes()).unwrap();
    }

    /// Waits until a host of the double has played its part.
    fn report(&mut self) -> PlayReport {
        let report = serde_json::Deserializer::from_reader(&mut self.output)
            .into_iter::<PlayReport>()
            .next()
            .expect("the host plays its part")
            .unwrap();
        self.line();
        report
    }

    /// Closes the host's input, waits for its end, and gives its status and what it had left to
    /// say on standard output and error.
    pub fn end(mut self) -> (ExitStatus, String, String) {
        drop(self.child.stdin.take());
        let (mut rest, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut rest).unwrap();
        self.read_errors(&mut errors);
        (self.child.wait().unwrap(), rest, errors)
    }

    fn read_errors(&mut self, errors: &mut String) {
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(errors).unwrap();
        }
    }

    /// Gives the host a line to read, and waits for its answer.
    pub fn ask(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends the host where it stands.
    pub fn kill(self) {
        drop(self);
    }

    /// Asks the process to end, as a service manager does, and waits until it has. Returns what it
    /// said on standard error.
    #[cfg(unix)]
    pub fn interrupt(mut self) -> String {
        let status = Command::new("kill").arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
        let mut errors = String::new();
        self.read_errors(&mut errors);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {errors}");
        errors
    }

    /// Ends the host, which must have kept quiet and succeed.
    pub fn end_quietly(self) {
        let (status, output, errors) = self.end();
        assert!(status.success(), "{status}: {output}{errors}");
        assert_eq!((output.as_str(), errors.as_str()), ("", ""));
    }
}

/// Starts a C host and waits until it has played.
pub fn start_c(mut command: Command) -> Running {
    let mut running = spawn(&mut command);
    loop {
        match running.line().as_str() {
            "played" => return running,
            "" => panic!("the host ended: {:?}", running.end()),
            _ => {}
        }
    }
}

/// Starts a host of the double.
pub fn play(mut command: Command, host: &Host) -> Running {
    let mut running = spawn(&mut command);
    running.give(host);
    running
}

/// Starts a host of the double and waits until it has played its part.
pub fn start(command: Command, host: &Host) -> (Running, PlayReport) {
    let mut running = play(command, host);
    let report = running.report();
    (running, report)
}

pub fn spawn(command: &mut Command) -> Running {
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    Running { child, output }
}

/// A host with one thread.
pub fn lane(steps: Vec<Step>) -> Host {
    Host { executable: String::new(), threads: vec![steps] }
}

/// A successful add of `remote` that takes no time.
pub fn add(remote: &str) -> Step {
    add_ending(remote, 0)
}

/// An add of `remote` that ends with `status`.
pub fn add_ending(remote: &str, status: u32) -> Step {
    Step {
        request: ScriptedCall::Add(double::Add {
            remote: Some(remote.to_owned()),
            local: None,
            resource_type: 1,
            flags: 0,
        }),
        takes_ms: 0,
        status,
        provider: None,
        no_post: false,
    }
}

/// A span with the resource it came under.
#[derive(Clone, Debug)]
pub struct Received {
    pub span: Span,
    pub resource: Vec<KeyValue>,
    pub scope: String,
}

/// The spans of a request.
pub fn received(request: Request) -> Vec<Received> {
    let mut spans = Vec::new();
    for group in request.export.resource_spans {
        let resource = group.resource.unwrap_or_default().attributes;
        for scope_spans in group.scope_spans {
            let scope = scope_spans.scope.unwrap_or_default().name;
            // The agent's spans about itself are no operations.
            if scope == "mpr-otel-agent" {
                continue;
            }
            spans.extend(scope_spans.spans.into_iter().map(|span| Received {
                span,
                resource: resource.clone(),
                scope: scope.clone(),
            }));
        }
    }
    spans
}

impl Received {
    /// An attribute's value as text; `None` if it is absent.
    pub fn get(&self, key: &str) -> Option<String> {
        find(&self.span.attributes, key)
    }

    /// A resource attribute's value as text.
    pub fn resource(&self, key: &str) -> Option<String> {
        find(&self.resource, key)
    }

    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.span.end_time_unix_nano - self.span.start_time_unix_nano)
    }
}

fn find(attributes: &[KeyValue], key: &str) -> Option<String> {
    let mut found = attributes.iter().filter(|attribute| attribute.key == key);
    let value = found.next().map(|attribute| show(attribute.value.as_ref().unwrap()));
    assert!(found.next().is_none(), "{key} is there twice");
    value
}

/// An attribute's value as text.
pub fn show(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::ArrayValue(array) => {
            let items: Vec<String> = array.values.iter().map(show).collect();
            format!("[{}]", items.join(","))
        }
        other => panic!("an attribute of an undocumented type: {other:?}"),
    }
}
