//! The agent's event log: events that an administrator should learn of without looking for them.
//!
//! A service writes to Windows' Application log. The agent in the foreground, and the agent on
//! other systems, have no event log: they write to standard error and their log file.
//! docs/OPERATE.md lists the events.

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
    /// Writes one event. The agent goes on if the log cannot be written to.
    fn report(&self, event: &Event);
}

/// A process that has no event log.
#[derive(Debug)]
struct Nowhere;

impl EventLog for Nowhere {
    fn report(&self, _event: &Event) {}
}

/// Reports events, and does not report the same one again and again.
#[derive(Debug)]
pub(super) struct Events {
    log: Box<dyn EventLog>,
    recent: Mutex<Recent>,
}

impl Events {
    /// Events go to `log`. The file `recent` keeps what was reported lately, because Windows starts
    /// a failed agent again and again.
    pub(super) fn to(log: impl EventLog + 'static, recent: PathBuf) -> Self {
        Self { log: Box::new(log), recent: Mutex::new(Recent::kept_in(recent)) }
    }

    /// Events are not written anywhere.
    pub(super) fn nowhere() -> Self {
        Self { log: Box::new(Nowhere), recent: Mutex::default() }
    }

    /// Writes an event, unless a similar one was written in the last hour. Returns whether it was
    /// written.
    pub(super) fn report(&self, event: &Event) -> bool {
        self.report_at(event, SystemTime::now())
    }

    /// Writes an event as [`Self::report`] does, on another thread, and waits for that for `limit`
    /// at most.
    pub(super) fn report_within(self: Arc<Self>, limit: Duration, event: Event) {
        let (done, reported) = mpsc::channel();
        let report = move || {
            self.report(&event);
            // The receiver may have stopped waiting.
            let _ = done.send(());
        };
        // If there is no thread, the sender is dropped, and the wait ends at once.
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

    /// Keeps the reported events.
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
        /// The number, level and text of each event since the last call.
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

    /// A process of the agent. The file `recent` is from the processes before it.
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
    fn each_requested_start_and_stop_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(RECENT);
        for _ in 0..3 {
            let (log, events) = process(&file);
            assert!(events.report(&started()) && events.report(&Event::Stopped));
            assert_eq!(log.take().len(), 2);
        }
    }

    #[test]
    fn the_end_of_a_reported_event_is_reported_within_an_hour_of_another_end() {
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
    fn a_date_in_the_future_suppresses_no_event() {
        let folder = tempfile::tempdir().unwrap();
        let (_, events) = process(&folder.path().join(RECENT));
        let now = SystemTime::UNIX_EPOCH + MINUTE * 1_000_000;
        assert!(events.report_at(&started(), now + MINUTE) && events.report_at(&started(), now));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_suppresses_no_event() {
        let folder = tempfile::tempdir().unwrap();
        let (log, events) = process(&folder.path().join("missing").join(RECENT));
        assert!(events.report(&started()));
        assert!(!events.report(&started()), "within a process it is known all the same");
        assert_eq!(log.take().len(), 1);
    }

    /// A log that does not return from an event until the test lets it.
    #[derive(Debug)]
    struct Held(Mutex<mpsc::Receiver<()>>);

    impl EventLog for Held {
        fn report(&self, _event: &Event) {
            // An error means that the test has ended.
            let _ = self.0.lock().unwrap().recv();
        }
    }

    #[test]
    fn a_log_that_hangs_does_not_keep_an_agent_from_ending() {
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
