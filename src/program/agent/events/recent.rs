//! The events that this process and those before it reported within the last hour.

use super::event::Event;
use mpr_otel_core::clock;
use mpr_otel_core::platform;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The file's name, in the agent's folder.
pub(crate) const RECENT: &str = "events.json";
/// The same event is not reported again before this time has passed.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// A longer file was not written by the agent.
const LONGEST: u64 = 1 << 20;

/// The last event of each number.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// `None` if only this process remembers.
    file: Option<PathBuf>,
    last: BTreeMap<u32, Last>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Last {
    /// When it was reported, in seconds since 1970.
    unix_seconds: u64,
    text: String,
}

impl Recent {
    /// What earlier processes wrote to the file. Empty if the file is missing or cannot be read.
    pub(super) fn kept_in(file: PathBuf) -> Self {
        let last = read(&file).unwrap_or_default();
        Self { file: Some(file), last }
    }

    /// Whether the event is to be reported.
    ///
    /// An event that ends another is always reported, because the other one was. For each other
    /// number, one event is reported in an hour; but a failure with another reason counts as
    /// another event.
    pub(super) fn admits(&self, event: &Event, now: SystemTime) -> bool {
        let Some(last) = self.last.get(&event.id()) else { return true };
        let since = unix_seconds(now).checked_sub(last.unix_seconds);
        // A date in the future does not count: the clock was set.
        let is_recent = since.is_some_and(|seconds| seconds < HOUR.as_secs());
        let is_other = matches!(event, Event::Failed { .. }) && last.text != event.text();
        !is_recent || is_other || event.is_an_end()
    }

    /// Notes that the event was reported.
    pub(super) fn note(&mut self, event: &Event, now: SystemTime) {
        if matches!(event, Event::Stopped) {
            // A person asked for this stop, and should see everything that is wrong after the next
            // start.
            self.last.clear();
        } else {
            let last = Last { unix_seconds: unix_seconds(now), text: event.text() };
            self.last.insert(event.id(), last);
        }
        if let Err(error) = self.write() {
            tracing::debug!(%error, "the next agent may report the same again");
        }
    }

    fn write(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => std::fs::write(file, serde_json::to_vec(&self.last)?),
            None => Ok(()),
        }
    }
}

fn read(file: &Path) -> io::Result<BTreeMap<u32, Last>> {
    let mut bytes = Vec::new();
    platform::open_plain_to_read(file)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn unix_seconds(date: SystemTime) -> u64 {
    clock::unix_nanos(date) / 1_000_000_000
}
