//! The fleet's view is true: a simulated fleet, and the library itself, send through the gateway
//! that ships to a real Prometheus; every query of every dashboard and rule that ships is asked,
//! and its answer is compared with what really happened.
//!
//! `cargo xtask test --fleet` builds the servers and runs this (Cargo.toml).
#![cfg(unix)]
// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boards;
mod expect;
mod fleet;

use boards::QUERIES;
use fleet::simulate;
use mpr_otel_fleet::{Board, Lapse, Prometheus, Stack, Target, Truth, until};
use std::path::Path;
use std::time::Duration;

/// Fifteen seconds pass in 150 ms.
const LAPSE: Lapse = Lapse(100);
/// Nobody listens here: traces wait in the gateway's queue.
const NOWHERE: &str = "http://127.0.0.1:9";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What has arrived at a moment, and the time since the first of it.
struct Moment {
    at: f64,
    window: Duration,
}

/// The moment at which all operations of the truth were counted: the time of a sample, so that
/// nothing is extrapolated beyond it. It waits for it.
fn all_counted(prometheus: &Prometheus, truth: &Truth) -> Moment {
    const CALLS: &str = "traces_span_metrics_calls_total";
    let at = until("everything is counted", || {
        let at = prometheus.number(&format!("max(timestamp({CALLS}))"), None)?;
        let counted = prometheus.number(&format!("sum({CALLS})"), Some(at))?;
        assert!(counted <= truth.operations as f64, "{counted} of {}", truth.operations);
        Ok((counted == truth.operations as f64).then_some(at))
    });
    let at = at.unwrap();
    let window = Duration::from_secs_f64(at + 60.0) - Duration::from_millis(truth.begun_unix_ms);
    Moment { at, window: Duration::from_millis(window.as_millis() as u64) }
}

/// The query with its variables set to all there is, over the window.
fn filled(target: &Target, window: Duration) -> String {
    let window = format!("{}ms", window.as_millis());
    let mut expression = target.expression.clone();
    for (variable, value) in [
        ("$__rate_interval", window.as_str()),
        ("$__range", &window),
        ("$job", "mpr-otel"),
        ("$server", ".*"),
        ("$operation", ".*"),
    ] {
        expression = expression.replace(variable, value);
    }
    assert!(!expression.contains('$'), "a variable that nobody knows: {expression}");
    expression
}

#[test]
fn every_number_of_every_dashboard_is_what_happened() {
    let stack = Stack::new(root(), LAPSE).unwrap();
    let store = stack.prometheus().unwrap();
    let prometheus = &store.prometheus;
    let gateway = stack.gateway("gateway-1", prometheus, NOWHERE).unwrap();
    let truth =
        simulate(&stack, &gateway.endpoint, &["--hosts", "1000", "--hours", "24", "--seed", "7"])
            .unwrap();
    assert!(truth.failures > 0 && truth.unfinished > 0, "a day without trouble proves little");
    let moment = all_counted(prometheus, &truth);
    let mut wrong = Vec::new();
    let mut checked = 0;
    for board in Board::all(&root().join("dashboards")).unwrap() {
        for panel in &board.panels {
            for target in panel.targets.iter().filter(|target| target.source == "prometheus") {
                let place = (board.uid.as_str(), panel.title.as_str(), target.letter.as_str());
                let name = format!("{} / {} / {}", place.0, place.1, place.2);
                let expected = QUERIES.iter().find(|row| (row.0, row.1, row.2) == place);
                let Some((.., expected)) = expected else {
                    wrong.push(format!("{name}: nothing is known of what it should show"));
                    continue;
                };
                let query = filled(target, moment.window);
                let answer = prometheus.query(&query, Some(moment.at)).unwrap();
                if let Err(why) = expected.check(&truth, &answer, moment.window.as_secs_f64()) {
                    wrong.push(format!("{name}: {why}\n    {query}"));
                }
                checked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(checked, QUERIES.len(), "something is known of queries that there are not");
}
