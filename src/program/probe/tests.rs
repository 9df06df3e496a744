//! Tests of the verdicts and the exit code, with observations that no available machine gives.

use super::table::Report;
use super::verdict::{Machine, Observation, Outcome, Row, Tried, Verdict, exit_code, judge};
use crate::architecture::Architecture;
use mpr_otel_core::folder::Recorded;
use mpr_otel_core::settings::DeliveryMode;
use std::time::Duration;

/// A machine with a registered DLL and an agent that delivers.
fn machine() -> Machine {
    let delivery = DeliveryMode::Agent;
    Machine { unregistered: None, delivery, agent_runs: Some(true), disabled: false }
}

fn observation(tried: Tried) -> Observation {
    Observation {
        way: "WNetAddConnection2W",
        architecture: Some(Architecture::Amd64),
        operation: "map",
        excluded: false,
        outcome: Outcome::Tried(tried),
    }
}

/// A call that was notified and delivered.
fn well() -> Tried {
    Tried {
        code: Some(0),
        took: Some(Duration::from_micros(12_345)),
        ended: false,
        loaded: Some(true),
        load_code: None,
        record: Some(Recorded {
            post: Some((0, Duration::from_micros(12_000))),
            freed_after: Some(Duration::from_secs(1)),
            lost: false,
        }),
    }
}

/// A call by a program that did not load the DLL, with the code of loading it there.
fn not_loaded(load_code: Option<u32>) -> Tried {
    Tried { loaded: Some(false), load_code, record: None, ..well() }
}

fn judged(tried: Tried) -> Row {
    judge(&machine(), &observation(tried))
}

#[track_caller]
fn expect(row: &Row, result: Verdict, delivered: bool, detail: &str) {
    assert_eq!((row.result, row.delivered), (result, delivered), "{row:?}");
    assert_eq!(row.detail.as_deref().unwrap_or_default(), detail, "{row:?}");
}

#[test]
fn a_recorded_and_freed_operation_is_notified_and_delivered() {
    let row = judged(well());
    expect(&row, Verdict::Notified, true, "");
    assert_eq!(
        (row.call_status, row.post_status, row.status_agrees),
        (Some(0), Some(0), Some(true))
    );
    assert_eq!((row.call_ms, row.span_ms), (Some(12.345), Some(12.0)));
    assert_eq!(row.delivered_after_ms, Some(1000.0));
}

#[test]
fn another_status_than_posts_is_shown_and_is_no_failure() {
    let row = judged(Tried { code: Some(1222), ..well() });
    expect(&row, Verdict::Notified, true, "");
    assert_eq!(
        (row.call_status, row.post_status, row.status_agrees),
        (Some(1222), Some(0), Some(false))
    );
    // If a program does not report its code, nothing can be compared.
    assert_eq!(judged(Tried { code: None, ..well() }).status_agrees, None);
}

#[test]
fn the_code_of_loading_says_why_the_dll_is_not_in_the_program() {
    use Verdict::{CodeIntegrity, LoadFailed, NotFound, NotNotified, WrongArchitecture};
    for (code, result) in [
        (Some(126), NotFound),
        (Some(3), NotFound),
        (Some(193), WrongArchitecture),
        (Some(216), WrongArchitecture),
        (Some(577), CodeIntegrity),
        (Some(1260), CodeIntegrity),
        (Some(4551), CodeIntegrity),
        (Some(4556), CodeIntegrity),
        (Some(1114), LoadFailed),
        // The DLL can be loaded, or it is not known: MPR did not load it.
        (Some(0), NotNotified),
        (None, NotNotified),
    ] {
        let row = judged(not_loaded(code));
        assert_eq!((row.result, row.delivered), (result, false), "{code:?}");
        let detail = row.detail.unwrap();
        if let Some(code @ 1..) = code {
            assert!(detail.contains(&format!("(error {code})")), "{detail}");
        }
    }
}

#[test]
fn a_loaded_dll_without_a_record_was_not_notified_whatever_loading_gives() {
    let tried = Tried { loaded: Some(true), ..not_loaded(Some(193)) };
    assert_eq!(judged(tried).result, Verdict::NotNotified);
}

#[test]
fn mpr_may_end_a_call_before_it_notifies() {
    let hint = "MPR itself may have refused the call";
    let detail = |code, load_code| {
        judged(Tried { code: Some(code), ..not_loaded(load_code) }).detail.unwrap()
    };
    assert!(detail(1222, None).ends_with(hint));
    assert!(!detail(53, None).contains(hint), "a provider's code");
    assert!(!detail(1222, Some(126)).contains(hint), "a better reason is known");
}

#[test]
fn settings_and_registration_come_before_the_files_state() {
    let verdict = |machine: &Machine, excluded, load_code| {
        let seen = Observation { excluded, ..observation(not_loaded(load_code)) };
        judge(machine, &seen).result
    };
    let unregistered = Machine { unregistered: Some("no DLL".to_owned()), ..machine() };
    let disabled = Machine { disabled: true, ..unregistered.clone() };
    assert_eq!(verdict(&machine(), true, Some(193)), Verdict::Excluded);
    assert_eq!(verdict(&unregistered, true, Some(193)), Verdict::NotRegistered);
    assert_eq!(verdict(&disabled, true, Some(193)), Verdict::Disabled);
    // The ledger's content counts, whatever the settings are now.
    let seen = Observation { excluded: true, ..observation(well()) };
    assert_eq!(judge(&disabled, &seen).result, Verdict::Notified);
}

#[test]
fn a_32_bit_program_on_a_machine_without_the_32_bit_dll_is_shown_beside_the_others() {
    let seen = Observation {
        way: "net use",
        architecture: Some(Architecture::X86),
        ..observation(Tried { ended: true, ..not_loaded(Some(126)) })
    };
    let row = judge(&machine(), &seen);
    expect(&row, Verdict::NotFound, false, "the DLL is not there (error 126)");
    assert_eq!(exit_code(&[judged(well()), row]), 1);
}

#[test]
fn an_arm_machine_with_the_x64_dll_records_only_emulated_programs() {
    let native = Observation {
        way: "net use",
        architecture: Some(Architecture::Arm64),
        ..observation(not_loaded(Some(193)))
    };
    let row = judge(&machine(), &native);
    assert_eq!((row.result, row.architecture), (Verdict::WrongArchitecture, native.architecture));
    assert_eq!(exit_code(&[judged(well()), row]), 1);
}

#[test]
fn why_a_record_was_not_delivered_depends_on_who_delivers() {
    let waiting = |freed_after, lost, ended| {
        let recorded = Recorded { freed_after, lost, ..well().record.unwrap() };
        observation(Tried { ended, record: Some(recorded), ..well() })
    };
    let held = waiting(None, false, false);
    let on = |delivery, agent_runs| Machine { delivery, agent_runs, ..machine() };
    for (machine, seen, detail) in [
        (machine(), &held, "the collector did not take it: see `mpr-otel status`"),
        (
            on(DeliveryMode::Agent, None),
            &held,
            "the collector did not take it: see `mpr-otel status`",
        ),
        (on(DeliveryMode::Agent, Some(false)), &held, "no agent runs: `mpr-otel install`"),
        (
            on(DeliveryMode::InProcess, Some(false)),
            &held,
            "the collector did not take it: see `mpr-otel status`",
        ),
        (
            on(DeliveryMode::InProcess, Some(false)),
            &waiting(None, false, true),
            "the program has ended and no agent runs: `mpr-otel drain` sends its operations",
        ),
        (
            machine(),
            &waiting(Some(Duration::from_secs(1)), true, false),
            "counted as lost: see `mpr-otel status`",
        ),
    ] {
        expect(&judge(&machine, seen), Verdict::Notified, false, detail);
    }
    let open = Tried { record: Some(Recorded::default()), ..well() };
    expect(&judged(open), Verdict::Notified, false, "POST did not come");
}

#[test]
fn the_exit_code_follows_the_ways_that_the_machine_has() {
    let with = |outcome| judge(&machine(), &Observation { outcome, ..observation(well()) });
    let absent = with(Outcome::Absent("not here".to_owned()));
    let unknown = with(Outcome::Untried("killed".to_owned()));
    let (well, not) = (judged(well()), judged(not_loaded(None)));
    let code =
        |rows: &[&Row]| exit_code(&rows.iter().map(|row| (*row).clone()).collect::<Vec<_>>());
    assert_eq!(code(&[&well, &absent]), 0);
    assert_eq!(code(&[&well, &not, &unknown]), 1);
    assert_eq!(code(&[&well, &unknown]), 2);
    assert_eq!(code(&[&absent]), 2);
    assert_eq!(code(&[]), 2);
}

#[test]
fn the_table_has_a_line_for_each_row_and_a_sentence_at_the_end() {
    let ways = vec![judged(well()), judged(Tried { code: Some(67), ..not_loaded(Some(4551)) })];
    let report = Report {
        target: r"\\localhost\IPC$".to_owned(),
        missing: r"\\localhost\none".to_owned(),
        exit_code: exit_code(&ways),
        ways,
    };
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[3].starts_with("amd64  WNetAddConnection2W"), "{text}");
    assert!(lines[3].ends_with("0 = POST       in 1.0 s"), "{text}");
    assert!(lines[4].contains("code integrity"), "{text}");
    assert!(lines[4].ends_with("(error 4551): allow its publisher"), "{text}");
    assert_eq!(lines[6], "Not every way that this machine has is notified and delivered.");
    assert_eq!(lines.len(), 7, "{text}");
}
