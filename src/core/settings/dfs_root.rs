//! The root of a DFS namespace.

use super::pattern::fold;
use crate::remote_name::RemoteName;
use std::fmt;

/// `\\server\share` or `\\domain\share`. Each folder below it is a link to a share elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DfsRoot {
    server: String,
    share: String,
}

impl DfsRoot {
    /// Reads a list of roots that are separated by semicolons.
    pub(crate) fn list(text: &str) -> Result<Vec<Self>, String> {
        let roots = text.split(';').map(str::trim).filter(|root| !root.is_empty());
        roots
            .map(|root| {
                Self::parse(root)
                    .ok_or_else(|| format!(r"`{root}` is not of the form \\server\share"))
            })
            .collect()
    }

    fn parse(text: &str) -> Option<Self> {
        match RemoteName::parse(text) {
            RemoteName { server: Some(server), share: Some(share), link: None, .. } => {
                Some(Self { server, share })
            }
            _ => None,
        }
    }

    /// Whether `name` is this root or below it.
    pub fn contains(&self, name: &RemoteName) -> bool {
        let same =
            |name: Option<&str>, other: &str| name.is_some_and(|name| fold(name) == fold(other));
        // WebDAV has no DFS.
        name.protocol.is_none()
            && same(name.server.as_deref(), &self.server)
            && same(name.share.as_deref(), &self.share)
    }
}

impl fmt::Display for DfsRoot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, r"\\{}\{}", self.server, self.share)
    }
}
