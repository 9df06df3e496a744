//! Whom files belong to, and who may do what with the ledger folder itself.

/// Whom a file belongs to, as the file system says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// `uid 1000`, or a SID.
    pub name: String,
    /// Whether that is the system, an administrator, a service, or the user of this process.
    pub is_trusted: bool,
}

/// Whom a folder belongs to, and what others may do in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner: `uid 0`, or a SID.
    pub owner: String,
    /// Whether the owner is the system, an administrator, a service, or the user of this process.
    pub owner_is_trusted: bool,
    /// Whether others than those may remove or replace files of the folder, or change the folder's
    /// attributes or rights.
    pub others_may_remove: bool,
}

impl Ownership {
    /// Whether nobody but those can take another user's ledger away.
    pub fn is_safe(&self) -> bool {
        self.owner_is_trusted && !self.others_may_remove
    }
}
