//! One connection operation, decoded from its record.

use crate::abi::{CONNECT_FLAGS, RESOURCETYPE_ANY, RESOURCETYPE_DISK, RESOURCETYPE_PRINT};
use crate::credentials::remove_credentials;
use crate::ledger::{
    Body, ELEVATION_DEFAULT, ELEVATION_FULL, ELEVATION_LIMITED, KIND_ADD, KIND_CANCEL, LOCAL_UNITS,
    NO_SESSION, REMOTE_UNITS, Record,
};
use crate::remote_name::{RDP, RemoteName, WEBDAV, is_local_device};
use crate::win32_error::{self, Class, ERROR_NOT_CONNECTED, Meaning};
use std::borrow::Cow;

/// The advice for an operation that did not end.
pub const UNFINISHED: &str = "The operation's end was not seen: check the server for a hang and the program for a crash; `mpr-otel inflight` on the machine shows operations that still wait.";

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A drive or share was mapped.
    Add,
    /// A mapping was cancelled.
    Cancel,
}

impl Kind {
    /// The value of `mpr.operation.name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Cancel => "cancel",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation succeeded.
    Success,
    /// The user closed the prompt for credentials.
    Cancelled,
    /// A cancel of a connection that does not exist. Scripts often begin with one to be sure.
    NothingToDo,
    /// The operation failed.
    Failure(Class),
    /// No POST came: the host died during the operation, or a limit passed.
    Unfinished,
}

impl Outcome {
    /// How an operation of this kind ended with `status`; `None` if it did not end.
    pub fn of(kind: Kind, status: Option<u32>) -> Self {
        match (kind, status) {
            (_, None) => Self::Unfinished,
            (Kind::Cancel, Some(ERROR_NOT_CONNECTED)) => Self::NothingToDo,
            (_, Some(code)) => match win32_error::meaning(code) {
                Meaning::Success => Self::Success,
                Meaning::Cancelled => Self::Cancelled,
                Meaning::Failure(class) => Self::Failure(class),
            },
        }
    }

    /// The class of a failure; `None` for other outcomes.
    pub fn class(self) -> Option<Class> {
        match self {
            Self::Failure(class) => Some(class),
            _ => None,
        }
    }

    /// The value of `mpr.outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Cancelled => "cancelled",
            Self::NothingToDo => "nothing_to_do",
            Self::Failure(_) => "failure",
            Self::Unfinished => "unfinished",
        }
    }
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The operation's number, unique in its ledger. Its ids are made from the number.
    pub number: u64,
    /// The kind of operation.
    pub kind: Kind,
    /// How the operation ended.
    pub outcome: Outcome,
    /// The Win32 code; `None` if the operation did not end.
    pub status: Option<u32>,
    /// Nanoseconds from the ledger's anchor to PRE.
    pub started: u64,
    /// Nanoseconds from the ledger's anchor to the end, never before `started`.
    pub ended: u64,
    /// The wall clock at PRE, in nanoseconds since 1970; 0 if it is not known.
    pub started_unix_nanos: u64,
    /// How long the machine slept during the operation, in nanoseconds. Its duration does not
    /// include this.
    pub asleep: u64,
    /// The calling thread.
    pub thread_id: u32,
    /// The session of the thread's effective token; `None` if it is not known.
    pub session_id: Option<u32>,
    /// The LUID of the token's logon; 0 if it is not known.
    pub logon_id: u64,
    /// `mpr.elevation` of the token; `None` if it is not known.
    pub elevation: Option<&'static str>,
    /// Whether the thread impersonated.
    pub impersonated: bool,
    /// Names of the `CONNECT_*` flags that were set; unknown bits in hexadecimal.
    pub flags: Vec<Cow<'static, str>>,
    /// Whether a cancel was forced; `None` for an add.
    pub force: Option<bool>,
    /// Type of the resource; `None` for a cancel.
    pub resource_type: Option<&'static str>,
    /// The remote name, without credentials.
    pub remote_name: Option<String>,
    /// The parts of the remote name.
    pub remote: RemoteName,
    /// The local device.
    pub local_name: Option<String>,
    /// The provider, if the contract defines it for this operation.
    pub provider: Option<String>,
    /// `network.protocol.name`, if the provider or the remote name shows it.
    pub protocol: Option<&'static str>,
    /// Whether a name was cut.
    pub truncated: bool,
}

impl Operation {
    /// Decodes a record. `None` if its bytes cannot be an operation.
    pub fn decode(record: &Record) -> Option<Self> {
        let body = &record.body;
        let kind = match body.kind {
            KIND_ADD => Kind::Add,
            KIND_CANCEL => Kind::Cancel,
            _ => return None,
        };
        let [first, second, provider] = body.names()?;
        let cut = body.truncated != 0;
        let first_cut = cut && first.len() == REMOTE_UNITS;
        let first = without_credentials(first, first_cut);
        let second = without_credentials(second, cut && second.len() == LOCAL_UNITS);
        let provider = text(provider);
        // A cancel has one name, for a device or for a resource.
        let (remote_name, local_name) = match (kind, first) {
            (Kind::Cancel, Some(name)) if is_local_device(&name) => (None, Some(name)),
            (_, first) => (first, second),
        };
        let mut remote = remote_name.as_deref().map(RemoteName::parse).unwrap_or_default();
        if first_cut && remote.share.is_none() {
            // Only the beginning of the server's name is there.
            remote = RemoteName::default();
        }
        let status = (!record.unfinished).then_some(body.status);
        Some(Self {
            number: record.number,
            kind,
            outcome: Outcome::of(kind, status),
            status,
            started: body.started,
            ended: body.ended.max(body.started),
            started_unix_nanos: body.started_unix_nanos,
            // If the operation is unfinished, POST has not written the time, or is writing it.
            asleep: status.map_or(0, |_| body.asleep_after.saturating_sub(body.asleep_before)),
            thread_id: body.thread_id,
            session_id: Some(body.session_id).filter(|session| *session != NO_SESSION),
            logon_id: body.logon_id,
            elevation: match body.elevation {
                ELEVATION_DEFAULT => Some("default"),
                ELEVATION_FULL => Some("full"),
                ELEVATION_LIMITED => Some("limited"),
                _ => None,
            },
            impersonated: body.impersonated == 1,
            flags: flag_names(body.flags),
            force: (kind == Kind::Cancel).then_some(body.force != 0),
            resource_type: (kind == Kind::Add).then(|| resource_type(body)),
            protocol: provider.as_deref().and_then(protocol).or(remote.protocol),
            remote,
            remote_name,
            local_name,
            provider,
            truncated: cut,
        })
    }

    /// The value of `error.type`. `None` if the operation neither failed nor stayed unfinished.
    pub fn error_type(&self) -> Option<Cow<'static, str>> {
        match (self.outcome, self.status) {
            (Outcome::Failure(_), Some(code)) => Some(win32_error::name(code)),
            (Outcome::Unfinished, _) => Some(Cow::Borrowed("unfinished")),
            _ => None,
        }
    }

    /// The advice for this operation, in a sentence. `None` if it neither failed nor stayed
    /// unfinished.
    pub fn advice(&self) -> Option<Cow<'static, str>> {
        match (self.outcome, self.status) {
            (Outcome::Failure(_), Some(code)) => Some(win32_error::advice(code)),
            (Outcome::Unfinished, _) => Some(Cow::Borrowed(UNFINISHED)),
            _ => None,
        }
    }
}

/// A name as text. A host removes credentials before it stores a name. But a file may come from an
/// older version that did not, or from another program.
fn without_credentials(units: &[u16], cut: bool) -> Option<String> {
    let mut units = units.to_vec();
    let left = remove_credentials(&mut units, cut);
    text(&units[..left])
}

/// The protocol of Windows' own network providers.
fn protocol(provider: &str) -> Option<&'static str> {
    match provider {
        "Microsoft Windows Network" => Some("smb"),
        "Web Client Network" => Some(WEBDAV),
        "Microsoft Terminal Services" => Some(RDP),
        _ => None,
    }
}

/// A name as text, with unpaired surrogates replaced. `None` if it is empty.
fn text(units: &[u16]) -> Option<String> {
    if units.is_empty() {
        return None;
    }
    // Almost all names are ASCII, and then each unit is one byte.
    if units.iter().all(|unit| *unit < 0x80) {
        return Some(units.iter().map(|unit| char::from(*unit as u8)).collect());
    }
    Some(String::from_utf16_lossy(units))
}

fn flag_names(flags: u32) -> Vec<Cow<'static, str>> {
    let mut rest = flags;
    let mut names = Vec::new();
    for (bit, name) in CONNECT_FLAGS {
        if flags & bit != 0 {
            names.push(Cow::Borrowed(name));
            rest &= !bit;
        }
    }
    if rest != 0 {
        names.push(Cow::Owned(format!("0x{rest:X}")));
    }
    names
}

fn resource_type(body: &Body) -> &'static str {
    match body.resource_type {
        RESOURCETYPE_ANY => "any",
        RESOURCETYPE_DISK => "disk",
        RESOURCETYPE_PRINT => "print",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_without_a_connection_has_nothing_to_do_and_an_add_with_that_code_failed() {
        assert_eq!(Outcome::of(Kind::Cancel, Some(2250)), Outcome::NothingToDo);
        assert_eq!(Outcome::of(Kind::Add, Some(2250)), Outcome::Failure(Class::NotFound));
        for kind in [Kind::Add, Kind::Cancel] {
            assert_eq!(Outcome::of(kind, Some(0)), Outcome::Success);
            assert_eq!(Outcome::of(kind, Some(1223)), Outcome::Cancelled);
            assert_eq!(Outcome::of(kind, Some(5)), Outcome::Failure(Class::Authorization));
            assert_eq!(Outcome::of(kind, None), Outcome::Unfinished);
        }
    }
}
