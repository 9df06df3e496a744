//! The exporter: one thread in the host that turns finished operations into spans and sends them.
//!
//! It owns every slot that is `Done` or `Unfinished`. It frees the slot when a collector has
//! accepted the span or has refused it for good. Until then the slot is the span's only copy, so a
//! repeated request is built again from the same slots, with the same ids.

use crate::channel::{Channel, Signal};
use crate::doorbell::Sleep;
use crate::host::Host;
use crate::pairing::{Open, Pairing};
use mpr_otel_core::clock;
use mpr_otel_core::courier::{Courier, Suspects, Verdict};
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::operation::Operation;
use mpr_otel_core::platform;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::{Settings, System};
use mpr_otel_core::span::span;
use opentelemetry_sdk::trace::SpanData;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Exports until the host stops. The calling thread is the one that the channel wakes.
pub(crate) fn run(host: &'static Host, channel: &'static Channel) {
    platform::name_thread();
    Exporter::new(host, channel).run();
}

/// How often the settings are read again. The exporter does not wake for this alone.
const READ_SETTINGS: Duration = Duration::from_secs(60);
/// The shortest time between two searches for operations that have been open for too long.
const SOON: Duration = Duration::from_secs(1);

/// A finished operation that waits to be sent.
#[derive(Clone, Copy)]
struct Ready {
    slot: usize,
    /// When the operation was ready to be sent, in nanoseconds after the anchor.
    since: u64,
}

struct Exporter {
    host: &'static Host,
    channel: &'static Channel,
    pairing: Pairing,
    ready: VecDeque<Ready>,
    /// Until this time more operations are likely, in nanoseconds after the anchor: one batch delay
    /// after the latest signal or request.
    busy_until: u64,
    privacy: Privacy,
    courier: Courier,
    /// The slots whose operations are suspects.
    suspects: Suspects<usize>,
    /// When the settings are to be read again, by the monotonic clock, in nanoseconds.
    read_settings_at: u64,
}

impl Exporter {
    fn new(host: &'static Host, channel: &'static Channel) -> Self {
        Self {
            host,
            channel,
            pairing: Pairing::default(),
            ready: VecDeque::new(),
            busy_until: 0,
            privacy: Privacy::of(&host.settings),
            courier: Courier::new(host.settings.clone()),
            suspects: Suspects::default(),
            read_settings_at: host.clock.now().saturating_add(nanos(READ_SETTINGS)),
        }
    }

    /// Works until the host stops.
    fn run(&mut self) {
        while !self.is_over() {
            // A fault in one round must not end the exporter: the slots that it did not free are
            // still ready in the next round. It sleeps first, so that a fault in each round does
            // not use all of the host's processor time.
            if catch_unwind(AssertUnwindSafe(|| self.round())).is_err() {
                self.host.ledger.header().note_error("a fault in the exporter; it goes on");
                self.courier.postpone(None);
            }
        }
    }

    /// Whether the host has stopped or must stop, because the control page or changed settings say
    /// so. The settings are read once a minute at most.
    fn is_over(&mut self) -> bool {
        let now = self.host.clock.now();
        let due = now >= self.read_settings_at;
        if due {
            self.read_settings_at = now.saturating_add(nanos(READ_SETTINGS));
        }
        self.host.stopped.load(Ordering::Acquire)
            || self.host.is_to_stop()
            || (due && Settings::resolve(&System::host()).disabled)
    }

    /// One round: takes the signals, sends what is due, and sleeps until there is more to do.
    fn round(&mut self) {
        let any = self.drain();
        let now = self.host.clock.now();
        if any {
            self.expect_more(now);
        }
        self.host.ledger.header().note_alive(now);
        self.give_up_overdue(now);
        self.arrange();
        if self.due_at(now).is_some_and(|due| due <= now) {
            self.send_batch();
            self.expect_more(self.host.clock.now());
        } else {
            let (depth, limit) = self.sleep_plan(now);
            let enough = self.signals_to_fill_batch();
            self.channel.sleep(depth, enough, limit);
        }
    }

    /// Notes that something happened, so more may come soon.
    fn expect_more(&mut self, now: u64) {
        self.busy_until = now.saturating_add(nanos(self.host.settings.batch_delay));
    }

    /// Takes the signals that are there now. Returns whether there were any.
    ///
    /// Signals that arrive meanwhile wait for the next round. Otherwise this would never end while
    /// signals keep coming.
    fn drain(&mut self) -> bool {
        let waiting = self.channel.waiting();
        for _ in 0..waiting {
            match self.channel.receive() {
                Some(Signal::Before { slot, generation, started }) => {
                    self.pairing.before(Open { slot, generation, started });
                }
                Some(Signal::After { slot, ended }) => {
                    self.pairing.after(slot);
                    self.ready.push_back(Ready { slot, since: ended });
                }
                None => break,
            }
        }
        waiting > 0
    }

    /// Reports operations as unfinished that have been open for too long.
    fn give_up_overdue(&mut self, now: u64) {
        while let Some(open) = self.pairing.oldest() {
            if now < self.overdue_at(open) {
                return;
            }
            // If POST came at this moment, its After will arrive and end the pairing.
            if self.host.ledger.abandon(open.slot, open.generation, now) {
                self.pairing.after(open.slot);
                self.ready.push_back(Ready { slot: open.slot, since: now });
            } else {
                self.drain();
                return;
            }
        }
    }

    fn overdue_at(&self, open: Open) -> u64 {
        open.started.saturating_add(nanos(self.host.settings.unfinished_after))
    }

    /// Puts the operation on trial first, and the operations that are passed over last.
    fn arrange(&mut self) {
        let (on_trial, last) = (self.suspects.on_trial(), self.suspects.passed_over());
        if last.is_empty() {
            return;
        }
        self.ready.make_contiguous().sort_by_key(|ready| match ready.slot {
            slot if Some(slot) == on_trial => 0,
            slot if last.contains(&slot) => 2,
            _ => 1,
        });
    }

    /// How many of the ready operations the next batch has. A suspect is sent alone.
    fn next_count(&self) -> usize {
        let suspects = self.suspects.passed_over();
        let mut next = self.ready.iter().take(self.batch_max());
        match next.position(|ready| suspects.contains(&ready.slot)) {
            Some(others) => others.max(1),
            None => self.ready.len().min(self.batch_max()),
        }
    }

    /// When the next batch is to be sent, in nanoseconds after the anchor. `None` if nothing is
    /// ready.
    fn due_at(&self, now: u64) -> Option<u64> {
        // If there is no collector, everything waits in the ledger.
        self.host.settings.endpoint.as_ref()?;
        let first = self.ready.front()?;
        let full = self.ready.len() >= self.batch_max();
        let due = if full {
            0
        } else {
            first.since.saturating_add(nanos(self.host.settings.batch_delay))
        };
        Some(due.max(self.not_before(now)))
    }

    /// The most spans that the next batch may have.
    fn batch_max(&self) -> usize {
        self.host.settings.batch_max.min(self.courier.at_most())
    }

    /// The earliest time of the next request, in nanoseconds after the anchor.
    fn not_before(&self, now: u64) -> u64 {
        now.saturating_add(nanos(self.courier.wait()))
    }

    /// How deep the exporter sleeps, and how long at most.
    ///
    /// Shortly after some activity more is likely. So the exporter looks again when the batch delay
    /// ends, and no caller has to wake it.
    fn sleep_plan(&mut self, now: u64) -> (Sleep, Option<Duration>) {
        let overdue = self.pairing.oldest().map(|open| self.overdue_at(open));
        let busy_until = Some(self.busy_until).filter(|until| now < *until);
        let look_at = self.due_at(now).or(busy_until);
        let depth = if look_at.is_some() { Sleep::Collecting } else { Sleep::Idle };
        // A Before wakes nobody. So the exporter wakes in time for the oldest operation whose
        // Before it may not have seen.
        let unseen = now.saturating_add(nanos(self.host.settings.unfinished_after.max(SOON)));
        let wake_at = look_at.into_iter().chain(overdue).chain([unseen]).min();
        (depth, wake_at.map(|at| Duration::from_nanos(at.saturating_sub(now))))
    }

    /// The fewest signals that could fill the batch: an After for each operation that is missing,
    /// and a Before for each operation whose Before has not come yet. A full batch only waits for
    /// its time.
    fn signals_to_fill_batch(&self) -> usize {
        match self.host.settings.batch_max.saturating_sub(self.ready.len()) {
            0 => usize::MAX,
            lacking => lacking + lacking.saturating_sub(self.pairing.count()),
        }
    }

    fn send_batch(&mut self) {
        let count = self.next_count();
        let header = self.host.ledger.header();
        let lost = header.lost();
        let spans = self.build(count, lost.saturating_sub(header.lost_told()));
        // By now records that cannot be read have left the queue.
        let count = spans.len();
        if count == 0 {
            return;
        }
        let slots: Vec<usize> = self.ready.iter().take(count).map(|ready| ready.slot).collect();
        let verdict = self.courier.send(spans);
        let verdict = self.suspects.weigh(&mut self.courier, &slots, verdict);
        if let Some(problem) = verdict.problem() {
            header.note_error(problem);
        }
        match verdict {
            Verdict::Accepted { rejected, .. } => {
                header.tell_lost(lost);
                self.settle(count, rejected);
            }
            Verdict::Refused { .. } => self.settle(count, count as u64),
            // The operations stay ready, so nothing is lost.
            Verdict::Divide { .. } | Verdict::Later { .. } => {}
        }
    }

    /// Builds the spans of the first `count` ready operations. The first span reports `lost`
    /// losses.
    fn build(&mut self, count: usize, mut lost: u64) -> Vec<SpanData> {
        let host = self.host;
        let mut spans = Vec::with_capacity(count);
        let mut index = 0;
        for _ in 0..count {
            let slot = self.ready[index].slot;
            let record = host.ledger.settled(slot);
            if let Some(operation) = record.as_ref().and_then(Operation::decode) {
                host.ledger.note_sent(slot);
                spans.push(span(
                    self.privacy.disclose(operation),
                    &host.origin,
                    std::mem::take(&mut lost),
                ));
                index += 1;
            } else {
                host.ledger.header().count_lost(Loss::Corrupt, 1);
                self.ready.remove(index);
                self.suspects.forget(&[slot]);
                if record.is_some() {
                    host.ledger.release(slot);
                }
            }
        }
        spans
    }

    /// Frees the slots of the first `count` operations. The collector refused `rejected` of them.
    fn settle(&mut self, count: usize, rejected: u64) {
        let ledger = &self.host.ledger;
        let header = ledger.header();
        if !ledger.is_protected() {
            header.count_unprotected(count as u64);
        }
        header.count_exported((count as u64).saturating_sub(rejected));
        header.count_lost(Loss::Rejected, rejected);
        for ready in self.ready.drain(..count) {
            ledger.release(ready.slot);
        }
        self.answered();
    }

    /// Notes that the collector accepted or refused a batch.
    fn answered(&mut self) {
        self.host.ledger.header().note_export(clock::unix_nanos(SystemTime::now()));
    }
}

/// The nanoseconds of a duration, at most u64::MAX (584 years).
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
