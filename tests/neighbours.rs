//! Other users of the machine put files into the ledger folder that no host makes. The agent goes
//! on, and nothing outside of the folder is read or changed.
//!
//! The neighbour is a C program (tests/c/neighbour.c) that runs under a uid without a name, or a
//! set of ledgers that belong to that uid. Only root can make either. Without root a test prints
//! that and passes.

#![cfg(target_os = "linux")]

use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::{Keeper, SLOT_COUNT};
use mpr_otel_lab::equipment::graveyard::{Grave, Graveyard, Host};
use mpr_otel_lab::equipment::stage::{Received, Running, Stage, add, lane, received, spawn, start};
use mpr_otel_lab::equipment::{repository, target};
use mpr_otel_lab::receiver::{Answer, Request};
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A user that no machine has. It is not trusted.
const NEIGHBOUR: u32 = 65533;
/// Another user. It is not trusted either, and does no harm.
const VICTIM: u32 = 65532;
/// The places of a ledger's first counter of losses, of its counter of exports, and of a slot's
/// times, written down a second time.
const LOST: usize = 1032;
const EXPORTED: usize = 1024;
const STARTED: usize = 24;
const ENDED: usize = 32;
const STARTED_UNIX_NANOS: usize = 40;

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

/// Whether files can be given to other users.
fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        println!("skipped: only root can act as another user");
    }
    is_root
}

/// Gives a file away.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
}

/// A dead host's ledger of this user, with so many operations on a share whose name contains the
/// user.
fn dead_ledger(yard: &Graveyard, user: u32, operations: usize) -> Grave {
    let name = format!(r"\\files\of-{user}");
    let grave = yard.dead(&vec![name.as_str(); operations]);
    give(&grave.path, user);
    grave
}

/// A live host of this user that leaves delivery to the agent, and its ledger in the folder.
fn live_host(yard: &Graveyard, user: u32) -> (Host, PathBuf) {
    // A user's own program would make the file as that user from the first byte on.
    let elsewhere = tempfile::tempdir_in(yard.path().parent().unwrap()).unwrap();
    let host = Graveyard::within(elsewhere.path()).host(Keeper::Agent);
    let made = host.ledger.path().unwrap();
    give(made, user);
    let path = yard.path().join(made.file_name().unwrap());
    fs::rename(made, &path).unwrap();
    (host, path)
}

/// The spans of this user's operations.
fn of(spans: &[Received], user: u32) -> Vec<&Received> {
    let share = Some(format!("of-{user}"));
    spans.iter().filter(|span| span.get("mpr.share.name") == share).collect()
}

/// A neighbour that has made its files, and what they are. `None` without the rights to start it.
fn neighbour(folder: &Path, target: &Path) -> Option<(Running, HashSet<String>)> {
    if !is_root() {
        return None;
    }
    let mut command = Command::new(compiled("neighbour"));
    command.arg(NEIGHBOUR.to_string()).arg(folder).arg(target);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut neighbour = spawn(&mut command);
    let made = neighbour.line().split_whitespace().map(str::to_owned).collect();
    Some((neighbour, made))
}

/// A folder in which every user may make files and remove only their own.
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

/// A ledger that a dead host left outside of the folder. An agent that followed a link to it would
/// empty and remove it.
fn ledger_elsewhere(stage: &Stage) -> PathBuf {
    dead_host(stage);
    let left = LedgerFolder::new(stage.ledgers()).list().unwrap();
    let [ledger] = left.as_slice() else { panic!("{left:?}") };
    let elsewhere = stage.folder.path().join("elsewhere.ledger");
    fs::rename(&ledger.path, &elsewhere).unwrap();
    elsewhere
}

#[test]
fn files_that_neighbours_put_into_the_folder_delay_nobody_and_lead_nowhere() {
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

    // One host dies before the agent starts, and one while the agent runs.
    dead_host(&stage);
    let agent = spawn(&mut stage.agent());
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 2]));
    let spans = stage.spans(3);
    host.end_quietly();
    let recovered = |span: &&Received| span.get("mpr.recovered").is_some();
    assert_eq!(spans.iter().filter(recovered).count(), 1);

    // The victims' ledgers are removed, and the neighbour's files stay.
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
        String::from_utf8(shown.stdout).unwrap().contains("other users may remove any ledger")
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

/// Takes as long as the agent's limit: one minute, and up to half a minute more.
#[test]
fn an_agent_whose_round_does_not_end_ends_its_process_and_the_next_one_goes_on() {
    let stage = Stage::new();
    let mut command = stage.agent();
    // One round is over, so the agent's thread runs.
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

#[test]
fn a_ledger_that_claims_too_many_losses_adds_a_bounded_number_and_hides_none() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let yard = Graveyard::within(&shared_folder(&stage));
    let agent = spawn(&mut stage.agent());
    dead_ledger(&yard, VICTIM, 30);
    stage.report_when(30, 30, 0);

    let (liar, path) = live_host(&yard, NEIGHBOUR);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&(1_u64 << 46).to_le_bytes(), EXPORTED as u64).unwrap();
    for counter in 0..6 {
        file.write_all_at(&(1_u64 << 40).to_le_bytes(), (LOST + 8 * counter) as u64).unwrap();
    }
    // How many losses a user's ledgers may claim in an hour.
    const CLAIMED: u64 = 10_000;
    stage.report_when(30 + CLAIMED, 30, CLAIMED);
    // It claims more, and ends.
    file.write_all_at(&(1_u64 << 41).to_le_bytes(), LOST as u64).unwrap();
    liar.done(r"\\files\more");
    stage.report_when(31 + CLAIMED, 31, CLAIMED);
    drop(liar);
    stage.until(|| LedgerFolder::new(stage.ledgers()).list().unwrap().is_empty());

    // The victim's operations and losses count as before.
    dead_ledger(&yard, VICTIM, 30);
    stage.report_when(61 + CLAIMED, 61, CLAIMED);
    let (unlucky, _) = live_host(&yard, VICTIM);
    for _ in 0..SLOT_COUNT {
        unlucky.begin(r"\\files\open");
    }
    assert!(unlucky.ledger.claim(0).is_none());
    drop(unlucky);
    let seen = 62 + CLAIMED + SLOT_COUNT as u64;
    stage.report_when(seen, 61 + SLOT_COUNT as u64, CLAIMED + 1);
    agent.interrupt();
}

#[test]
fn an_operation_of_three_hundred_years_or_of_2099_is_damage_and_one_of_1970_is_not() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let yard = Graveyard::within(&shared_folder(&stage));
    let year_2099 = 4_070_908_800_000_000_000_u64;
    for forged in [
        &[(STARTED, 0), (ENDED, 1 << 63)][..],
        &[(STARTED, 2), (ENDED, 1)],
        &[(STARTED_UNIX_NANOS, year_2099)],
        &[(STARTED_UNIX_NANOS, 1)],
    ] {
        let grave = dead_ledger(&yard, NEIGHBOUR, 1);
        for (place, value) in forged {
            grave.patch_slot(0, *place, &value.to_le_bytes());
        }
        grave.reseal(0);
    }
    let agent = spawn(&mut stage.agent());
    let report = stage.report_when(4, 1, 3);
    assert_eq!(report["lost"]["corrupt"], 3, "{report}");
    let span = &stage.spans(1)[0];
    assert_eq!(span.span.start_time_unix_nano, 1);
    agent.interrupt();
}

#[test]
fn ledgers_of_a_user_who_left_cost_another_user_nothing() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let yard = Graveyard::within(&shared_folder(&stage));
    // More ledgers than the limit at which a host without an agent makes no more.
    for _ in 0..600 {
        dead_ledger(&yard, NEIGHBOUR, 1);
    }
    let agent = spawn(&mut stage.agent());
    stage.until(|| stage.report()["written_unix_ms"].is_u64());
    let mut command = stage.host();
    command.env("MPR_OTEL_DELIVERY", "agent");
    let (host, report) = start(command, &lane(vec![add(r"\\files\of-65532"); 35]));
    assert_eq!(report.untracked, 0);
    host.end_quietly();
    stage.report_when(635, 635, 0);
    stage.until(|| LedgerFolder::new(stage.ledgers()).list().unwrap().is_empty());
    agent.interrupt();
}

#[test]
fn ledgers_that_a_neighbour_locks_cost_another_user_nothing_while_the_collector_is_away() {
    if !is_root() {
        return;
    }
    let stage = Stage::behaving(|_: &Request| Answer::status(503));
    let yard = Graveyard::within(&shared_folder(&stage));
    let locked: Vec<Host> = (0..500).map(|_| yard.host(Keeper::Host)).collect();
    for host in &locked {
        give(host.ledger.path().unwrap(), NEIGHBOUR);
    }
    for _ in 0..50 {
        dead_ledger(&yard, VICTIM, 20);
    }
    let agent = spawn(&mut stage.agent());
    stage.report_when(1000, 0, 0);
    stage.until(|| stage.report()["live"] == 500);
    assert_eq!(LedgerFolder::new(stage.ledgers()).list().unwrap().len(), 500);
    agent.interrupt();
}

#[test]
fn a_neighbours_many_old_ledgers_are_not_sent_before_another_users_one() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let yard = Graveyard::within(&shared_folder(&stage));
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for _ in 0..600 {
        dead_ledger(&yard, NEIGHBOUR, 20).file().set_modified(long_ago).unwrap();
    }
    dead_ledger(&yard, VICTIM, 1);
    let mut command = stage.agent();
    command.env("MPR_OTEL_BATCH_MAX", "50");
    let agent = spawn(&mut command);
    let first = received(stage.request());
    assert_eq!((of(&first, VICTIM).len(), of(&first, NEIGHBOUR).len()), (1, 49));
    agent.interrupt();
}

#[test]
fn a_user_who_names_many_servers_adds_no_more_than_two_hundred_names() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let yard = Graveyard::within(&shared_folder(&stage));
    let names: Vec<String> = (0..300).map(|server| format!(r"\\server-{server}\share")).collect();
    for names in names.chunks(100) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        give(&yard.dead(&names).path, NEIGHBOUR);
    }
    give(&yard.dead(&[r"\\files01\share"]).path, VICTIM);
    let agent = spawn(&mut stage.agent());
    let spans = stage.spans(301);
    let servers: Vec<String> =
        spans.iter().map(|span| span.get("server.address").unwrap()).collect();
    assert_eq!(servers.iter().filter(|server| *server == "other").count(), 100);
    let known: BTreeSet<&String> = servers.iter().filter(|server| *server != "other").collect();
    assert_eq!(known.len(), 201);
    assert!(known.contains(&"files01".to_owned()));
    agent.interrupt();
}
