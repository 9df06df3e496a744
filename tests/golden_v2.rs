//! A ledger of format version 2 (tests/data/README.md) is read today with the content that it was
//! written with.
//!
//! All values below were read from its bytes, by the table of offsets in layout.rs.

#![cfg(target_os = "linux")]

use mpr_otel_core::ledger::state::Phase::{self, Claimed, Completing, Done, Open, Unfinished};
use mpr_otel_core::ledger::{
    Geometry, HEADER_SIZE, HeaderImage, Keeper, Loss, NUMBER_STRIDE, SlotImage,
};
use mpr_otel_lab::equipment::graveyard::{Graveyard, told};
use std::io::Read;

/// Slot, phase, generation and checksum; started, ended and the date of the start; thread, flags,
/// type and status; names.
type Row = (usize, Phase, u64, u64, [u64; 3], [u32; 4], [&'static str; 3]);

#[rustfmt::skip]
const ROWS: [Row; 10] = [
    (64, Done, 2, 0x7e5b_7392_7347_6379, [24908712212921, 24908712220823, 1795843424039172060],
        [378, 1, 1, 0], [r"\\files.corp.example\projects", "Z:", ""]),
    (65, Done, 1, 0xfd0e_3568_8a57_f7b5, [24908712278959, 24908712279299, 1795843424039239971],
        [378, 16, 2, 53], [r"\\old-fs.corp.example\printer", "LPT1:", ""]),
    (66, Done, 1, 0x8de7_5b89_bd85_28f5, [24908712283325, 24908712283576, 1795843424039244377],
        [378, 8, 0, 1223], [r"\\files.corp.example\prompt", "", ""]),
    (67, Done, 1, 0x6777_328b_6c29_3250, [24908712286791, 24908712287191, 1795843424039247812],
        [378, 1, 0, 0], ["Z:", "", "Microsoft Windows Network"]),
    (68, Done, 1, 0x7eca_c666_1327_7976, [24908712349324, 24908712349834, 1795843424039310365],
        [378, 0, 0, 2401], [r"\\files.corp.example\in-use", "", ""]),
    (69, Done, 1, 0xc3f6_9845_81bf_6e43, [24908712365888, 24908712366259, 1795843424039326900],
        [378, 0, 1, 0], [r"\\files.corp.example\vwxyzabcdefghijklmnopqrstuvwxyzabcdefgh", "Y:", ""]),
    (70, Unfinished, 1, 0, [24908712370936, 24909012539040, 1795843424039331988],
        [378, 2, 1, 0], [r"\\files.corp.example\unfinished", "U:", ""]),
    (71, Completing, 1, 0, [24910212977087, 24910212988164, 1795843425539935966],
        [382, 1, 0, 0], [r"\\files.corp.example\completing", "", ""]),
    (72, Open, 1, 0, [24910213030507, 0, 1795843425539991368],
        [378, 0, 1, 0], [r"\\files.corp.example\open", "O:", ""]),
    // PRE was writing it, so its texts are from this operation or from the one before.
    (128, Claimed, 4, 0xeb72_d273_71b0_f096, [24908506113250, 24908506122924, 1795843423833072359],
        [381, 0, 1, 0], [r"\\files.corp.example\claimedd", "", ""]),
];

fn golden() -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = include_bytes!("data/v2.ledger.gz");
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_header_names_the_host_and_has_its_counts() {
    let header = HeaderImage::parse(&golden()).unwrap();
    assert_eq!((header.geometry, header.keeper), (Geometry::V2, Keeper::Host));
    let origin = &header.origin;
    assert_eq!((origin.identity.pid, &*origin.identity.executable), (378, "host"));
    assert_eq!((origin.identity.session_id, &origin.identity.service), (None, &None));
    assert_eq!(origin.anchor_unix_nanos, 1_795_818_515_326_960_621);
    assert_eq!(origin.boot_id, 0xd237_98d2_6c6a_44a6);
    let parent = origin.parent.unwrap();
    assert_eq!(u128::from_be_bytes(parent.trace_id), 0x1a2b_3c4d_5e6f_7081_92a3_b4c5_d6e7_f809);
    assert_eq!(u64::from_be_bytes(parent.span_id), 0xa1b2_c3d4_e5f6_0718);
    let counters = header.counters;
    assert_eq!((counters.exported, counters.lost[Loss::Rejected as usize]), (3, 1));
    assert_eq!((counters.unmatched, counters.malformed, counters.repeated), (4, 5, 2));
    assert_eq!(header.last_seen, 24_909_634_835_032);
    assert_eq!(header.last_error, "io: Connection refused (os error 111)");
}

#[test]
fn the_slots_hold_an_operation_in_each_phase() {
    let bytes = golden();
    let header = HeaderImage::parse(&bytes).unwrap();
    let Geometry { slot_size, slot_count, file_size, .. } = header.geometry;
    assert_eq!((bytes.len(), slot_size, slot_count), (file_size, 792, 160));
    let slots = bytes[HEADER_SIZE..].chunks_exact(slot_size).take(slot_count);
    let slots: Vec<SlotImage> = slots.map(|bytes| header.slot(bytes).unwrap()).collect();
    let used = slots.iter().enumerate().filter(|(_, slot)| slot.phase != Some(Phase::Free));
    let found: Vec<usize> = used.map(|(slot, _)| slot).collect();
    assert_eq!(found, ROWS.map(|row| row.0));
    for (slot, phase, generation, checksum, times, numbers, names) in ROWS {
        let image = &slots[slot];
        let body = &image.body;
        assert_eq!((image.phase, image.generation), (Some(phase), generation), "{slot}");
        assert_eq!(body.checksum, checksum, "{slot}");
        assert!(image.is_intact(), "{slot}");
        assert_eq!([body.started, body.ended, body.started_unix_nanos], times, "{slot}");
        assert_eq!(
            [body.thread_id, body.flags, body.resource_type, body.status],
            numbers,
            "{slot}"
        );
        let said = body.names().unwrap().map(String::from_utf16_lossy);
        for (said, name) in said.iter().zip(names) {
            // One is longer than its row.
            assert_eq!(said.chars().take(60).collect::<String>(), name, "{slot}");
        }
        // On Linux nothing is known about a token.
        assert_eq!((body.logon_id, body.elevation, body.impersonated), (0, 0, 0), "{slot}");
    }
}

#[test]
fn the_ledger_is_taken_over_and_slots_lost_with_the_power_are_not_damage() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = golden();
    // The test may run on the machine on which the ledger was made.
    bytes[3072..3080].copy_from_slice(&1_u64.to_le_bytes());
    std::fs::write(folder.path().join("378-0123456789abcdef.ledger"), bytes).unwrap();
    let yard = Graveyard::within(folder.path());
    let taken = yard.take_over();
    let ids = HeaderImage::parse(&golden()).unwrap().origin.ids;
    let rows = ROWS.iter().filter(|(_, phase, ..)| *phase != Claimed);
    let mut expected: Vec<u64> = rows
        .map(|(slot, _, generation, ..)| {
            u64::from_be_bytes(ids.ids(generation * NUMBER_STRIDE + *slot as u64).span_id)
        })
        .collect();
    let ids = told(&taken.spans).into_iter().map(|(_, id)| u64::from_be_bytes(id.to_bytes()));
    let mut ids: Vec<u64> = ids.collect();
    expected.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!((taken.lost("corrupt"), taken.lost("power_loss")), (0, 1));
    assert_eq!((taken.removed, yard.files()), ((1, 0), (0, 0)));
}
