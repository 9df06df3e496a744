//! What the fuzzer found worth keeping, once more and without a fuzzer.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

/// Feeds a target with its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for file in fs::read_dir(corpus).unwrap() {
        let file = file.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        let told = std::panic::catch_unwind(|| target(&bytes));
        assert!(told.is_ok(), "broken by {}", file.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn headers_of_the_corpus_are_read_or_refused() {
    replay("header", fuzz::header);
}

#[test]
fn slots_of_the_corpus_are_told_or_refused() {
    replay("slot", fuzz::slot);
}

#[test]
fn ledgers_of_the_corpus_are_exported_counted_or_refused() {
    replay("ledger", fuzz::ledger);
}
