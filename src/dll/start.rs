//! Starts the library in its host: on a thread of its own, at the first notification.
//!
//! ```text
//!              begin             publish
//!   no host ───────────> starting ─────────> the host runs
//!      ^                    │ failed, or        │ stopped
//!      └────────────────────┴───────────────────┘
//!                       switched off
//! ```
//!
//! The thread that maps a drive does nothing but create that thread: no file, no registry, no
//! allocation, under no other token than the process' own. Until the host runs, operations are
//! recorded in the [early table](EarlyTable). A start that failed, or that found the library
//! switched off, is tried again by a later notification.

#![allow(unsafe_code)] // A pointer to what lives as long as the process.

use crate::channel::Channel;
use crate::exporter;
use crate::host::Host;
use mpr_otel_core::clock::Clock;
use mpr_otel_core::control_page::ControlPage;
use mpr_otel_core::folder::LedgerFolder;
use mpr_otel_core::ledger::early_table::{EARLY_SLOTS, EarlyTable};
use mpr_otel_core::ledger::{Keeper, Ledger, LedgerError, Loss, NEWEST_VERSION, Seed};
use mpr_otel_core::origin::Origin;
use mpr_otel_core::platform;
use mpr_otel_core::process::Identity;
use mpr_otel_core::settings::{DeliveryMode, Lookup, Settings, System};
use mpr_otel_core::trace_context::{IdSource, Parent};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// How long a POST waits at most for a start that is under way, counted from its beginning.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long after a start that failed the next one is tried: the first, the second, every other.
const RETRIES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

const WAITING: u32 = 0;
const STARTING: u32 = 1;

/// Whether a start is under way: [`WAITING`] or [`STARTING`].
static STATE: AtomicU32 = AtomicU32::new(WAITING);
/// The running host.
static HOST: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());
/// A stopped host whose file is to be closed.
static STOPPED: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());
/// When the latest start began, by the monotonic clock.
static BEGAN_AT: AtomicU64 = AtomicU64::new(0);
/// When a start may begin again, by the monotonic clock.
static AGAIN_AT: AtomicU64 = AtomicU64::new(0);
/// Starts that failed one after the other.
static FAILED: AtomicU32 = AtomicU32::new(0);
/// The latest start found that this process is to be left alone.
static OFF: AtomicBool = AtomicBool::new(false);
/// The thread that starts, or exports.
static OWN_THREAD: AtomicU32 = AtomicU32::new(0);
/// What begins before there is a ledger.
pub static EARLY: EarlyTable = EarlyTable::new();
/// Counted before there is a ledger.
static UNCOUNTED: Uncounted = Uncounted {
    unavailable: AtomicU64::new(0),
    unmatched: AtomicU64::new(0),
    malformed: AtomicU64::new(0),
};

/// What the first ledger that is made will count.
#[derive(Debug)]
pub struct Uncounted {
    /// Operations that found no ledger and no room in the early table.
    pub unavailable: AtomicU64,
    /// POST calls whose handle named no operation.
    pub unmatched: AtomicU64,
    /// Calls that broke the contract.
    pub malformed: AtomicU64,
}

/// Where a notification is recorded.
#[derive(Debug)]
pub enum Place {
    /// In the host's ledger.
    Host(&'static Host),
    /// In the early table.
    Early,
    /// Nowhere: this process is to be left alone.
    Nowhere,
}

/// The running host, if there is one that is not to stop.
pub fn host() -> Option<&'static Host> {
    let host = HOST.load(Ordering::SeqCst);
    // SAFETY: what is published came from `Box::leak` and is never freed or written.
    let host: &'static Host = unsafe { host.as_ref() }?;
    if host.is_to_stop() {
        stop(host);
        return None;
    }
    Some(host)
}

/// Ends a running host: from now on notifications return at once, and its file is closed. A later
/// notification finds out whether it may start again.
#[cold]
pub fn stop(host: &'static Host) {
    let pointer = std::ptr::from_ref(host).cast_mut();
    let null = std::ptr::null_mut();
    if HOST.compare_exchange(pointer, null, Ordering::SeqCst, Ordering::Relaxed).is_err() {
        return; // Another thread was faster.
    }
    OFF.store(true, Ordering::Relaxed);
    set_again_at(RETRIES[RETRIES.len() - 1]);
    host.stopped.store(true, Ordering::Release);
    match &host.channel {
        Some(channel) => channel.wake_surely(),
        // Without an exporter another thread closes the file, because that takes as long as the
        // system likes. If there is none to be had, the file stays open.
        None => {
            STOPPED.store(pointer, Ordering::Release);
            let _ = platform::start_thread(close_stopped);
        }
    }
}

fn close_stopped() {
    let stopped = STOPPED.swap(std::ptr::null_mut(), Ordering::Acquire);
    // SAFETY: what was published came from `Box::leak` and is never freed or written.
    if let Some(host) = unsafe { stopped.as_ref() } {
        host.ledger.close();
    }
}

/// Where PRE records its operation. Starts the library if need be, and waits for nothing.
pub fn place() -> Place {
    match host() {
        Some(host) => Place::Host(host),
        None => {
            let off = OFF.load(Ordering::Relaxed);
            begin();
            if off { Place::Nowhere } else { Place::Early }
        }
    }
}

/// Creates the thread that starts the library, unless one does so already or it is too soon.
#[cold]
fn begin() {
    let now = platform::awake_nanos();
    if STATE.load(Ordering::Relaxed) != WAITING || now < AGAIN_AT.load(Ordering::Relaxed) {
        return;
    }
    let order = Ordering::SeqCst;
    if STATE.compare_exchange(WAITING, STARTING, order, Ordering::Relaxed).is_err() {
        return;
    }
    if !HOST.load(order).is_null() {
        // A start ended since this thread saw no host.
        STATE.store(WAITING, order);
        return;
    }
    BEGAN_AT.store(now, Ordering::Relaxed);
    // A thread must never wake up in code that is gone.
    platform::pin_module();
    if platform::start_thread(run).is_err() {
        give_up();
    }
}

/// Puts an operation into the ledger that has just ended in the early table. If there is no ledger
/// yet, the thread that makes it does that: it publishes the ledger and looks at the table then.
pub fn take_in(index: usize) {
    // Pairs with the fence in `publish`: this thread sees the ledger, or that one sees that the
    // operation has ended.
    fence(Ordering::SeqCst);
    if let Some(host) = host() {
        if let Some(body) = EARLY.take_finished(index) {
            host.record(body);
        }
    } else if OFF.load(Ordering::Relaxed) {
        // Nobody is to see it.
        EARLY.take_finished(index);
    }
}

/// Counts what came when there was no ledger. If there is one by now, it is counted there.
pub fn count(counter: fn(&Uncounted) -> &AtomicU64) {
    counter(&UNCOUNTED).fetch_add(1, Ordering::Relaxed);
    // Pairs with the fence in `publish`, as in `take_in`.
    fence(Ordering::SeqCst);
    if let Some(host) = host() {
        UNCOUNTED.carry_into(host);
    }
}

/// Waits until a start that is under way has ended, and not longer than [`PATIENCE`] after it
/// began.
pub fn wait() {
    if STATE.load(Ordering::SeqCst) == STARTING {
        let began = BEGAN_AT.load(Ordering::Relaxed);
        let waited = Duration::from_nanos(platform::awake_nanos().saturating_sub(began));
        platform::wait_while(&STATE, STARTING, PATIENCE.saturating_sub(waited));
    }
}

/// Ends a start that failed: a later notification tries again.
pub fn give_up() {
    OFF.store(false, Ordering::Relaxed);
    let failed = FAILED.fetch_add(1, Ordering::Relaxed) as usize;
    end_start(RETRIES[failed.min(RETRIES.len() - 1)]);
}

/// Whether the calling thread is the library's own.
pub fn is_own_thread() -> bool {
    OWN_THREAD.load(Ordering::Relaxed) == platform::thread_id()
}

/// Lets a notification start the library again when `pause` is over.
fn end_start(pause: Duration) {
    set_again_at(pause);
    // The exporter's thread comes here as well, when no start is under way.
    if STATE.compare_exchange(STARTING, WAITING, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
        platform::wake_all(&STATE);
    }
}

fn set_again_at(pause: Duration) {
    let again_at = platform::awake_nanos().saturating_add(pause.as_nanos() as u64);
    AGAIN_AT.store(again_at, Ordering::Relaxed);
}

/// The library's own thread: starts it, and then exports, if that is not left to the agent.
fn run() {
    let this = platform::thread_id();
    OWN_THREAD.store(this, Ordering::Relaxed);
    silence_panics();
    if catch_unwind(work).is_err() {
        give_up();
    }
    // The thread of a later start may have taken its place.
    let _ = OWN_THREAD.compare_exchange(this, 0, Ordering::Relaxed, Ordering::Relaxed);
}

fn work() {
    match Host::new() {
        Ok(Some(host)) => {
            let host: &'static Host = Box::leak(Box::new(host));
            if let Some(channel) = &host.channel {
                channel.register_waiter();
            }
            publish(host);
            if let Some(channel) = &host.channel {
                exporter::run(host, channel);
                stop(host);
                host.ledger.close();
            }
        }
        Ok(None) => {
            OFF.store(true, Ordering::Relaxed);
            for index in 0..EARLY_SLOTS {
                EARLY.take_finished(index);
            }
            end_start(RETRIES[RETRIES.len() - 1]);
        }
        Err(()) => give_up(),
    }
}

/// Makes `host` the running one, and puts into its ledger what began before.
fn publish(host: &'static Host) {
    OFF.store(false, Ordering::Relaxed);
    FAILED.store(0, Ordering::Relaxed);
    // From here on a PRE records in the ledger. One that has just looked may still come to the
    // early table: its POST then sees the host and puts the operation into the ledger itself.
    HOST.store(std::ptr::from_ref(host).cast_mut(), Ordering::SeqCst);
    fence(Ordering::SeqCst);
    UNCOUNTED.carry_into(host);
    for index in 0..EARLY_SLOTS {
        EARLY.move_open(index, |body| host.begin(body));
        take_in(index);
    }
    STATE.store(WAITING, Ordering::SeqCst);
    platform::wake_all(&STATE);
}

/// A panic is caught at the FFI edge; its message must not reach the host's stderr. The
/// hook is that of this library's own copy of the standard library.
fn silence_panics() {
    #[cfg(not(test))]
    std::panic::set_hook(Box::new(|_| {}));
}

impl Uncounted {
    fn carry_into(&self, host: &Host) {
        let header = host.ledger.header();
        let unavailable = self.unavailable.swap(0, Ordering::Relaxed);
        header.count_lost(Loss::LedgerUnavailable, unavailable);
        for _ in 0..self.unmatched.swap(0, Ordering::Relaxed) {
            header.count_unmatched();
        }
        for _ in 0..self.malformed.swap(0, Ordering::Relaxed) {
            header.count_malformed();
        }
    }
}

impl Host {
    /// Everything that a host needs. `None` if this process is to be left alone; an error if there
    /// is nowhere to record.
    fn new() -> Result<Option<Self>, ()> {
        let system = System::host();
        let settings = Settings::resolve(&system);
        let identity = Identity::current();
        if settings.disabled || settings.excludes(&identity.executable) {
            return Ok(None);
        }
        let folder = LedgerFolder::new(&settings.ledger_dir);
        // A page that cannot be read counts as none.
        let control = ControlPage::open(&folder.control_page()).ok().flatten();
        if control.as_ref().is_some_and(ControlPage::stop_is_set) {
            return Ok(None);
        }
        let mut random = [0_u8; 24];
        // Ids that repeat would mix up traces: better none at all.
        getrandom::fill(&mut random).map_err(|_| ())?;
        let id_seed = std::array::from_fn(|word| {
            u64::from_le_bytes(std::array::from_fn(|byte| random[word * 8 + byte]))
        });
        let parent =
            system.environment("TRACEPARENT").and_then(|value| Parent::parse(value.trim()));
        let clock = Clock::start();
        let keeper = match settings.delivery {
            DeliveryMode::InProcess => Keeper::Host,
            DeliveryMode::Agent => Keeper::Agent,
        };
        let boot_id = platform::boot_id();
        let seed =
            Seed { identity: &identity, parent: parent.as_ref(), clock, id_seed, boot_id, keeper };
        let ledger = match create(&folder, control.as_ref(), seed) {
            Ok(ledger) => ledger,
            // The agent can only read files, so a ledger in this process' memory would never be exported.
            Err(_) if keeper == Keeper::Agent => return Err(()),
            Err(_) => Ledger::anonymous(seed).map_err(|_| ())?,
        };
        let channel = (keeper == Keeper::Host).then(Channel::default);
        Ok(Some(Self {
            ledger,
            channel,
            clock,
            origin: Origin {
                anchor_unix_nanos: clock.anchor_unix_nanos(),
                boot_id,
                ids: IdSource::new(id_seed, parent),
                identity,
                parent,
                recovered: false,
            },
            settings,
            control,
            stopped: AtomicBool::new(false),
        }))
    }
}

/// Makes the ledger's file, if an agent empties the folder or there is room for one more.
fn create(
    folder: &LedgerFolder,
    control: Option<&ControlPage>,
    seed: Seed<'_>,
) -> Result<Ledger, LedgerError> {
    let path = || folder.path().into();
    if control.is_some_and(|page| !page.reads_ledger_version(NEWEST_VERSION)) {
        return Err(LedgerError::AgentTooOld { path: path() });
    }
    if !control.is_some_and(ControlPage::agent_lives) && folder.is_full() {
        return Err(LedgerError::Full { path: path() });
    }
    Ledger::create(folder.path(), seed)
}
