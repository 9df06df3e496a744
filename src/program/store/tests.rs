use super::*;
use mpr_otel_core::ledger::{Body, KIND_ADD, Record};
use mpr_otel_core::operation::{Kind, Outcome as Ended};
use mpr_otel_core::origin::Origin;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::process::Identity as Host;
use mpr_otel_core::span::span;
use mpr_otel_core::trace_context::{IdSource, Parent};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const UNBOUND: Bounds = Bounds { bytes: 0, age: Duration::ZERO };

struct Shelf {
    folder: tempfile::TempDir,
    bounds: Bounds,
}

impl Shelf {
    fn new(bounds: Bounds) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), bounds }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.redb")
    }

    fn open(&self) -> Store {
        let store = Store::at(self.path(), self.bounds);
        store.open().unwrap();
        store
    }
}

/// An operation of this owner. No other operation has its number.
fn taken(owner: &str, number: u64) -> Taken {
    taken_of(owner, number, r"\\files01\projects")
}

/// The same, with this remote name.
pub(crate) fn taken_of(owner: &str, number: u64, remote: &str) -> Taken {
    let mut body = Body::empty();
    body.kind = KIND_ADD;
    // A multiple of 100 ns, as dates of Windows are.
    (body.started, body.ended) = (100, 200 + 100 * number);
    for unit in remote.encode_utf16() {
        body.text[usize::from(body.remote_units)] = unit;
        body.remote_units += 1;
    }
    let identity = Host {
        pid: 4711,
        executable: "explorer.exe".into(),
        session_id: Some(2),
        service: Some("Schedule".into()),
    };
    let parent = number.is_multiple_of(2).then_some(Parent { trace_id: [7; 16], span_id: [9; 8] });
    let origin = Origin {
        identity,
        parent,
        ids: IdSource::new([1, 2, 3], parent),
        anchor_unix_nanos: 1_700_000_000_000_000_000,
        boot_id: 77,
        recovered: true,
    };
    Taken {
        owner: owner.into(),
        origin: Arc::new(origin),
        record: Record { unfinished: false, number, body },
        kind: Kind::Add,
        outcome: Ended::Success,
        server_is_other: false,
        lost: number % 3,
    }
}

pub(crate) fn round(taken: Vec<Taken>) -> Round {
    let mut round = Round::default();
    round.taken = taken;
    round
}

/// A round with these operations and losses.
fn losing(taken: Vec<Taken>, losses: &[([u64; 3], Losses)]) -> Round {
    let mut round = round(taken);
    round.losses = losses.to_vec();
    round
}

fn keys(batch: &[(Key, Stored)]) -> Vec<Key> {
    batch.iter().map(|(key, _)| *key).collect()
}

/// Checks what must hold at any time, and returns the counts.
fn adds_up(store: &Store) -> (u64, u64, u64, u64) {
    let counts = store.counts().unwrap();
    let lost = counts.lost().values().sum();
    let (seen, exported, pending) = (counts.seen(), counts.exported(), counts.pending());
    assert_eq!(seen, exported + pending + lost, "{counts:?}");
    (seen, exported, pending, lost)
}

#[test]
fn a_stored_operation_is_sent_as_it_would_have_been_sent_at_once() {
    let store = Shelf::new(UNBOUND);
    let store = store.open();
    let mut all: Vec<Taken> = (0..6).map(|number| taken("uid 1", number)).collect();
    all[1].record.unfinished = true;
    all[2].record.body.set_provider(mpr_otel_core::wide::WideStr::EMPTY);
    (all[3].record.body.session_id, all[3].record.body.logon_id) = (5, 9);
    store.take_in(&round(all.clone()), 1).unwrap();
    for ((_, stored), taken) in store.batch(10, &[]).unwrap().iter().zip(&all) {
        let operation = Privacy::FULL.disclose(taken.operation().unwrap());
        assert_eq!(
            stored.span(&Privacy::FULL).unwrap(),
            span(operation, &taken.origin, taken.lost)
        );
    }
}

#[test]
fn one_server_name_too_many_becomes_other() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    let one = Taken { server_is_other: true, ..taken("uid 1", 1) };
    store.take_in(&round(vec![one]), 1).unwrap();
    let span = store.batch(1, &[]).unwrap()[0].1.span(&Privacy::FULL).unwrap();
    let mut servers = span.attributes.iter().filter(|one| one.key.as_str() == "server.address");
    assert_eq!(servers.next().unwrap().value.as_str(), "other");
}

#[test]
fn each_owner_is_sent_in_turn_and_the_oldest_of_each_first() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    let mut all: Vec<Taken> = (0..100).map(|number| taken("uid 1", number)).collect();
    all.extend((100..102).map(|number| taken("uid 2", number)));
    store.take_in(&round(all), 1).unwrap();
    let numbers: Vec<u64> = store
        .batch(6, &[])
        .unwrap()
        .iter()
        .map(|(_, stored)| stored.span(&Privacy::FULL).unwrap())
        .map(|span| {
            span.end_time.duration_since(span.start_time).unwrap().as_nanos() as u64 / 100 - 1
        })
        .collect();
    assert_eq!(numbers, [0, 100, 1, 101, 2, 3]);
}

#[test]
fn an_operation_found_again_after_a_death_is_counted_and_not_stored_again() {
    let shelf = Shelf::new(UNBOUND);
    let losses = vec![([1, 2, 3], Losses::from([("table_full", 5)]))];
    let found = || losing(vec![taken("a", 1), taken("a", 2)], &losses);
    shelf.open().take_in(&found(), 1).unwrap();

    // The process died before it wrote to the ledgers. The next one finds one of the two operations
    // first.
    let store = shelf.open();
    let mut first = round(vec![taken("a", 2), taken("a", 3)]);
    first.more = true;
    store.take_in(&first, 1).unwrap();
    assert_eq!(adds_up(&store), (8, 0, 3, 5));
    store.take_in(&found(), 1).unwrap();
    assert_eq!(adds_up(&store), (8, 0, 3, 5));
    assert_eq!(store.counts().unwrap().repeated(), 3);

    // A slot that was freed and used again has another number. A ledger may lose more.
    store.take_in(&losing(vec![taken("a", 4)], &losses), 1).unwrap();
    assert_eq!(adds_up(&store), (14, 0, 4, 10));
}

#[test]
fn operations_of_an_earlier_process_are_forgotten_once_all_ledgers_were_read() {
    let shelf = Shelf::new(UNBOUND);
    shelf.open().take_in(&round(vec![taken("a", 1)]), 1).unwrap();
    let store = shelf.open();
    // The ledger no longer existed.
    store.take_in(&Round::default(), 1).unwrap();
    store.take_in(&round(vec![taken("a", 1)]), 1).unwrap();
    assert_eq!(adds_up(&store).0, 2);
}

#[test]
fn a_settled_record_is_removed_and_counted_once() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    store.take_in(&round((0..10).map(|number| taken("a", number)).collect()), 1).unwrap();
    let batch = keys(&store.batch(4, &[]).unwrap());
    store.settle(&batch, (1, 2), 99).unwrap();
    store.settle(&batch, (0, 0), 100).unwrap();
    assert_eq!(adds_up(&store), (10, 3, 6, 1));
    assert_eq!((store.last_export().unwrap(), store.counts().unwrap().repeated()), (99, 2));
    assert_eq!(store.batch(100, &[]).unwrap().len(), 6);
    let ended: Vec<(String, String, u64)> = store
        .counts()
        .unwrap()
        .ended()
        .map(|(outcome, class, count)| (outcome.to_owned(), class.to_owned(), count))
        .collect();
    assert_eq!(ended, [("success".to_owned(), String::new(), 10)]);
}

#[test]
fn the_owner_with_the_most_records_makes_room() {
    let shelf = Shelf::new(Bounds { bytes: 20_000, ..UNBOUND });
    let store = shelf.open();
    store.take_in(&round((0..10).map(|number| taken("small", number)).collect()), 1).unwrap();
    store.take_in(&round((10..1010).map(|number| taken("large", number)).collect()), 1).unwrap();
    assert!(store.bytes().unwrap() <= 20_000);
    let (seen, _, pending, lost) = adds_up(&store);
    assert_eq!((seen, store.counts().unwrap().lost()["store_full"]), (1010, lost));
    let owners: Vec<u32> = keys(&store.batch(2000, &[]).unwrap()).iter().map(|key| key.0).collect();
    assert_eq!(
        (owners.iter().filter(|owner| **owner == 1).count(), owners.len() as u64),
        (10, pending)
    );
    // The newest records are still there.
    let last = store.batch(2000, &[]).unwrap().last().unwrap().1.clone();
    assert_eq!(last, Stored::of(&taken("large", 1009)));
}

#[test]
fn a_clock_that_jumps_loses_a_tenth_and_a_record_from_after_now_is_not_old() {
    let hour = 3_600_000_000_000;
    let shelf = Shelf::new(Bounds { age: Duration::from_secs(3600), ..UNBOUND });
    let store = shelf.open();
    store.take_in(&round((0..95).map(|number| taken("a", number)).collect()), 1000).unwrap();
    store.take_in(&round((95..100).map(|number| taken("b", number)).collect()), 9 * hour).unwrap();
    assert_eq!(store.age(1000 + hour).unwrap(), 0);
    assert_eq!(store.age(1001 + hour).unwrap(), 10);
    assert_eq!(store.age(u64::MAX).unwrap(), 0);
    assert_eq!(adds_up(&store), (100, 0, 90, 10));
    assert_eq!(store.counts().unwrap().lost()["expired"], 10);
    assert_eq!(keys(&store.batch(200, &[]).unwrap()).iter().filter(|key| key.0 == 2).count(), 5);
}

#[test]
fn the_latest_known_date_never_falls() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    assert_eq!(store.latest().unwrap(), 0);
    store.take_in(&round(vec![taken("a", 1)]), 50).unwrap();
    store.take_in(&round(vec![taken("a", 2)]), 7).unwrap();
    assert_eq!(store.latest().unwrap(), 50);
}

#[test]
fn reported_counts_are_not_reported_again() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    store.take_in(&round(vec![taken("a", 1), taken("a", 2)]), 1).unwrap();
    assert_eq!(store.tell().unwrap().seen(), 2);
    drop(store);
    let store = shelf.open();
    store.take_in(&round(vec![taken("a", 3)]), 1).unwrap();
    assert_eq!((store.tell().unwrap().seen(), store.tell().unwrap().seen()), (1, 0));
}

#[test]
fn a_store_belongs_to_one_process_and_no_other_user_can_read_it() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    let second = Store::at(shelf.path(), UNBOUND).open();
    assert!(matches!(second, Err(StoreError::Taken(_))), "{second:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(shelf.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    drop(store);
    Store::at(shelf.path(), UNBOUND).open().unwrap();
}

#[test]
fn a_file_that_is_not_a_store_is_moved_away_and_a_new_store_begins() {
    for text in [&b"no store at all"[..], &[0; 100_000]] {
        let shelf = Shelf::new(UNBOUND);
        std::fs::write(shelf.path(), text).unwrap();
        let store = shelf.open();
        store.take_in(&round(vec![taken("a", 1)]), 1).unwrap();
        assert_eq!(adds_up(&store), (1, 0, 1, 0));
        assert_eq!(std::fs::read(shelf.path().with_extension("damaged")).unwrap(), text);
    }
}

#[test]
fn a_record_that_cannot_be_read_is_lost_and_delays_no_other() {
    let shelf = Shelf::new(UNBOUND);
    let store = shelf.open();
    store.take_in(&round((0..3).map(|number| taken("a", number)).collect()), 1).unwrap();
    let broken = store.batch(1, &[]).unwrap()[0].0;
    store
        .change(|transaction, _| {
            let mut records = transaction.open_table(RECORDS).map_err(boxed)?;
            records.insert(broken, (1, &[0xFF; 9][..])).map_err(boxed)?;
            Ok(())
        })
        .unwrap();
    assert_eq!(store.batch(10, &[]).unwrap().len(), 2);
    assert_eq!(adds_up(&store), (3, 0, 2, 1));
    assert_eq!(store.counts().unwrap().lost()["corrupt"], 1);
}

/// One step of a test with random steps.
#[derive(Clone, Debug)]
enum Step {
    TakeIn {
        owner: u8,
        count: u64,
    },
    /// The same operations again, as after a death.
    DieAndTakeIn,
    Settle {
        limit: usize,
        rejected: u64,
    },
    Age,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..40_u64).prop_map(|(owner, count)| Step::TakeIn { owner, count }),
        1 => Just(Step::DieAndTakeIn),
        3 => (1..30_usize, 0..4_u64).prop_map(|(limit, rejected)| Step::Settle { limit, rejected }),
        1 => Just(Step::Age),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_sum_adds_up_and_each_operation_is_sent_once(
        steps in prop::collection::vec(step(), 1..25)
    ) {
        let shelf = Shelf::new(Bounds { bytes: 12_000, age: Duration::from_secs(3600) });
        let mut store = shelf.open();
        let (mut next, mut sent, mut last) = (0, std::collections::HashSet::new(), Vec::new());
        let mut now = 1;
        for step in steps {
            now += 1_800_000_000_000;
            match step {
                Step::TakeIn { owner, count } => {
                    last = (next..next + count).map(|number| taken(&owner.to_string(), number)).collect();
                    next += count;
                    store.take_in(&round(last.clone()), now).unwrap();
                }
                Step::DieAndTakeIn => {
                    drop(store);
                    store = shelf.open();
                    let before = adds_up(&store).0;
                    store.take_in(&round(last.clone()), now).unwrap();
                    prop_assert_eq!(adds_up(&store).0, before);
                }
                Step::Settle { limit, rejected } => {
                    let batch = keys(&store.batch(limit, &[]).unwrap());
                    prop_assert!(batch.iter().all(|key| sent.insert(*key)));
                    store.settle(&batch, (rejected, 0), now).unwrap();
                }
                Step::Age => {
                    store.age(now).unwrap();
                }
                Step::Reopen => {
                    drop(store);
                    store = shelf.open();
                    // What had been taken in is found again, or its ledger is gone.
                    store.take_in(&round(Vec::new()), now).unwrap();
                    last.clear();
                }
            }
            prop_assert_eq!(adds_up(&store).0, next);
            prop_assert!(store.bytes().unwrap() <= 12_000);
        }
    }
}
