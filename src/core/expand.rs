//! Replaces `%NAME%` in a text of the registry (REG_EXPAND_SZ).

/// Replaces each `%NAME%` by the value for that name; `value` gets the name in upper case. Windows
/// would read the value from the environment, which the user can change.
///
/// # Errors
///
/// The text contains a name that `value` does not know.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, UnknownName> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        match after.split_once('%') {
            // As in Windows, two `%` in a row, and a `%` without a second one, stay as they are.
            None | Some(("", _)) => {
                expanded.push('%');
                rest = after;
            }
            Some((name, after)) => {
                let known = value(&name.to_ascii_uppercase());
                expanded.push_str(&known.ok_or_else(|| UnknownName(name.to_owned()))?);
                rest = after;
            }
        }
    }
    Ok(expanded + rest)
}

/// A name between two `%` that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("%{0}% is unknown here")]
pub struct UnknownName(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, UnknownName> {
        expand(text, |name| match name {
            "SYSTEMROOT" => Some(r"C:\Windows".to_owned()),
            "PROGRAMDATA" => Some(r"D:\%Data%".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn known_names_are_replaced_in_upper_and_lower_case() {
        assert_eq!(expanded(r"%SystemRoot%\x").unwrap(), r"C:\Windows\x");
        assert_eq!(expanded(r"a%systemroot%%SYSTEMROOT%b").unwrap(), r"aC:\WindowsC:\Windowsb");
        assert_eq!(expanded(r"%ProgramData%\x").unwrap(), r"D:\%Data%\x", "once, not again");
    }

    #[test]
    fn any_other_name_is_refused() {
        for text in [r"%TEMP%\x", r"%SystemRoot%\%USERNAME%", "% SystemRoot%", "100%x%"] {
            assert!(expanded(text).is_err(), "{text}");
        }
        assert_eq!(expanded("%TEMP%").unwrap_err().to_string(), "%TEMP% is unknown here");
    }

    #[test]
    fn text_that_is_not_a_name_stays() {
        for text in ["", "plain", "100%", "%%", r"C:\a%"] {
            assert_eq!(expanded(text).unwrap(), text);
        }
    }
}
