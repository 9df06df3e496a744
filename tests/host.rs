//! The library in its host: start, threads, unloading, death, and ledger folders that cannot be
//! used.

#![cfg(target_os = "linux")]

use mpr_otel_core::control_page::ControlPageWriter;
use mpr_otel_core::folder::{Census, LedgerFolder};
use mpr_otel_core::ledger::{Loss, NEWEST_VERSION};
use mpr_otel_core::platform;
use mpr_otel_core::settings::{DELIVERY_AGENT, DELIVERY_IN_PROCESS};
use mpr_otel_lab::equipment::library;
use mpr_otel_lab::equipment::stage::{
    PATIENCE, Received, Stage, add, counting_c_host, lane, received, spawn, start, start_c,
};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn find<'a>(spans: &'a [Received], key: &str, value: &str) -> &'a Received {
    spans
        .iter()
        .find(|span| span.get(key).as_deref() == Some(value))
        .unwrap_or_else(|| panic!("no span with {key} = {value}"))
}

#[test]
fn a_host_that_knows_only_the_abi_gets_one_right_span_per_operation() {
    let stage = Stage::new();
    let host = start_c(stage.c("contract"));
    let spans = stage.spans(3);
    let pid = host.pid().to_string();
    host.end_quietly();

    let mapped = find(&spans, "server.address", "files01.corp.example");
    assert_eq!(mapped.span.name, "mpr.add_connection");
    assert_eq!(mapped.get("mpr.outcome").as_deref(), Some("success"));
    assert_eq!(mapped.get("mpr.status.code").as_deref(), Some("0"));
    assert_eq!(mapped.get("mpr.local.name").as_deref(), Some("Z:"));
    assert_eq!(mapped.get("mpr.share.name").as_deref(), Some("projects"));
    assert_eq!(mapped.get("mpr.provider.name"), None);
    assert_eq!(mapped.get("mpr.connect.flags").as_deref(), Some("[UPDATE_PROFILE]"));
    assert_eq!(mapped.get("process.pid"), Some(pid));
    assert!(mapped.duration() >= Duration::from_millis(20));

    let failed = find(&spans, "server.address", "old-fs.corp.example");
    assert_eq!(failed.get("mpr.outcome").as_deref(), Some("failure"));
    assert_eq!(failed.get("error.type").as_deref(), Some("ERROR_BAD_NETPATH"));
    assert_eq!(failed.get("mpr.error.class").as_deref(), Some("unreachable"));
    assert_eq!(failed.get("mpr.provider.name"), None);
    assert!(failed.duration() >= Duration::from_millis(30));

    let cancelled = find(&spans, "mpr.operation.name", "cancel");
    assert_eq!(cancelled.span.name, "mpr.cancel_connection");
    assert_eq!(cancelled.get("mpr.local.name").as_deref(), Some("Z:"));
    assert_eq!(cancelled.get("mpr.force").as_deref(), Some("true"));
    assert_eq!(cancelled.get("mpr.provider.name").as_deref(), Some("Microsoft Windows Network"));
    assert_eq!(cancelled.get("network.protocol.name").as_deref(), Some("smb"));
}

#[test]
fn a_host_that_loads_calls_and_frees_the_library_a_hundred_times_lives() {
    let stage = Stage::new();
    let host = start_c(stage.c("reload"));
    stage.spans(100);
    // The library is pinned, so there is one start and one ledger.
    assert_eq!(fs::read_dir(stage.ledgers()).unwrap().count(), 1);
    host.end_quietly();
}

#[test]
fn operations_after_the_first_allocate_nothing_on_their_callers_thread() {
    let stage = Stage::new();
    let mut command = stage.command(counting_c_host());
    command.arg(library()).arg("allocations");
    let host = start_c(command);
    stage.spans(3 + 120);
    host.end_quietly();
}

#[test]
fn threads_that_all_call_first_share_one_ledger_and_lose_nothing() {
    for _ in 0..8 {
        let stage = Stage::new();
        let host = start_c(stage.c("threads"));
        stage.spans(128);
        let tally = stage.tally_when(|tally| tally.exported == 128);
        assert_eq!((tally.seen, tally.lost_in_all()), (128, 0));
        assert_eq!(fs::read_dir(stage.ledgers()).unwrap().count(), 1);
        host.end_quietly();
    }
}

#[test]
fn a_host_that_ends_at_once_succeeds_and_leaves_its_operation_in_the_ledger() {
    let stage = Stage::new();
    for round in 1..=20 {
        let mut command = stage.c("exit");
        command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
        let (status, output, errors) = spawn(&mut command).end();
        assert!(status.success(), "{status}");
        assert_eq!((output.as_str(), errors.as_str()), ("", ""));
        let tally = stage.tally();
        assert_eq!((tally.seen, tally.pending()), (round, round));
    }
}

#[test]
fn an_operation_whose_post_returned_is_in_the_ledger_of_a_host_killed_right_after() {
    let stage = Stage::new();
    let mut command = stage.c("kill");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (status, ..) = spawn(&mut command).end();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let tally = stage.tally();
    assert_eq!((tally.seen, tally.pending()), (1, 1));
    // The slot says Done (4) and holds the name: see src/core/ledger/mod.rs.
    let ledger = fs::read_dir(stage.ledgers()).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(ledger).unwrap();
    let slots: Vec<&[u8]> = bytes[4096..].chunks_exact(792).filter(|slot| slot[0] != 0).collect();
    assert_eq!(slots.len(), 1);
    assert_eq!(slots[0][0], 4);
    let name: Vec<u8> = r"\\files01\kill".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(slots[0][104..104 + name.len()], name);
}

/// The folder in /proc of a host's exporter thread, if it has one.
fn exporter(pid: u32) -> Option<PathBuf> {
    let named = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "mpr-otel-export")
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| task.unwrap().path()).find(named)
}

/// Waits until the exporter's thread sleeps in the kernel until a time that is far away.
fn wait_until_idle(pid: u32) {
    const FAR: u64 = 60_000_000_000;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let call = exporter(pid)
            .and_then(|task| fs::read_to_string(task.join("syscall")).ok())
            .unwrap_or_default();
        let words: Vec<&str> = call.split_whitespace().collect();
        // futex(address, FUTEX_WAIT_BITSET | PRIVATE, value, the time at which it wakes by itself)
        if words.len() > 4
            && words[0] == futex()
            && wakes_at(pid, words[4]).is_some_and(|at| at > platform::awake_nanos() + FAR)
        {
            return;
        }
        assert!(Instant::now() < deadline, "the exporter is in {call}");
        std::thread::yield_now();
    }
}

/// The time in another process' memory, in nanoseconds of the monotonic clock.
fn wakes_at(pid: u32, address: &str) -> Option<u64> {
    let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
    let mut time = [0; 16];
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut time, address).ok()?;
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    Some(number(&time[..8]) * 1_000_000_000 + number(&time[8..]))
}

/// The number of the futex system call.
fn futex() -> &'static str {
    if cfg!(target_arch = "x86_64") { "202" } else { "98" }
}

#[test]
fn an_idle_exporter_is_one_thread_that_sleeps_until_an_operation_could_be_overdue() {
    let stage = Stage::new();
    let host = start_c(stage.c("contract"));
    stage.spans(3);
    wait_until_idle(host.pid());
    assert_eq!(fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().count(), 2);
    host.end_quietly();
}

/// Lets a host map until the library stops recording, and checks that it stays so: no context, no
/// thread, no ledger. The library reads its settings during the first operations.
fn left_alone(stage: &Stage, command: &mut Command) {
    let mut host = spawn(command);
    let deadline = Instant::now() + PATIENCE;
    while host.ask() == "recorded" {
        assert!(Instant::now() < deadline);
    }
    assert!((0..3).all(|_| host.ask() == "not recorded"));
    stage.until(|| fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().count() == 1);
    assert_eq!(Census::take(&LedgerFolder::new(stage.ledgers())).unwrap().ledgers, 0);
    host.end_quietly();
}

#[test]
fn a_host_with_the_setting_disabled_is_not_recorded() {
    let stage = Stage::new();
    left_alone(&stage, stage.c("asked").env("MPR_OTEL_DISABLED", "true"));
}

#[test]
fn an_excluded_program_is_not_recorded() {
    let stage = Stage::new();
    left_alone(&stage, stage.c("asked").env("MPR_OTEL_EXCLUDE_PROCESSES", "other.exe, C-HOST*"));
}

#[test]
fn a_host_that_leaves_delivery_to_the_agent_only_writes_its_ledger() {
    let stage = Stage::new();
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    let (host, report) = start(command, &lane(vec![add(r"\\server\share"); 3]));
    assert_eq!(report.untracked, 0);
    assert_eq!(exporter(host.pid()), None);
    let tally = stage.tally();
    assert_eq!((tally.seen, tally.pending()), (3, 3));
    assert!(stage.receiver.requests().try_recv().is_err());
    host.end_quietly();
}

/// Checks that a running host stops at its next notification if the control page says so. It closes
/// its file and has no thread left, and others can take over its unsent operations.
fn stops(delivery: &str) {
    let stage = Stage::new();
    let folder = LedgerFolder::new(stage.ledgers());
    fs::create_dir_all(folder.agent()).unwrap();
    let page = ControlPageWriter::create(&folder.control_page()).unwrap();
    let mut command = stage.c("asked");
    command.env("MPR_OTEL_DELIVERY", delivery).env("MPR_OTEL_BATCH_DELAY_MS", "600000");
    let mut host = spawn(&mut command);
    assert_eq!((host.ask(), host.ask()), ("recorded".into(), "recorded".into()));
    // The operations are in the ledger, so the host runs.
    stage.until(|| Census::take(&folder).unwrap().tally.seen == 2);
    page.set_stop(true);
    assert_eq!((host.ask(), host.ask()), ("not recorded".into(), "not recorded".into()));
    stage.until(|| Census::take(&folder).unwrap().live == 0);
    stage.until(|| fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().count() == 1);
    let census = Census::take(&folder).unwrap();
    assert_eq!((census.ledgers, census.orphaned, census.tally.seen), (1, 2, 2));
    // The host starts again only after a minute.
    page.set_stop(false);
    assert_eq!(host.ask(), "not recorded");
    host.end_quietly();
}

#[test]
fn the_stop_word_of_the_control_page_stops_a_running_host() {
    stops(DELIVERY_IN_PROCESS);
    stops(DELIVERY_AGENT);
}

#[test]
fn a_host_that_finds_the_stop_word_set_makes_no_ledger() {
    let stage = Stage::new();
    let folder = LedgerFolder::new(stage.ledgers());
    fs::create_dir_all(folder.agent()).unwrap();
    ControlPageWriter::create(&folder.control_page()).unwrap().set_stop(true);
    left_alone(&stage, &mut stage.c("asked"));
}

#[test]
fn with_an_agent_a_full_folder_does_not_keep_hosts_from_recording() {
    let stage = Stage::new();
    let folder = LedgerFolder::new(stage.ledgers());
    fs::create_dir_all(folder.agent()).unwrap();
    for number in 0..600 {
        fs::write(folder.path().join(format!("foreign-{number}")), "").unwrap();
    }
    let page = ControlPageWriter::create(&folder.control_page()).unwrap();
    let ledgers = || Census::take(&folder).unwrap().ledgers;
    let mut host = spawn(stage.c("asked").env("MPR_OTEL_DELIVERY", DELIVERY_AGENT));
    host.ask();
    assert_eq!(ledgers(), 0);
    page.beat(NEWEST_VERSION);
    let deadline = Instant::now() + PATIENCE;
    while ledgers() == 0 {
        // The host tries again what it could not record in time.
        host.ask();
        assert!(Instant::now() < deadline);
    }
    host.end_quietly();
}

#[test]
fn a_failed_start_is_tried_again_and_its_losses_are_counted() {
    let stage = Stage::new();
    // There is a file in the folder's place.
    fs::write(stage.ledgers(), "").unwrap();
    let mut command = stage.c("asked");
    let mut host = spawn(command.env("MPR_OTEL_DELIVERY", DELIVERY_AGENT));
    let mut lost = 0;
    for _ in 0..20 {
        lost += u64::from(host.ask() == "not recorded");
    }
    // Sixteen operations wait for a ledger.
    assert_eq!(lost, 4);
    fs::remove_file(stage.ledgers()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while host.ask() == "not recorded" {
        lost += 1;
        assert!(Instant::now() < deadline);
    }
    let tally = stage.tally_when(|tally| tally.pending() == 17);
    assert_eq!(tally.lost[Loss::LedgerUnavailable as usize], lost);
    assert_eq!(tally.seen, tally.pending() + lost);
    host.end_quietly();
}

#[test]
fn a_traceparent_in_the_hosts_environment_becomes_the_parent() {
    let stage = Stage::new();
    let mut command = stage.host();
    command.env("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 2]));
    for span in stage.spans(2) {
        assert_eq!(span.span.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(span.span.parent_span_id[..2], [0x00, 0xf0]);
    }
    host.end_quietly();
}

#[test]
fn setting_the_clock_back_an_hour_changes_no_duration_and_each_span_has_the_date_of_its_moment() {
    let stage = Stage::new();
    let host = start_c(stage.c("clock"));
    let spans = stage.spans(2);
    host.end_quietly();
    let across = find(&spans, "mpr.share.name", "clock");
    assert!(across.duration() >= Duration::from_millis(50));
    assert!(across.duration() < Duration::from_secs(3600));
    let later = find(&spans, "mpr.share.name", "later");
    assert!(later.span.start_time_unix_nano < across.span.start_time_unix_nano);
}

#[test]
fn an_operation_open_for_too_long_is_unfinished_and_its_late_post_is_not_trusted() {
    let stage = Stage::new();
    let mut command = stage.c("late");
    command.env("MPR_OTEL_UNFINISHED_AFTER_MS", "100");
    let mut host = spawn(&mut command);
    assert_eq!(host.line(), "begun");
    stage.spans(1);
    assert_eq!(host.ask(), "open");
    let given_up = stage.spans(1).remove(0);
    assert_eq!(host.ask(), "ended");
    stage.spans(1);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    host.end_quietly();
    assert_eq!((tally.seen, tally.exported, tally.unmatched), (3, 3, 1));
    assert_eq!(given_up.get("mpr.outcome").as_deref(), Some("unfinished"));
    assert_eq!(given_up.get("error.type").as_deref(), Some("unfinished"));
    assert_eq!(given_up.get("mpr.status.code"), None);
    assert_eq!(given_up.get("mpr.error.class"), None);
    assert!(given_up.duration() >= Duration::from_millis(100));
}

#[test]
fn malformed_settings_are_shown_by_status_and_do_not_stop_a_host() {
    let stage = Stage::new();
    let malformed = [
        "MPR_OTEL_DISABLED",
        "MPR_OTEL_HEADERS",
        "MPR_OTEL_CA_CERTIFICATE",
        "MPR_OTEL_TIMEOUT_MS",
        "MPR_OTEL_COMPRESSION",
        "MPR_OTEL_DELIVERY",
        "MPR_OTEL_BATCH_MAX",
        "MPR_OTEL_UNFINISHED_AFTER_MS",
        "MPR_OTEL_RESOURCE_ATTRIBUTES",
    ];
    let mut command = stage.host();
    command.envs(malformed.map(|name| (name, "rubbish")));
    let (host, report) = start(command, &lane(vec![add(r"\\server\share"); 3]));
    assert_eq!(report.untracked, 0);
    stage.spans(3);
    host.end_quietly();
    let mut status = stage.program();
    status.args(["status", "--json"]).envs(malformed.map(|name| (name, "rubbish")));
    let shown: serde_json::Value =
        serde_json::from_slice(&status.output().unwrap().stdout).unwrap();
    let settings = shown["settings"].as_array().unwrap().iter();
    let refused = settings.filter(|setting| !setting["malformed"].is_null());
    let names: Vec<&str> = refused.map(|setting| setting["name"].as_str().unwrap()).collect();
    assert_eq!(names, malformed);
}

/// Checks that a host whose ledger cannot be in `folder` still exports.
fn works_without_a_file(stage: &Stage, mut command: Command, folder: &Path) {
    command.env("MPR_OTEL_LEDGER_DIR", folder);
    let (host, report) = start(command, &lane(vec![add(r"\\server\share"); 5]));
    assert_eq!((report.untracked, report.breaches.len()), (0, 0));
    stage.spans(5);
    host.end_quietly();
}

#[test]
fn a_missing_ledger_folder_is_made_only_for_its_owner() {
    let stage = Stage::new();
    let deep = stage.folder.path().join("not/there/yet");
    let mut command = stage.host();
    command.env("MPR_OTEL_LEDGER_DIR", &deep);
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    stage.spans(1);
    host.end_quietly();
    let ledger = fs::read_dir(deep).unwrap().next().unwrap().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&ledger.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn if_the_ledger_folder_is_a_file_only_the_protection_is_lost() {
    let stage = Stage::new();
    let file = stage.folder.path().join("file");
    fs::write(&file, "a file").unwrap();
    works_without_a_file(&stage, stage.host(), &file);
    assert_eq!(fs::read_to_string(&file).unwrap(), "a file");
}

#[test]
fn if_nobody_may_write_to_the_ledger_folder_only_the_protection_is_lost() {
    let stage = Stage::new();
    // /proc refuses new files to everybody, the superuser included.
    works_without_a_file(&stage, stage.host(), Path::new("/proc/self"));
}

#[test]
fn if_the_disk_is_full_only_the_protection_is_lost() {
    let stage = Stage::new();
    let small = stage.folder.path().join("small");
    fs::create_dir(&small).unwrap();
    // In its own mount and user namespaces, so that it needs no rights.
    let mount = r#"mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@""#;
    let host = stage.host();
    let mut command = stage.command("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]).arg(&small);
    command.arg(host.get_program()).args(host.get_args());
    works_without_a_file(&stage, command, &small);
}

#[test]
fn hosts_that_share_a_folder_do_not_disturb_each_other() {
    let stage = Stage::new();
    let steps = vec![add(r"\\server\share"); 20];
    let begin = |_| stage.start_in_parts(stage.host(), &steps, Stage::seen_by_hosts).0;
    let hosts: Vec<_> = (0..8).map(begin).collect();
    stage.spans(8 * 20);
    let tally = stage.tally_when(|tally| tally.exported == 8 * 20);
    assert_eq!((tally.seen, tally.lost_in_all()), (8 * 20, 0));
    assert_eq!(fs::read_dir(stage.ledgers()).unwrap().count(), 8);
    for host in hosts {
        host.end_quietly();
    }
}

#[test]
fn the_resource_names_the_machine_and_never_the_process() {
    let stage = Stage::new();
    let mut command = stage.host();
    command
        .env("MPR_OTEL_SERVICE_NAME", "desk")
        .env("MPR_OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,site=b%C3%A4r");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    let span = received(stage.request()).remove(0);
    host.end_quietly();
    assert_eq!(span.resource("service.name").as_deref(), Some("desk"));
    assert_eq!(span.resource("site").as_deref(), Some("bär"));
    assert_eq!(span.resource("os.type").as_deref(), Some("linux"));
    assert!(span.resource("host.arch").is_some());
    assert_eq!(span.resource("telemetry.sdk.language").as_deref(), Some("rust"));
    assert!(span.resource("host.name").is_some());
    assert!(span.resource.iter().all(|attribute| !attribute.key.starts_with("process.")));
    assert_eq!(span.scope, "mpr-otel");
}
