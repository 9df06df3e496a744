//! Runs the inputs that the fuzzer found and kept, without a fuzzer.

#![cfg(target_os = "linux")]

use mpr_otel_lab::equipment::{fuzzing, repository};
use std::fs;

/// Feeds a target with its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let corpus = repository().join("fuzz/corpus").join(name);
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
    replay("header", fuzzing::header);
}

#[test]
fn every_corpus_slot_is_decoded_or_rejected() {
    replay("slot", fuzzing::slot);
}

#[test]
fn ledgers_of_the_corpus_are_exported_counted_or_refused() {
    replay("ledger", fuzzing::ledger);
}
