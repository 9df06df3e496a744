//! Damaged ledgers, and files that only look like ledgers: nobody falls over them, what is whole
//! is exported, and what is not is counted.

#![cfg(target_os = "linux")]

use mpr_otel_core::folder::{Adopter, Buried, QUARANTINE_FOLDER};
use mpr_otel_core::ledger::{
    self, FILE_SIZE, HEADER_SIZE, KIND_CANCEL, Keeper, Loss, SLOT_COUNT, SLOT_SIZE, Tally,
};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::Bounds;
use mpr_otel_lab::equipment::graveyard::{
    self, Adopted, Grave, Graveyard, UNBOUND, attribute, told, without_hosts, write,
};
use mpr_otel_lab::equipment::stage::{Stage, add, lane, start};
use opentelemetry_sdk::trace::SpanData;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Where things are in a ledger, written down a second time: src/core/ledger/layout.rs defines it.
mod at {
    pub const VERSION: usize = 8;
    pub const PID: usize = 24;
    pub const ANCHOR: usize = 32;
    pub const ID_SEED: std::ops::Range<usize> = 592..616;
    pub const ANCHOR_MONOTONIC: usize = 616;
    pub const KEEPER: usize = 624;
    pub const COUNTERS: std::ops::Range<usize> = 1024..1112;
    pub const LAST_SEEN: usize = 1112;
    pub const BURIED: usize = 1136;
    pub const INHERITED: std::ops::Range<usize> = 1152..1248;

    // In a slot:
    pub const CHECKSUM: usize = 8;
    pub const SENT: usize = 16;
    pub const KIND: usize = 17;
    pub const STARTED: usize = 24;
    pub const ENDED: usize = 32;
    pub const STATUS: usize = 88;
    pub const LENGTHS: [usize; 3] = [92, 94, 96];
    pub const TEXT: usize = 104;
}

fn lost(tally: &Tally, reason: Loss) -> u64 {
    tally.lost[reason as usize]
}

/// What the graves' slots should tell: names and ids of operations that were the first in theirs.
fn expected(grave: &Grave, slots: &[(usize, &str)]) -> Vec<(String, opentelemetry::trace::SpanId)> {
    slots.iter().map(|(slot, name)| ((*name).to_owned(), grave.id(*slot, 1))).collect()
}

/// Checks that of three operations the middle one is lost by this damage, and only that one.
fn costs_the_middle_one(damage: impl Fn(&Grave)) {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b", "c"]);
    damage(&grave);
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (2, "c")]));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, lost(&tally, Loss::Corrupt)), (3, 2, 1));
    assert_eq!(adopted.buried, Buried { removed: 0, quarantined: 1 });
    assert_eq!(yard.files(), (0, 1));
}

#[test]
fn an_undamaged_ledger_is_exported_with_the_ids_of_its_host_and_removed() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b", "c"]);
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b"), (2, "c")]));
    assert!(adopted.spans.iter().all(|span| span.name == "mpr.add_connection"));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, tally.repeated), (3, 3, 0));
    assert_eq!(adopted.buried, Buried { removed: 1, quarantined: 0 });
    assert_eq!(yard.files(), (0, 0));
}

#[test]
fn a_slot_whose_state_is_no_phase_costs_its_operation_alone() {
    for byte in 6..=255 {
        costs_the_middle_one(|grave| grave.patch_slot(1, 0, &[byte]));
    }
}

#[test]
fn a_slot_with_a_generation_beyond_belief_costs_its_operation_alone() {
    for generation in [0, 1 << 49, u64::MAX >> 8] {
        for phase in 1..=5 {
            let state = generation << 8 | phase;
            costs_the_middle_one(|grave| grave.patch_slot(1, 0, &state.to_le_bytes()));
        }
    }
}

#[test]
fn a_slot_of_no_known_kind_costs_its_operation_alone() {
    for kind in [0, KIND_CANCEL + 1, 255] {
        costs_the_middle_one(|grave| {
            grave.patch_slot(1, at::KIND, &[kind]);
            grave.reseal(1);
        });
    }
}

#[test]
fn names_that_do_not_fit_their_slot_cost_its_operation_alone() {
    for length in at::LENGTHS {
        for units in [321_u16, 0x8000, u16::MAX] {
            costs_the_middle_one(|grave| {
                grave.patch_slot(1, length, &units.to_le_bytes());
                grave.reseal(1);
            });
        }
    }
    // Each fits, all of them do not.
    let lengths = [200_u16, 100, 21].map(u16::to_le_bytes);
    costs_the_middle_one(|grave| {
        grave.patch_slot(1, at::LENGTHS[0], lengths.as_flattened());
        grave.reseal(1);
    });
}

#[test]
fn a_slot_of_which_only_the_state_was_written_costs_its_operation_alone() {
    costs_the_middle_one(|grave| grave.patch_slot(1, 8, &[0; SLOT_SIZE - 8]));
}

#[test]
fn a_slot_that_was_freed_without_being_counted_is_a_loss() {
    costs_the_middle_one(|grave| grave.patch_slot(1, 0, &[0]));
}

#[test]
fn a_slot_that_says_it_was_told_although_nobody_counted_it_is_a_loss() {
    costs_the_middle_one(|grave| grave.patch_slot(1, at::SENT, &[3]));
}

#[test]
fn a_generation_that_is_merely_wrong_does_not_poison_the_sum() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b", "c"]);
    let state: u64 = 1 << 40 | 4;
    grave.patch_slot(1, 0, &state.to_le_bytes());
    let adopted = yard.adopt();
    assert_eq!(adopted.spans.len(), 3);
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported), (3, 3));
    assert_eq!(adopted.buried.quarantined, 1);
}

#[test]
fn an_operation_whose_pre_had_not_returned_is_counted_and_is_no_damage() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    let (_, mut claim) = host.ledger.claim(0).unwrap();
    write(&mut claim, "half");
    let grave = host.die();
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a")]));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, lost(&tally, Loss::Corrupt)), (2, 1, 1));
    assert_eq!(adopted.buried, Buried { removed: 1, quarantined: 0 });
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
    // The thread goes with its process.
    std::mem::forget(completion);
    let grave = host.die();
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b")]));
    let cut = adopted.spans.iter().find(|span| graveyard::remote_name(span) == "b").unwrap();
    assert_eq!(attribute(cut, "mpr.outcome").as_deref(), Some("unfinished"));
    assert_eq!(attribute(cut, "mpr.status.code"), None);
    assert_eq!(attribute(cut, "mpr.provider.name"), None);
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported), (2, 2));
    assert_eq!(adopted.buried, Buried { removed: 1, quarantined: 0 });
}

/// Flips every bit of these bytes, one at a time, in a ledger with two operations. Whatever it
/// is, the second operation is exported, or the file is refused or put aside.
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

            let Adopted { spans, look, buried } = yard.adopt();
            assert!(spans.len() <= 2, "{place}");
            let spans = told(&spans);
            let healthy = spans.iter().find(|(name, _)| name == "healthy");
            if let Some((_, id)) = healthy {
                if !at::ID_SEED.contains(&offset) {
                    assert_eq!(*id, grave.id(1, 1), "{place}");
                }
                assert_eq!(buried.removed + buried.quarantined, 1, "{place}");
                exported += 1;
            } else if look.refused == 1 {
                assert_eq!(grave.bytes()[..used.len()], used, "{place}");
                fs::remove_file(&grave.path).unwrap();
            } else {
                assert_eq!(look.quarantined, 1, "{place}");
            }
            assert_eq!(yard.files().0, 0, "{place}");
            yard.inherited();
        }
    }
    // What says what the file is, is a small part of it.
    assert!(exported > bytes.len() * 8 - 8 * 64, "{exported}");
}

#[test]
fn no_flipped_bit_in_the_first_half_of_the_header_costs_more_than_the_file() {
    flip(0..HEADER_SIZE / 2);
}

#[test]
fn no_flipped_bit_in_the_second_half_of_the_header_costs_more_than_the_file() {
    flip(HEADER_SIZE / 2..HEADER_SIZE);
}

#[test]
fn no_flipped_bit_in_a_slot_costs_another_slot() {
    flip(HEADER_SIZE..HEADER_SIZE + SLOT_SIZE);
}

#[test]
fn a_file_that_ends_within_its_header_is_put_aside_unread() {
    for length in [1, 7, 8, HEADER_SIZE - 1] {
        let yard = Graveyard::new();
        yard.dead(&["a", "b"]).resize(length as u64);
        let adopted = yard.adopt();
        assert_eq!((adopted.spans.len(), adopted.look.quarantined), (0, 1));
        assert_eq!(yard.files(), (0, 1));
        assert_eq!(yard.inherited(), Tally::default());
    }
}

/// Checks that a ledger of this length, whose first two operations are `a` and `b`, tells the
/// operations that it has and is put aside.
fn of_length(length: u64, has: &[(usize, &str)]) {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b"]);
    grave.resize(length);
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, has), "{length}");
    assert_eq!(adopted.buried, Buried { removed: 0, quarantined: 1 }, "{length}");
    assert_eq!(yard.files(), (0, 1), "{length}");
    let tally = yard.inherited();
    assert_eq!(tally.seen, has.len() as u64, "{length}");
    assert_eq!(tally.exported, has.len() as u64, "{length}");
}

#[test]
fn a_ledger_of_the_wrong_length_tells_what_it_has_and_is_put_aside() {
    let slot = |half: usize| (HEADER_SIZE + half * SLOT_SIZE / 2) as u64;
    of_length(HEADER_SIZE as u64, &[]);
    of_length(slot(1), &[]);
    of_length(slot(2), &[(0, "a")]);
    of_length(slot(3), &[(0, "a")]);
    of_length(slot(4), &[(0, "a"), (1, "b")]);
    of_length(FILE_SIZE as u64 - 1, &[(0, "a"), (1, "b")]);
    of_length(FILE_SIZE as u64 + 1, &[(0, "a"), (1, "b")]);
    // Sparse: it takes no space.
    of_length(1 << 36, &[(0, "a"), (1, "b")]);
}

#[test]
fn a_file_that_is_far_too_large_costs_no_ledger_its_place() {
    let yard = Graveyard::new();
    let names = ["a", "b"];
    yard.dead(&names);
    yard.dead(&names).resize(1 << 36);
    let bounds = Bounds { bytes: 2 * FILE_SIZE as u64, ..UNBOUND };
    let mut adopter = yard.adopter_within(bounds);
    assert_eq!(yard.prune(&mut adopter, true), 0);
    assert_eq!(yard.files(), (2, 0));
    assert_eq!(yard.adopt().spans.len(), 4);
}

#[test]
fn a_ledger_of_an_older_version_is_put_aside() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a"]);
    grave.patch(at::VERSION, &0_u32.to_le_bytes());
    let bytes = grave.bytes();
    let adopted = yard.adopt();
    assert_eq!((adopted.spans.len(), adopted.look.quarantined), (0, 1));
    let kept = yard.path().join(QUARANTINE_FOLDER).join(grave.path.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bytes);
}

#[test]
fn a_ledger_of_a_newer_version_is_left_as_it_is() {
    for version in [3, u32::MAX] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a"]);
        grave.patch(at::VERSION, &u32::to_le_bytes(version));
        untouched(&yard, &grave, |yard| {
            let adopted = yard.adopt();
            assert_eq!((adopted.spans.len(), adopted.look.refused), (0, 1));
        });
    }
}

/// Checks that a file is what and where it was, and that nothing was counted.
fn untouched(yard: &Graveyard, grave: &Grave, work: impl FnOnce(&Graveyard)) {
    let date = |grave: &Grave| grave.file().metadata().unwrap().modified().unwrap();
    let before = (grave.bytes(), date(grave));
    work(yard);
    assert!((grave.bytes(), date(grave)) == before, "it was written to");
    assert_eq!(yard.files(), (1, 0));
    assert_eq!(yard.inherited(), Tally::default());
}

#[test]
fn a_ledger_of_nobody_is_refused() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a"]);
    grave.patch(at::KEEPER, &[2]);
    untouched(&yard, &grave, |yard| {
        let adopted = yard.adopt();
        assert_eq!((adopted.spans.len(), adopted.look.refused), (0, 1));
    });
}

#[test]
fn a_ledger_that_was_never_born_is_removed_and_is_no_damage() {
    // The host died before it gave the file its size, or before it wrote the magic; or the
    // machine lost power, and the first page was not written.
    let births: [fn(&Grave); 3] = [
        |grave| grave.resize(0),
        |grave| grave.patch(0, &[0; FILE_SIZE]),
        |grave| grave.patch(0, &[0; 8]),
    ];
    for birth in births {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a"]);
        birth(&grave);
        set_date(&grave, long_ago());
        let adopted = yard.adopt();
        assert_eq!((adopted.spans.len(), adopted.look.quarantined), (0, 0));
        assert_eq!(adopted.look.refused, 0);
        assert_eq!(yard.files(), (0, 0));
        assert_eq!(yard.inherited(), Tally::default());
    }
}

#[test]
fn a_ledger_that_is_being_made_is_left_alone() {
    let yard = Graveyard::new();
    // Its host has not locked it yet, which may be long ago in a file system's eyes only.
    let grave = yard.dead(&["a"]);
    grave.patch(0, &[0; 8]);
    untouched(&yard, &grave, |yard| {
        assert_eq!(yard.adopt().look.live, 1);
    });
    // It has.
    let host = yard.host(Keeper::Agent);
    let path = host.ledger.path().unwrap().to_path_buf();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 8], 0).unwrap();
    file.set_modified(long_ago()).unwrap();
    let look = yard.adopt().look;
    assert_eq!((look.live, look.refused, look.quarantined), (2, 0, 0));
    assert!(path.exists());
}

#[test]
fn what_does_not_fit_its_checksum_costs_its_operation_alone() {
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
fn what_is_behind_the_names_and_what_was_sent_is_not_in_the_checksum() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b", "c"]);
    grave.patch_slot(1, at::TEXT + 2, &[77; 638]);
    grave.patch_slot(1, at::SENT, &[1]);
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b"), (2, "c")]));
    assert_eq!(adopted.buried, Buried { removed: 1, quarantined: 0 });
}

#[test]
fn slots_of_zeros_under_a_good_header_hold_nothing() {
    let yard = Graveyard::new();
    yard.dead(&["a"]).patch(HEADER_SIZE, &[0; FILE_SIZE - HEADER_SIZE]);
    let adopted = yard.adopt();
    assert_eq!(adopted.spans.len(), 0);
    assert_eq!(yard.inherited(), Tally::default());
    assert_eq!(yard.files(), (0, 0));
}

#[test]
fn what_shrinks_before_it_is_read_is_lost_and_counted() {
    for length in [0, 1, HEADER_SIZE, HEADER_SIZE + SLOT_SIZE / 2] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a", "b"]);
        let mut adopter = yard.adopter();
        assert_eq!(adopter.look(None, usize::MAX).unwrap().adopted, 1);
        grave.resize(length as u64);
        let mut adopted = Adopted::default();
        yard.finish(&mut adopter, &mut adopted);
        assert_eq!(adopted.spans.len(), 0);
        let tally = yard.inherited();
        assert_eq!((tally.seen, lost(&tally, Loss::Corrupt)), (2, 2));
        assert_eq!(yard.files(), (0, 1));
    }
}

#[test]
fn what_shrinks_while_it_is_sent_is_exported_all_the_same() {
    for length in [0, HEADER_SIZE, HEADER_SIZE + SLOT_SIZE] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a", "b"]);
        let mut adopter = yard.adopter();
        adopter.look(None, usize::MAX).unwrap();
        let batch = adopter.batch(8, &Privacy::FULL);
        grave.resize(length as u64);
        adopter.settle(&batch, 0);
        yard.bury(&mut adopter);
        assert_eq!(told(&batch.spans), expected(&grave, &[(0, "a"), (1, "b")]));
        let tally = yard.inherited();
        assert_eq!((tally.seen, tally.exported), (2, 2));
        assert_eq!(yard.files().0, 0);
    }
}

#[test]
fn what_grows_while_it_is_read_is_exported_all_the_same() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b"]);
    let mut adopter = yard.adopter();
    adopter.look(None, usize::MAX).unwrap();
    grave.resize(1 << 36);
    let mut adopted = Adopted::default();
    yard.finish(&mut adopter, &mut adopted);
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b")]));
    assert_eq!(yard.files().0, 0);
}

#[test]
fn a_file_that_never_stops_changing_its_length_ends_no_adopter() {
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
            let mut spans = 0;
            for _ in 0..5 {
                spans += yard.adopt().spans.len();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(spans <= names.len());
        });
        yard.inherited();
    }
}

#[test]
fn a_ledger_that_cannot_be_written_is_left_alone_and_not_waited_for() {
    const FOLDER: &str = "MPR_OTEL_TEST_SMALL_FOLDER";
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        // Once more, in mount and user namespaces of its own, with a disk that is soon full.
        let folder = tempfile::tempdir().unwrap();
        let mount = r#"mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@""#;
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "a_ledger_that_cannot_be_written_is_left_alone_and_not_waited_for"])
            .env(FOLDER, folder.path());
        let output = without_hosts(|| command.output().unwrap());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    let yard = Graveyard::within(&folder);
    let grave = yard.dead(&["a", "b"]);
    let mut adopter = yard.adopter();
    assert_eq!(adopter.look(None, usize::MAX).unwrap().adopted, 1);
    // What it has had no room for any more.
    grave.resize(0);
    grave.resize(FILE_SIZE as u64);
    let filler = fs::write(folder.join("filler"), vec![1; 4 << 20]);
    assert_eq!(filler.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(adopter.waiting(), 2);
    assert_eq!(adopter.batch(8, &Privacy::FULL).spans.len(), 0);
    assert_eq!(adopter.waiting(), 0);
    assert_eq!(yard.bury(&mut adopter), Buried::default());
    assert_eq!(adopter.look(None, usize::MAX).unwrap().adopted, 0);
    assert_eq!(adopter.waiting(), 0);
    assert!(grave.path.exists());
}

/// A file outside of the folder that nobody may touch, in form of a ledger that would be adopted.
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

/// Checks that what `make` makes at a ledger's place is neither read nor written nor removed.
fn is_refused(mut make: impl FnMut(&Path, &Path)) {
    let precious = Precious::new();
    let yard = Graveyard::new();
    let place = yard.path().join("1-0123456789abcdef.ledger");
    make(&precious.path, &place);
    let adopted = yard.adopt();
    assert_eq!((adopted.spans.len(), adopted.look.ledgers, adopted.look.refused), (0, 1, 1));
    let mut adopter = yard.adopter_within(Bounds { files: 1, bytes: 1, ..UNBOUND });
    assert_eq!(yard.prune(&mut adopter, true), 0);
    assert_eq!(yard.files(), (1, 0));
    precious.is_untouched();
    assert_eq!(yard.inherited(), Tally::default());
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
fn a_pipe_in_a_ledgers_place_is_refused_and_nobody_waits_for_its_other_end() {
    let pipes = tempfile::tempdir().unwrap();
    let pipe = pipes.path().join("pipe");
    let made = without_hosts(|| Command::new("mkfifo").arg(&pipe).status().unwrap());
    assert!(made.success());
    is_refused(|_, place| fs::rename(&pipe, place).unwrap());
}

#[test]
fn a_link_that_is_swapped_in_for_a_held_ledger_leads_nobody_to_its_target() {
    for damaged in [false, true] {
        let precious = Precious::new();
        let yard = Graveyard::new();
        let grave = yard.dead(&["a", "b"]);
        if damaged {
            grave.patch_slot(1, at::KIND, &[9]);
        }
        let mut adopter = yard.adopter();
        adopter.look(None, usize::MAX).unwrap();
        fs::rename(&grave.path, yard.path().join("elsewhere")).unwrap();
        symlink(&precious.path, &grave.path).unwrap();
        let mut adopted = Adopted::default();
        yard.finish(&mut adopter, &mut adopted);
        assert!(told(&adopted.spans).starts_with(&expected(&grave, &[(0, "a")])));
        precious.is_untouched();
        assert_eq!(yard.inherited().seen, 2);
    }
}

#[test]
fn a_quarantine_folder_that_is_a_link_costs_no_file_at_its_end() {
    let yard = Graveyard::new();
    let documents = tempfile::tempdir().unwrap();
    for name in 0..40 {
        fs::write(documents.path().join(name.to_string()), "a document").unwrap();
    }
    symlink(documents.path(), yard.path().join(QUARANTINE_FOLDER)).unwrap();
    yard.dead(&["a", "b"]).patch_slot(1, at::KIND, &[9]);
    yard.dead(&["c"]).resize(1);
    for _ in 0..2 {
        yard.adopt();
    }
    assert_eq!(fs::read_dir(documents.path()).unwrap().count(), 40);
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported), (2, 1));
}

/// A ledger of a host that did four operations and exported the first two itself.
fn half_exported(yard: &Graveyard) -> Grave {
    let host = yard.host(Keeper::Host);
    for name in ["a", "b", "c", "d"] {
        host.done(name);
    }
    host.export(0);
    host.export(1);
    host.die()
}

#[test]
fn counters_beyond_belief_do_not_poison_the_sum() {
    for counter in at::COUNTERS.step_by(8) {
        for value in [1 << 49, u64::MAX] {
            let yard = Graveyard::new();
            let grave = half_exported(&yard);
            grave.patch(counter, &u64::to_le_bytes(value));
            let adopted = yard.adopt();
            assert_eq!(told(&adopted.spans), expected(&grave, &[(2, "c"), (3, "d")]));
            assert!(
                adopted
                    .spans
                    .iter()
                    .all(|span| { attribute(span, "mpr.lost").is_none_or(|lost| lost == "2") })
            );
            // Without counters, nobody knows that the first two were exported.
            let tally = yard.inherited();
            assert_eq!((tally.seen, tally.exported, lost(&tally, Loss::Corrupt)), (4, 2, 2));
            assert_eq!((tally.unmatched, tally.malformed, tally.repeated), (0, 0, 0));
            assert_eq!(adopted.buried.quarantined, 1);
        }
    }
}

#[test]
fn counters_that_tell_of_more_than_there_was_do_not_poison_the_sum() {
    let yard = Graveyard::new();
    let grave = half_exported(&yard);
    grave.patch(at::COUNTERS.start, &(1_u64 << 40).to_le_bytes());
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(2, "c"), (3, "d")]));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, tally.lost_in_all()), (4, 4, 0));
    assert_eq!(adopted.buried.quarantined, 1);
}

#[test]
fn what_a_dead_host_inherited_is_not_believed_beyond_reason_either() {
    for counter in at::INHERITED.step_by(8) {
        let yard = Graveyard::new();
        let grave = half_exported(&yard);
        grave.patch(counter, &u64::MAX.to_le_bytes());
        assert_eq!(yard.adopt().spans.len(), 2);
        assert_eq!(yard.inherited(), Tally { seen: 4, exported: 4, ..Tally::default() });
    }
}

#[test]
fn what_was_counted_and_not_freed_is_exported_and_counted_once() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    host.done("b");
    host.export(0);
    // It died in this moment.
    host.ledger.header().count_exported(1);
    let grave = host.die();
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(1, "b")]));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported), (2, 2));
    assert_eq!(adopted.buried, Buried { removed: 1, quarantined: 0 });
}

#[test]
fn a_process_id_that_is_somebody_elses_by_now_means_nothing() {
    for pid in [std::process::id(), 1, 0, u32::MAX] {
        let yard = Graveyard::new();
        let grave = yard.dead(&["a"]);
        grave.patch(at::PID, &pid.to_le_bytes());
        let adopted = yard.adopt();
        assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a")]));
        assert_eq!(attribute(&adopted.spans[0], "process.pid"), Some(pid.to_string()));
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

#[test]
fn a_ledger_whose_clock_was_wrong_is_exported() {
    let ahead = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() * 2;
    for anchor in [0, ahead as u64, i64::MAX as u64, u64::MAX] {
        for moment in [0, i64::MAX as u64, u64::MAX] {
            let yard = Graveyard::new();
            let host = yard.host(Keeper::Host);
            host.done("a");
            host.begin("b");
            let grave = host.die();
            grave.patch(at::ANCHOR, &anchor.to_le_bytes());
            grave.patch(at::LAST_SEEN, &moment.to_le_bytes());
            grave.patch_slot(0, at::ENDED, &moment.to_le_bytes());
            grave.reseal(0);
            let adopted = yard.adopt();
            assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b")]));
            can_be_sent(&adopted.spans);
            assert_eq!(yard.inherited().exported, 2);
        }
    }
}

/// The monotonic clock begins anew when the machine restarts; the ledger's anchor does not.
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
        let adopted = yard.adopt();
        assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b")]));
        let ends: Vec<SystemTime> = adopted.spans.iter().map(|span| span.end_time).collect();
        assert!(adopted.spans.iter().all(|span| span.start_time == began + second));
        assert_eq!(ends, [began + 2 * second, began + 3 * second]);
    }
}

#[test]
fn operations_that_ended_before_they_began_took_no_time() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    host.done("a");
    host.begin("b");
    let grave = host.die();
    // The last moment of all that the ledger knows of is the first one's beginning.
    grave.patch(at::LAST_SEEN, &1_u64.to_le_bytes());
    for slot in [0, 1] {
        grave.patch_slot(slot, at::STARTED, &5_000_000_u64.to_le_bytes());
        grave.patch_slot(slot, at::ENDED, &1_u64.to_le_bytes());
        grave.reseal(slot);
    }
    let adopted = yard.adopt();
    assert_eq!(told(&adopted.spans), expected(&grave, &[(0, "a"), (1, "b")]));
    assert!(adopted.spans.iter().all(|span| span.start_time == span.end_time));
    can_be_sent(&adopted.spans);
}

/// What the file system says of a ledger's last change.
fn set_date(grave: &Grave, date: SystemTime) {
    grave.file().set_modified(date).unwrap();
}

const HOUR: Bounds = Bounds { age: Duration::from_secs(3600), ..UNBOUND };

/// As a ledger's date looks to a clock that jumped ahead.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

#[test]
fn a_clock_that_jumped_ahead_expires_nothing_that_can_be_sent() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b"]);
    set_date(&grave, long_ago());
    let mut adopter = yard.adopter_within(HOUR);
    assert_eq!(yard.prune(&mut adopter, false), 0);
    adopter.look(None, usize::MAX).unwrap();
    assert_eq!(yard.prune(&mut adopter, false), 0);
    assert_eq!(adopter.waiting(), 2);
    yard.finish(&mut adopter, &mut Adopted::default());
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported), (2, 2));
}

#[test]
fn what_is_too_old_is_given_up_while_the_collector_is_away() {
    let yard = Graveyard::new();
    set_date(&yard.dead(&["a", "b"]), long_ago());
    let young = yard.dead(&["c"]);
    let mut adopter = yard.adopter_within(HOUR);
    assert_eq!(yard.prune(&mut adopter, true), 2);
    let tally = yard.inherited();
    assert_eq!((tally.seen, lost(&tally, Loss::Expired)), (2, 2));
    assert_eq!(told(&yard.adopt().spans), expected(&young, &[(0, "c")]));
}

#[test]
fn trying_to_send_makes_no_ledger_younger() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a", "b"]);
    set_date(&grave, long_ago());
    for _ in 0..3 {
        let mut adopter = yard.adopter_within(HOUR);
        adopter.look(None, usize::MAX).unwrap();
        assert_eq!(adopter.batch(8, &Privacy::FULL).spans.len(), 2);
    }
    let mut adopter = yard.adopter_within(HOUR);
    adopter.look(None, usize::MAX).unwrap();
    assert_eq!(adopter.batch(8, &Privacy::FULL).spans.len(), 2);
    assert_eq!(yard.prune(&mut adopter, true), 2);
    assert_eq!(adopter.waiting(), 0);
    let tally = yard.inherited();
    assert_eq!((tally.seen, lost(&tally, Loss::Expired), tally.repeated), (2, 2, 6));
}

#[test]
fn a_date_in_the_future_is_not_old() {
    let yard = Graveyard::new();
    set_date(&yard.dead(&["a"]), SystemTime::now() + Duration::from_secs(1_000_000));
    let mut adopter = yard.adopter_within(HOUR);
    assert_eq!(yard.prune(&mut adopter, true), 0);
    assert_eq!(yard.adopt().spans.len(), 1);
}

#[test]
fn a_second_adopter_gets_nothing_while_the_first_holds_the_ledger() {
    let yard = Graveyard::new();
    let grave = yard.dead(&["a"]);
    let mut holder = yard.adopter();
    holder.look(None, usize::MAX).unwrap();
    let adopted = yard.adopt();
    assert_eq!((adopted.spans.len(), adopted.look.live, adopted.look.adopted), (0, 1, 0));
    let mut pruner = yard.adopter_within(Bounds { bytes: 1, ..HOUR });
    assert_eq!(yard.prune(&mut pruner, true), 0);
    drop(holder);
    assert_eq!(told(&yard.adopt().spans), expected(&grave, &[(0, "a")]));
}

#[test]
fn an_adopter_that_dies_half_way_leaves_the_rest_to_the_next_with_the_same_ids() {
    let yard = Graveyard::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let grave = yard.dead(&names);
    let mut first = yard.adopter();
    first.look(None, usize::MAX).unwrap();
    let settled = first.batch(4, &Privacy::FULL);
    first.settle(&settled, 1);
    let unsettled = first.batch(3, &Privacy::FULL);
    drop(first);

    let second = yard.adopt();
    let slots: Vec<(usize, &str)> = names.into_iter().enumerate().collect();
    assert_eq!(told(&settled.spans), expected(&grave, &slots[..4]));
    assert_eq!(told(&unsettled.spans), expected(&grave, &slots[4..7]));
    assert_eq!(told(&second.spans), expected(&grave, &slots[4..]));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, tally.repeated), (10, 9, 3));
    assert_eq!(lost(&tally, Loss::Rejected), 1);
    assert_eq!(second.buried, Buried { removed: 1, quarantined: 0 });
}

/// Checks that of a damaged ledger with four operations two are exported and two lost, also if an
/// adopter dies between the two that are exported.
fn is_told_to_the_next(damage: impl Fn(&Grave)) {
    let yard = Graveyard::new();
    let grave = half_exported(&yard);
    damage(&grave);
    let mut first = yard.adopter();
    first.look(None, usize::MAX).unwrap();
    let batch = first.batch(1, &Privacy::FULL);
    first.settle(&batch, 0);
    drop(first);
    assert_eq!((batch.spans.len(), yard.adopt().spans.len()), (1, 1));
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, lost(&tally, Loss::Corrupt)), (4, 2, 2));
}

#[test]
fn what_an_adopter_found_out_about_a_ledger_is_known_to_the_next() {
    // The counters are forgotten once, and what the adopter counts is not.
    is_told_to_the_next(|grave| grave.patch(at::COUNTERS.end - 8, &[0xFF; 8]));
    // What the adopter has counted as lost is not lost again.
    is_told_to_the_next(|grave| {
        let again: u64 = 1 << 8 | 4;
        grave.patch(at::COUNTERS.start, &[0; 8]);
        grave.patch_slot(0, 0, &[77]);
        grave.patch_slot(1, 0, &again.to_le_bytes());
        grave.patch_slot(1, at::KIND, &[9]);
    });
}

#[test]
fn counters_that_another_ledger_has_are_not_counted_twice() {
    let yard = Graveyard::new();
    let grave = half_exported(&yard);
    assert_eq!(ledger::read_tally(&grave.path).unwrap().seen, 4);
    grave.patch(at::BURIED, &[1]);
    assert_eq!(ledger::read_tally(&grave.path).unwrap(), Tally::default());
    let adopted = yard.adopt();
    assert_eq!(adopted.buried, Buried { removed: 1, quarantined: 0 });
    assert_eq!(yard.inherited(), Tally::default());
}

#[test]
fn an_adopter_that_could_not_remove_a_ledger_inherits_it_once() {
    let yard = Graveyard::new();
    yard.dead(&["a", "b"]).resize(FILE_SIZE as u64 - 1);
    // Where the damaged ledger should go there is a file.
    fs::write(yard.path().join(QUARANTINE_FOLDER), "").unwrap();
    for spans in [2, 0, 0] {
        let adopted = yard.adopt();
        assert_eq!((adopted.spans.len(), adopted.buried), (spans, Buried::default()));
        let tally = yard.inherited();
        assert_eq!((tally.seen, tally.exported), (2, 2));
    }
    fs::remove_file(yard.path().join(QUARANTINE_FOLDER)).unwrap();
    assert_eq!(yard.adopt().buried.quarantined, 1);
    assert_eq!(yard.inherited().seen, 2);
}

#[test]
fn an_overdue_operation_whose_post_gave_up_is_overdue_again() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Agent);
    let (slot, context) = host.begin("a");
    let mut adopter = Adopter::new(yard.folder(), UNBOUND, Duration::from_nanos(1));
    adopter.look(None, usize::MAX).unwrap();
    assert_eq!(adopter.waiting(), 1);
    // Another operation's handle: POST looks and leaves it open.
    let completion = host.ledger.complete(context).unwrap();
    assert_eq!(adopter.batch(8, &Privacy::FULL).spans.len(), 0);
    drop(completion);
    adopter.look(None, usize::MAX).unwrap();
    let batch = adopter.batch(8, &Privacy::FULL);
    adopter.settle(&batch, 0);
    assert_eq!(batch.spans[0].span_context.span_id(), host.id(slot, 1));
    assert_eq!(attribute(&batch.spans[0], "mpr.outcome").as_deref(), Some("unfinished"));
}

#[test]
fn a_killed_hosts_ledger_with_a_torn_slot_tells_the_others() {
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

    let adopted = yard.adopt();
    let names: Vec<String> = told(&adopted.spans).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [r"\\one\a", r"\\three\c"]);
    for span in &adopted.spans {
        assert_eq!(attribute(span, "process.pid"), Some(pid.to_string()));
        assert_eq!(attribute(span, "mpr.recovered").as_deref(), Some("true"));
    }
    let tally = yard.inherited();
    assert_eq!((tally.seen, tally.exported, lost(&tally, Loss::Corrupt)), (3, 2, 1));
    assert_eq!(yard.files(), (0, 1));
}
