//! The agent exports what dead hosts left and what live hosts leave to it, and survives faults of
//! its own.

#![cfg(target_os = "linux")]

use mpr_otel_core::control_page::{ControlPage, ControlPageWriter};
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::NEWEST_VERSION;
use mpr_otel_lab::double::Step;
use mpr_otel_lab::equipment::stage::{
    Received, Running, Stage, add, c_host, lane, play, received, spawn, start,
};
use mpr_otel_lab::equipment::{library, program};
use mpr_otel_lab::receiver::{Answer, Behaviour, Request, Stream};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An agent of the stage's folder.
fn agent(stage: &Stage) -> Running {
    spawn(&mut stage.agent())
}

/// Files of the folder that are ledgers.
fn ledgers(stage: &Stage) -> Vec<PathBuf> {
    let files = fs::read_dir(stage.ledgers()).into_iter().flatten();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "ledger"))
        .collect()
}

/// A host that ends before it has sent anything.
fn short_host(stage: &Stage) {
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (status, output, errors) = spawn(&mut command).end();
    assert!(status.success(), "{status}");
    assert_eq!((output.as_str(), errors.as_str()), ("", ""));
}

/// A host that leaves the export to the agent.
fn agent_host(stage: &Stage) -> Command {
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    command
}

/// An operation that goes on for a minute.
fn endless() -> Step {
    Step { takes_ms: 60_000, ..add(r"\\dead-server\share") }
}

fn span_ids(spans: &[Received]) -> HashSet<Vec<u8>> {
    spans.iter().map(|span| span.span.span_id.clone()).collect()
}

#[test]
fn an_operation_that_a_host_left_is_exported_like_any_other() {
    let stage = Stage::new();
    for _ in 0..5 {
        short_host(&stage);
    }
    assert_eq!((ledgers(&stage).len(), stage.tally().pending()), (5, 5));
    let agent = agent(&stage);
    let spans = stage.spans(5);
    for span in &spans {
        assert_eq!(span.get("mpr.recovered").as_deref(), Some("true"));
        assert_eq!(span.get("mpr.outcome").as_deref(), Some("success"));
        assert_eq!(span.get("server.address").as_deref(), Some("files01"));
        assert_ne!(span.get("process.pid"), Some(agent.pid().to_string()));
    }
    assert_eq!(span_ids(&spans).len(), 5);
    stage.until(|| ledgers(&stage).is_empty());
    agent.interrupt();
}

#[test]
fn an_operation_whose_host_dies_in_the_middle_is_unfinished_and_ends_when_the_host_was_last_alive()
{
    let stage = Stage::new();
    let host = play(stage.host(), &lane(vec![endless()]));
    stage.until(|| ledgers(&stage).len() == 1 && stage.tally().seen == 1);
    host.kill();
    let agent = agent(&stage);
    let span = stage.spans(1).remove(0);
    assert_eq!(span.get("mpr.outcome").as_deref(), Some("unfinished"));
    assert_eq!(span.get("error.type").as_deref(), Some("unfinished"));
    assert_eq!(span.get("mpr.recovered").as_deref(), Some("true"));
    assert_eq!(span.get("server.address").as_deref(), Some("dead-server"));
    assert_eq!(span.get("mpr.status.code"), None);
    assert!(span.duration() < Duration::from_secs(60));
    stage.until(|| ledgers(&stage).is_empty());
    agent.interrupt();
}

#[test]
fn a_live_host_that_leaves_the_export_to_the_agent_has_no_thread_and_no_socket_and_never_runs_out_of_slots()
 {
    let stage = Stage::new();
    let agent = agent(&stage);
    // More operations than a table has slots; the agent empties it again and again.
    let steps = vec![add(r"\\server\share"); 1500];
    let (host, report) = stage.start_in_parts(agent_host(&stage), &steps, Stage::seen_by_agent);
    assert_eq!((report.untracked, report.breaches.len()), (0, 0));
    let process = PathBuf::from(format!("/proc/{}", host.pid()));
    // When the host's report is there, its own thread has ended, except for the kernel's last
    // steps. A thread of the library would still be there.
    stage.until(|| fs::read_dir(process.join("task")).unwrap().count() == 1);
    for descriptor in fs::read_dir(process.join("fd")).unwrap() {
        let target = fs::read_link(descriptor.unwrap().path()).unwrap();
        assert!(!target.to_string_lossy().starts_with("socket:"), "{}", target.display());
    }
    let spans = stage.spans(1500);
    assert_eq!(span_ids(&spans).len(), 1500);
    // The host lives, so nothing was recovered.
    assert!(spans.iter().all(|span| span.get("mpr.recovered").is_none()));
    stage.report_when(1500, 1500, 0);
    host.end_quietly();
    stage.until(|| ledgers(&stage).is_empty());
    agent.interrupt();
}

#[test]
fn a_host_that_dies_while_the_agent_reads_its_ledger_loses_nothing() {
    let stage = Stage::new();
    let agent = agent(&stage);
    let steps = vec![add(r"\\server\share"); 100];
    let (host, _) = stage.start_in_parts(agent_host(&stage), &steps, Stage::seen_by_agent);
    host.kill();
    assert_eq!(span_ids(&stage.spans(100)).len(), 100);
    stage.until(|| ledgers(&stage).is_empty());
    agent.interrupt();
}

#[test]
fn an_operation_open_for_too_long_in_a_live_host_is_sent_once_and_its_late_end_frees_its_slot() {
    let stage = Stage::new();
    let mut command = stage.agent();
    command.env("MPR_OTEL_UNFINISHED_AFTER_MS", "100");
    let agent = spawn(&mut command);
    let mut command = stage.c("late");
    command.env("MPR_OTEL_DELIVERY", "agent");
    let mut host = spawn(&mut command);
    assert_eq!(host.line(), "begun");
    stage.spans(1);
    assert_eq!(host.ask(), "open");
    let given_up = stage.spans(1).remove(0);
    assert_eq!(given_up.get("mpr.outcome").as_deref(), Some("unfinished"));
    assert!(given_up.duration() >= Duration::from_millis(100));
    assert_eq!(host.ask(), "ended");
    let after = stage.spans(1).remove(0);
    assert_eq!(after.get("mpr.share.name").as_deref(), Some("after"));
    assert_eq!(after.get("mpr.outcome").as_deref(), Some("success"));
    stage.report_when(3, 3, 0);
    host.end_quietly();
    stage.until(|| ledgers(&stage).is_empty());
    assert!(stage.receiver.requests().try_iter().all(|request| received(request).is_empty()));
    agent.interrupt();
}

/// A collector that takes requests and does not answer while it hangs.
struct Hanging {
    hangs: Arc<AtomicBool>,
}

impl Behaviour for Hanging {
    fn answer(&self, _request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        while self.hangs.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Some(Answer::ok())
    }
}

#[test]
fn an_agent_that_is_killed_before_the_answer_is_followed_by_one_that_sends_the_same_span() {
    let hangs = Arc::new(AtomicBool::new(true));
    let stage = Stage::behaving(Hanging { hangs: Arc::clone(&hangs) });
    short_host(&stage);
    let first = agent(&stage);
    let unanswered = stage.spans(1).remove(0);
    first.kill();
    hangs.store(false, Ordering::SeqCst);
    let second = agent(&stage);
    assert_eq!(stage.spans(1).remove(0).span, unanswered.span);
    stage.until(|| ledgers(&stage).is_empty());
    stage.report_when(1, 1, 0);
    second.interrupt();
}

#[test]
fn an_agent_stops_within_seconds_though_its_collector_hangs_and_loses_nothing() {
    let hangs = Arc::new(AtomicBool::new(true));
    let stage = Stage::behaving(Hanging { hangs: Arc::clone(&hangs) });
    short_host(&stage);
    let mut command = stage.agent();
    command.env("MPR_OTEL_TIMEOUT_MS", "600000");
    let running = spawn(&mut command);
    stage.spans(1);
    // The request may take ten minutes. This returns because the agent does not wait for it.
    running.interrupt();
    assert_eq!((&stage.report()["pending"], ledgers(&stage).len()), (&1.into(), 0));
    hangs.store(false, Ordering::SeqCst);
    let next = agent(&stage);
    stage.spans(1);
    next.interrupt();
}

#[test]
fn there_is_one_agent_at_a_time() {
    let stage = Stage::new();
    short_host(&stage);
    let first = agent(&stage);
    stage.spans(1);
    let second = stage.program().arg("agent").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another agent empties"), "{said}");
    // The agent's numbers are shown, and no ledger is opened.
    stage.report_when(1, 1, 0);
    let drain = stage.program().arg("drain").output().unwrap();
    let said = String::from_utf8(drain.stdout).unwrap();
    assert!(said.contains("An agent runs") && said.contains("1 of 1 operations sent"), "{said}");
    assert_eq!(drain.status.code(), Some(0));
    first.interrupt();
}

#[test]
fn drain_shows_the_waiting_operations_and_then_exports_them() {
    let stage = Stage::new();
    for _ in 0..3 {
        short_host(&stage);
    }
    let drain = |arguments: &[&str]| {
        let output = stage.program().arg("drain").arg("--json").args(arguments).output().unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), summary)
    };
    let (code, would) = drain(&["--dry-run"]);
    assert_eq!((code, &would["ledgers"], &would["operations"]), (Some(0), &3.into(), &3.into()));
    assert!(stage.receiver.requests().try_recv().is_err());
    let (code, did) = drain(&[]);
    assert_eq!((code, &did["exported"], &did["waiting"]), (Some(0), &3.into(), &0.into()));
    stage.spans(3);
    assert_eq!(ledgers(&stage), Vec::<PathBuf>::new());
    let (_, nothing) = drain(&["--dry-run"]);
    assert_eq!(nothing["operations"], 0);
}

#[test]
fn drain_fails_with_the_reason_while_the_collector_is_away_and_the_next_one_sends_what_it_kept() {
    let away = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&away);
    let stage = Stage::behaving(move |_: &Request| {
        Answer::status(if answers.load(Ordering::SeqCst) { 503 } else { 200 })
    });
    short_host(&stage);
    let output = stage.program().arg("drain").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("1 waiting") && said.contains("status 503"), "{said}");
    // The operation is kept in the store of `drain`, and the output names that store.
    let store = stage.folder.path().join("state/mpr-otel/drain.redb");
    assert!(said.contains(&store.display().to_string()), "{said}");
    assert!(store.exists() && ledgers(&stage).is_empty());
    away.store(false, Ordering::SeqCst);
    let output = stage.program().arg("drain").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("1 operations exported"), "{said}");
    assert!(!store.exists());
}

#[test]
fn inflight_shows_the_operation_that_a_live_host_hangs_in() {
    let stage = Stage::new();
    let inflight = |arguments: &[&str]| {
        let output = stage.program().arg("inflight").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(inflight(&[]), "Nothing is under way in 0 recorded programs.\n");
    for delivery in ["in-process", "agent"] {
        let mut command = stage.host();
        command.env("MPR_OTEL_DELIVERY", delivery);
        let host = play(command, &lane(vec![add(r"\\server\done"), endless()]));
        stage.until(|| inflight(&["--json"]).contains("dead-server"));
        let shown: serde_json::Value = serde_json::from_str(&inflight(&["--json"])).unwrap();
        let operations = shown["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 1, "{shown}");
        assert_eq!(operations[0]["pid"], host.pid());
        assert_eq!(operations[0]["remote_name"], r"\\dead-server\share");
        assert_eq!(operations[0]["operation"], "add");
        assert!(operations[0]["executable"].as_str().unwrap().starts_with("mpr-otel"));
        let table = inflight(&[]);
        assert!(table.contains("OPEN FOR") && table.contains(r"\\dead-server\share"), "{table}");
        host.kill();
    }
    // Dead hosts have no operation under way.
    assert_eq!(inflight(&[]), "Nothing is under way in 0 recorded programs.\n");
}

#[test]
fn status_shows_what_was_counted_after_every_ledger_is_gone() {
    let stage = Stage::new();
    short_host(&stage);
    let before = stage.status();
    assert_eq!(before["ledgers"]["files"], 1);
    assert_eq!(before["ledgers"]["orphaned"], 1);
    assert_eq!(before["ledgers"]["operations"]["pending"], 1);
    assert_eq!(before["ledgers"]["last_export_unix_ms"], serde_json::Value::Null);
    assert_eq!(before["ledgers"]["agent"]["running"], false);
    let agent = agent(&stage);
    stage.spans(1);
    stage.until(|| ledgers(&stage).is_empty());
    stage.report_when(1, 1, 0);
    let after = stage.status();
    assert_eq!(after["ledgers"]["files"], 0);
    assert_eq!(after["ledgers"]["operations"]["seen"], 1);
    assert_eq!(after["ledgers"]["operations"]["exported"], 1);
    assert_eq!(after["ledgers"]["operations"]["pending"], 0);
    assert!(after["ledgers"]["last_export_unix_ms"].as_u64().unwrap() > 0);
    assert_eq!(after["ledgers"]["agent"]["running"], true);
    agent.interrupt();
    assert_eq!(stage.status()["ledgers"]["agent"]["running"], false);
}

/// Many operations while the collector is away: which are kept, which are lost, and how much memory
/// the agent needs.
#[test]
fn while_a_collector_is_away_space_and_memory_are_bounded_and_every_loss_is_counted() {
    const HOSTS: u64 = 4;
    // Together these need more than a MiB.
    const OPERATIONS: u64 = 2500;
    let away = Arc::new(AtomicBool::new(true));
    let requests = Arc::new(AtomicUsize::new(0));
    let stage = Stage::behaving({
        let (away, requests) = (Arc::clone(&away), Arc::clone(&requests));
        move |_: &Request| {
            requests.fetch_add(1, Ordering::SeqCst);
            Answer::status(if away.load(Ordering::SeqCst) { 503 } else { 200 })
        }
    });
    let mut command = stage.agent();
    command.env("MPR_OTEL_STORE_MAX_MIB", "1");
    let agent = spawn(&mut command);
    // On a busy machine a table may become full before the agent has read it.
    let mut untracked = 0;
    for _ in 0..HOSTS {
        let steps = vec![Step { takes_ms: 1, ..add(r"\\server\share") }; OPERATIONS as usize];
        let (host, report) = start(agent_host(&stage), &lane(steps));
        assert_eq!(report.breaches.len(), 0);
        untracked += report.untracked as u64;
        host.end_quietly();
    }
    stage.until(|| ledgers(&stage).is_empty());
    stage.until(|| stage.report()["seen"] == HOSTS * OPERATIONS);
    let peak = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 * 1024, "the agent needed {kib} KiB");
    let report = stage.report();
    let lost = report["lost"]["store_full"].as_u64().unwrap();
    assert!(lost > 0 && report["store_bytes"].as_u64().unwrap() <= 1 << 20, "{report}");
    assert_eq!(report["lost"]["table_full"].as_u64().unwrap_or(0), untracked);
    let lost = lost + untracked;
    assert_eq!(report["pending"], HOSTS * OPERATIONS - lost);
    assert!(report["trouble"].as_str().unwrap().contains("503"), "{report}");
    away.store(false, Ordering::SeqCst);
    agent.interrupt();
    // The new agent asks at once: it does not know how long the one before had to wait.
    let next = self::agent(&stage);
    stage.report_when(HOSTS * OPERATIONS, HOSTS * OPERATIONS - lost, lost);
    next.interrupt();
}

#[test]
fn a_full_disk_stops_no_agent_and_loses_nothing() {
    let stage = Stage::new();
    let small = stage.folder.path().join("small");
    fs::create_dir(&small).unwrap();
    // Two hosts each leave a ledger beside the folder of an earlier agent, and a file fills the
    // rest of the disk until the agent has tried to write. This runs in namespaces of its own, so
    // that it needs no rights.
    let script = r#"mount -t tmpfs -o size=8m tmpfs "$0" || exit 9
        export MPR_OTEL_LEDGER_DIR="$0"
        slow="env MPR_OTEL_BATCH_DELAY_MS=60000"
        $slow "$1" "$2" exit && $slow "$1" "$2" exit || exit 8
        mkdir "$0/agent" && : > "$0/agent/lock"
        head -c 10000000 /dev/zero > "$0/filler" 2>/dev/null
        "$3" agent & 
        until grep -q "cannot use the store" "$MPR_OTEL_LOG" 2>/dev/null; do :; done
        rm "$0/filler"
        read line
        kill $!
        wait"#;
    let mut command = stage.command("unshare");
    command
        // Every process that it started ends with it.
        .args(["--pid", "--fork", "--kill-child"])
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(&small)
        .args([c_host(), &library()])
        .arg(program());
    let shell = spawn(&mut command);
    let ids = span_ids(&stage.spans(2));
    assert_eq!(ids.len(), 2);
    shell.end();
}

#[test]
fn a_log_that_cannot_be_written_stops_no_agent() {
    let stage = Stage::new();
    short_host(&stage);
    let mut command = stage.agent();
    command.env("MPR_OTEL_LOG", stage.folder.path());
    let agent = spawn(&mut command);
    stage.spans(1);
    let said = agent.interrupt();
    assert!(said.contains("the agent works without its log"), "{said}");
}

/// Every source of text in the agent's log tries to write a log line of its own.
#[test]
fn no_text_of_a_collector_a_user_or_a_path_begins_a_line_of_the_log() {
    const LINE: &str = "2001-01-01T00:00:00.000000Z ERROR forged";
    let forged = format!("\n{LINE}\r\n\u{85}{LINE}\u{2028}\u{1b}[2J\u{9b}2J\u{202e}");
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 0,
            error_message: format!("partial{forged}"),
        }),
    };
    let text = |status, body: String| Answer { body: body.into_bytes(), ..Answer::status(status) };
    let answers = Mutex::new(VecDeque::from([
        text(401, format!("body{forged}")),
        // A header can contain neither a line end nor ESC.
        Answer::status(302).header("location", &format!("http://moved\t{LINE}")),
        text(400, format!("refused{forged}")),
        Answer { body: partial.encode_to_vec(), ..Answer::ok() },
    ]));
    let stage = Stage::behaving(move |request: &Request| {
        let has_spans = !received(request.clone()).is_empty();
        let answer = has_spans.then(|| answers.lock().unwrap().pop_front()).flatten();
        answer.unwrap_or(Answer::ok())
    });
    let ledgers = stage.folder.path().join(format!("folder{forged}"));
    fs::create_dir(&ledgers).unwrap();
    let mut command = stage.agent();
    command.env("MPR_OTEL_LEDGER_DIR", &ledgers);
    let agent = spawn(&mut command);
    let mut command = agent_host(&stage);
    command.env("MPR_OTEL_LEDGER_DIR", &ledgers);
    let share = format!(r"\\server\share{forged}");
    let (host, _) = start(command, &lane(vec![add(&share), add(&share)]));
    stage.until(|| ["body", "moved", "partial"].iter().all(|said| stage.logged().contains(said)));
    host.end_quietly();
    let heard = agent.interrupt();
    for log in [stage.logged(), heard] {
        assert!(
            ["folder", "body", "moved", "refused", "partial"].iter().all(|said| log.contains(said)),
            "{log}"
        );
        for line in log.lines() {
            assert!(!line.starts_with("2001") && line.starts_with("20"), "{line:?} in {log}");
            let steers = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!line.contains(steers), "{line:?}");
        }
    }
}

/// Waits until the stage has a control page.
fn control_page(stage: &Stage) -> ControlPage {
    let path = LedgerFolder::new(stage.ledgers()).control_page();
    stage.until(|| ControlPage::open(&path).unwrap().is_some());
    ControlPage::open(&path).unwrap().unwrap()
}

#[test]
fn an_agent_beats_again_and_again_and_says_which_ledgers_it_reads() {
    let stage = Stage::new();
    let status = stage.status();
    assert_eq!(status["control_page"], serde_json::Value::Null, "{status}");
    let agent = agent(&stage);
    let page = control_page(&stage);
    stage.until(|| page.agent_lives());
    assert!(page.reads_ledger_version(NEWEST_VERSION));
    assert!(!page.reads_ledger_version(NEWEST_VERSION + 1));
    // A heartbeat becomes older until the next one comes.
    let oldest = Cell::new(page.heartbeat_age());
    stage.until(|| page.heartbeat_age() < oldest.replace(page.heartbeat_age()));
    let shown = &stage.status()["control_page"];
    assert_eq!((&shown["agent_lives"], &shown["stop"]), (&true.into(), &false.into()));
    assert!(shown["last_heartbeat_unix_ms"].as_u64().unwrap() > 0);
    assert_eq!(shown["newest_ledger_version"], NEWEST_VERSION);
    agent.interrupt();
}

#[test]
fn an_agent_stops_hosts_if_the_settings_disable_them_and_the_next_agent_lets_them_go_on() {
    let stage = Stage::new();
    let mut command = stage.agent();
    command.env("MPR_OTEL_DISABLED", "true");
    let disabled = spawn(&mut command);
    // The page as a host maps it, from now to the end.
    let page = control_page(&stage);
    stage.until(|| page.stop_is_set());
    disabled.interrupt();
    assert!(page.stop_is_set());
    assert_eq!(stage.status()["control_page"]["stop"], true);
    let next = agent(&stage);
    stage.until(|| !page.stop_is_set());
    next.interrupt();
}

#[test]
fn an_agent_repairs_a_damaged_page_and_works_without_a_page_that_it_may_not_open() {
    let stage = Stage::new();
    let folder = LedgerFolder::new(stage.ledgers());
    fs::create_dir_all(folder.agent()).unwrap();
    fs::write(folder.control_page(), [b'?'; 4096]).unwrap();
    let repairing = agent(&stage);
    let page = control_page(&stage);
    stage.until(|| page.agent_lives());
    repairing.interrupt();
    fs::remove_file(folder.control_page()).unwrap();
    fs::create_dir(folder.control_page()).unwrap();
    assert!(ControlPageWriter::open(&folder.control_page()).is_err());
    short_host(&stage);
    let without = agent(&stage);
    stage.spans(1);
    let said = without.interrupt();
    assert!(said.contains("hosts do not hear from this agent"), "{said}");
}
