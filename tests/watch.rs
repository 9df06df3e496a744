//! What another process can see of an operation: whether it was recorded, and whether it was
//! delivered.
#![cfg(target_os = "linux")]

use mpr_otel_core::folder::{HostSlots, Recorded, Watch};
use mpr_otel_core::ledger::{Keeper, Loss};
use mpr_otel_lab::equipment::graveyard::{Graveyard, Host};
use std::time::Duration;

const PID: u32 = 4711;
const AT_ONCE: Duration = Duration::ZERO;
/// Longer than any test.
const PATIENCE: Duration = Duration::from_secs(3600);

fn watch(yard: &Graveyard, before: &HostSlots) -> Option<Watch> {
    Watch::begin(&yard.folder(), PID, before, AT_ONCE).unwrap()
}

fn slots(yard: &Graveyard) -> HostSlots {
    HostSlots::read(&yard.folder(), PID).unwrap()
}

#[test]
fn an_operation_is_seen_with_its_status_and_then_its_delivery() {
    for keeper in [Keeper::Host, Keeper::Agent] {
        let yard = Graveyard::new();
        // The process has no ledger before its first operation.
        let before = slots(&yard);
        let host = yard.host(keeper);
        let slot = host.done(r"\\files01\projects");
        let mut watch = watch(&yard, &before).expect("it is recorded");
        assert_eq!(watch.recorded.post, Some((0, Duration::from_millis(1))));
        assert!(!watch.is_over(PATIENCE), "nobody has delivered it");
        host.export(slot);
        assert!(watch.is_over(PATIENCE));
        assert!(watch.recorded.freed_after.is_some() && !watch.recorded.lost);
    }
}

#[test]
fn an_operation_that_was_delivered_before_anybody_looked_is_seen() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    let export = |host: &Host, name| host.export(host.done(name));
    export(&host, r"\\files01\before");
    let before = slots(&yard);
    assert!(watch(&yard, &before).is_none(), "nothing since");
    export(&host, r"\\files01\projects");
    let mut watch = watch(&yard, &before).expect("it is recorded");
    assert_eq!(watch.recorded.post, Some((0, Duration::from_millis(1))));
    assert!(watch.is_over(PATIENCE));
    // The slot's next operation is another one.
    host.begin(r"\\files01\next");
    assert!(watch.is_over(PATIENCE));
}

#[test]
fn an_operation_without_post_a_loss_and_a_ledger_that_is_gone_are_told_apart() {
    let yard = Graveyard::new();
    let host = yard.host(Keeper::Host);
    let before = slots(&yard);
    let (slot, context) = host.begin(r"\\files01\projects");
    let mut open = watch(&yard, &before).expect("it is recorded");
    assert!(!open.is_over(PATIENCE));
    assert_eq!(open.recorded, Recorded::default());
    assert!(open.is_over(AT_ONCE), "it is watched no longer than asked");

    // The exporter gave it up, so it has an end and no POST.
    let before = slots(&yard);
    let (given_up, _) = host.begin(r"\\files01\given_up");
    assert!(host.ledger.abandon(given_up, 1, 2_000_000));
    let unfinished = watch(&yard, &before).expect("it is recorded");
    assert_eq!(unfinished.recorded, Recorded::default());

    host.end(context);
    let before = HostSlots::default();
    let mut lost = watch(&yard, &before).expect("it is recorded");
    host.ledger.header().count_lost(Loss::Rejected, 1);
    host.ledger.release(slot);
    host.ledger.release(given_up);
    assert!(lost.is_over(PATIENCE) && lost.recorded.lost, "{lost:?}");

    let before = slots(&yard);
    host.done(r"\\files01\projects");
    let mut left = watch(&yard, &before).expect("it is recorded");
    let grave = host.die();
    assert!(!left.is_over(PATIENCE), "its process has ended, and it waits");
    std::fs::remove_file(grave.path).unwrap();
    assert!(left.is_over(PATIENCE) && left.recorded.freed_after.is_some());
}
