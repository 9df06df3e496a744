//! Decides what the observations mean. The functions are pure, so that tests can use observations
//! that no available machine gives.

use crate::architecture::Architecture;
use crate::printable::Printable;
use mpr_otel_core::folder::Recorded;
use mpr_otel_core::settings::DeliveryMode;
use serde::Serialize;
use std::time::Duration;

/// The facts that are the same for every program of this machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Why MPR does not find the DLL in its list; `None` if it does.
    pub(super) unregistered: Option<String>,
    pub(super) delivery: DeliveryMode,
    /// `None` if this user may not see it.
    pub(super) agent_runs: Option<bool>,
    /// The setting `Disabled`.
    pub(super) disabled: bool,
}

/// One operation that one way of mapping was asked for.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    /// The function or command.
    pub(super) way: &'static str,
    /// The architecture of the calling program. `None` if there is no such program.
    pub(super) architecture: Option<Architecture>,
    pub(super) operation: &'static str,
    /// Whether the setting `ExcludeProcesses` names the program.
    pub(super) excluded: bool,
    pub(super) outcome: Outcome,
}

/// What happened to the operation.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The machine does not have this way, for this reason.
    Absent(String),
    /// The machine has this way, but it could not be tried or watched, for this reason.
    Untried(String),
    Tried(Tried),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    /// The Win32 code that the call returned. `None` if the program does not report it.
    pub(super) code: Option<u32>,
    /// How long the call took, by the calling program's clock.
    pub(super) took: Option<Duration>,
    /// Whether the program has ended since the call.
    pub(super) ended: bool,
    /// Whether the program had loaded the DLL after the call.
    pub(super) loaded: Option<bool>,
    /// If it had not: the Win32 code of loading the DLL there, or the code that its file suggests;
    /// 0 for success.
    pub(super) load_code: Option<u32>,
    /// What the call recorded in its program's ledger.
    pub(super) record: Option<Recorded>,
}

/// What happened to the notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Notified,
    NotNotified,
    NotRegistered,
    /// The DLL was not loaded; the same holds for the next three.
    NotFound,
    WrongArchitecture,
    CodeIntegrity,
    LoadFailed,
    Excluded,
    Disabled,
    /// The machine does not have this way.
    Absent,
    /// The way could not be tried, or not be watched.
    Unknown,
}

/// One row of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) way: &'static str,
    pub(super) architecture: Option<Architecture>,
    pub(super) operation: &'static str,
    pub(super) result: Verdict,
    pub(super) delivered: bool,
    /// Why the operation was not notified or not delivered.
    pub(super) detail: Option<String>,
    pub(super) call_status: Option<u32>,
    pub(super) post_status: Option<u32>,
    pub(super) status_agrees: Option<bool>,
    pub(super) call_ms: Option<f64>,
    /// The time from PRE to POST, in milliseconds.
    pub(super) span_ms: Option<f64>,
    pub(super) delivered_after_ms: Option<f64>,
}

/// The row for an observation.
pub(super) fn judge(machine: &Machine, seen: &Observation) -> Row {
    let nothing = Tried::default();
    let (tried, (result, detail)) = match &seen.outcome {
        Outcome::Absent(why) => (&nothing, (Verdict::Absent, Some(why.clone()))),
        Outcome::Untried(why) => (&nothing, (Verdict::Unknown, Some(why.clone()))),
        Outcome::Tried(tried) => (
            tried,
            match &tried.record {
                Some(record) => (Verdict::Notified, why_not_delivered(machine, tried, record)),
                None => why_not_notified(machine, seen.excluded, tried),
            },
        ),
    };
    let post = tried.record.as_ref().and_then(|record| record.post);
    let freed_after = tried.record.as_ref().and_then(|record| record.freed_after);
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Row {
        way: seen.way,
        architecture: seen.architecture,
        operation: seen.operation,
        result,
        delivered: result == Verdict::Notified && detail.is_none(),
        // Parts of the text come from the registry and the system.
        detail: detail.map(|text| Printable::from(text).to_string()),
        call_status: tried.code,
        post_status: post.map(|(status, _)| status),
        status_agrees: tried.code.zip(post).map(|(code, (status, _))| code == status),
        call_ms: tried.took.map(milliseconds),
        span_ms: post.map(|(_, span)| milliseconds(span)),
        delivered_after_ms: freed_after.map(milliseconds),
    }
}

/// 0 if every way that the machine has is notified and delivered, 1 if not, 2 if the ways could not
/// be tried.
pub(super) fn exit_code(rows: &[Row]) -> u8 {
    let here = || rows.iter().filter(|row| row.result != Verdict::Absent);
    if here().any(|row| row.result != Verdict::Unknown && !row.delivered) {
        return 1;
    }
    if here().any(|row| row.result == Verdict::Unknown) || here().next().is_none() { 2 } else { 0 }
}

fn why_not_delivered(machine: &Machine, tried: &Tried, record: &Recorded) -> Option<String> {
    let why = match (record.freed_after, machine.delivery, machine.agent_runs) {
        (Some(_), ..) if record.lost => "counted as lost: see `mpr-otel status`",
        (Some(_), ..) => return None,
        (None, ..) if record.post.is_none() => "POST did not come",
        (None, DeliveryMode::Agent, Some(false)) => "no agent runs: `mpr-otel install`",
        (None, DeliveryMode::InProcess, Some(false)) if tried.ended => {
            "the program has ended and no agent runs: `mpr-otel drain` sends its operations"
        }
        _ => "the collector did not take it: see `mpr-otel status`",
    };
    Some(why.to_owned())
}

/// Why a call recorded nothing in its program's ledger: the first reason that applies.
fn why_not_notified(machine: &Machine, excluded: bool, tried: &Tried) -> (Verdict, Option<String>) {
    let code = tried.load_code.unwrap_or_default();
    let (verdict, why) = match code {
        _ if machine.disabled => (Verdict::Disabled, "by the setting Disabled".to_owned()),
        _ if machine.unregistered.is_some() => {
            return (Verdict::NotRegistered, machine.unregistered.clone());
        }
        _ if excluded => (Verdict::Excluded, "by the setting ExcludeProcesses".to_owned()),
        _ if tried.loaded == Some(true) => (
            Verdict::NotNotified,
            "the DLL is loaded: MPR did not call it, or it could not make its ledger".to_owned(),
        ),
        // ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, ERROR_MOD_NOT_FOUND
        2 | 3 | 126 => (Verdict::NotFound, format!("the DLL is not there (error {code})")),
        // ERROR_BAD_EXE_FORMAT, ERROR_EXE_MACHINE_TYPE_MISMATCH
        193 | 216 => (
            Verdict::WrongArchitecture,
            format!("the DLL is for other programs, or damaged (error {code}): `mpr-otel install`"),
        ),
        // ERROR_INVALID_IMAGE_HASH, ERROR_ACCESS_DISABLED_BY_POLICY, ERROR_SYSTEM_INTEGRITY_*
        577 | 1260 | 4550..=4559 | 4580..=4582 => (
            Verdict::CodeIntegrity,
            format!("Windows refuses the DLL (error {code}): allow its publisher"),
        ),
        0 => (Verdict::NotNotified, "MPR did not load the DLL".to_owned()),
        code => (Verdict::LoadFailed, format!("the DLL does not load (error {code})")),
    };
    // ERROR_BAD_DEVICE, ERROR_NO_NET_OR_BAD_PATH, ERROR_BAD_PROVIDER, ERROR_NO_NETWORK
    let by_mpr =
        verdict == Verdict::NotNotified && matches!(tried.code, Some(1200 | 1203 | 1204 | 1222));
    let hint = if by_mpr { "; MPR itself may have refused the call" } else { "" };
    (verdict, Some(why + hint))
}
