//! What is checked in is what the tables make.
#![allow(clippy::unwrap_used, clippy::panic)]

use mpr_otel_dashboards::source::Source;
use std::fs;

#[test]
fn what_is_checked_in_is_what_the_tables_make() {
    let root = mpr_otel_lab::equipment::repository();
    for (path, text) in mpr_otel_dashboards::dashboards(&Source::read(&root).unwrap()).unwrap() {
        let there = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(there == text, "{} is not current: `cargo xtask dashboards`", path.display());
    }
}
