//! Windows' Application log.

/// The name under which `install` registers the agent with the log.
#[cfg(windows)]
pub(crate) const SOURCE: &str = "mpr-otel";

/// The Application log of this machine.
#[cfg(windows)]
#[derive(Debug)]
pub(in crate::agent) struct ApplicationLog;

#[cfg(windows)]
impl super::EventLog for ApplicationLog {
    fn report(&self, event: &super::Event) {
        use super::Level;
        use crate::windows::{EventType, report_event};
        let kind = match event.level() {
            Level::Information => EventType::Information,
            Level::Warning => EventType::Warning,
            Level::Error => EventType::Error,
        };
        let id = event.id();
        if let Err(error) = report_event(SOURCE, kind, id, &literal(&event.text())) {
            tracing::warn!(%error, id, "cannot write to the Application log");
        }
    }
}

/// The text in a form that viewers show unchanged. They replace `%` and a number by a string of the
/// event, again and again, and replace `%%` and `%{`, too; a `%` cannot be escaped (ReportEventW;
/// \[MS-EVEN\] 3.2.4.1.5). So a space goes after each `%`, as Microsoft advises (KB934640).
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for character in text.chars() {
        if literal.ends_with('%') && character != ' ' {
            literal.push(' ');
        }
        literal.push(character);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_separates_the_signs_that_a_viewer_would_replace() {
        for (text, expected) in [
            ("fe80::1%12 refused it", "fe80::1% 12 refused it"),
            ("%%5 and %{S-1-5-18}", "% % 5 and % {S-1-5-18}"),
            ("90 % of 50%, and %", "90 % of 50% , and %"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }
}
