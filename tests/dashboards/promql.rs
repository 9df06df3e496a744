//! What a lint asks about a query: which series it selects, over what, and by which labels.

use promql_parser::label::{Label, Matcher};
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::display_duration;
use std::collections::BTreeSet;
use std::time::Duration;

/// PromQL has no variables. Where Grafana's stand for a duration, one stands in that no query has.
const DURATIONS: [(&str, &str); 3] =
    [("$__rate_interval", "7919w"), ("$__range", "7927w"), ("$__interval", "7933w")];

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

/// Reads a query.
pub fn read(text: &str) -> Query {
    let plain = DURATIONS
        .iter()
        .fold(text.to_owned(), |text, (variable, duration)| text.replace(variable, duration));
    let expression = parser::parse(&plain).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut query = Query::default();
    query.read(&expression, "");
    query
}

impl Query {
    /// Reads an expression that stands in the parenthesis of `function`.
    fn read(&mut self, expression: &Expr, function: &str) {
        match expression {
            Expr::Aggregate(aggregate) => {
                let labels = aggregate.modifier.as_ref().map(LabelModifier::labels);
                self.add_labels(labels.map(|labels| &labels.labels));
                let function = aggregate.op.to_string();
                for argument in aggregate.param.iter().chain([&aggregate.expr]) {
                    self.read(argument, &function);
                }
            }
            Expr::Call(call) => {
                call.args.args.iter().for_each(|argument| self.read(argument, call.func.name));
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    let matching = modifier.matching.as_ref().map(LabelModifier::labels);
                    self.add_labels(matching.map(|labels| &labels.labels));
                    self.add_labels(modifier.card.labels().map(|labels| &labels.labels));
                }
                self.read(&binary.lhs, function);
                self.read(&binary.rhs, function);
            }
            Expr::Unary(unary) => self.read(&unary.expr, function),
            Expr::Paren(paren) => self.read(&paren.expr, function),
            Expr::Subquery(subquery) => self.read(&subquery.expr, function),
            Expr::VectorSelector(selector) => self.select(selector, None, function),
            Expr::MatrixSelector(matrix) => self.select(&matrix.vs, Some(&matrix.range), function),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn select(&mut self, selector: &VectorSelector, range: Option<&Duration>, function: &str) {
        assert!(selector.matchers.or_matchers.is_empty(), "no lint knows `or`: {selector}");
        let matcher = |m: &Matcher| (m.name.clone(), m.op.to_string(), m.value.clone());
        self.selectors.push(Selector {
            metric: selector.name.clone().unwrap_or_default(),
            matchers: selector.matchers.matchers.iter().map(matcher).collect(),
            range: range.map(as_written),
            function: function.to_owned(),
        });
    }

    fn add_labels(&mut self, labels: Option<&Vec<Label>>) {
        self.labels.extend(labels.into_iter().flatten().cloned());
    }
}

/// A duration, or the variable for which it stands in.
fn as_written(duration: &Duration) -> String {
    let text = display_duration(duration);
    let variable = DURATIONS.iter().find(|(_, stand_in)| *stand_in == text);
    variable.map_or(text, |(variable, _)| (*variable).to_owned())
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

#[test]
fn labels_that_one_side_lends_the_other_are_read_as_well() {
    let query = read("a * on (host) group_left (site) topk(scalar(b), c)");
    assert_eq!(query.labels, ["host", "site"].map(str::to_owned).into());
}

#[test]
#[should_panic(expected = "sum(x")]
fn what_is_not_promql_is_refused() {
    read("sum(x");
}
