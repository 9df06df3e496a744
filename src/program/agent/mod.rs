//! The agent: takes operations over from the ledgers of all hosts of a machine, and sends them.
//!
//! One thread takes operations over, whether the collector answers or not: it empties ledgers into
//! the store as operations end. Another thread sends what is in the store. An operation is on the
//! disk before its ledger is changed, so the agent can be killed at any time.

mod bell;
mod births;
pub(crate) mod command;
mod control;
#[cfg_attr(not(windows), allow(dead_code))] // Windows alone has an event log.
pub(crate) mod events;
pub(crate) mod place;
pub(crate) mod report;
pub(crate) mod sender;
mod serve;
#[cfg(windows)]
pub(crate) mod service;
mod telemetry;
mod trouble;
mod watchdog;

use crate::store::{Bounds, Store, StoreError};
#[cfg(windows)]
use crate::superseded::Superseded;
use bell::Bell;
use births::Births;
use control::Control;
use events::{Event, Events, News, Outage};
use mpr_otel_core::clock;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::intake::Intake;
use mpr_otel_core::settings::Settings;
use mpr_otel_core::stop::Stop;
use place::{AgentError, DAMAGED, Place, STORE};
use report::Report;
use sender::{Sender, Sent};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use trouble::Trouble;
use watchdog::Watchdog;

/// Ledgers are not read more often than this, even if the batch delay is shorter.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
/// Ledgers are read at least this often, even if the batch delay is longer, because a live host's
/// table must not become full.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How often the agent reports its counts.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// How long the thread that sends sleeps if nobody wakes it.
const IDLE: Duration = Duration::from_secs(3600);
/// How long the agent waits after an error of the disk.
const DISK_WAIT: Duration = Duration::from_secs(10);

/// The one process that empties a ledger folder.
#[derive(Debug)]
struct Agent {
    settings: Settings,
    place: Place,
    intake: Intake,
    store: Arc<Store>,
    control: Control,
    #[cfg(windows)]
    superseded: Superseded,
    births: Option<Births>,
    /// Wakes the thread that takes over.
    bell: Bell,
    /// Wakes the thread that sends.
    sending: Bell,
    /// Why the collector did not take the last batch, as the sending thread found.
    trouble: Arc<Mutex<Option<Trouble>>>,
    /// Reports events to administrators.
    events: Arc<Events>,
    /// The outages of the collector and of the store, with what was reported of them.
    collector_outage: Outage,
    store_outage: Outage,
    /// Why the last round wrote nothing to the store.
    store_trouble: Option<Trouble>,
    /// How often the counts are reported.
    report_every: Duration,
    reported: Option<Instant>,
    /// The latest known date, in nanoseconds since 1970.
    latest: u64,
}

/// Takes over everything that there is now, and calls `told` after each round. Operations that the
/// store does not take stay in their ledgers.
pub(crate) fn take_over(
    intake: &mut Intake,
    store: &Store,
    latest: &mut u64,
    mut told: impl FnMut(&mpr_otel_core::intake::Round),
) -> Result<(), StoreError> {
    loop {
        let now = clock::unix_nanos(SystemTime::now());
        if *latest == 0 {
            *latest = store.latest()?;
        }
        *latest = now.max(*latest);
        let round = intake.collect(Instant::now(), *latest);
        store.take_in(&round, now)?;
        told(&round);
        let more = round.more;
        intake.conclude(round, Instant::now());
        if !more {
            return Ok(());
        }
    }
}

impl Agent {
    /// Becomes the agent of the settings' ledger folder. `bell` wakes the agent.
    fn new(settings: Settings, bell: Bell, events: Arc<Events>) -> Result<Self, AgentError> {
        let folder = LedgerFolder::new(&settings.ledger_dir);
        let place = Place::take(&folder)?;
        match folder.ownership() {
            Ok(Some(ownership)) if !ownership.is_safe() => {
                tracing::warn!(
                    owner = ownership.owner,
                    owner_is_trusted = ownership.owner_is_trusted,
                    others_may_remove = ownership.others_may_remove,
                    "other users can take ledgers out of the folder; correct its owner and rights"
                );
                let folder = folder.path().into();
                events.report(&Event::FolderExposed { folder, owner: ownership.owner });
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read the owner of the ledger folder"),
        }
        let store = Store::at(place.folder().join(STORE), Bounds::of(&settings));
        match store.open() {
            // A full disk may have room again later.
            Err(error @ StoreError::File { .. }) => {
                tracing::error!(%error, "recorded operations stay in their ledgers");
            }
            opened => opened?,
        }
        let look_every = settings.batch_delay.clamp(SHORTEST_LOOK, LONGEST_LOOK);
        Ok(Self {
            control: Control::new(&folder),
            #[cfg(windows)]
            superseded: Superseded::default(),
            intake: Intake::new(
                folder,
                place.folder().join(DAMAGED),
                settings.unfinished_after,
                look_every,
            ),
            place,
            store: Arc::new(store),
            births: None,
            bell,
            sending: Bell::default(),
            trouble: Arc::default(),
            events,
            collector_outage: Outage::default(),
            store_outage: Outage::default(),
            store_trouble: None,
            report_every: telemetry::metric_interval().min(REPORT_EVERY),
            reported: None,
            latest: 0,
            settings,
        })
    }

    /// Works until it is asked to stop, or until its settings have changed. An error then, or if there is no
    /// thread that sends.
    fn run(&mut self, stop: &Stop, watchdog: &Watchdog) -> Result<(), AgentError> {
        tracing::info!(
            ledgers = %self.settings.ledger_dir.display(),
            collector = self.settings.endpoint.as_ref().and_then(|url| url.host()),
            "the agent has started"
        );
        self.events.report(&Event::Started {
            version: env!("CARGO_PKG_VERSION"),
            ledgers: self.settings.ledger_dir.clone(),
            collector: self
                .settings
                .endpoint
                .as_ref()
                .and_then(|url| url.host().map(str::to_owned)),
        });
        let mut sender = Sender::new(Arc::clone(&self.store), &self.settings);
        let (sending, trouble) = (self.sending.clone(), Arc::clone(&self.trouble));
        let (asked, batch_delay) = (stop.clone(), self.settings.batch_delay);
        let sends = thread::Builder::new().name("mpr-otel-send".to_owned()).spawn(move || {
            send(&mut sender, &asked, &sending, &trouble, batch_delay);
        });
        let sends = sends.map_err(AgentError::Thread)?;
        while !stop.is_asked() && !sends.is_finished() {
            watchdog.progress();
            let done = self.round(watchdog);
            self.store_trouble = Trouble::go_on(
                self.store_trouble.take(),
                done.as_ref().err().map(ToString::to_string),
            );
            let wait = done.unwrap_or_else(|error| {
                tracing::error!(%error, "recorded operations stay in their ledgers");
                DISK_WAIT
            });
            self.report_events();
            if self.control.settings_have_changed() {
                tracing::info!("the settings have changed");
                stop.ask();
                break;
            }
            watchdog.rest(wait);
            self.bell.wait(wait);
        }
        self.report();
        self.sending.ring();
        // A request may take longer than this process waits; the process then ends without it.
        if let Err(panic) = sends.join() {
            // An agent that only takes over must end, so that Windows starts it again.
            std::panic::resume_unwind(panic);
        }
        self.report();
        tracing::info!("the agent stops");
        match self.control.settings_have_changed() {
            true => Err(AgentError::SettingsChanged),
            false => Ok(()),
        }
    }

    /// Takes over what there is, and reports it. Returns how long there will be nothing to do.
    fn round(&mut self, watchdog: &Watchdog) -> Result<Duration, StoreError> {
        if let Err(error) = self.place.note_round() {
            tracing::debug!(%error, "the date of this round cannot be written, so `mpr-otel status` shows an older one");
        }
        self.control.tend();
        #[cfg(windows)]
        self.superseded.tend();
        if let Err(error) = self.look_for_births() {
            tracing::warn!(%error, "cannot look into the ledger folder");
        }
        let mut taken = 0;
        take_over(&mut self.intake, &self.store, &mut self.latest, |round| {
            watchdog.progress();
            taken += round.taken.len();
            telemetry::took_over(round);
        })?;
        if taken > 0 {
            self.sending.ring();
        }
        let report_in = match self.reported.map(|reported| reported.elapsed()) {
            // The next sweep comes at almost the same time, so one wake-up does both.
            Some(since) if since < self.report_every * 9 / 10 => self.report_every - since,
            _ => {
                let old = self.store.age(clock::unix_nanos(SystemTime::now()))?;
                if old > 0 {
                    tracing::warn!(
                        old,
                        "operations that no collector took are lost, because they are too old"
                    );
                }
                self.report();
                self.report_every
            }
        };
        let due = self.intake.due().map_or(mpr_otel_core::intake::SWEEP, |due| {
            due.saturating_duration_since(Instant::now())
        });
        // The added time makes sure that it is due at the next wake-up.
        Ok(due.min(report_in).max(SHORTEST_LOOK) + Duration::from_millis(5))
    }

    fn look_for_births(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.births.is_none() {
            // Files that were made before this call are listed below.
            self.births = Births::watch(self.intake.folder().path(), self.bell.clone())
                .inspect_err(
                    |error| tracing::debug!(%error, "the folder is listed from time to time"),
                )
                .ok();
        }
        if let Some(births) = &self.births {
            births.tell(&mut self.intake, now)?;
        }
        self.intake.sweep(now)
    }

    /// Reports new trouble, and trouble that has ended.
    fn report_events(&mut self) {
        let events = &self.events;
        if let Some(aside) = self.store.put_aside() {
            events.report(&Event::StoreDamaged { aside });
        }
        let now = SystemTime::now();
        self.store_outage.see(self.store_trouble.as_ref(), now, |news| {
            events.report(&match news {
                News::Lasts { lasted, reason } => {
                    Event::StoreUnusable { lasted, reason: reason.to_owned() }
                }
                News::Over { lasted } => Event::StoreUsable { lasted },
            })
        });
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.collector_outage.see(trouble.as_ref(), now, |news| {
            events.report(&match news {
                News::Lasts { lasted, reason } => {
                    Event::CollectorTakesNothing { lasted, reason: reason.to_owned() }
                }
                News::Over { lasted } => {
                    let pending = self.store.counts().ok().map(|counts| counts.pending());
                    Event::CollectorTakes { lasted, pending }
                }
            })
        });
    }

    /// Reports the counts, in metrics and in a file.
    fn report(&mut self) {
        self.reported = Some(Instant::now());
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sights = self.intake.sights();
        let told = Report::of(&self.store, sights, trouble)
            .and_then(|report| Ok((report, self.store.tell()?)));
        match told {
            Ok((report, grown)) => {
                telemetry::counted(&grown, &report, sights);
                if let Err(error) = report.write(self.place.folder()) {
                    tracing::warn!(%error, "the report cannot be written, so `mpr-otel status` shows older numbers");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot read the counts"),
        }
    }
}

/// Sends what is in the store, until a stop is asked for.
fn send(
    sender: &mut Sender,
    stop: &Stop,
    bell: &Bell,
    trouble: &Mutex<Option<Trouble>>,
    batch_delay: Duration,
) {
    let (mut exported, mut lost) = (0, 0);
    while !stop.is_asked() {
        let sent = sender.send().unwrap_or_else(|error| {
            tracing::error!(%error, "nothing is sent");
            Sent::Later(DISK_WAIT)
        });
        let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = Trouble::go_on(trouble.take(), sender.trouble().map(str::to_owned));
        drop(trouble);
        match sent {
            Sent::Batch { exported: taken, rejected } => {
                exported += taken;
                lost += rejected;
            }
            Sent::Later(wait) => stop.wait(wait),
            Sent::Nothing => {
                if exported + lost > 0 {
                    tracing::info!(exported, lost, "sent");
                    (exported, lost) = (0, 0);
                }
                bell.wait(IDLE);
                // A finished operation waits for others.
                stop.wait(batch_delay);
            }
        }
    }
}

#[cfg(test)]
mod tests;
