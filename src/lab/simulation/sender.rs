//! Threads that send what is finished, with the exporter's own client, verdicts and waits.

use super::agent_report::{self, AgentReport, Meters};
use super::batch::{Finished, OutgoingRequest, pack};
use super::fleet::Fleet;
use super::truth::{Count, Scripted};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use http::Uri;
use mpr_otel_core::courier::{Cause, Courier, Verdict};
use mpr_otel_core::settings::Settings;
use mpr_otel_core::stop::Stop;
use prost::Message;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the senders share with the engine.
#[derive(Debug)]
pub(super) struct SenderShared {
    pub(super) fleet: Fleet,
    pub(super) settings: Settings,
    pub(super) direct: bool,
    pub(super) stop: Stop,
    count: Mutex<Count>,
    /// What agents count; `None` without agents.
    pub(super) meters: Option<Meters>,
    /// Agents' requests that were refused for good.
    pub(super) reports_refused: AtomicU64,
    trouble: Mutex<Option<String>>,
    refusal: Mutex<Option<String>>,
    /// The run was stopped, and the collector is away: nothing is tried any more.
    given_up: AtomicBool,
}

impl SenderShared {
    pub(super) fn new(
        fleet: Fleet,
        settings: Settings,
        direct: bool,
        stop: Stop,
        meters: Option<Meters>,
    ) -> Self {
        Self {
            fleet,
            settings,
            direct,
            stop,
            count: Mutex::default(),
            meters,
            reports_refused: AtomicU64::new(0),
            trouble: Mutex::default(),
            refusal: Mutex::default(),
            given_up: AtomicBool::new(false),
        }
    }

    /// What has been accepted so far.
    pub(super) fn count(&self) -> MutexGuard<'_, Count> {
        lock(&self.count)
    }

    /// Why the collector does not take what is sent; `None` if it does.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Why it refused something for good, if it did.
    pub(super) fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    /// Counts what became of a request's spans.
    pub(super) fn settle(&self, spans: &[Scripted], fate: &BatchFate) {
        let items = spans.len() as u64;
        let mut count = self.count();
        match *fate {
            BatchFate::Accepted { rejected } => {
                for scripted in spans {
                    count.accept(scripted);
                }
                // Which of them it refused it does not say.
                count.operations -= rejected;
                count.refused += rejected;
                count.inexact |= rejected > 0;
            }
            BatchFate::Refused => count.refused += items,
            BatchFate::GivenUp => count.unsent += items,
        }
        drop(count);
        let Some(meters) = &self.meters else { return };
        for (index, scripted) in (0_u64..).zip(spans) {
            match *fate {
                BatchFate::Accepted { rejected } if index >= rejected => {
                    meters.exported(scripted.machine);
                }
                BatchFate::Accepted { .. } | BatchFate::Refused => {
                    meters.rejected(scripted.machine)
                }
                BatchFate::GivenUp => {}
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a fault in another thread left behind are counters: still the best there is.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a request.
pub(super) enum BatchFate {
    /// A collector has it, but for so many items.
    Accepted { rejected: u64 },
    /// It was refused for good.
    Refused,
    /// The run was stopped while the collector was away.
    GivenUp,
}

/// A thread's way to the collector.
struct Connection {
    shared: Arc<SenderShared>,
    courier: Courier,
}

impl Connection {
    /// Posts `message` of `items` until a collector has taken or refused it. `spans` are in it.
    fn deliver(&mut self, message: &impl Message, items: u64, spans: u64) -> BatchFate {
        let shared = Arc::clone(&self.shared);
        if shared.given_up.load(Ordering::Relaxed) {
            return BatchFate::GivenUp;
        }
        loop {
            let verdict = self.courier.send_request(message, items);
            *lock(&shared.trouble) = self.courier.trouble().map(str::to_owned);
            match verdict {
                Verdict::Accepted { rejected, message } => {
                    if rejected > 0 {
                        *lock(&shared.refusal) = Some(message);
                    }
                    return BatchFate::Accepted { rejected };
                }
                // A simulation does not ask which of its spans it was.
                Verdict::Refused { reason } | Verdict::Divide { reason } => {
                    *lock(&shared.refusal) = Some(reason);
                    return BatchFate::Refused;
                }
                Verdict::Later { cause, .. } => {
                    if shared.stop.is_asked() {
                        shared.given_up.store(true, Ordering::Relaxed);
                        return BatchFate::GivenUp;
                    }
                    match cause {
                        Cause::Silence => shared.count().repeated += spans,
                        Cause::Busy | Cause::Failing => shared.count().put_off += spans,
                        Cause::Setup | Cause::Withheld => {}
                    }
                    shared.stop.wait(self.courier.wait());
                }
            }
        }
    }

    /// Sends a request and counts what became of it.
    fn send(&mut self, outgoing: &OutgoingRequest) {
        let items = outgoing.scripted.len() as u64;
        let fate = self.deliver(&outgoing.request, items, items);
        self.shared.settle(&outgoing.scripted, &fate);
    }
}

/// Running threads, and the bounded queue that feeds them.
pub(super) struct Senders<T> {
    queue: Sender<T>,
    /// Items that were handed over and have not met their fate.
    waiting: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

/// The senders are gone: a thread of theirs ended badly.
#[derive(Debug)]
pub(super) struct Gone;

/// How long to wait before looking again whether there is room, or whether all is sent.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl<T> Senders<T> {
    /// Hands over an item. Waits while the senders have enough, calling `waiting`. Returns the
    /// item if it was not taken before the run was stopped.
    pub(super) fn hand_over(
        &self,
        mut item: T,
        stop: &Stop,
        waiting: &mut dyn FnMut(),
    ) -> Result<Option<T>, Gone> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        loop {
            match self.queue.send_timeout(item, LOOK_AGAIN) {
                Ok(()) => return Ok(None),
                Err(SendTimeoutError::Disconnected(_)) => return Err(Gone),
                Err(SendTimeoutError::Timeout(back)) if stop.is_asked() => {
                    self.waiting.fetch_sub(1, Ordering::AcqRel);
                    return Ok(Some(back));
                }
                Err(SendTimeoutError::Timeout(back)) => item = back,
            }
            waiting();
        }
    }

    /// Waits until all that was handed over has met its fate, calling `waiting`.
    pub(super) fn settle(&self, waiting: &mut dyn FnMut()) -> Result<(), Gone> {
        while self.waiting.load(Ordering::Acquire) > 0 {
            // With the queue open, only a fault ends a thread.
            if self.threads.iter().any(JoinHandle::is_finished) {
                return Err(Gone);
            }
            waiting();
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Waits until everything is sent. False if a thread ended badly.
    pub(super) fn finish(self) -> bool {
        drop(self.queue);
        self.threads.into_iter().filter_map(|thread| thread.join().err()).count() == 0
    }
}

/// Starts threads that send operations.
pub(super) fn spans(
    shared: &Arc<SenderShared>,
    endpoint: &Uri,
    threads: usize,
) -> Result<Senders<Vec<Finished>>, SenderError> {
    start(shared, endpoint, threads, |connection, finished| {
        let shared = Arc::clone(&connection.shared);
        for outgoing in pack(finished, &shared.fleet, &shared.settings, shared.direct) {
            connection.send(&outgoing);
        }
    })
}

/// Starts the thread that sends agents' metrics. One, because a series wants its points in order.
/// The agents started at `begun`.
pub(super) fn reports(
    shared: &Arc<SenderShared>,
    endpoint: &Uri,
    begun: u64,
) -> Result<Senders<Vec<AgentReport>>, SenderError> {
    start(shared, endpoint, 1, move |connection, reports: Vec<AgentReport>| {
        let SenderShared { fleet, settings, .. } = &*connection.shared;
        let items = reports.len() as u64;
        let request = agent_report::request(&reports, begun, fleet, settings);
        // A part that is refused is not of the fleet's making: its counters go on.
        if let BatchFate::Refused | BatchFate::Accepted { rejected: 1.. } =
            connection.deliver(&request, items, 0)
        {
            connection.shared.reports_refused.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Why there are no senders.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

fn start<T: Send + 'static>(
    shared: &Arc<SenderShared>,
    endpoint: &Uri,
    threads: usize,
    work: impl Fn(&mut Connection, T) + Copy + Send + 'static,
) -> Result<Senders<T>, SenderError> {
    let (queue, items): (Sender<T>, Receiver<T>) = bounded(2 * threads);
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut running = Vec::new();
    for _ in 0..threads {
        let courier = Courier::to(shared.settings.clone(), endpoint.clone());
        let shared = Arc::clone(shared);
        let (items, waiting) = (items.clone(), Arc::clone(&waiting));
        running.push(std::thread::Builder::new().name("sender".to_owned()).spawn(move || {
            let mut connection = Connection { shared, courier };
            for item in items {
                work(&mut connection, item);
                waiting.fetch_sub(1, Ordering::AcqRel);
            }
        })?);
    }
    Ok(Senders { queue, waiting, threads: running })
}
