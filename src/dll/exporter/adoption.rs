//! What a host's exporter does for hosts of its user that have died.
//!
//! It looks into the folder once it has lived for a batch delay, and again when its host maps
//! something later: never when there is nothing else to do, so an idle host makes no wake-ups. A
//! host that ends sooner leaves no work half done.

use super::nanos;
use crate::host::Host;
use mpr_otel_core::adoption::{Adopter, Batch, LedgerFolder, Look, Whose};
use mpr_otel_core::privacy::Privacy;
use std::time::Duration;

/// Ledgers that are taken over in one look.
const LEDGERS: usize = 16;
/// How long a look is good for.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Adoption {
    host: &'static Host,
    adopter: Adopter,
    /// When to look or to send next, in nanoseconds after the anchor; `None`: not before the host
    /// does something.
    due_at: Option<u64>,
    looked_at: u64,
}

impl Adoption {
    pub(super) fn new(host: &'static Host) -> Self {
        let settings = &host.settings;
        Self {
            host,
            adopter: Adopter::new(
                LedgerFolder::new(&settings.ledger_dir),
                Whose::Mine,
                settings.ledger_bounds(),
                settings.unfinished_after,
            ),
            // Without a file of its own, the folder is not one to look into.
            due_at: (host.ledger.is_protected())
                .then(|| host.clock.now().saturating_add(nanos(settings.batch_delay))),
            looked_at: 0,
        }
    }

    pub(super) fn due_at(&self) -> Option<u64> {
        self.due_at
    }

    /// The host did something at `now`: others may have died since the last look.
    pub(super) fn expect_more(&mut self, now: u64) {
        let protected = self.host.ledger.is_protected();
        if protected
            && self.due_at.is_none()
            && now >= self.looked_at.saturating_add(nanos(LOOK_AGAIN))
        {
            self.due_at = Some(now.saturating_add(nanos(self.host.settings.batch_delay)));
        }
    }

    /// What is to be sent next; `None` if there is nothing, and nothing to look for now.
    pub(super) fn batch(&mut self, now: u64, privacy: &Privacy) -> Option<Batch> {
        if self.adopter.waiting() == 0 && !self.look(now) {
            self.due_at = None;
            return None;
        }
        let batch = self.adopter.batch(self.host.settings.batch_max, privacy);
        (!batch.spans.is_empty()).then_some(batch)
    }

    /// Takes over what dead hosts left. Returns whether that led to anything, so that there may be
    /// more: a ledger that cannot be removed would be taken over again without end.
    fn look(&mut self, now: u64) -> bool {
        self.looked_at = now;
        let own = self.host.ledger.path();
        let Look { adopted, .. } = self.adopter.look(own, LEDGERS).unwrap_or_default();
        // Some may have held nothing to begin with.
        let buried = self.adopter.bury(self.host.ledger.header());
        let operations = self.adopter.waiting();
        if adopted > 0 {
            tracing::info!(ledgers = adopted, operations, "taken over from dead hosts");
        }
        operations > 0 || buried.removed > 0
    }

    /// A collector answered: `rejected` of the batch's spans are lost, the others are exported.
    pub(super) fn settle(&mut self, batch: &Batch, rejected: u64) {
        self.adopter.settle(batch, rejected);
        self.adopter.bury(self.host.ledger.header());
    }

    /// Gives up what the folder has no room for, and, if the collector is `away`, what is too old.
    pub(super) fn keep_within_bounds(&mut self, away: bool) {
        if !self.host.ledger.is_protected() {
            return;
        }
        if let Err(error) = self.adopter.prune(self.host.ledger.header(), away) {
            tracing::debug!(%error, "cannot look into the ledger folder");
        }
    }
}
