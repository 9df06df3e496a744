//! Other users of the machine, who put into the ledger folder what no host puts there: the agent
//! goes on, and nothing outside of the folder is read or changed.
//!
//! The neighbour is a C program (tests/c/neighbour.c) under a uid without a name, which only root can
//! start. Without root the test says so and passes.

#![cfg(target_os = "linux")]

use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_lab::equipment::stage::{Received, Running, Stage, add, lane, spawn, start};
use mpr_otel_lab::equipment::{repository, target};
use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A user that no machine has.
const NEIGHBOUR: &str = "65533";

/// A program of tests/c.
fn compiled(name: &str) -> PathBuf {
    let program = target().join(format!("c-{name}"));
    let source = repository().join("tests/c").join(name).with_extension("c");
    let status = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .status()
        .expect("a C compiler, `cc`, is needed; install gcc");
    assert!(status.success());
    program
}

/// A neighbour that has made its files, and what they are; `None` without the rights to start it.
fn neighbour(folder: &Path, target: &Path) -> Option<(Running, HashSet<String>)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: only root can start a program as another user");
        return None;
    }
    let mut command = Command::new(compiled("neighbour"));
    command.arg(NEIGHBOUR).arg(folder).arg(target);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut neighbour = spawn(&mut command);
    let made = neighbour.line().split_whitespace().map(str::to_owned).collect();
    Some((neighbour, made))
}

/// A folder in which every user may make files, and remove none but its own.
fn shared_folder(stage: &Stage) -> PathBuf {
    fs::set_permissions(stage.folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(stage.ledgers()).unwrap();
    fs::set_permissions(stage.ledgers(), Permissions::from_mode(0o1777)).unwrap();
    stage.ledgers()
}

/// A host that is ended before it has sent anything.
fn dead_host(stage: &Stage) {
    let mut command = stage.c("exit");
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (status, _, errors) = spawn(&mut command).end();
    assert!(status.success(), "{status}: {errors}");
}

/// A ledger that a dead host left, outside of the folder: what an agent would empty and remove if
/// it followed a link to it.
fn ledger_elsewhere(stage: &Stage) -> PathBuf {
    dead_host(stage);
    let left = LedgerFolder::new(stage.ledgers()).survey().unwrap().ledgers;
    let [ledger] = left.as_slice() else { panic!("{left:?}") };
    let elsewhere = stage.folder.path().join("elsewhere.ledger");
    fs::rename(&ledger.path, &elsewhere).unwrap();
    elsewhere
}

#[test]
fn what_neighbours_put_into_the_folder_delays_nobody_and_leads_nowhere() {
    let stage = Stage::new();
    let folder = shared_folder(&stage);
    let elsewhere = ledger_elsewhere(&stage);
    let before = fs::read(&elsewhere).unwrap();
    let Some((neighbour, made)) = neighbour(&folder, &elsewhere) else { return };
    for needed in ["link", "second-name", "pipe", "directory", "socket", "write-lease"] {
        assert!(made.contains(needed), "{needed} is not among {made:?}");
    }
    let names = fs::read_dir(&folder).unwrap().count();
    assert_eq!(names, made.len(), "{made:?}");
    let written = fs::metadata(&elsewhere).unwrap().modified().unwrap();

    // Before the agent, and under its eyes.
    dead_host(&stage);
    let agent = spawn(&mut stage.agent());
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 2]));
    let spans = stage.spans(3);
    host.end_quietly();
    let recovered = |span: &&Received| span.get("mpr.recovered").is_some();
    assert_eq!(spans.iter().filter(recovered).count(), 1);

    // The victims' ledgers go, the neighbour's files stay.
    stage.until(|| fs::read_dir(&folder).unwrap().count() == names + 1); // the agent's folder
    let ledgers = &stage.status()["ledgers"];
    assert_eq!(ledgers["agent"]["running"], true, "{ledgers}");
    assert_eq!(ledgers["unreadable"], made.len(), "{ledgers}");
    agent.interrupt();
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert_eq!(fs::metadata(&elsewhere).unwrap().modified().unwrap(), written);
    neighbour.end_quietly();
}

#[test]
fn a_folder_that_others_can_empty_is_named_by_status_and_by_the_agent() {
    let stage = Stage::new();
    let folder = shared_folder(&stage);
    let warned = |stage: &Stage| {
        let shown = stage.program().arg("status").output().unwrap();
        String::from_utf8(shown.stdout).unwrap().contains("other users may take any ledger away")
    };
    let ownership = stage.status()["ledgers"]["ownership"].clone();
    assert_eq!(
        (&ownership["owner_is_trusted"], &ownership["others_may_remove"]),
        (&true.into(), &false.into())
    );
    assert!(!warned(&stage));

    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    assert_eq!(stage.status()["ledgers"]["ownership"]["others_may_remove"], true);
    assert!(warned(&stage));
    dead_host(&stage);
    let agent = spawn(&mut stage.agent());
    stage.spans(1);
    let said = agent.interrupt();
    assert!(said.contains("other users can take ledgers out of the folder"), "{said}");
}

/// Takes as long as the agent's patience: a minute, and up to half of one more.
#[test]
fn an_agent_whose_round_does_not_end_ends_its_process_and_the_next_one_goes_on() {
    let stage = Stage::new();
    let mut command = stage.agent();
    // One round is over, so that its thread is there.
    let agent = spawn(&mut command);
    stage.until(|| stage.status()["ledgers"]["agent"]["last_round_unix_ms"].is_u64());
    let mut hold = Command::new(compiled("hold"));
    hold.arg(agent.pid().to_string()).arg("mpr-otel-agent");
    hold.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut holder = spawn(&mut hold);
    assert_eq!(holder.line(), "held");
    dead_host(&stage);
    let (status, ..) = agent.end();
    assert_eq!(status.code(), Some(1));
    assert!(holder.end().0.success());
    assert!(stage.logged().contains("the agent hangs"), "{}", stage.logged());
    let next = spawn(&mut command);
    stage.spans(1);
    next.interrupt();
}
