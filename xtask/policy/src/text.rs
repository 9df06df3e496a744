//! What a person reads of a policy.

use mpr_otel_core::settings::{Form, Row};

/// Parts of registry values that are no words, and how they are written.
const PARTS: [(&str, &str); 3] = [("Dfs", "DFS"), ("Mib", "(MiB)"), ("Ms", "(ms)")];

/// `StoreMaxMib` as "Store max (MiB)".
pub(crate) fn display_name(registry: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for letter in registry.chars() {
        match words.last_mut() {
            Some(word) if letter.is_lowercase() => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    let shown = words.iter().enumerate().map(|(place, word)| {
        match PARTS.iter().find(|(part, _)| part == word) {
            Some((_, shown)) => (*shown).to_owned(),
            None if place > 0 => word.to_lowercase(),
            None => word.clone(),
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// What the setting does, what may be written, and where it goes.
pub(crate) fn explanation(row: &Row, key: &str) -> String {
    let default = match plain(&(row.default)()) {
        none if none.is_empty() => "none".to_owned(),
        default => default,
    };
    let kind = match row.form {
        Form::Switch | Form::Number(..) => "REG_DWORD",
        Form::Choice(_) | Form::ChoiceOrText(_) | Form::Text => "REG_SZ",
        Form::List => "REG_MULTI_SZ",
    };
    format!(
        "{}\n\nDefault: {default}\n\nNot configured: what the installer wrote counts, else the \
         default. Programs read it when they map their first drive.\n\nHKLM\\{key}, {} ({kind})",
        plain(row.about),
        row.name.registry
    )
}

/// The id of one choice.
pub(crate) fn item(registry: &str, choice: &str) -> String {
    format!("{registry}_{}", choice.replace('-', "_"))
}

/// Markdown without its marks.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// As XML has it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
