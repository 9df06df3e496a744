//! The one operation that every subject records: a drive is mapped, and it works.

/// What the caller asks for and what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The remote name, 45 UTF-16 units.
    pub remote: &'static str,
    /// What a parser finds in it.
    pub server: &'static str,
    /// What a parser finds in it.
    pub share: &'static str,
    /// The drive.
    pub local: &'static str,
    /// The provider that did it.
    pub provider: &'static str,
}

/// See [`Operation`].
pub const OPERATION: Operation = Operation {
    remote: r"\\files01.corp.example\projects\2026\drawings",
    server: "files01.corp.example",
    share: "projects",
    local: "Z:",
    provider: "Microsoft Windows Network",
};

/// Attributes of its span: every subject sets as many.
pub const ATTRIBUTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remote_name_has_45_units() {
        assert_eq!(OPERATION.remote.encode_utf16().count(), 45);
    }
}
