//! What all operations of one ledger have in common.

use crate::process::Identity;
use crate::trace_context::{IdSource, Parent};

/// The host that a ledger belongs to. All spans of the ledger have these facts in common.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The host.
    pub identity: Identity,
    /// The parent of every span.
    pub parent: Option<Parent>,
    /// Makes the ids of its operations.
    pub ids: IdSource,
    /// The ledger's anchor, in nanoseconds since 1970.
    pub anchor_unix_nanos: u64,
    /// The boot of the machine that the host belonged to; 0 if it is not known.
    pub boot_id: u64,
    /// Whether the host died before it exported its operations.
    pub recovered: bool,
}
