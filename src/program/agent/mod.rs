//! The agent: empties the ledgers of all hosts of a machine.
//!
//! It adopts every dead host's ledger, whoever's it was, and exports for live hosts that leave
//! that to it (`MPR_OTEL_DELIVERY=agent`). Everything that counts is in the ledgers, its own
//! included, so it can be killed at any instant: the next agent goes on where it stood.

pub(crate) mod command;
mod control;
mod serve;
#[cfg(windows)]
pub(crate) mod service;
mod telemetry;
mod watchdog;

use mpr_otel_core::adoption::{
    Adopter, AgentLedger, AgentLedgerError, Buried, Census, LedgerFolder, Look,
};
use mpr_otel_core::clock;
use mpr_otel_core::courier::{Courier, Verdict};
use mpr_otel_core::ledger::SLOT_COUNT;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::Settings;
use mpr_otel_core::stop::Stop;
use std::time::{Duration, Instant, SystemTime};
use watchdog::Watchdog;

/// However short the batch delay is, the folder is not looked at more often.
const SHORTEST_ROUND: Duration = Duration::from_millis(50);
/// When a round exported as much as half a table holds, a host's table may be full by the next.
const MUCH: u64 = SLOT_COUNT as u64 / 2;
/// How often all ledgers' counters are added up for the metrics.
const LONGEST_COUNT: Duration = Duration::from_secs(10);

/// The one process that empties a ledger folder.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    adopter: Adopter,
    ledger: AgentLedger,
    privacy: Privacy,
    courier: Courier,
    /// How often the counters are added up.
    count_every: Duration,
    counted_at: Option<Instant>,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Ledgers of dead hosts that were taken over.
    pub adopted: usize,
    /// Spans that a collector took.
    pub exported: u64,
    /// Spans that a collector refused for good, and operations that were given up.
    pub lost: u64,
    /// Ledgers that were emptied and removed.
    pub removed: usize,
    /// Damaged ledgers that were put aside.
    pub quarantined: usize,
    /// Operations at hand that wait to be sent.
    pub waiting: usize,
    /// Files that are not to be touched.
    pub refused: usize,
}

impl Agent {
    /// Becomes the agent of the settings' ledger folder.
    pub fn new(settings: Settings) -> Result<Self, AgentLedgerError> {
        let folder = LedgerFolder::new(&settings.ledger_dir);
        let ledger = AgentLedger::open(&folder)?;
        match folder.ownership() {
            Ok(Some(ownership)) if !ownership.is_safe() => tracing::warn!(
                owner = ownership.owner,
                owner_is_trusted = ownership.owner_is_trusted,
                others_may_remove = ownership.others_may_remove,
                "other users can take ledgers out of the folder; correct its owner and rights"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot see whose the ledger folder is"),
        }
        let adopter = Adopter::new(folder, settings.ledger_bounds(), settings.unfinished_after);
        Ok(Self {
            adopter,
            ledger,
            privacy: Privacy::of(&settings),
            courier: Courier::new(settings.clone()),
            count_every: telemetry::metric_interval().min(LONGEST_COUNT),
            counted_at: None,
            settings,
        })
    }

    /// Works until it is asked to stop.
    fn run(&mut self, stop: &Stop, watchdog: &Watchdog) {
        tracing::info!(
            ledgers = %self.settings.ledger_dir.display(),
            collector = self.settings.endpoint.as_ref().and_then(|url| url.host()),
            "the agent has started"
        );
        let round = self.settings.batch_delay.max(SHORTEST_ROUND);
        let mut control = control::Control::new(self.adopter.folder());
        let mut progress = Progress::default();
        let mut said = progress;
        while !stop.is_asked() {
            watchdog.progress();
            if let Err(error) = self.ledger.note_round() {
                tracing::debug!(%error, "`mpr-otel status` shows an older round than this");
            }
            control.tend();
            let before = progress.exported;
            // A round may be long: it ends when nothing is left to send.
            self.round(stop, &mut progress, |_| {
                watchdog.progress();
                control.tend();
            });
            let much = progress.exported - before >= MUCH;
            self.count(false);
            if progress != said && progress.waiting == 0 {
                let Progress { adopted, exported, lost, quarantined, .. } = progress;
                tracing::info!(adopted, exported, lost, quarantined, "so far");
                said = progress;
            }
            let rest = if much { SHORTEST_ROUND } else { round };
            watchdog.rest(rest);
            stop.wait(rest);
        }
        self.count(true);
        tracing::info!("the agent stops");
    }

    /// Empties what there is now. Ends when there is nothing left, when the collector is away, or
    /// when it is asked to stop. Tells `told` how it goes on.
    pub fn round(&mut self, stop: &Stop, progress: &mut Progress, mut told: impl FnMut(&Progress)) {
        loop {
            let look = self.look(progress);
            let mut buried = self.bury(progress);
            while self.adopter.waiting() > 0 && !stop.is_asked() {
                if !self.courier.wait().is_zero() || !self.send(progress) {
                    break;
                }
                buried.add(self.bury(progress));
                progress.waiting = self.adopter.waiting();
                told(progress);
            }
            progress.waiting = self.adopter.waiting();
            told(progress);
            if stop.is_asked() || !look.more || buried == Buried::default() {
                break;
            }
        }
        if self.courier.trouble().is_some() {
            self.prune(progress);
        }
    }

    fn look(&mut self, progress: &mut Progress) -> Look {
        let look = self.adopter.look(None, usize::MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look into the ledger folder");
            Look::default()
        });
        progress.adopted += look.adopted;
        progress.quarantined += look.quarantined;
        progress.refused = look.refused;
        telemetry::looked(&look, self.adopter.held());
        look
    }

    fn bury(&mut self, progress: &mut Progress) -> Buried {
        let buried = self.adopter.bury(self.ledger.header());
        progress.removed += buried.removed;
        progress.quarantined += buried.quarantined;
        telemetry::quarantined(buried.quarantined);
        buried
    }

    /// Sends one batch. Returns whether the collector took or refused it, so that the next batch may
    /// follow at once.
    fn send(&mut self, progress: &mut Progress) -> bool {
        let most = self.settings.batch_max.min(self.courier.at_most());
        let mut batch = self.adopter.batch(most, &self.privacy);
        let spans = std::mem::take(&mut batch.spans);
        let count = spans.len() as u64;
        if count == 0 {
            return true;
        }
        let export = telemetry::Export::begin(count);
        let verdict = self.courier.send(spans);
        export.end(&verdict);
        let rejected = match verdict {
            Verdict::Accepted { rejected, .. } => rejected,
            Verdict::Refused { .. } => count,
            Verdict::Divide { .. } => return true,
            Verdict::Later { .. } => return false,
        };
        self.adopter.settle(&batch, rejected);
        progress.exported += count - rejected;
        progress.lost += rejected;
        self.ledger.header().note_export(clock::unix_nanos(SystemTime::now()));
        true
    }

    /// Gives up what the folder has no room for while the collector is away.
    fn prune(&mut self, progress: &mut Progress) {
        match self.adopter.prune(self.ledger.header(), true) {
            Ok(lost) => progress.lost += lost,
            Err(error) => tracing::warn!(%error, "cannot look into the ledger folder"),
        }
        progress.waiting = self.adopter.waiting();
    }

    /// Adds up the counters of all ledgers, if it is time for that or `now`.
    fn count(&mut self, now: bool) {
        if !now && self.counted_at.is_some_and(|at| at.elapsed() < self.count_every) {
            return;
        }
        self.counted_at = Some(Instant::now());
        match Census::take(self.adopter.folder()) {
            Ok(mut census) => {
                census.tally += self.ledger.header().inherited();
                telemetry::counted(&self.ledger.header().tell(&census.tally), &census);
            }
            Err(error) => tracing::warn!(%error, "cannot look into the ledger folder"),
        }
    }

    /// Why the collector did not take the last batch; `None` if it did.
    pub fn trouble(&self) -> Option<&str> {
        self.courier.trouble()
    }
}
