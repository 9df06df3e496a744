//! A ledger that version 0.1 left behind (tests/data/README.md) is read and exported today.
//!
//! All values below were read from its bytes.

#![cfg(target_os = "linux")]

use mpr_otel_core::ledger::state::Phase;
use mpr_otel_core::ledger::{
    Access, Geometry, HEADER_SIZE, HeaderImage, Keeper, Record, SlotImage, Tally,
};
use mpr_otel_core::operation::{Kind, Operation, Outcome};
use mpr_otel_core::origin::Origin;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::process::Identity;
use mpr_otel_core::remote_name::RemoteName;
use mpr_otel_core::span::span;
use mpr_otel_core::trace_context::Parent;
use mpr_otel_core::win32_error::Class;
use mpr_otel_lab::equipment::graveyard::Graveyard;
use std::io::Read;

const ANCHOR: u64 = 1_795_643_151_373_025_798;
const SLOT_COUNT: usize = 1024;
const MAIN_THREAD: u32 = 7187;
/// The latest time in the file: when the open operation began.
const LAST_MOMENT: u64 = 1_912_865_868;

fn golden() -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = include_bytes!("data/v1.ledger.gz");
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

fn header() -> HeaderImage {
    HeaderImage::parse(&golden()).unwrap()
}

fn slots() -> Vec<SlotImage> {
    let bytes = golden();
    let header = header();
    let Geometry { slot_size, slot_count, .. } = header.geometry;
    let slots = bytes[HEADER_SIZE..].chunks_exact(slot_size);
    assert_eq!((header.geometry, slots.len()), (Geometry::V1, slot_count));
    slots.map(|bytes| header.slot(bytes).unwrap()).collect()
}

/// A successful add of a share on one server, from the main thread.
fn add(slot: u64, share: &str, local: &str, [started, ended]: [u64; 2]) -> Operation {
    Operation {
        number: SLOT_COUNT as u64 + slot,
        kind: Kind::Add,
        outcome: Outcome::Success,
        status: Some(0),
        started,
        ended,
        started_unix_nanos: ANCHOR + started,
        asleep: 0,
        thread_id: MAIN_THREAD,
        session_id: None,
        logon_id: 0,
        elevation: None,
        impersonated: false,
        flags: vec![],
        force: None,
        resource_type: Some("disk"),
        remote_name: Some(format!(r"\\files.corp.example\{share}")),
        remote: RemoteName {
            server: Some("files.corp.example".to_owned()),
            root: Some(r"\\files.corp.example\".to_owned()),
            share: Some(share.to_owned()),
            ..RemoteName::default()
        },
        local_name: Some(local.to_owned()).filter(|name| !name.is_empty()),
        provider: Some("Microsoft Windows Network".to_owned()),
        protocol: Some("smb"),
        truncated: false,
    }
}

/// The same operation without an end.
fn endless(add: Operation) -> Operation {
    Operation { outcome: Outcome::Unfinished, status: None, provider: None, protocol: None, ..add }
}

/// What is to be exported, with its phase and its span id.
fn operations() -> Vec<(Phase, u64, Operation)> {
    let old_server = RemoteName {
        server: Some("old-fs.corp.example".to_owned()),
        root: Some(r"\\old-fs.corp.example\".to_owned()),
        ..add(0, "printer", "", [0, 0]).remote
    };
    let alphabet = ('a'..='z').cycle().skip(21).take(235).collect::<String>();
    vec![
        (
            Phase::Done,
            0x133c_9366_c29e_8873,
            Operation {
                // The second operation of its slot.
                number: 2 * SLOT_COUNT as u64 + 448,
                flags: vec!["UPDATE_PROFILE".into()],
                ..add(448, "projects", "Z:", [408_352_164, 408_371_182])
            },
        ),
        (
            Phase::Done,
            0x0a5e_c5f5_2f6c_3d2f,
            Operation {
                outcome: Outcome::Failure(Class::Unreachable),
                status: Some(53),
                flags: vec!["PROMPT".into()],
                resource_type: Some("print"),
                remote_name: Some(r"\\old-fs.corp.example\printer".to_owned()),
                remote: old_server,
                provider: None,
                protocol: None,
                ..add(449, "printer", "LPT1:", [408_382_219, 408_382_419])
            },
        ),
        (
            Phase::Done,
            0xf0ed_d590_7401_15a9,
            Operation {
                outcome: Outcome::Cancelled,
                status: Some(1223),
                flags: vec!["INTERACTIVE".into()],
                resource_type: Some("any"),
                provider: None,
                protocol: None,
                ..add(450, "prompt", "", [408_383_851, 408_384_001])
            },
        ),
        (
            Phase::Done,
            0x6917_252f_d556_58ec,
            Operation {
                kind: Kind::Cancel,
                flags: vec!["UPDATE_PROFILE".into()],
                force: Some(true),
                resource_type: None,
                remote_name: None,
                remote: RemoteName::default(),
                ..add(451, "", "Z:", [408_388_929, 408_389_239])
            },
        ),
        (
            Phase::Done,
            0xed29_9a2b_259c_e47a,
            Operation {
                kind: Kind::Cancel,
                outcome: Outcome::Failure(Class::Conflict),
                status: Some(2401),
                force: Some(false),
                resource_type: None,
                provider: None,
                protocol: None,
                ..add(452, "in-use", "", [408_390_852, 408_390_972])
            },
        ),
        (
            Phase::Done,
            0x92f5_db5f_9bc0_a9b5,
            Operation { truncated: true, ..add(453, &alphabet, "Y:", [408_415_078, 408_415_378]) },
        ),
        (
            Phase::Unfinished,
            0x4d6a_44bb_9a5f_41db,
            Operation {
                flags: vec!["UPDATE_RECENT".into()],
                ..endless(add(454, "unfinished", "U:", [408_416_981, 708_558_633]))
            },
        ),
        (
            Phase::Open,
            0xec66_c288_a6e0_5b84,
            endless(add(455, "open", "O:", [LAST_MOMENT, LAST_MOMENT])),
        ),
        (
            Phase::Completing,
            0x92b5_3a86_f9a4_c689,
            Operation {
                thread_id: 7263,
                flags: vec!["TEMPORARY".into()],
                ..endless(add(512, "completing", "P:", [1_912_819_248, 1_912_832_788]))
            },
        ),
    ]
}

#[test]
fn the_header_names_the_host_and_has_its_counts() {
    let header = header();
    let Origin { identity, parent, anchor_unix_nanos, .. } = header.origin;
    let host = Identity { pid: 7187, executable: "host".into(), session_id: None, service: None };
    assert_eq!((identity, anchor_unix_nanos), (host, ANCHOR));
    let trace_id = 0x1a2b_3c4d_5e6f_7081_92a3_b4c5_d6e7_f809_u128.to_be_bytes();
    let span_id = 0xa1b2_c3d4_e5f6_0718_u64.to_be_bytes();
    assert_eq!(parent, Some(Parent { trace_id, span_id }));
    assert_eq!(header.keeper, Keeper::Host);
    assert_eq!(header.anchor_monotonic, 8_695_435_483_693);
    assert_eq!(header.last_seen, 1_681_623_500);
    assert_eq!(header.last_export_unix_nanos, 1_795_643_151_681_342_415);
    assert_eq!(header.lost_told, 1);
    assert_eq!(header.activity, [0; 3]);
    let lost = [0, 0, 0, 1, 0, 0];
    let counters =
        Tally { exported: 3, lost, unmatched: 4, malformed: 5, repeated: 2, ..Tally::default() };
    assert_eq!(header.counters, counters);
}

#[test]
fn the_seed_makes_the_same_ids_as_then() {
    // Without the parent. The parent's trace id would replace two thirds of the seed.
    let mut bytes = golden();
    bytes[64] = 0;
    let ids = HeaderImage::parse(&bytes).unwrap().origin.ids.ids(2 * SLOT_COUNT as u64 + 448);
    assert_eq!(u128::from_be_bytes(ids.trace_id), 0x3d03_4951_d5c6_f77f_2a13_49a8_f1be_26a9);
    assert_eq!(u64::from_be_bytes(ids.span_id), 0x133c_9366_c29e_8873);
}

#[test]
fn the_slots_hold_an_operation_in_each_phase() {
    let slots = slots();
    for (phase, _, expected) in operations() {
        let slot = expected.number as usize % SLOT_COUNT;
        let SlotImage { phase: found, generation, mut body } = slots[slot];
        assert_eq!(found, Some(phase), "{slot}");
        assert_eq!(generation, expected.number / SLOT_COUNT as u64, "{slot}");
        // POST was writing it.
        if phase == Phase::Completing {
            assert_eq!((body.status, body.provider_units), (0, 0));
        }
        if phase == Phase::Open {
            assert_eq!(std::mem::replace(&mut body.ended, LAST_MOMENT), 0);
        }
        let record =
            Record { unfinished: phase != Phase::Done, number: slots[slot].number(slot), body };
        assert_eq!(Operation::decode(&record), Some(expected));
        // The collector closed its port while the first span was sent.
        assert_eq!(body.sent, u8::from(slot == 448), "{slot}");
    }
    // Two other slots were used: one was claimed when the host died, and one has been freed.
    let used = |slot: &usize| slots[*slot].generation > 0 && !(448..=455).contains(slot);
    let used: Vec<usize> = (0..SLOT_COUNT).filter(used).collect();
    assert_eq!(used, [512, 576, 960]);
    let SlotImage { phase, generation, body } = slots[576];
    assert_eq!((phase, generation), (Some(Phase::Claimed), 1));
    assert_eq!((body.thread_id, body.kind, body.resource_type, body.remote_units), (7262, 1, 1, 0));
    assert!(String::from_utf16_lossy(&body.text).starts_with(r"\\files.corp.example\claimed"));
    let SlotImage { phase, generation, body } = slots[960];
    assert_eq!((phase, generation), (Some(Phase::Free), 3));
    assert_eq!((body.started, body.ended, body.thread_id), (204_773_914, 204_797_560, 7193));
    assert!(slots.iter().filter(|slot| slot.phase == Some(Phase::Free)).count() == SLOT_COUNT - 10);
}

#[test]
fn the_ledger_is_taken_over_as_its_host_would_have_exported_it_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("7187-218b2ae646e67e24.ledger");
    std::fs::write(&path, golden()).unwrap();
    assert!(Access::at(&path).unwrap().is_whole(&header()));
    let yard = Graveyard::within(folder.path());
    let taken = yard.take_over();

    let origin = Origin { recovered: true, ..header().origin };
    // A span has reported the operation that was refused, so no other span reports it.
    let expected = operations().into_iter().map(|(phase, id, operation)| {
        let ended = match phase {
            Phase::Open | Phase::Completing => LAST_MOMENT,
            _ => operation.ended,
        };
        let operation = Operation { ended, ..operation };
        let span = span(Privacy::FULL.disclose(operation), &origin, 0);
        assert_eq!(u64::from_be_bytes(span.span_context.span_id().to_bytes()), id);
        span
    });
    assert_eq!(taken.spans, expected.collect::<Vec<_>>());
    // The claimed operation.
    assert_eq!(taken.losses, [("corrupt", 1)].into());
    assert_eq!((taken.removed, yard.files()), ((1, 0), (0, 0)));
}
