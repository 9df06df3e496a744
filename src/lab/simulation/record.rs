//! An operation as PRE and POST record it in a host's ledger.

use mpr_otel_core::ledger::{Body, KIND_ADD, KIND_CANCEL, Record};
use mpr_otel_core::wide::WideStr;
use mpr_otel_core::win32_error::{Meaning, meaning};

/// What PRE and POST are handed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded<'a> {
    pub(super) add: bool,
    pub(super) remote: &'a str,
    pub(super) local: &'a str,
    pub(super) provider: &'a str,
    pub(super) flags: u32,
    pub(super) resource_type: u32,
    pub(super) force: bool,
    /// The LUID of the logon.
    pub(super) logon_id: u64,
    /// `ELEVATION_*`.
    pub(super) elevation: u8,
    pub(super) thread_id: u32,
    /// In nanoseconds after the anchor.
    pub(super) started: u64,
    /// When it returned, or was given up, in nanoseconds after the anchor.
    pub(super) ended: u64,
    /// Win32 code; `None` if it was given up.
    pub(super) status: Option<u32>,
}

impl Recorded<'_> {
    /// The record with this number, which is its own in its process.
    pub(super) fn record(&self, number: u64) -> Record {
        let mut body = Body {
            started: self.started,
            ended: self.ended,
            thread_id: self.thread_id,
            flags: self.flags,
            resource_type: self.resource_type,
            status: self.status.unwrap_or_default(),
            kind: if self.add { KIND_ADD } else { KIND_CANCEL },
            force: u8::from(self.force),
            logon_id: self.logon_id,
            elevation: self.elevation,
            ..Body::empty()
        };
        let (remote, local) = (units(self.remote), units(self.local));
        body.set_names(WideStr::from_units(&remote), WideStr::from_units(&local));
        if self.status.is_some_and(|status| meaning(status) == Meaning::Success) {
            body.set_provider(WideStr::from_units(&units(self.provider)));
        }
        Record { unfinished: self.status.is_none(), number, body }
    }
}

/// A name as MPR passes it.
fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpr_otel_core::operation::{Operation, Outcome};

    fn recorded(status: Option<u32>) -> Recorded<'static> {
        Recorded {
            add: true,
            remote: r"\\FILES01.corp.example\projects",
            local: "P:",
            provider: "Some Network",
            flags: 1,
            resource_type: 1,
            force: false,
            logon_id: 77,
            elevation: 0,
            thread_id: 12,
            started: 5,
            ended: 9,
            status,
        }
    }

    #[test]
    fn what_was_scripted_is_what_is_decoded() {
        let operation = Operation::decode(&recorded(Some(0)).record(77)).expect("a record");
        assert_eq!((operation.number, operation.started, operation.ended), (77, 5, 9));
        assert_eq!(operation.remote.server.as_deref(), Some("files01.corp.example"));
        assert_eq!(operation.local_name.as_deref(), Some("P:"));
        assert_eq!(operation.provider.as_deref(), Some("Some Network"));
    }

    #[test]
    fn the_provider_of_a_failure_is_not_recorded() {
        let operation = Operation::decode(&recorded(Some(53)).record(77)).expect("a record");
        assert_eq!((operation.status, operation.provider), (Some(53), None));
    }

    #[test]
    fn an_operation_without_a_status_is_unfinished() {
        let operation = Operation::decode(&recorded(None).record(77)).expect("a record");
        assert_eq!((operation.outcome, operation.ended), (Outcome::Unfinished, 9));
    }
}
