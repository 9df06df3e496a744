//! Damaged ledgers, and files that only look like ledgers. No intake fails because of them.
//! Operations that are whole are exported, and the others are counted.

#![cfg(target_os = "linux")]

use mpr_otel_core::clock::unix_nanos;
use mpr_otel_core::intake::Intake;
use mpr_otel_core::ledger::state::Phase::Free;
use mpr_otel_core::ledger::{
    FILE_SIZE, HEADER_SIZE, HeaderImage, KIND_CANCEL, Keeper, Loss, SLOT_COUNT, SLOT_SIZE,
};
use mpr_otel_core::platform;
use mpr_otel_lab::equipment::graveyard::{
    self, Grave, Graveyard, Host, TakenOver, attribute, collect, told, without_hosts, write,
};
use mpr_otel_lab::equipment::stage::{Stage, add, lane, start};
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The places in a ledger, written down a second time. src/core/ledger/layout.rs defines them.
mod at {
    pub const VERSION: usize = 8;
    pub const SIZES: [usize; 3] = [12, 16, 20];
    pub const PID: usize = 24;
    pub const ANCHOR: usize = 32;
    pub const EXECUTABLE_UNITS: usize = 66;
    pub const ID_SEED: std::ops::Range<usize> = 592..616;
    pub const ANCHOR_MONOTONIC: usize = 616;
    pub const KEEPER: usize = 624;
    pub const COUNTERS: std::ops::Range<usize> = 1016..1112;
    pub const LOST: usize = 1032;
    pub const LAST_SEEN: usize = 1112;
    pub const LOST_TOLD: usize = 1128;

    // In a slot:
    pub const CHECKSUM: usize = 8;
    pub const SENT: usize = 16;
    pub const KIND: usize = 17;
    pub const STARTED: usize = 24;
    pub const ENDED: usize = 32;
    pub const STARTED_UNIX_NANOS: usize = 40;
    pub const STATUS: usize = 88;
    pub const LENGTHS: [usize; 3] = [92, 94, 96];
    pub const TEXT: usize = 104;
}

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 3600 * SECOND;
/// How long a file that is not a ledger is left alone.
const A_DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than any operation of a test is open.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The names and ids that the graves' slots should give. Each operation is the first of its slot.
fn expected(grave: &Grave, slots: &[(usize, &str)]) -> Vec<(String, SpanId)> {
    slots.iter().map(|(slot, name)| ((*name).to_owned(), grave.id(*slot, 1))).collect()
}

/// The expected losses.
fn losses(taken: &TakenOver) -> Vec<(&str, u64)> {
    taken.losses.iter().map(|(reason, count)| (*reason, *count)).collect()
}

/// Takes over a ledger of three operations after the middle one was damaged.
fn damaged(damage: impl Fn(&Grave)) -> (Graveyard, Grave, TakenOver) {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b", "c"]);
    damage(&grave);
    let taken = yard.take_over();
    (yard, grave, taken)
}

/// Checks that this damage loses the middle one of three operations, and only that one.
fn costs_the_middle_one(damage: impl Fn(&Grave)) {
    let (yard, grave, taken) = damaged(damage);
    assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (2, "c")]));
    assert_eq!(losses(&taken), [("corrupt", 1)]);
    assert_eq!((taken.removed, taken.sights.damaged), ((1, 1), 1));
    assert_eq!(yard.files(), (0, 1));
}

#[test]
fn an_undamaged_ledger_is_exported_with_the_ids_of_its_host_and_removed() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b", "c"]);
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (1, "b"), (2, "c")]));
    assert!(taken.spans.iter().all(|span| span.name == "mpr.add_connection"));
    assert_eq!(losses(&taken), []);
    assert_eq!((taken.removed, yard.files()), ((1, 0), (0, 0)));
}

#[test]
fn a_slot_whose_state_is_not_a_phase_loses_only_its_operation() {
    for byte in 6..=255 {
        costs_the_middle_one(|grave| grave.patch_slot(1, 0, &[byte]));
    }
}

#[test]
fn a_slot_with_an_impossible_generation_loses_only_its_operation() {
    for generation in [0, 1 << 49, u64::MAX >> 8] {
        for phase in 1..=5 {
            let state = generation << 8 | phase;
            costs_the_middle_one(|grave| grave.patch_slot(1, 0, &state.to_le_bytes()));
        }
    }
}

#[test]
fn a_slot_of_an_unknown_kind_loses_only_its_operation() {
    for kind in [0, KIND_CANCEL + 1, 255] {
        costs_the_middle_one(|grave| {
            grave.patch_slot(1, at::KIND, &[kind]);
            grave.reseal(1);
        });
    }
}

#[test]
fn names_that_do_not_fit_their_slot_lose_only_its_operation() {
    for length in at::LENGTHS {
        for units in [321_u16, 0x8000, u16::MAX] {
            costs_the_middle_one(|grave| {
                grave.patch_slot(1, length, &units.to_le_bytes());
                grave.reseal(1);
            });
        }
    }
    // Each name fits alone, but not all of them together.
    let lengths = [200_u16, 100, 21].map(u16::to_le_bytes);
    costs_the_middle_one(|grave| {
        grave.patch_slot(1, at::LENGTHS[0], lengths.as_flattened());
        grave.reseal(1);
    });
}

#[test]
fn a_slot_of_which_only_the_state_was_written_loses_only_its_operation() {
    costs_the_middle_one(|grave| grave.patch_slot(1, 8, &[0; SLOT_SIZE - 8]));
}

#[test]
fn a_slot_that_is_free_or_whose_operation_was_sent_as_unfinished_loses_nothing() {
    let damages: [fn(&Grave); 2] =
        [|grave| grave.patch_slot(1, 0, &[0]), |grave| grave.patch_slot(1, at::SENT, &[3])];
    for damage in damages {
        let (yard, grave, taken) = damaged(damage);
        assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (2, "c")]));
        assert_eq!(losses(&taken), []);
        assert_eq!((taken.removed, yard.files()), ((1, 0), (0, 0)));
    }
}

#[test]
fn a_wrong_but_possible_generation_changes_only_the_id_of_its_operation() {
    let state: u64 = 1 << 40 | 4;
    let (_, grave, taken) = damaged(|grave| grave.patch_slot(1, 0, &state.to_le_bytes()));
    let mut ids = expected(&grave, &[(0, "a"), (1, "b"), (2, "c")]);
    ids[1].1 = grave.id(1, 1 << 32);
    assert_eq!(told(&taken.spans), ids);
    assert_eq!((losses(&taken), taken.removed), (vec![], (1, 0)));
}

#[test]
fn an_operation_whose_pre_had_not_returned_is_counted_and_is_not_damage() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    let (_, mut claim) = host.ledger.claim(0).unwrap();
    write(&mut claim, "half");
    let grave = host.die();
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a")]));
    assert_eq!(losses(&taken), [("corrupt", 1)]);
    assert_eq!((taken.removed, yard.files()), ((1, 0), (0, 0)));
}

#[test]
fn an_operation_whose_post_was_being_written_is_unfinished_and_has_no_provider() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    let (_, context) = host.begin("b");
    let (_, mut completion) = host.ledger.complete(context).unwrap();
    completion.status = 53;
    completion.provider_units = u16::MAX;
    // The thread ends with its process.
    std::mem::forget(completion);
    let grave = host.die();
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (1, "b")]));
    let cut = span_of(&taken, "b");
    assert_eq!(attribute(cut, "mpr.outcome").as_deref(), Some("unfinished"));
    assert_eq!(attribute(cut, "mpr.status.code"), None);
    assert_eq!(attribute(cut, "mpr.provider.name"), None);
    assert_eq!((losses(&taken), taken.removed), (vec![], (1, 0)));
}

/// The span of the operation with this name.
fn span_of<'a>(taken: &'a TakenOver, name: &str) -> &'a SpanData {
    taken.spans.iter().find(|span| graveyard::remote_name(span) == name).unwrap()
}

/// Flips every bit of these bytes, one at a time, in a ledger with two operations. After each flip,
/// the second operation is exported, or the file is copied or not touched.
fn flip(bytes: std::ops::Range<usize>) {
    let yard = Graveyard::new();
    let grave = yard.dead(&["flipped", "healthy"]);
    let image = grave.bytes();
    let mut exported = 0;
    for offset in bytes.clone() {
        for bit in 0..8 {
            let mut used = image[..HEADER_SIZE + 2 * SLOT_SIZE].to_vec();
            used[offset] ^= 1 << bit;
            fs::write(&grave.path, &used).unwrap();
            grave.resize(FILE_SIZE as u64);
            let place = format!("byte {offset}, bit {bit}");

            let taken = yard.take_over();
            let spans = told(&taken.spans);
            assert!(spans.len() <= 2, "{place}");
            let healthy = spans.iter().find(|(name, _)| name == "healthy");
            if let Some((_, id)) = healthy {
                if !at::ID_SEED.contains(&offset) {
                    assert_eq!(*id, grave.id(1, 1), "{place}");
                }
                assert_eq!(taken.removed.0, 1, "{place}");
                exported += 1;
            } else if taken.sights.refused == 1 {
                assert_eq!((&grave.bytes()[..used.len()], spans.len()), (&*used, 0), "{place}");
                fs::remove_file(&grave.path).unwrap();
            } else {
                assert_eq!((taken.removed, taken.sights.damaged), ((1, 1), 1), "{place}");
            }
            assert_eq!(yard.files().0, 0, "{place}");
        }
    }
    // Only a small part of these bytes says what the file is.
    assert!(exported > bytes.len() * 8 - 8 * 64, "{exported}");
}

#[test]
fn no_flipped_bit_in_the_first_half_of_the_header_loses_more_than_the_file() {
    flip(0..HEADER_SIZE / 2);
}

#[test]
fn no_flipped_bit_in_the_second_half_of_the_header_loses_more_than_the_file() {
    flip(HEADER_SIZE / 2..HEADER_SIZE);
}

#[test]
fn no_flipped_bit_in_a_slot_loses_another_slot() {
    flip(HEADER_SIZE..HEADER_SIZE + SLOT_SIZE);
}

/// Checks that a file has not been changed or moved, and that nothing was taken.
fn untouched(yard: &Graveyard, grave: &Grave, taken: &TakenOver, before: &[u8]) {
    assert!(grave.bytes() == before, "it was written to");
    assert_eq!((taken.spans.len(), losses(taken), taken.removed), (0, vec![], (0, 0)));
    assert_eq!(yard.files(), (1, 0));
}

#[test]
fn a_file_without_a_ledgers_magic_is_left_alone_for_a_day_and_then_removed() {
    let damages: [fn(&Grave); 5] = [
        |grave| grave.resize(1),
        |grave| grave.resize(7),
        |grave| grave.resize(8),
        |grave| grave.resize(HEADER_SIZE as u64 - 1),
        |grave| grave.patch(0, b"XPROTEL"),
    ];
    for damage in damages {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a", "b"]);
        damage(&grave);
        let before = grave.bytes();
        let (mut intake, now) = (yard.intake(PATIENCE), Instant::now());
        for now in [now, now + A_DAY - Duration::from_secs(1)] {
            let taken = yard.take_over_by(&mut intake, now);
            untouched(&yard, &grave, &taken, &before);
            assert_eq!(taken.sights.refused, 1);
        }
        // The file is looked at again after an hour at most.
        let taken = yard.take_over_by(&mut intake, now + A_DAY + Duration::from_secs(3600));
        assert_eq!((taken.spans.len(), losses(&taken), yard.files()), (0, vec![], (0, 0)));
        assert_eq!(taken.sights.refused, 0);
    }
}

#[test]
fn a_file_with_the_magic_and_an_invalid_header_is_copied_and_removed_at_once() {
    let damages: [fn(&Grave); 6] = [
        |grave| grave.patch(at::VERSION, &0_u32.to_le_bytes()),
        |grave| grave.patch(at::SIZES[0], &[1]),
        |grave| grave.patch(at::SIZES[1], &[1]),
        |grave| grave.patch(at::SIZES[2], &[1]),
        |grave| grave.patch(at::EXECUTABLE_UNITS, &[0xFF, 0xFF]),
        // A keeper that no version has.
        |grave| grave.patch(at::KEEPER, &[2]),
    ];
    for damage in damages {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a"]);
        damage(&grave);
        let bytes = grave.bytes();
        let taken = yard.take_over();
        assert_eq!((taken.spans.len(), losses(&taken), taken.removed), (0, vec![], (1, 1)));
        assert_eq!(copies(&yard), [(grave.path.file_name().unwrap().into(), bytes)]);
        assert_eq!(yard.files(), (0, 1));
    }
}

/// Names and bytes of the copies of damaged ledgers.
fn copies(yard: &Graveyard) -> Vec<(PathBuf, Vec<u8>)> {
    let owners = fs::read_dir(yard.damaged()).unwrap();
    let files = owners.flat_map(|owner| fs::read_dir(owner.unwrap().path()).unwrap());
    let named = |file: fs::DirEntry| (file.file_name().into(), fs::read(file.path()).unwrap());
    files.map(|file| named(file.unwrap())).collect()
}

#[test]
fn one_megabyte_of_damaged_ledgers_is_kept_for_each_owner_and_all_are_removed() {
    let yard = Graveyard::new();
    for _ in 0..20 {
        yard.dead(&["a", "b"]).patch_slot(1, 0, &[77]);
    }
    let taken = yard.take_over();
    assert_eq!((taken.spans.len(), losses(&taken)), (20, vec![("corrupt", 20)]));
    assert_eq!((taken.removed, taken.sights.damaged), ((20, 20), 8));
    assert_eq!(yard.files(), (0, 8));
    assert_eq!(copies(&yard).iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 1 << 20);
    // A person who has read the copies removes them to make room.
    fs::remove_dir_all(fs::read_dir(yard.damaged()).unwrap().next().unwrap().unwrap().path())
        .unwrap();
    yard.dead(&["a"]).patch_slot(0, 0, &[77]);
    assert_eq!(yard.take_over().sights.damaged, 1);
}

#[test]
fn rounds_go_on_until_everything_is_taken() {
    let yard = Graveyard::new();
    for _ in 0..300 {
        yard.dead(&["a"]);
    }
    let taken = yard.take_over();
    assert_eq!((taken.spans.len(), taken.removed, yard.files().0), (300, (300, 0), 0));
}

/// Checks that a ledger of this length, whose first two operations are `a` and `b`, gives the
/// operations that it still has, and is copied.
fn of_length(length: u64, has: &[(usize, &str)]) {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b"]);
    grave.resize(length);
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(&grave, has), "{length}");
    assert_eq!((losses(&taken), taken.removed), (vec![], (1, 1)), "{length}");
    assert_eq!(yard.files(), (0, 1), "{length}");
}

#[test]
fn a_ledger_of_the_wrong_length_gives_what_it_has_and_is_copied() {
    let slot = |half: usize| (HEADER_SIZE + half * SLOT_SIZE / 2) as u64;
    of_length(HEADER_SIZE as u64, &[]);
    of_length(slot(1), &[]);
    of_length(slot(2), &[(0, "a")]);
    of_length(slot(3), &[(0, "a")]);
    of_length(slot(4), &[(0, "a"), (1, "b")]);
    of_length(FILE_SIZE as u64 - 1, &[(0, "a"), (1, "b")]);
    of_length(FILE_SIZE as u64 + 1, &[(0, "a"), (1, "b")]);
    // The file is sparse, so it needs no space.
    of_length(1 << 36, &[(0, "a"), (1, "b")]);
}

#[test]
fn a_ledger_of_a_newer_version_is_left_as_it_is() {
    for version in [3, u32::MAX] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a"]);
        grave.patch(at::VERSION, &u32::to_le_bytes(version));
        let before = grave.bytes();
        let (mut intake, now) = (yard.intake(PATIENCE), Instant::now());
        for now in [now, now + 2 * A_DAY] {
            let taken = yard.take_over_by(&mut intake, now);
            untouched(&yard, &grave, &taken, &before);
            assert_eq!(taken.sights.refused, 1);
        }
    }
}

#[test]
fn a_ledger_that_was_never_finished_is_removed_after_a_minute_and_is_not_damage() {
    // The host died before it gave the file its size or wrote the magic, or the machine lost power
    // before the first page was written.
    let births: [fn(&Grave); 3] = [
        |grave| grave.resize(0),
        |grave| grave.patch(0, &[0; FILE_SIZE]),
        |grave| grave.patch(0, &[0; 8]),
    ];
    for birth in births {
        for (date, lost) in [(None, vec![]), (Some(long_ago()), vec![("power_loss", 1)])] {
            let yard = Graveyard::new();
            let grave = yard.dead(&["a"]);
            birth(&grave);
            if let Some(date) = date {
                grave.file().set_modified(date).unwrap();
            }
            let before = grave.bytes();
            let (mut intake, now) = (yard.intake(PATIENCE), Instant::now());
            for seconds in [0, 30, 59] {
                let now = now + Duration::from_secs(seconds);
                let taken = yard.take_over_by(&mut intake, now);
                untouched(&yard, &grave, &taken, &before);
                assert_eq!((taken.sights.live, taken.sights.refused), (1, 0));
            }
            let taken = yard.take_over_by(&mut intake, now + Duration::from_secs(90));
            assert_eq!((taken.spans.len(), losses(&taken)), (0, lost));
            assert_eq!((taken.removed, yard.files()), ((0, 0), (0, 0)));
        }
    }
}

/// A date before the machine's boot.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

#[test]
fn a_ledger_that_a_live_host_is_making_is_left_alone_however_long_that_takes() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Agent);
    let path = host.ledger.path().unwrap().to_path_buf();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 8], 0).unwrap();
    file.set_modified(long_ago()).unwrap();
    let (mut intake, now) = (yard.intake(PATIENCE), Instant::now());
    for now in [now, now + 2 * A_DAY] {
        let taken = yard.take_over_by(&mut intake, now);
        assert_eq!((taken.sights.live, taken.sights.refused, losses(&taken)), (1, 0, vec![]));
        assert!(path.exists());
    }
}

#[test]
fn a_slot_that_does_not_fit_its_checksum_loses_only_its_operation() {
    for (place, bytes) in [
        (at::CHECKSUM, &[0_u8; 8][..]),
        (at::STARTED, &[9]),
        (at::ENDED, &[9]),
        (at::STATUS, &[53]),
        (at::LENGTHS[0], &[0]),
        (at::TEXT, b"x"),
    ] {
        costs_the_middle_one(|grave| grave.patch_slot(1, place, bytes));
    }
}

#[test]
fn a_half_written_slot_of_an_earlier_boot_is_lost_by_power_loss_and_is_not_damage() {
    let boot = platform::boot_id();
    for (boot, reason, damaged) in
        [(boot ^ 1, "power_loss", 0), (boot, "corrupt", 1), (0, "corrupt", 1)]
    {
        let yard = Graveyard::new();
        let host = yard.host_of_boot(Keeper::Host, boot);
        for name in ["a", "b", "c"] {
            host.done(name);
        }
        host.begin("d");
        let (_, mut claim) = host.ledger.claim(0).unwrap();
        write(&mut claim, "half");
        let grave = host.die();
        grave.patch_slot(1, at::CHECKSUM, &[0; 8]);
        let taken = yard.take_over();
        assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (2, "c"), (3, "d")]));
        assert_eq!(losses(&taken), [(reason, 2)]);
        assert_eq!((taken.removed, yard.files()), ((1, damaged), (0, damaged as usize)));
    }
}

#[test]
fn the_checksum_leaves_out_the_text_behind_the_names_and_what_was_sent() {
    let (_, grave, taken) = damaged(|grave| {
        grave.patch_slot(1, at::TEXT + 2, &[77; 638]);
        grave.patch_slot(1, at::SENT, &[1]);
    });
    assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (1, "b"), (2, "c")]));
    assert_eq!((losses(&taken), taken.removed), (vec![], (1, 0)));
}

#[test]
fn slots_of_zeros_under_a_good_header_hold_nothing() {
    let yard = Graveyard::new();
    yard.dead(&["a"]).patch(HEADER_SIZE, &[0; FILE_SIZE - HEADER_SIZE]);
    let taken = yard.take_over();
    assert_eq!((taken.spans.len(), losses(&taken), taken.removed), (0, vec![], (1, 0)));
    assert_eq!(yard.files(), (0, 0));
}

/// An intake that has listed the folder now.
fn listed(yard: &Graveyard) -> (Intake, Instant) {
    let (mut intake, now) = (yard.intake(PATIENCE), Instant::now());
    intake.list(now).unwrap();
    (intake, now)
}

#[test]
fn a_file_that_shrinks_or_grows_before_its_round_is_concluded_is_exported_and_removed() {
    for length in [0, 1, HEADER_SIZE, HEADER_SIZE + SLOT_SIZE / 2, 1 << 36] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a", "b"]);
        let (mut intake, now) = listed(&yard);
        let round = collect(&mut intake, now);
        grave.resize(length as u64);
        assert_eq!(told(&graveyard::spans(&round)), expected(&grave, &[(0, "a"), (1, "b")]));
        intake.conclude(round, now);
        assert_eq!(yard.files(), (0, 0));
        let taken = yard.take_over_by(&mut intake, now);
        assert_eq!((taken.spans.len(), losses(&taken), taken.sights.refused), (0, vec![], 0));
    }
}

#[test]
fn a_file_that_keeps_changing_its_length_does_not_end_the_intake() {
    for round in 0..100 {
        let yard = Graveyard::new();
        let names: Vec<String> = (0..70).map(|name| name.to_string()).collect();
        let grave = yard.dead(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let file = grave.file();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let lengths = [HEADER_SIZE + 3 * SLOT_SIZE, FILE_SIZE, HEADER_SIZE, FILE_SIZE, 0];
                for length in lengths.iter().cycle().skip(round) {
                    file.set_len(*length as u64).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let mut operations = 0;
            for _ in 0..5 {
                let taken = yard.take_over();
                operations += taken.spans.len() + taken.lost("corrupt") as usize;
            }
            stop.store(true, Ordering::Relaxed);
            assert!(operations <= names.len());
        });
    }
}

/// Runs a test again in its own mount and user namespaces, with a small file system at a folder.
/// There this returns the folder, and here it returns nothing.
fn in_a_small_folder(test: &str) -> Option<PathBuf> {
    const FOLDER: &str = "MPR_OTEL_TEST_SMALL_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = r#"mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(FOLDER, folder.path());
    let output = without_hosts(|| command.output().unwrap());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

#[test]
fn a_live_hosts_ledger_that_cannot_be_written_to_is_left_alone_for_an_hour() {
    let test = "a_live_hosts_ledger_that_cannot_be_written_to_is_left_alone_for_an_hour";
    let Some(folder) = in_a_small_folder(test) else { return };
    let yard = Graveyard::within(&folder);
    let host = yard.host(Keeper::Agent);
    host.done("a");
    let (mut intake, now) = listed(&yard);
    let round = collect(&mut intake, now);
    assert_eq!(graveyard::spans(&round).len(), 1);
    // The pages of the slots are given back to the system, and there is no room for new ones.
    let path = host.ledger.path().unwrap().to_path_buf();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut bytes = vec![0; FILE_SIZE];
    file.read_exact_at(&mut bytes, 0).unwrap();
    file.set_len(HEADER_SIZE as u64).unwrap();
    file.set_len(FILE_SIZE as u64).unwrap();
    let filler = folder.join("filler");
    let full = fs::write(&filler, vec![1; 4 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    intake.conclude(round, now);
    assert_eq!(intake.sights().refused, 1);
    // There is room again, and the operations are still there.
    fs::remove_file(filler).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let minute = Duration::from_secs(60);
    assert_eq!(yard.take_over_by(&mut intake, now + 59 * minute).spans.len(), 0);
    assert_eq!(yard.take_over_by(&mut intake, now + 60 * minute).spans.len(), 1);
    assert_eq!(yard.take_over_by(&mut intake, now + 60 * minute).spans.len(), 0);
}

#[test]
fn a_ledger_that_cannot_be_removed_is_taken_over_once() {
    let Some(folder) = in_a_small_folder("a_ledger_that_cannot_be_removed_is_taken_over_once")
    else {
        return;
    };
    let yard = Graveyard::within(&folder);
    let host = yard.host(Keeper::Host);
    host.done("a");
    host.begin("b");
    let (_, mut claim) = host.ledger.claim(0).unwrap();
    write(&mut claim, "half");
    host.ledger.header().count_lost(Loss::TableFull, 3);
    let grave = host.die();
    let mounts = |program: &str| {
        let mut command = Command::new(program);
        if program == "mount" {
            command.arg("--bind").arg(&grave.path);
        }
        assert!(command.arg(&grave.path).status().unwrap().success());
    };
    let (mut intake, now) = listed(&yard);
    let round = collect(&mut intake, now);
    // A mount point cannot be removed.
    mounts("mount");
    let mut taken = TakenOver::default();
    taken.add(&round);
    intake.conclude(round, now);
    assert_eq!((intake.sights().refused, yard.files().0), (1, 1));
    assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (1, "b")]));
    assert_eq!(losses(&taken), [("corrupt", 1), ("table_full", 3)]);
    mounts("umount");
    for minutes in [59, 60] {
        let now = now + Duration::from_secs(60 * minutes);
        let taken = yard.take_over_by(&mut intake, now);
        assert_eq!((taken.spans.len(), losses(&taken)), (0, vec![]));
        assert_eq!(yard.files(), (usize::from(minutes < 60), 0));
    }
}

/// A file outside of the folder that must not be touched. It has the form of a ledger that would be
/// taken over.
struct Precious {
    _folder: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Precious {
    fn new() -> Self {
        let yard = Graveyard::new();
        let bytes = yard.dead(&["precious"]).bytes();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, &bytes).unwrap();
        Self { _folder: folder, path, bytes }
    }

    fn is_untouched(&self) {
        assert!(fs::read(&self.path).unwrap() == self.bytes, "it was written to");
    }
}

/// Checks that nothing is read, written or removed if `make` makes something in a ledger's place.
fn is_refused(mut make: impl FnMut(&Path, &Path)) {
    let precious = Precious::new();
    let yard = Graveyard::new();
    let place = yard.path().join("1-0123456789abcdef.ledger");
    make(&precious.path, &place);
    let (mut intake, now) = (yard.intake(PATIENCE), Instant::now());
    for now in [now, now + 2 * A_DAY] {
        let taken = yard.take_over_by(&mut intake, now);
        assert_eq!((taken.spans.len(), losses(&taken), taken.removed), (0, vec![], (0, 0)));
        assert_eq!((taken.sights.refused, yard.files()), (1, (1, 0)));
    }
    precious.is_untouched();
}

#[test]
fn a_symbolic_link_in_a_ledgers_place_is_refused() {
    is_refused(|precious, place| symlink(precious, place).unwrap());
}

#[test]
fn a_second_name_of_another_file_in_a_ledgers_place_is_refused() {
    is_refused(|precious, place| fs::hard_link(precious, place).unwrap());
}

#[test]
fn a_folder_in_a_ledgers_place_is_refused() {
    is_refused(|_, place| fs::create_dir(place).unwrap());
}

#[test]
fn a_pipe_in_a_ledgers_place_is_refused_without_waiting_for_its_other_end() {
    let pipes = tempfile::tempdir().unwrap();
    let pipe = pipes.path().join("pipe");
    let made = without_hosts(|| Command::new("mkfifo").arg(&pipe).status().unwrap());
    assert!(made.success());
    is_refused(|_, place| fs::rename(&pipe, place).unwrap());
}

#[test]
fn a_file_that_replaces_a_ledger_before_its_round_is_concluded_is_not_removed() {
    let swaps: [fn(&Path, &Path); 3] = [
        |precious, place| symlink(precious, place).unwrap(),
        |precious, place| fs::hard_link(precious, place).unwrap(),
        |precious, place| assert!(fs::copy(precious, place).unwrap() > 0),
    ];
    for swap in swaps {
        for damaged in [false, true] {
            let precious = Precious::new();
            let yard = Graveyard::new();
            let grave = yard.dead(&["a", "b"]);
            if damaged {
                grave.patch_slot(1, at::CHECKSUM, &[0; 8]);
            }
            let (mut intake, now) = listed(&yard);
            let round = collect(&mut intake, now);
            let elsewhere = yard.path().join("elsewhere");
            fs::rename(&grave.path, &elsewhere).unwrap();
            swap(&precious.path, &grave.path);
            assert!(told(&graveyard::spans(&round)).starts_with(&expected(&grave, &[(0, "a")])));
            intake.conclude(round, now);
            precious.is_untouched();
            assert!(fs::symlink_metadata(&grave.path).is_ok() && elsewhere.exists());
        }
    }
}

/// A ledger of a host that made four operations and exported the first two itself.
fn half_exported(yard: &Graveyard) -> Grave {
    let host = yard.host(Keeper::Host);
    for name in ["a", "b", "c", "d"] {
        host.done(name);
    }
    host.export(0);
    host.export(1);
    host.die()
}

/// Checks that the other two of such a ledger are exported, and no losses are counted.
fn two_wait(yard: &Graveyard, grave: &Grave) {
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(grave, &[(2, "c"), (3, "d")]));
    assert!(taken.spans.iter().all(|span| attribute(span, "mpr.lost").is_none()));
    assert_eq!((losses(&taken), taken.removed), (vec![], (1, 0)));
}

#[test]
fn an_operation_that_its_host_exported_is_not_exported_again() {
    let yard = Graveyard::new();
    let grave = half_exported(&yard);
    two_wait(&yard, &grave);
}

#[test]
fn impossible_counters_claim_no_losses() {
    for counter in at::COUNTERS.step_by(8) {
        for value in [1 << 49, u64::MAX] {
            let yard = Graveyard::new();
            let grave = half_exported(&yard);
            grave.patch(counter, &u64::to_le_bytes(value));
            two_wait(&yard, &grave);
        }
    }
}

#[test]
fn losses_that_no_span_has_reported_are_counted_by_reason_and_reported_by_one_span() {
    let lost = [3, 0, 2, 4, 0, 1];
    for (reported, counted) in [
        (0, &[("corrupt", 1), ("ledger_unavailable", 2), ("rejected", 4), ("table_full", 3)][..]),
        (2, &[("corrupt", 1), ("ledger_unavailable", 2), ("rejected", 4), ("table_full", 1)]),
        (4, &[("corrupt", 1), ("ledger_unavailable", 1), ("rejected", 4)]),
        (9, &[("corrupt", 1)]),
        (10, &[]),
        (u64::MAX, &[]),
    ] {
        let yard = Graveyard::new();
        let grave = half_exported(&yard);
        grave.patch(at::LOST, lost.map(u64::to_le_bytes).as_flattened());
        grave.patch(at::LOST_TOLD, &u64::to_le_bytes(reported));
        let taken = yard.take_over();
        assert_eq!(losses(&taken), counted);
        let sum = counted.iter().map(|(_, count)| count).sum::<u64>();
        let said = |name| attribute(span_of(&taken, name), "mpr.lost");
        assert_eq!(said("c"), Some(sum.to_string()).filter(|_| sum > 0));
        assert_eq!(said("d"), None);
        assert_eq!(yard.files(), (0, 0));
    }
}

#[test]
fn losses_of_a_host_without_operations_are_counted() {
    let yard = Graveyard::new();
    let grave = yard.dead(&[]);
    grave.patch(at::LOST, &7_u64.to_le_bytes());
    assert_eq!(losses(&yard.take_over()), [("table_full", 7)]);
}

#[test]
fn losses_of_a_live_host_are_counted_once() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Agent);
    let lose = |count| host.ledger.header().count_lost(Loss::TableFull, count);
    let mut intake = yard.intake(PATIENCE);
    let mut counted = |yard: &Graveyard| yard.take_over_by(&mut intake, Instant::now()).losses;
    lose(2);
    assert_eq!(counted(&yard), [("table_full", 2)].into());
    assert_eq!(host.ledger.header().lost_told(), 2);
    assert_eq!(counted(&yard), [].into());
    lose(1);
    assert_eq!(yard.take_over().losses, [("table_full", 1)].into());
    assert_eq!(counted(&yard), [].into());
    host.die();
    assert_eq!(counted(&yard), [].into());
    assert_eq!(yard.files(), (0, 0));
}

#[test]
fn an_operation_that_was_counted_and_not_freed_is_taken_over_with_its_id() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    host.done("b");
    host.export(0);
    // The host died at this moment.
    host.ledger.header().count_exported(1);
    let grave = host.die();
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(&grave, &[(1, "b")]));
    assert_eq!((losses(&taken), taken.removed), (vec![], (1, 0)));
}

#[test]
fn a_process_id_that_another_process_has_by_now_means_nothing() {
    for pid in [std::process::id(), 1, 0, u32::MAX] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a"]);
        grave.patch(at::PID, &pid.to_le_bytes());
        let taken = yard.take_over();
        assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a")]));
        assert_eq!(attribute(&taken.spans[0], "process.pid"), Some(pid.to_string()));
        assert_eq!(yard.files(), (0, 0));
    }
}

/// Checks that the spans end after they begin, and that a request can be made of them.
fn can_be_sent(spans: &[SpanData]) {
    for span in spans {
        assert!(span.start_time <= span.end_time);
        let sent = opentelemetry_proto::tonic::trace::v1::Span::from(span.clone());
        assert!(sent.start_time_unix_nano <= sent.end_time_unix_nano);
    }
}

/// Checks that an operation is exported with these changes to its slot, or that only this operation
/// of its ledger is corrupt.
fn is_exported(exported: bool, change: impl Fn(&Grave)) {
    let yard = Graveyard::new();
    let grave = yard.dead(&["changed", "healthy"]);
    change(&grave);
    grave.reseal(0);
    let taken = yard.take_over();
    let slots = [(0, "changed"), (1, "healthy")];
    assert_eq!(told(&taken.spans), expected(&grave, &slots[usize::from(!exported)..]));
    can_be_sent(&taken.spans);
    assert_eq!(losses(&taken), if exported { vec![] } else { vec![("corrupt", 1)] });
    assert_eq!(
        (taken.removed, yard.files().1),
        ((1, u64::from(!exported)), (usize::from(!exported)))
    );
}

#[test]
fn an_operation_that_took_less_than_no_time_or_more_than_a_week_is_corrupt() {
    for (started, ended, exported) in [
        (5, 4, false),
        (5, 0, false),
        (5, 5, true),
        (5, 5 + 7 * DAY, true),
        (5, 6 + 7 * DAY, false),
        (0, u64::MAX, false),
    ] {
        is_exported(exported, |grave| {
            grave.patch_slot(0, at::STARTED, &u64::to_le_bytes(started));
            grave.patch_slot(0, at::ENDED, &u64::to_le_bytes(ended));
        });
    }
}

/// Dates at which an operation may have begun, or may not. Each is at least an hour away from the
/// limit.
fn dates() -> [(u64, bool); 7] {
    let now = unix_nanos(SystemTime::now());
    let (hour, year) = (3600 * SECOND, 365 * DAY);
    [
        (1, true),
        (now - 10 * year, true),
        (now + DAY - hour, true),
        (now + DAY + hour, false),
        // 2099.
        (4_070_908_800 * SECOND, false),
        (i64::MAX as u64, false),
        (u64::MAX, false),
    ]
}

#[test]
fn an_operation_that_began_more_than_a_day_from_now_is_corrupt() {
    for (date, exported) in dates() {
        is_exported(exported, |grave| {
            grave.patch_slot(0, at::STARTED_UNIX_NANOS, &date.to_le_bytes());
        });
    }
}

#[test]
fn operations_without_a_date_get_their_ledgers_date() {
    for (anchor, exported) in dates().into_iter().chain([(0, true)]) {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a", "b"]);
        grave.patch(at::ANCHOR, &anchor.to_le_bytes());
        let taken = yard.take_over();
        let slots = [(0, "a"), (1, "b")];
        assert_eq!(told(&taken.spans), expected(&grave, &slots[..if exported { 2 } else { 0 }]));
        can_be_sent(&taken.spans);
        assert_eq!(losses(&taken), if exported { vec![] } else { vec![("corrupt", 2)] });
        assert_eq!(yard.files().0, 0);
    }
}

#[test]
fn an_operation_left_open_ended_at_the_latest_time_in_its_ledger() {
    for (last_seen, started, ended) in [
        // The other operation ended after one millisecond.
        (0, 1, 1_000_001),
        (0, 7_000_000, 7_000_000),
        (9_000_000, 7_000_000, 9_000_000),
        (7 * DAY + 1, 1, 7 * DAY + 1),
    ] {
        let yard = Graveyard::new();
        let host = yard.host(Keeper::Host);
        host.done("a");
        host.begin("b");
        let grave = host.die();
        grave.patch(at::LAST_SEEN, &u64::to_le_bytes(last_seen));
        grave.patch_slot(1, at::STARTED, &u64::to_le_bytes(started));
        let taken = yard.take_over();
        assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (1, "b")]));
        let open = span_of(&taken, "b");
        let took = open.end_time.duration_since(open.start_time).unwrap();
        assert_eq!(took, Duration::from_nanos(ended - started));
    }
}

#[test]
fn a_damaged_end_loses_no_operation_that_was_open() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    host.begin("b");
    let grave = host.die();
    grave.patch_slot(0, at::ENDED, &u64::MAX.to_le_bytes());
    let taken = yard.take_over();
    assert_eq!(told(&taken.spans), expected(&grave, &[(1, "b")]));
    assert_eq!(losses(&taken), [("corrupt", 1)]);
}

/// The monotonic clock starts at zero when the machine restarts. The ledger's anchor keeps its
/// date.
#[test]
fn a_ledger_from_before_a_restart_of_the_machine_is_exported_with_its_own_dates() {
    for keeper in [Keeper::Host, Keeper::Agent] {
        let yard = Graveyard::new();
        let host = yard.host(keeper);
        host.done("a");
        host.begin("b");
        let grave = host.die();
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        grave.patch(at::ANCHOR, &1_700_000_000_000_000_000_u64.to_le_bytes());
        grave.patch(at::ANCHOR_MONOTONIC, &(u64::MAX / 2).to_le_bytes());
        let second = Duration::from_secs(1);
        grave.patch(at::LAST_SEEN, &(3 * second.as_nanos() as u64).to_le_bytes());
        for (slot, ended) in [(0, 2 * second), (1, Duration::ZERO)] {
            grave.patch_slot(slot, at::STARTED, &(second.as_nanos() as u64).to_le_bytes());
            grave.patch_slot(slot, at::ENDED, &(ended.as_nanos() as u64).to_le_bytes());
            grave.reseal(slot);
        }
        let taken = yard.take_over();
        assert_eq!(told(&taken.spans), expected(&grave, &[(0, "a"), (1, "b")]));
        let ends: Vec<SystemTime> = taken.spans.iter().map(|span| span.end_time).collect();
        assert!(taken.spans.iter().all(|span| span.start_time == began + second));
        assert_eq!(ends, [began + 2 * second, began + 3 * second]);
    }
}

#[test]
fn a_second_intake_gets_nothing_until_the_round_of_the_first_is_over() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a"]);
    let (mut intake, now) = listed(&yard);
    let round = collect(&mut intake, now);
    let taken = yard.take_over();
    assert_eq!((taken.spans.len(), taken.sights.live, taken.removed), (0, 1, (0, 0)));
    drop(round);
    assert_eq!(told(&yard.take_over().spans), expected(&grave, &[(0, "a")]));
}

#[test]
fn a_round_that_is_dropped_is_found_again_with_the_same_ids_and_losses() {
    for keeper in [Keeper::Host, Keeper::Agent] {
        for lives in [false, true] {
            let yard = Graveyard::new();
            let host = yard.host(keeper);
            if lives && keeper == Keeper::Host {
                continue;
            }
            host.done("a");
            host.done("b");
            host.ledger.header().count_lost(Loss::TableFull, 2);
            let path = host.ledger.path().unwrap().to_path_buf();
            let living = lives.then_some(host);
            let before = fs::read(&path).unwrap();
            let found = || {
                let (mut intake, now) = listed(&yard);
                let round = collect(&mut intake, now);
                let mut taken = TakenOver::default();
                taken.add(&round);
                (told(&taken.spans), taken.losses, taken.removed)
            };
            let first = found();
            assert_eq!((first.0.len(), &first.1), (2, &[("table_full", 2)].into()));
            assert_eq!(found(), first);
            assert!(fs::read(&path).unwrap() == before, "it was written to");
            let last = yard.take_over();
            assert_eq!((told(&last.spans), last.losses, last.removed), first);
            assert_eq!(yard.files().0, usize::from(lives));
            assert_eq!(yard.take_over().spans.len(), 0);
            drop(living);
        }
    }
}

#[test]
fn a_damaged_slot_of_a_live_host_loses_only_its_operation_and_is_free_again() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Agent);
    let slots = ["a", "b", "c"].map(|name| host.done(name));
    let path = host.ledger.path().unwrap().to_path_buf();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let place = HEADER_SIZE + slots[1] * SLOT_SIZE + at::CHECKSUM;
    file.write_all_at(&[0; 8], place as u64).unwrap();
    let mut intake = yard.intake(PATIENCE);
    let taken = yard.take_over_by(&mut intake, Instant::now());
    let whole = |name: &str, slot| (name.to_owned(), host.id(slot, 1));
    assert_eq!(told(&taken.spans), [whole("a", slots[0]), whole("c", slots[2])]);
    assert_eq!((losses(&taken), taken.removed), (vec![("corrupt", 1)], (0, 0)));
    assert_eq!((taken.sights.live, taken.sights.held, yard.files()), (1, 1, (1, 0)));
    assert_eq!(["d", "e", "f"].map(|name| host.done(name)), slots);
    let taken = yard.take_over_by(&mut intake, Instant::now());
    assert_eq!((taken.spans.len(), losses(&taken)), (3, vec![]));
}

/// Takes over the operations that one live host has had open for more than a nanosecond.
fn overdue(yard: &Graveyard, intake: &mut Intake, host: &Host) -> Vec<SpanData> {
    let taken = yard.take_over_by(intake, Instant::now());
    assert_eq!((losses(&taken), taken.sights.held), (vec![], 1));
    assert!(host.ledger.path().unwrap().exists());
    taken.spans
}

#[test]
fn an_overdue_operation_is_taken_once_and_only_while_no_post_writes_it() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Agent);
    let (slot, context) = host.begin("a");
    let mut intake = yard.intake(Duration::from_nanos(1));
    // The handle is another operation's: POST reads the slot and leaves it open.
    let completion = host.ledger.complete(context).unwrap();
    assert_eq!(overdue(&yard, &mut intake, &host), []);
    drop(completion);
    let spans = overdue(&yard, &mut intake, &host);
    assert_eq!(told(&spans), [("a".to_owned(), host.id(slot, 1))]);
    assert_eq!(attribute(&spans[0], "mpr.outcome").as_deref(), Some("unfinished"));
    // Its own POST comes late: a span has reported the operation already, and the slot is freed.
    assert_eq!(overdue(&yard, &mut intake, &host), []);
    host.end(context);
    assert_eq!(overdue(&yard, &mut intake, &host), []);
    let bytes = fs::read(host.ledger.path().unwrap()).unwrap();
    let header = HeaderImage::parse(&bytes).unwrap();
    assert_eq!(header.slot(&bytes[HEADER_SIZE + slot * SLOT_SIZE..]).unwrap().phase, Some(Free));
}

#[test]
fn a_killed_hosts_ledger_with_a_torn_slot_gives_the_others() {
    let stage = Stage::new();
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let steps = [r"\\one\a", r"\\two\b", r"\\three\c"].map(add).to_vec();
    let (host, report) = without_hosts(|| start(command, &lane(steps)));
    assert_eq!(report.untracked, 0);
    let pid = host.pid();
    host.kill();
    let file = fs::read_dir(stage.ledgers()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    let torn = (0..SLOT_COUNT)
        .map(|slot| HEADER_SIZE + slot * SLOT_SIZE)
        .filter(|slot| bytes[*slot] != 0)
        .nth(1)
        .unwrap();
    bytes[torn] = 77;
    let yard = Graveyard::new();
    fs::write(yard.path().join(file.file_name().unwrap()), &bytes).unwrap();

    let taken = yard.take_over();
    let names: Vec<String> = told(&taken.spans).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [r"\\one\a", r"\\three\c"]);
    for span in &taken.spans {
        assert_eq!(attribute(span, "process.pid"), Some(pid.to_string()));
        assert_eq!(attribute(span, "mpr.recovered").as_deref(), Some("true"));
    }
    assert_eq!((losses(&taken), taken.removed), (vec![("corrupt", 1)], (1, 1)));
    assert_eq!(yard.files(), (0, 1));
}
