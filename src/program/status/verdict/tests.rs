use super::*;
use std::collections::BTreeSet;

/// A machine without a problem.
fn well() -> Observations {
    Observations {
        unreadable: None,
        disabled_by: None,
        delivery: DeliveryMode::InProcess,
        malformed: Vec::new(),
        unknown: Vec::new(),
        exposed: Vec::new(),
        registered: Some(Registered::Well),
        dlls: vec![(Architecture::Amd64, DllState::Good), (Architecture::X86, DllState::Good)],
        agent_runs: Some(false),
        agent_round: None,
        ledgers: None,
        collector: (Collector::Accepts, "accepts spans".into()),
    }
}

/// The problems, the arrival and the exit code of a machine whose only fault is `change`.
fn judged(change: impl FnOnce(&mut Observations)) -> (Vec<&'static str>, Arrival, u8) {
    let mut observations = well();
    change(&mut observations);
    let verdict = Verdict::on(&observations);
    let names = verdict.problems.iter().map(|problem| problem.name).collect();
    (names, verdict.arrival, verdict.exit_code)
}

fn dlls(native: DllState, x86: DllState) -> Vec<(Architecture, DllState)> {
    vec![(Architecture::Amd64, native), (Architecture::X86, x86)]
}

fn away() -> (Collector, Printable) {
    (Collector::Away, "does not answer".into())
}

type Change = fn(&mut Observations);

/// The change, its problems, the arrival, and the exit code.
const TABLE: &[(Change, &[&str], Arrival, u8)] = &[
    (|_| (), &[], Arrival::Arrives, 0),
    (|seen| seen.agent_runs = Some(true), &[], Arrival::Arrives, 0),
    (|seen| seen.agent_runs = None, &[], Arrival::Arrives, 0),
    (|seen| seen.disabled_by = Some("group policy".to_owned()), &["disabled"], Arrival::Never, 1),
    (
        |seen| seen.unreadable = Some("HKLM\\KEY cannot be read".into()),
        &["settings_unreadable"],
        Arrival::Never,
        1,
    ),
    (
        |seen| seen.collector = (Collector::Unnamed, "no setting names it".into()),
        &["no_endpoint"],
        Arrival::Never,
        1,
    ),
    (
        |seen| {
            seen.malformed.push(MalformedSetting {
                registry: "TimeoutMs",
                problem: "`soon` is not a number".into(),
                is_endpoint: false,
            });
        },
        &["malformed_setting"],
        Arrival::Arrives,
        0,
    ),
    (
        |seen| {
            seen.malformed.push(MalformedSetting {
                registry: "Endpoint",
                problem: "`collector:4318` is not a URL".into(),
                is_endpoint: true,
            });
        },
        &["malformed_setting"],
        Arrival::Never,
        1,
    ),
    (
        |seen| {
            seen.exposed.push(ExposedSecret {
                registry: "Headers",
                place: "group policy".to_owned(),
                flag: "headers-file".to_owned(),
            });
        },
        &["secret_exposed"],
        Arrival::Arrives,
        0,
    ),
    (
        |seen| seen.unknown.push(r"HKLM\SOFTWARE\mpr-otel\EndPiont".into()),
        &["unknown_setting"],
        Arrival::Arrives,
        0,
    ),
    (
        |seen| seen.collector = (Collector::Withheld, "a program listens".into()),
        &["secret_withheld"],
        Arrival::Never,
        1,
    ),
    (
        |seen| seen.collector = (Collector::Untried, "not tried".into()),
        &["collector_untried"],
        Arrival::Arrives,
        0,
    ),
    (|seen| seen.registered = Some(Registered::Not), &["not_registered"], Arrival::Never, 1),
    (
        |seen| seen.registered = Some(Registered::Malformed("REG_SZ x".into())),
        &["malformed_registration"],
        Arrival::Never,
        1,
    ),
    (
        |seen| seen.registered = Some(Registered::Unknown("access denied".into())),
        &["registration_unreadable"],
        Arrival::Arrives,
        0,
    ),
    (
        |seen| seen.dlls = dlls(DllState::Other(r"C:\other.dll".into()), DllState::Good),
        &["other_dll"],
        Arrival::Arrives,
        0,
    ),
    (
        |seen| seen.dlls = dlls(DllState::Good, DllState::Missing("no file".into())),
        &["dll_missing"],
        Arrival::Partly,
        1,
    ),
    (
        |seen| {
            let wrong = DllState::Wrong(Some(Architecture::X86), r"C:\a.dll".into());
            seen.dlls = dlls(wrong, DllState::Missing("no file".into()));
        },
        &["dll_of_wrong_architecture", "dll_missing"],
        Arrival::Never,
        1,
    ),
    (
        |seen| seen.dlls = dlls(DllState::Wrong(None, r"C:\a.dll".into()), DllState::Good),
        &["dll_of_wrong_architecture"],
        Arrival::Partly,
        1,
    ),
    (
        |seen| {
            seen.dlls = vec![(Architecture::Amd64, DllState::Refused(Some(577), "unsigned".into()))]
        },
        &["dll_not_loaded"],
        Arrival::Never,
        1,
    ),
    (|seen| seen.ledgers = Some("denied".into()), &["ledgers_unreadable"], Arrival::Arrives, 0),
    (|seen| seen.delivery = DeliveryMode::Agent, &["no_agent"], Arrival::Never, 1),
    (
        |seen| {
            seen.delivery = DeliveryMode::Agent;
            seen.agent_runs = Some(true);
            seen.agent_round = Some(Duration::from_secs(60));
        },
        &[],
        Arrival::Arrives,
        0,
    ),
    // Only administrators can see the agent, so the verdict claims nothing.
    (
        |seen| {
            seen.delivery = DeliveryMode::Agent;
            seen.agent_runs = None;
        },
        &[],
        Arrival::Arrives,
        0,
    ),
    (
        |seen| {
            seen.delivery = DeliveryMode::Agent;
            seen.agent_runs = Some(true);
            seen.agent_round = Some(AGENT_HANGS_AFTER);
        },
        &["agent_hangs"],
        Arrival::Never,
        1,
    ),
    (
        |seen| seen.collector = (Collector::Refuses, "refuses: status 401".into()),
        &["collector_refuses"],
        Arrival::Never,
        1,
    ),
    (|seen| seen.collector = away(), &["collector_away"], Arrival::Waits, 3),
];
#[test]
fn one_thing_that_is_wrong_has_one_name_and_its_exit_code() {
    for (row, (change, names, arrival, code)) in TABLE.iter().enumerate() {
        assert_eq!(judged(change), (names.to_vec(), *arrival, *code), "row {row}");
    }
}

#[test]
fn the_page_about_json_names_each_problem() {
    let page = include_str!("../../../../docs/JSON.md");
    let rows = page.split_once("\n| problem | when |\n").unwrap().1.lines().skip(1);
    let rows = rows.map_while(|row| row.strip_prefix("| `"));
    let named: BTreeSet<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let known: BTreeSet<_> = TABLE.iter().flat_map(|row| row.1).copied().collect();
    assert_eq!(named, known);
}

#[test]
fn the_worst_of_several_things_decides() {
    let away_and_disabled = judged(|seen| {
        seen.collector = away();
        seen.disabled_by = Some("registry".to_owned());
    });
    assert_eq!(away_and_disabled, (vec!["disabled", "collector_away"], Arrival::Never, 1));
    let away_and_32_bit = judged(|seen| {
        seen.collector = away();
        seen.dlls = dlls(DllState::Good, DllState::Missing("no file".into()));
    });
    assert_eq!(away_and_32_bit, (vec!["dll_missing", "collector_away"], Arrival::Partly, 1));
    let away_and_other = judged(|seen| {
        seen.collector = away();
        seen.ledgers = Some("denied".into());
    });
    assert_eq!(away_and_other, (vec!["ledgers_unreadable", "collector_away"], Arrival::Waits, 3));
}

#[test]
fn on_a_system_without_mpr_nothing_is_missing() {
    let elsewhere = judged(|seen| {
        seen.registered = None;
        seen.dlls = Vec::new();
    });
    assert_eq!(elsewhere, (Vec::new(), Arrival::Arrives, 0));
}

#[test]
fn on_windows_on_arm_a_dll_for_emulated_programs_only_records_a_part() {
    let path = || Printable::from(r"C:\Windows\System32\mpr_otel.dll");
    let (names, arrival, code) = judged(|seen| {
        seen.dlls = vec![
            (Architecture::Arm64, DllState::Wrong(Some(Architecture::Amd64), path())),
            (Architecture::Amd64, DllState::Good),
            (Architecture::X86, DllState::Good),
        ];
    });
    assert_eq!((names, arrival, code), (vec!["dll_of_wrong_architecture"], Arrival::Partly, 1));
}

#[test]
fn each_problem_says_what_was_seen_and_what_to_do() {
    let mut observations = well();
    observations.collector = away();
    observations.registered = Some(Registered::Not);
    let mut shown = Vec::new();
    Verdict::on(&observations).write(&mut shown).unwrap();
    assert_eq!(
        String::from_utf8(shown).unwrap(),
        "\nVerdict: none of this machine's operations arrives\n  \
         - MPR's list of notification DLLs does not name mpr_otel.dll;\n    \
         what to do: run `mpr-otel install` as administrator\n  \
         - the collector does not answer;\n    \
         what to do: nothing, if this machine is away from its network; else start the \
         collector or correct the setting Endpoint\n"
    );
}

#[test]
fn a_refusal_by_code_integrity_asks_for_a_signature_or_a_rule() {
    let to_do = |code| {
        let mut observations = well();
        observations.dlls = vec![(Architecture::Amd64, DllState::Refused(Some(code), "".into()))];
        Verdict::on(&observations).problems.remove(0).to_do
    };
    for code in [577, 4551] {
        assert!(to_do(code).contains("signed release"), "{code}");
    }
    assert!(to_do(193).contains("unpack the release again"));
}
