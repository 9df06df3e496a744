//! Time-lapse: what ships, with every duration divided, so that hours pass in seconds.

use crate::Result;
use std::time::Duration;

/// How many times faster everything is.
#[derive(Clone, Copy, Debug)]
pub struct Lapse(pub u32);

impl Lapse {
    /// A duration as it is in the time-lapse.
    pub fn of(self, duration: Duration) -> Duration {
        duration / self.0
    }

    /// Rules with their windows, offsets, waits and intervals divided. Only these have a
    /// duration in them, so a file is changed as text and is otherwise the one that ships.
    pub fn rules(self, text: &str) -> Result<String> {
        let mut lapsed = String::with_capacity(text.len());
        for line in text.lines() {
            lapsed.push_str(&self.line(line)?);
            lapsed.push('\n');
        }
        Ok(lapsed)
    }

    fn line(self, line: &str) -> Result<String> {
        let field = line.trim_start().trim_start_matches("- ");
        for name in ["for: ", "keep_firing_for: ", "interval: ", "evaluation_interval: "] {
            if let Some(value) = field.strip_prefix(name) {
                let start = &line[..line.len() - value.len()];
                return Ok(format!("{start}{}", written(parse(value.trim())? / self.0)));
            }
        }
        self.expression(line)
    }

    /// A PromQL expression with its windows and offsets divided.
    pub fn expression(self, text: &str) -> Result<String> {
        replaced(text, |_, duration| duration / self.0)
    }
}

/// An expression whose windows are all as long as this one.
pub fn with_window(expression: &str, window: Duration) -> Result<String> {
    replaced(expression, |before, duration| if before.ends_with('[') { window } else { duration })
}

/// An expression with other durations, each of which is made from what is before it and itself. A
/// bracket, a colon or an `offset` that no digit follows is something else, such as a pattern.
fn replaced(expression: &str, other: impl Fn(&str, Duration) -> Duration) -> Result<String> {
    let mut text = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = start(rest) {
        let (before, behind) = rest.split_at(at);
        let (duration, behind) = word(behind);
        text.push_str(before);
        text.push_str(&written(other(before, parse(duration)?)));
        rest = behind;
        // The step of a subquery stands behind its window.
        let (step, behind) = word(rest.strip_prefix(':').unwrap_or_default());
        if before.ends_with('[') && !step.is_empty() {
            text.push(':');
            text.push_str(&written(other(":", parse(step)?)));
            rest = behind;
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// Letters and digits at the beginning, and the rest.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric());
    text.split_at(end.unwrap_or(text.len()))
}

/// Where the next window or offset of an expression begins.
fn start(expression: &str) -> Option<usize> {
    let begins = |at: &usize| expression[*at..].starts_with(|letter: char| letter.is_ascii_digit());
    ["[", "offset "]
        .into_iter()
        .flat_map(|mark| expression.match_indices(mark).map(|(at, mark)| at + mark.len()))
        .filter(begins)
        .min()
}

/// A duration in Prometheus' terms; a window of nothing is not allowed.
fn written(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().max(1))
}

/// A duration as Prometheus writes it, such as `1h30m`.
fn parse(text: &str) -> Result<Duration> {
    let wrong = || format!("not a duration: {text:?}");
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let each = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong().into()),
        };
        millis += number.parse::<u64>().map_err(|_| wrong())? * each;
        rest = behind;
    }
    if text.is_empty() { Err(wrong().into()) } else { Ok(Duration::from_millis(millis)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_duration_of_a_rule_is_divided_and_nothing_else() {
        let rules = "  - name: g\n    interval: 1m\n    rules:\n      - alert: A\n        \
            expr: sum(increase(x{a=\"5m\"}[1h30m])) > 5 and y offset 10m > 2\n        for: 30s\n";
        let lapsed = "  - name: g\n    interval: 600ms\n    rules:\n      - alert: A\n        \
            expr: sum(increase(x{a=\"5m\"}[54000ms])) > 5 and y offset 6000ms > 2\n        \
            for: 300ms\n";
        assert_eq!(Lapse(100).rules(rules).unwrap(), lapsed);
    }

    #[test]
    fn a_subquery_has_two_durations() {
        let lapse = Lapse(60);
        assert_eq!(
            lapse.expression("max_over_time(x[1d:1m])").unwrap(),
            "max_over_time(x[1440000ms:1000ms])"
        );
        assert_eq!(
            lapse.expression("max_over_time(x[1h:])").unwrap(),
            "max_over_time(x[60000ms:])"
        );
    }

    #[test]
    fn a_window_is_replaced_and_an_offset_is_not() {
        let window = Duration::from_secs(7);
        let changed = with_window("increase(x[5m] offset 1m) / y", window).unwrap();
        assert_eq!(changed, "increase(x[7000ms] offset 60000ms) / y");
    }

    #[test]
    fn a_pattern_is_no_duration() {
        for text in ["x{a=~\"[a-z]+\"}", "--web.listen-address=127.0.0.1:9090"] {
            assert_eq!(Lapse(60).expression(text).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_told() {
        for wrong in ["x[5]", "x[5y]", "x offset 5"] {
            assert!(Lapse(2).expression(wrong).is_err(), "{wrong}");
        }
    }
}
