//! A command line of Windows, from its arguments.

/// Arguments in one text, as the C runtime and Rust's standard library take it apart (Microsoft: "Parsing
/// C command-line arguments").
pub(crate) fn command_line<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    arguments.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Always with quotes around it. A backslash is doubled where a quote follows.
fn quoted(argument: &str) -> String {
    let mut quoted = String::from('"');
    let mut backslashes = 0;
    for letter in argument.chars() {
        match letter {
            '\\' => backslashes += 1,
            '"' => {
                quoted.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        quoted.push(letter);
    }
    quoted.extend(std::iter::repeat_n('\\', backslashes));
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_survive() {
        for (argument, expected) in [
            (r"a b", r#""a b""#),
            ("", r#""""#),
            (r"C:\folder\", r#""C:\folder\\""#),
            (r"\\corp\dfs", r#""\\corp\dfs""#),
            (r#"say "yes""#, r#""say \"yes\"""#),
            (r#"\"x\\"#, r#""\\\"x\\\\""#),
        ] {
            assert_eq!(command_line([argument]), expected);
        }
        assert_eq!(command_line(["a", "b c"]), r#""a" "b c""#);
    }
}
