//! Hosts without memory: only the library stops working, and the host goes on.

#![cfg(target_os = "linux")]

use mpr_otel_lab::equipment::library;
use mpr_otel_lab::equipment::stage::{Stage, c_host, spawn, starving_c_host};
use std::path::Path;
use std::time::Duration;

/// Runs a host in which the library's allocation `failing`, and every later one, fails. Returns
/// whether the library sent a span before that.
fn starve(stage: &Stage, program: &Path, failing: usize) -> bool {
    let mut command = stage.command(program);
    command.arg(library()).arg("starve").arg(failing.to_string());
    command.env("MPR_OTEL_BATCH_DELAY_MS", "0").env_remove("MPR_OTEL_LOG");
    let mut host = spawn(&mut command);
    let mut sent = false;
    while !host.has_ended() && !sent {
        sent = stage.receiver.requests().recv_timeout(Duration::from_millis(1)).is_ok();
    }
    let (status, output, errors) = host.end();
    assert!(status.success(), "allocation {failing}: {status}, {output}{errors}");
    assert_eq!((output.as_str(), errors.as_str()), ("played\n", ""), "allocation {failing}");
    sent
}

#[test]
fn a_host_runs_as_without_the_library_whichever_of_its_allocations_fails() {
    let stage = Stage::new();
    let program = starving_c_host();
    let mut failing = 0;
    while !starve(&stage, &program, failing) {
        failing += 1;
    }
    assert!(failing > 100, "only {failing} allocations before the first span");
}

#[test]
fn a_host_with_almost_no_address_space_runs_as_without_the_library() {
    let stage = Stage::new();
    let (mut refused, mut sent) = (0, 0);
    for mib in (4..200).step_by(3) {
        let mut command = stage.command("sh");
        command.args(["-c", r#"ulimit -v "$0" && exec "$@""#]).arg((mib * 1024).to_string());
        command.arg(c_host()).arg(library()).arg("contract");
        command.env("MPR_OTEL_BATCH_DELAY_MS", "0").env_remove("MPR_OTEL_LOG");
        let mut host = spawn(&mut command);
        let line = host.line();
        if line != "played" {
            // There was too little memory for the program itself, or for the library's code.
            assert!(!host.end().0.success() && sent == 0, "{mib} MiB: {line}");
            refused += 1;
            continue;
        }
        host.end_quietly();
        sent += usize::from(stage.receiver.requests().try_iter().count() > 0);
    }
    assert!(refused > 0 && sent > 0, "{refused} refused, {sent} sent");
}

#[test]
fn a_first_operation_needs_eight_kibibytes_of_its_callers_stack_at_most() {
    let stage = Stage::new();
    let mut host = spawn(&mut stage.c("stack"));
    let line = host.line();
    let bytes: usize = line.strip_prefix("stack: ").unwrap().parse().unwrap();
    assert!((256..=8 * 1024).contains(&bytes), "{line}");
    assert_eq!(host.line(), "played");
    host.end_quietly();
}
