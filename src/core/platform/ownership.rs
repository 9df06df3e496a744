//! The users whom files belong to, and what others may do with the ledger folder itself.

/// The user whom a file belongs to, as the file system says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// `uid 1000`, or a SID.
    pub name: String,
    /// Whether the owner is the system, an administrator, a service, or the user of this process.
    pub is_trusted: bool,
}

/// The user whom a folder belongs to, and what others may do in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner: `uid 0`, or a SID.
    pub owner: String,
    /// Whether the owner is the system, an administrator, a service, or the user of this process.
    pub owner_is_trusted: bool,
    /// Whether anybody who is not trusted may remove or replace files of the folder, or change the
    /// folder's attributes or rights.
    pub others_may_remove: bool,
}

impl Ownership {
    /// Whether nobody but trusted users can remove another user's ledger.
    pub fn is_safe(&self) -> bool {
        self.owner_is_trusted && !self.others_may_remove
    }
}
