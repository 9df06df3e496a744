//! A pattern for names.

/// A name in which `*` stands for any text. Upper and lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a list of patterns that are separated by commas or semicolons.
    pub(crate) fn list(text: &str) -> Vec<Self> {
        text.split([',', ';'])
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| Self(fold(name)))
            .collect()
    }

    /// The pattern in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern fits the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        let name = fold(name);
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        // Finds each inner part as early as possible, and the last part at the end.
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

/// The name in the form that is compared. Each character is changed by itself, because
/// `str::to_lowercase` looks at the neighbours of a sigma.
pub(super) fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}
