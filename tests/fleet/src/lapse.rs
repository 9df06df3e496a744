//! Time-lapse: what ships, with every duration divided, so that hours pass in seconds.

use crate::Result;
use promql_parser::parser::{self, AggregateExpr, Expr, Offset};
use promql_parser::util::visitor::{ExprVisitorMut, walk_expr_mut};
use promql_parser::util::{display_duration, parse_duration};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// How many times faster everything is.
#[derive(Clone, Copy, Debug)]
pub struct Lapse(pub u32);

impl Lapse {
    /// A duration as it is in the time-lapse.
    pub fn of(self, duration: Duration) -> Duration {
        duration / self.0
    }

    /// A file of Prometheus, rules or configuration, or of Alertmanager, with the windows and offsets
    /// of its expressions, its waits and its intervals divided.
    pub fn file(self, yaml: &str) -> Result<Value> {
        let mut file = serde_saphyr::from_str(yaml)?;
        self.divide(&mut file)?;
        Ok(file)
    }

    fn divide(self, value: &mut Value) -> Result<()> {
        match value {
            Value::Array(values) => values.iter_mut().try_for_each(|value| self.divide(value)),
            Value::Object(fields) => {
                fields.iter_mut().try_for_each(|(name, value)| self.divide_field(name, value))
            }
            _ => Ok(()),
        }
    }

    fn divide_field(self, name: &str, value: &mut Value) -> Result<()> {
        match (name, value) {
            (
                "for"
                | "keep_firing_for"
                | "interval"
                | "evaluation_interval"
                | "group_wait"
                | "group_interval"
                | "repeat_interval",
                Value::String(text),
            ) => *text = written(self.of(parse_duration(text)?)),
            ("expr", Value::String(text)) => *text = self.expression(text)?,
            (_, value) => self.divide(value)?,
        }
        Ok(())
    }

    /// A PromQL expression with its windows and offsets divided.
    pub fn expression(self, text: &str) -> Result<String> {
        replaced(text, |_, duration| self.of(duration))
    }
}

/// An expression whose windows are all as long as this one.
pub fn with_window(expression: &str, window: Duration) -> Result<String> {
    replaced(expression, |role, duration| if role == Role::Window { window } else { duration })
}

/// What a duration is in an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Window,
    /// Of a subquery.
    Step,
    Offset,
}

/// An expression with other durations, each of which is made from its role and itself.
fn replaced(expression: &str, other: impl Fn(Role, Duration) -> Duration) -> Result<String> {
    let mut parsed = parser::parse(expression).map_err(|error| format!("{error}: {expression}"))?;
    let Ok(_) = walk_expr_mut(&mut Durations(other), &mut parsed);
    Ok(parsed.to_string())
}

struct Durations<F>(F);

impl<F: Fn(Role, Duration) -> Duration> Durations<F> {
    fn replace(&self, role: Role, duration: &mut Duration) {
        *duration = at_least_a_millisecond((self.0)(role, *duration));
    }

    fn replace_offset(&self, offset: &mut Option<Offset>) {
        if let Some(Offset::Pos(duration) | Offset::Neg(duration)) = offset {
            self.replace(Role::Offset, duration);
        }
    }
}

impl<F: Fn(Role, Duration) -> Duration> ExprVisitorMut for Durations<F> {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &mut Expr) -> std::result::Result<bool, Infallible> {
        match expression {
            Expr::VectorSelector(selector) => self.replace_offset(&mut selector.offset),
            Expr::MatrixSelector(selector) => {
                self.replace(Role::Window, &mut selector.range);
                self.replace_offset(&mut selector.vs.offset);
            }
            Expr::Subquery(subquery) => {
                self.replace(Role::Window, &mut subquery.range);
                if let Some(step) = &mut subquery.step {
                    self.replace(Role::Step, step);
                }
                self.replace_offset(&mut subquery.offset);
            }
            // The walk leaves this one out.
            Expr::Aggregate(AggregateExpr { param: Some(param), .. }) => {
                walk_expr_mut(self, param)?;
            }
            _ => {}
        }
        Ok(true)
    }
}

/// A duration in Prometheus' terms.
fn written(duration: Duration) -> String {
    display_duration(&at_least_a_millisecond(duration))
}

/// Prometheus allows no window of nothing.
fn at_least_a_millisecond(duration: Duration) -> Duration {
    duration.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn every_duration_of_a_rule_is_divided_and_nothing_else() {
        let rules = r#"
            groups:
              - name: 1m
                interval: 1m
                rules:
                  - alert: A
                    expr: |
                      sum(increase(x{a="5m"}[1h30m])) > 5
                      and y offset 10m > 2
                    for: 30s
                    labels: {severity: 5m}
        "#;
        let rule = json!({
            "alert": "A",
            "expr": "sum(increase(x{a=\"5m\"}[54s])) > 5 and y offset 6s > 2",
            "for": "300ms",
            "labels": { "severity": "5m" },
        });
        let group = json!({ "name": "1m", "interval": "600ms", "rules": [rule] });
        assert_eq!(Lapse(100).file(rules).unwrap(), json!({ "groups": [group] }));
    }

    #[test]
    fn every_wait_of_a_route_is_divided() {
        let route = "route: {group_wait: 90s, routes: [{group_interval: 5m, repeat_interval: 4h}]}";
        let inner = json!({ "group_interval": "3s", "repeat_interval": "2m24s" });
        let route_lapsed = json!({ "group_wait": "900ms", "routes": [inner] });
        assert_eq!(Lapse(100).file(route).unwrap(), json!({ "route": route_lapsed }));
    }

    #[test]
    fn a_subquery_has_two_durations() {
        let lapse = Lapse(60);
        let lapsed = |text| lapse.expression(text).unwrap();
        assert_eq!(lapsed("max_over_time(x[1d:1m])"), "max_over_time(x[24m:1s])");
        assert_eq!(lapsed("max_over_time(x[1h:])"), "max_over_time(x[1m:])");
        assert_eq!(lapsed("topk(scalar(max_over_time(x[1h:])), y)"), {
            "topk(scalar(max_over_time(x[1m:])), y)"
        });
    }

    #[test]
    fn a_window_is_replaced_and_an_offset_is_not() {
        let window = Duration::from_secs(7);
        let changed = with_window("increase(x[5m] offset 1m) / y", window).unwrap();
        assert_eq!(changed, "increase(x[7s] offset 1m) / y");
    }

    #[test]
    fn a_window_does_not_vanish() {
        assert_eq!(Lapse(100).expression("rate(x[1ms])").unwrap(), "rate(x[1ms])");
    }

    #[test]
    fn a_pattern_is_no_duration() {
        let text = "x{a=~\"[1m]+\"}";
        assert_eq!(Lapse(60).expression(text).unwrap(), text);
    }

    #[test]
    fn what_is_no_duration_is_an_error() {
        for wrong in ["x[5z]", "x[m]", "x offset five"] {
            assert!(Lapse(2).expression(wrong).is_err(), "{wrong}");
        }
        assert!(Lapse(2).file("interval: soon").is_err());
    }
}
