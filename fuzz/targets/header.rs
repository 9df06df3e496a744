//! Fuzzes `header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mpr_otel_lab::equipment::fuzzing::header(bytes));
