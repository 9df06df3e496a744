//! Text that other programs or users wrote, in a form that is safe to show.
//!
//! Any user can write anything into a ledger, and a collector can answer anything. Such a text must
//! not control a terminal, a log viewer or a ticket: it must have no escape sequence, no second
//! line, and no words that are shown in another order than they are stored.

use serde::Serialize;
use std::fmt;
use std::ops::Deref;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A text without control, format and bidirectional characters, and without line ends.
///
/// Each of these characters is replaced by U+FFFD, so that the reader sees that something was
/// there. A report's field has this type if a user, a file or a server wrote its text. So text and
/// JSON are equally safe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(super) struct Printable(String);

impl Printable {
    /// Whether a character may be shown.
    ///
    /// Unicode's general categories Cc (ESC, C1), Cf (bidirectional controls, zero-width
    /// characters, tags), Zl and Zp (line ends) may not. The fifth, Cs, cannot be in a `str`.
    pub(super) fn allows(character: char) -> bool {
        !matches!(
            character.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        )
    }
}

impl<Text: AsRef<str>> From<Text> for Printable {
    fn from(text: Text) -> Self {
        let shown = |c| if Self::allows(c) { c } else { char::REPLACEMENT_CHARACTER };
        Self(text.as_ref().chars().map(shown).collect())
    }
}

impl Deref for Printable {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Helpers for the tests of reports.
#[cfg(test)]
pub(super) mod testing {
    use super::Printable;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Characters that control a terminal or a reader; at least one of each kind.
    pub(crate) const HOSTILE: &[char] = &[
        '\0',
        '\t',
        '\n',
        '\r',
        '\u{1b}',
        '\u{7f}', // C0
        '\u{80}',
        '\u{85}',
        '\u{9b}',
        '\u{9d}', // C1: CSI and OSC without ESC
        '\u{ad}',
        '\u{200b}',
        '\u{200d}',
        '\u{2060}',
        '\u{feff}', // zero-width
        '\u{61c}',
        '\u{200e}',
        '\u{202a}',
        '\u{202e}',
        '\u{2066}',
        '\u{2069}', // bidirectional
        '\u{2028}',
        '\u{2029}', // line ends
        '\u{e0001}',
        '\u{e0041}',
        '\u{e007f}', // tags
        '\u{fff9}',
        '\u{110bd}',
        '\u{1d173}', // format characters of scripts and music
    ];

    /// Strings with hostile characters among ordinary ones.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            2 => proptest::sample::select(HOSTILE),
            2 => any::<char>(),
            1 => proptest::char::range('a', 'z'),
        ];
        proptest::collection::vec(character, 1..24)
            .prop_flat_map(|characters| {
                let places = 0..=characters.len();
                (Just(characters), places, proptest::sample::select(HOSTILE))
            })
            .prop_map(|(mut characters, place, certain)| {
                characters.insert(place, certain);
                characters.into_iter().collect()
            })
    }

    /// Whether a character may not be shown. Does not use [`Printable`].
    fn is_forbidden(c: char) -> bool {
        HOSTILE.contains(&c) || c.is_control() || !Printable::allows(c)
    }

    /// The first character of a text that may not be shown. The report's own line ends are allowed.
    pub(crate) fn first_forbidden(shown: &str) -> Option<char> {
        shown.chars().find(|c| *c != '\n' && is_forbidden(*c))
    }

    /// The first such character in any key or string of a JSON value. Line ends are not allowed.
    pub(crate) fn first_forbidden_in(value: &Value) -> Option<char> {
        match value {
            Value::String(text) => text.chars().find(|c| is_forbidden(*c)),
            Value::Array(items) => items.iter().find_map(first_forbidden_in),
            Value::Object(fields) => fields.iter().find_map(|(key, value)| {
                first_forbidden_in(&Value::String(key.clone()))
                    .or_else(|| first_forbidden_in(value))
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::HOSTILE;
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_or_a_reader_are_replaced() {
        for hostile in HOSTILE {
            let shown = Printable::from(format!("a{hostile}b"));
            assert_eq!(&*shown, "a\u{FFFD}b", "{hostile:?}");
        }
    }

    #[test]
    fn names_of_the_worlds_languages_stay_as_they_are() {
        for name in [
            r"\\files01\Übung$",
            r"\\サーバー\共有",
            r"\\сервер\данные",
            r"\\خادم\ملف",
            "e\u{301}",
            "✓",
        ] {
            assert_eq!(&*Printable::from(name), name);
        }
    }

    #[test]
    fn a_width_applies_to_printable_text_as_to_any_text() {
        assert_eq!(format!("[{:<4}]", Printable::from("ab")), "[ab  ]");
    }
}
