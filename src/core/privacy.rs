//! What of an operation leaves the machine.

use crate::operation::Operation;
use crate::remote_name::is_local_device;
use crate::settings::{DfsRoot, NamePattern, PrivacyLevel, Settings};
use std::ops::Deref;

/// What stands for a name that is not sent.
const MASK: &str = "***";

/// The settings that say what leaves the machine.
#[derive(Clone, Debug)]
pub struct Privacy {
    level: PrivacyLevel,
    private_shares: Vec<NamePattern>,
    dfs_roots: Vec<DfsRoot>,
}

/// An operation with nothing in it that may not leave the machine. Spans are made of nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosed(Operation);

impl Deref for Disclosed {
    type Target = Operation;

    fn deref(&self) -> &Operation {
        &self.0
    }
}

impl Disclosed {
    /// The operation.
    pub fn into_operation(self) -> Operation {
        self.0
    }
}

impl Privacy {
    /// Whole names leave.
    pub const FULL: Self =
        Self { level: PrivacyLevel::Full, private_shares: Vec::new(), dfs_roots: Vec::new() };

    /// What `settings` say.
    pub fn of(settings: &Settings) -> Self {
        Self {
            level: settings.privacy,
            private_shares: settings.private_shares.clone(),
            dfs_roots: settings.dfs_roots.clone(),
        }
    }

    /// Takes out of `operation` what may not leave the machine.
    pub fn disclose(&self, mut operation: Operation) -> Disclosed {
        let cut = operation.truncated;
        let remote = &mut operation.remote;
        // The last part of a name that was cut is a beginning only: no pattern can be compared with it.
        let share_is_whole = !cut || remote.link.is_some();
        let is_dfs = self.dfs_roots.iter().any(|root| root.contains(remote));
        let link = remote.link.take().filter(|_| is_dfs && !cut);
        match self.level {
            PrivacyLevel::Full => remote.link = link,
            PrivacyLevel::Share => {
                let masked = |name: String, whole: bool| {
                    if whole && !self.is_private(&name) { name } else { MASK.to_owned() }
                };
                remote.link = link.map(|name| masked(name, true));
                remote.share = remote.share.take().map(|name| masked(name, share_is_whole));
                operation.remote_name = remote.shared_root();
                operation.local_name = operation.local_name.filter(|name| is_local_device(name));
            }
            PrivacyLevel::None => {
                remote.share = None;
                operation.remote_name = None;
                operation.local_name = None;
            }
        }
        remote.root = None;
        Disclosed(operation)
    }

    /// Whether a share's name says whose it is, or what is in it.
    fn is_private(&self, share: &str) -> bool {
        let share = share.trim().trim_end_matches('.');
        !is_of_windows(share) && self.private_shares.iter().any(|pattern| pattern.matches(share))
    }
}

/// Whether Windows itself makes a share of this name: they say nothing of anybody.
fn is_of_windows(share: &str) -> bool {
    let drive = |share: &str| matches!(share.as_bytes(), [b'C'..=b'Z' | b'c'..=b'z', b'$']);
    let named = ["ADMIN$", "IPC$", "PRINT$", "FAX$"];
    drive(share) || named.iter().any(|name| name.eq_ignore_ascii_case(share))
}
