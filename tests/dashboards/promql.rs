//! As much of PromQL as a lint needs: which series a query selects, and over what. That it is PromQL
//! at all is promtool's business.

use std::collections::BTreeSet;

/// Words that are neither metrics nor labels: operators, modifiers, and functions by what follows.
const WORDS: [&str; 10] =
    ["and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "vector"];

/// A selector of series, such as `metric{label="value"}[5m]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    /// Label, operator and value of each matcher.
    pub matchers: Vec<(String, String, String)>,
    /// What stands in the brackets after it, if it has any.
    pub range: Option<String>,
    /// The function or aggregation whose parenthesis it stands in.
    pub function: String,
}

/// What a query names.
#[derive(Debug, Default)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// Labels that it groups or matches by.
    pub labels: BTreeSet<String>,
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c: char| !keep(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || "_:$".contains(c))
    }

    /// The text up to `end`, which is taken too.
    fn until(&mut self, end: char) -> &'a str {
        let (inside, rest) = self.rest.split_once(end).expect("a closing character");
        self.rest = rest;
        inside
    }

    fn takes(&mut self, start: char) -> bool {
        self.skip_spaces();
        self.rest.strip_prefix(start).map(|rest| self.rest = rest).is_some()
    }

    fn matchers(&mut self) -> Vec<(String, String, String)> {
        let mut matchers = Vec::new();
        while !self.takes('}') {
            self.skip_spaces();
            let label = self.word().to_owned();
            self.skip_spaces();
            let operator = self.take_while(|c| "=!~".contains(c)).to_owned();
            assert!(self.takes('"'), "a value in quotes before {:?}", self.rest);
            matchers.push((label, operator, self.until('"').to_owned()));
            self.takes(',');
        }
        matchers
    }
}

/// Reads a query.
pub fn read(text: &str) -> Query {
    let mut query = Query::default();
    let mut scanner = Scanner { rest: text };
    let mut functions: Vec<String> = Vec::new();
    let mut before_parenthesis = String::new();
    while let Some(next) = scanner.rest.chars().next() {
        if next.is_ascii_alphabetic() || next == '_' {
            let word = scanner.word().to_owned();
            scanner.skip_spaces();
            let grouping = ["by", "without", "on", "ignoring"].contains(&word.as_str());
            if grouping && scanner.takes('(') {
                let labels = scanner.until(')').split(',').map(str::trim);
                query.labels.extend(labels.filter(|l| !l.is_empty()).map(str::to_owned));
            } else if scanner.rest.starts_with('(') || is_aggregation(scanner.rest) {
                before_parenthesis = word;
            } else if !WORDS.contains(&word.as_str()) {
                let matchers = if scanner.takes('{') { scanner.matchers() } else { Vec::new() };
                let range = scanner.takes('[').then(|| scanner.until(']').to_owned());
                let function = functions.last().cloned().unwrap_or_default();
                query.selectors.push(Selector { metric: word, matchers, range, function });
            }
        } else {
            scanner.rest = &scanner.rest[next.len_utf8()..];
            match next {
                '(' => functions.push(std::mem::take(&mut before_parenthesis)),
                ')' => {
                    functions.pop();
                }
                // A subquery.
                '[' => {
                    scanner.until(']');
                }
                '"' => {
                    scanner.until('"');
                }
                // A number or a duration, or a variable in place of one.
                digit if digit.is_ascii_digit() || digit == '$' => {
                    scanner.take_while(|c| c.is_ascii_alphanumeric() || "._".contains(c));
                }
                _ => {}
            }
        }
    }
    query
}

/// Whether `by (` or `without (` follows, as in `sum by (job) (…)`.
fn is_aggregation(rest: &str) -> bool {
    ["by ", "by(", "without ", "without("].iter().any(|word| rest.starts_with(word))
}

#[test]
fn a_query_is_read_to_its_selectors_and_labels() {
    let query = read(
        r#"(sum by (le, job) (rate(a_bucket{job=~"$job", x!="}"}[$__rate_interval])) or vector(0)) / 0.5e3
           unless on (host) max_over_time(timestamp(b{y="1"})[$__range:1m]) > c:d:e offset 15m"#,
    );
    let found: Vec<_> = query
        .selectors
        .iter()
        .map(|s| (s.metric.as_str(), s.function.as_str(), s.range.as_deref(), s.matchers.len()))
        .collect();
    assert_eq!(
        found,
        [
            ("a_bucket", "rate", Some("$__rate_interval"), 2),
            ("b", "timestamp", None, 1),
            ("c:d:e", "", None, 0),
        ]
    );
    assert_eq!(query.selectors[0].matchers[1], ("x".into(), "!=".into(), "}".into()));
    assert_eq!(query.labels, ["host", "job", "le"].map(str::to_owned).into());
}
