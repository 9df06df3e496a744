//! The agent's event log: what an administrator is to hear of without looking for it.
//!
//! A service writes to Windows' Application log. The agent in the foreground, and any other system, has
//! none: what it says is on standard error and in its log file. docs/OPERATE.md lists the events.

#[cfg(any(windows, test))]
mod application_log;
mod event;
mod outage;
mod recent;

#[cfg(windows)]
pub(super) use application_log::ApplicationLog;
#[cfg(windows)]
pub(crate) use application_log::SOURCE;
pub(super) use event::Event;
#[cfg(windows)]
use event::Level;
pub(super) use outage::{News, Outage};
#[cfg(any(windows, test))]
pub(crate) use recent::RECENT;

use recent::Recent;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

/// Where events are written.
pub(super) trait EventLog: fmt::Debug + Send + Sync {
    /// Writes one event. A log that cannot be written to is no reason to stop.
    fn report(&self, event: &Event);
}

/// A process that has no event log.
#[derive(Debug)]
struct Nowhere;

impl EventLog for Nowhere {
    fn report(&self, _event: &Event) {}
}

/// The way to the event log, which lets no event through again and again.
#[derive(Debug)]
pub(super) struct Events {
    log: Box<dyn EventLog>,
    recent: Mutex<Recent>,
}

impl Events {
    /// Events go to `log`. What was reported of late is kept in the file `recent`, because an agent that
    /// fails is started again and again.
    pub(super) fn to(log: impl EventLog + 'static, recent: PathBuf) -> Self {
        Self { log: Box::new(log), recent: Mutex::new(Recent::kept_in(recent)) }
    }

    /// Events go nowhere.
    pub(super) fn nowhere() -> Self {
        Self { log: Box::new(Nowhere), recent: Mutex::default() }
    }

    /// Writes an event, unless it is too much alike to one of the last hour. Whether it was written.
    pub(super) fn report(&self, event: &Event) -> bool {
        self.report_at(event, SystemTime::now())
    }

    /// Writes an event as [`Self::report`] does, on a thread of its own, and waits no longer than `limit` until
    /// it is written.
    pub(super) fn report_within(self: Arc<Self>, limit: Duration, event: Event) {
        let (done, reported) = mpsc::channel();
        let report = move || {
            self.report(&event);
            // Nobody may be waiting any more.
            let _ = done.send(());
        };
        // Without a thread nobody sends: then the wait is over at once.
        let _ = thread::Builder::new().name("mpr-otel-report".to_owned()).spawn(report);
        let _ = reported.recv_timeout(limit);
    }

    fn report_at(&self, event: &Event, now: SystemTime) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_admitted = recent.admits(event, now);
        if is_admitted {
            self.log.report(event);
            recent.note(event, now);
        }
        is_admitted
    }
}

/// A log that tests read.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Keeps what was reported.
    #[derive(Clone, Debug, Default)]
    pub(in crate::agent) struct Recording(Arc<Mutex<Vec<String>>>);

    impl EventLog for Recording {
        fn report(&self, event: &Event) {
            self.0.lock().unwrap().push(format!(
                "{} {:?}: {}",
                event.id(),
                event.level(),
                event.text()
            ));
        }
    }

    impl Recording {
        /// The number, level and text of each event since this was asked last.
        pub(in crate::agent) fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Recording;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A process of the agent, which has the file `recent` of those before it.
    fn process(recent: &std::path::Path) -> (Recording, Events) {
        let log = Recording::default();
        (log.clone(), Events::to(log, recent.into()))
    }

    fn started() -> Event {
        Event::Started { version: "1.2.3", ledgers: "ledgers".into(), collector: None }
    }

    fn failed(reason: &str) -> Event {
        Event::Failed { reason: reason.to_owned() }
    }

    #[test]
    fn an_agent_that_fails_at_each_start_is_reported_once_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(RECENT);
        let mut reported = Vec::new();
        for minute in 0..180 {
            let (log, events) = process(&file);
            let now = SystemTime::UNIX_EPOCH + MINUTE * (1_000_000 + minute);
            events.report_at(&started(), now);
            events.report_at(&failed("as a defect would"), now + MINUTE / 2);
            reported.extend(log.take().iter().map(|event| (minute, event[..1].to_owned())));
        }
        let hours = [0, 60, 120].into_iter();
        let expected: Vec<_> =
            hours.flat_map(|minute| ["1", "3"].map(|id| (minute, id.to_owned()))).collect();
        assert_eq!(reported, expected);
    }

    #[test]
    fn another_failure_is_reported_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (log, events) = process(&folder.path().join(RECENT));
        for reason in ["the folder is in use", "the folder is in use", "the disk is full"] {
            events.report(&failed(reason));
        }
        assert_eq!(log.take().len(), 2);
    }

    #[test]
    fn each_start_and_stop_that_somebody_asked_for_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(RECENT);
        for _ in 0..3 {
            let (log, events) = process(&file);
            assert!(events.report(&started()) && events.report(&Event::Stopped));
            assert_eq!(log.take().len(), 2);
        }
    }

    #[test]
    fn the_end_of_what_was_reported_is_reported_within_an_hour_of_another_end() {
        let folder = tempfile::tempdir().unwrap();
        let (_, events) = process(&folder.path().join(RECENT));
        let blocked = Event::CollectorTakesNothing { lasted: MINUTE, reason: "away".to_owned() };
        let over = Event::CollectorTakes { lasted: MINUTE, pending: None };
        let at = |minute: u32| SystemTime::UNIX_EPOCH + MINUTE * (1_000_000 + minute);
        assert!(events.report_at(&blocked, at(0)) && events.report_at(&over, at(2)));
        assert!(!events.report_at(&blocked, at(59)), "within the hour");
        assert!(events.report_at(&blocked, at(60)) && events.report_at(&over, at(61)));
    }

    #[test]
    fn a_date_to_come_silences_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (_, events) = process(&folder.path().join(RECENT));
        let now = SystemTime::UNIX_EPOCH + MINUTE * 1_000_000;
        assert!(events.report_at(&started(), now + MINUTE) && events.report_at(&started(), now));
    }

    #[test]
    fn a_folder_that_nothing_can_be_kept_in_silences_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (log, events) = process(&folder.path().join("missing").join(RECENT));
        assert!(events.report(&started()));
        assert!(!events.report(&started()), "within a process it is known all the same");
        assert_eq!(log.take().len(), 1);
    }

    /// A log that takes an event once somebody lets it.
    #[derive(Debug)]
    struct Held(Mutex<mpsc::Receiver<()>>);

    impl EventLog for Held {
        fn report(&self, _event: &Event) {
            // An error is the end of the test.
            let _ = self.0.lock().unwrap().recv();
        }
    }

    #[test]
    fn a_log_that_hangs_keeps_no_agent_that_is_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let (_release, held) = mpsc::channel();
        let events = Events::to(Held(Mutex::new(held)), folder.path().join(RECENT));
        let events = Arc::new(events);
        Arc::clone(&events).report_within(Duration::ZERO, Event::Hangs { limit: MINUTE });
    }

    #[test]
    fn an_agent_that_hangs_is_reported_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (log, events) = process(&folder.path().join(RECENT));
        Arc::new(events).report_within(MINUTE * 60, Event::Hangs { limit: MINUTE });
        let reported = log.take();
        let expected = "4 Error: The agent has made no progress for 60 s";
        assert!(matches!(&*reported, [event] if event.starts_with(expected)), "{reported:?}");
    }

    #[test]
    fn an_agent_in_the_foreground_has_no_event_log() {
        assert!(Events::nowhere().report(&started()));
    }
}
