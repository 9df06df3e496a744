//! What each query of each dashboard shows.

use crate::expect::{
    Expect,
    Per::{Minute, Second},
    What::{Count, Quantile, Seconds, Share},
    ended, failed, unfinished,
};

const OUTCOME: &[&str] = &["mpr_outcome"];
const SERVER: &[&str] = &["server_address"];
const CLASS: &[&str] = &["mpr_error_class"];
const ERROR: &[&str] = &["mpr_error_class", "error_type"];

const COUNT: Expect = Expect::new(Count);
const FAILED: Expect = COUNT.of(failed);
const FAILURE_SHARE: Expect = Expect::new(Share).of(failed);
const UNFINISHED: Expect = COUNT.of(unfinished);

const fn quantile(quantile: f64) -> Expect {
    Expect::new(Quantile(quantile)).among(ended)
}

/// By dashboard, panel and letter of the query.
pub const QUERIES: &[(&str, &str, &str, Expect)] = &[
    ("mpr-otel-overview", "Operations", "A", COUNT),
    ("mpr-otel-overview", "Failure ratio", "A", FAILURE_SHARE),
    ("mpr-otel-overview", "Failures", "A", FAILED),
    ("mpr-otel-overview", "Unfinished", "A", UNFINISHED),
    ("mpr-otel-overview", "Duration", "A", quantile(0.5)),
    ("mpr-otel-overview", "Duration", "B", quantile(0.95)),
    ("mpr-otel-overview", "Duration", "C", quantile(0.99)),
    ("mpr-otel-overview", "Operations by outcome", "A", COUNT.per(Minute).by(OUTCOME)),
    ("mpr-otel-overview", "Failure ratio over time", "A", FAILURE_SHARE),
    ("mpr-otel-overview", "Failure ratio over time", "B", Expect::new(Share).of(unfinished)),
    ("mpr-otel-overview", "Duration over time", "A", quantile(0.5)),
    ("mpr-otel-overview", "Duration over time", "B", quantile(0.95)),
    ("mpr-otel-overview", "Duration over time", "C", quantile(0.99)),
    (
        "mpr-otel-overview",
        "Users waiting at a time",
        "A",
        Expect::new(Seconds).per(Second).by(OUTCOME),
    ),
    ("mpr-otel-overview", "Time lost waiting", "A", Expect::new(Seconds).by(OUTCOME)),
    ("mpr-otel-overview", "Worst servers", "A", COUNT.by(SERVER)),
    ("mpr-otel-overview", "Worst servers", "B", FAILED.by(SERVER)),
    ("mpr-otel-overview", "Worst servers", "C", FAILURE_SHARE.by(SERVER)),
    ("mpr-otel-overview", "Worst servers", "D", UNFINISHED.by(SERVER)),
    ("mpr-otel-overview", "Worst servers", "E", quantile(0.95).by(SERVER)),
    ("mpr-otel-overview", "Worst servers", "F", Expect::new(Seconds).by(SERVER)),
    ("mpr-otel-overview", "Failures by class", "A", COUNT.per(Minute).among(failed).by(CLASS)),
    ("mpr-otel-overview", "Failures by error", "A", COUNT.among(failed).by(ERROR)),
    (
        "mpr-otel-overview",
        "Unfinished by server",
        "A",
        COUNT.per(Minute).among(unfinished).by(SERVER),
    ),
];
