//! Tests of what an agent reports to the event log.

use super::events::testing::Recording;
use super::events::{Event, RECENT};
use super::*;
use mpr_otel_core::settings::System;
use tempfile::TempDir;

/// An agent that does not run, and whose events are recorded.
struct Observed {
    agent: Agent,
    log: Recording,
    folder: TempDir,
}

impl Observed {
    fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap())
    }

    fn with(folder: TempDir) -> Self {
        let mut settings = Settings::resolve(&System::host());
        settings.ledger_dir = folder.path().into();
        settings.endpoint = "http://127.0.0.1:4318/v1/traces".parse().ok();
        let log = Recording::default();
        let events = Arc::new(Events::to(log.clone(), folder.path().join(RECENT)));
        let agent = Agent::new(settings, Bell::default(), events).unwrap();
        Self { agent, log, folder }
    }

    /// The events that are reported now.
    fn reported(&mut self) -> Vec<String> {
        self.agent.report_events();
        self.log.take()
    }

    /// The events that are reported if the collector has taken nothing for so many seconds.
    fn blocked(&mut self, seconds: u64, reason: &str) -> Vec<String> {
        *self.agent.trouble.lock().unwrap() = trouble_since(seconds, reason);
        self.reported()
    }

    /// The events that are reported if the collector takes everything.
    fn unblocked(&mut self) -> Vec<String> {
        *self.agent.trouble.lock().unwrap() = None;
        self.reported()
    }
}

fn trouble_since(seconds: u64, reason: &str) -> Option<Trouble> {
    let since = SystemTime::now() - Duration::from_secs(seconds);
    Some(Trouble { since, reason: reason.to_owned() })
}

/// Whether there is exactly one event, and it begins with this text.
fn begins(events: &[String], expected: &str) -> bool {
    matches!(events, [event] if event.starts_with(expected))
}

#[test]
fn a_collector_that_takes_nothing_is_reported_when_that_lasts_and_when_it_is_over() {
    let mut observed = Observed::new();
    assert_eq!(observed.blocked(30, "status 401"), Vec::<String>::new());
    let reported = observed.blocked(150, "status 401");
    let expected = "5 Warning: The collector has taken nothing for 2 min: status 401. ";
    assert!(begins(&reported, expected), "{reported:?}");
    let within_the_hour = observed.blocked(180, "status 503");
    assert_eq!(within_the_hour, Vec::<String>::new());
    let reported = observed.unblocked();
    let expected = "6 Information: The collector takes operations again, after 2 min. \
                    0 operations wait to be sent. ";
    assert!(begins(&reported, expected), "{reported:?}");
    assert_eq!(observed.reported(), Vec::<String>::new());
}

#[test]
fn a_collector_that_comes_and_goes_is_reported_once_an_hour() {
    let mut observed = Observed::new();
    let mut reported = Vec::new();
    for _ in 0..10 {
        reported.extend(observed.blocked(61, "status 503"));
        reported.extend(observed.unblocked());
    }
    let ids: Vec<&str> = reported.iter().filter_map(|event| event.split(' ').next()).collect();
    assert_eq!(ids, ["5", "6"]);
}

#[test]
fn a_store_that_cannot_be_used_is_reported_when_that_lasts_and_when_it_is_over() {
    let mut observed = Observed::new();
    observed.agent.store_trouble = trouble_since(61, "cannot use the store: the disk is full");
    let reported = observed.reported();
    let expected = "8 Error: The agent has not been able to use its store for 61 s: \
                    cannot use the store: the disk is full. Operations stay in the ledgers";
    assert!(begins(&reported, expected), "{reported:?}");
    observed.agent.store_trouble = None;
    let reported = observed.reported();
    assert!(begins(&reported, "9 Information: The agent can use its store again"), "{reported:?}");
}

#[test]
fn a_damaged_store_is_reported_with_the_place_where_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = LedgerFolder::new(folder.path()).agent();
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join(STORE), "no store".repeat(1000)).unwrap();
    let mut observed = Observed::with(folder);
    let reported = observed.reported();
    let aside = place.join("store.damaged");
    let expected =
        format!("7 Error: The agent's store was damaged, and is kept as {}. ", aside.display());
    assert!(begins(&reported, &expected), "{reported:?}");
    assert!(aside.exists() && observed.folder.path().exists());
    assert_eq!(observed.reported(), Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn a_folder_that_other_users_can_take_ledgers_out_of_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let rights = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), rights).unwrap();
    let mut observed = Observed::with(folder);
    let reported = observed.reported();
    let expected = format!(
        "10 Warning: Other users can take ledgers out of {}, which belongs to uid ",
        observed.folder.path().display()
    );
    assert!(begins(&reported, &expected), "{reported:?}");
}

#[test]
fn trouble_goes_on_while_its_reason_changes_and_ends_without_one() {
    let first = Trouble::go_on(None, Some("status 401".to_owned())).unwrap();
    let since = first.since;
    let second = Trouble::go_on(Some(first), Some("status 503".to_owned())).unwrap();
    assert_eq!((second.since, &*second.reason), (since, "status 503"));
    assert!(Trouble::go_on(Some(second), None).is_none());
}

#[test]
fn the_start_is_reported_with_the_version_and_the_folder() {
    let mut observed = Observed::new();
    let stop = Stop::default();
    stop.ask();
    let watchdog = Watchdog::start(Arc::clone(&observed.agent.events)).unwrap();
    // The watchdog would end the process of all tests.
    watchdog.rest(Duration::MAX);
    observed.agent.run(&stop, &watchdog).unwrap();
    let reported = observed.log.take();
    let expected = format!(
        "1 Information: The agent of mpr-otel {} has started. It empties {}, and sends to 127.0.0.1.",
        env!("CARGO_PKG_VERSION"),
        observed.folder.path().display()
    );
    assert!(begins(&reported, &expected), "{reported:?}");
    assert!(observed.agent.events.report(&Event::Stopped));
}
