//! Starts the library in its host, on the library's own thread, at the first notification.
//!
//! ```text
//!              begin             publish
//!   no host ───────────> starting ─────────> the host runs
//!      ^                    │ failed, or        │ stopped
//!      └────────────────────┴───────────────────┘
//!                       switched off
//! ```
//!
//! The thread that maps a drive only creates that thread. It touches no file and no registry and
//! allocates nothing, and the new thread runs under the process' own token. Until the host runs,
//! operations are recorded in the [early table](EarlyTable). If a start failed, or the library was
//! switched off, a later notification tries again.

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

/// How long a POST waits for a start at most, counted from the beginning of the start.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long after a failed start the next one is tried: after the first failure, the second, and
/// every further one.
const RETRIES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

const WAITING: u32 = 0;
const STARTING: u32 = 1;

/// Whether the library is starting: [`WAITING`] or [`STARTING`].
static STATE: AtomicU32 = AtomicU32::new(WAITING);
/// The running host.
static HOST: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());
/// A stopped host whose file has to be closed.
static STOPPED: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());
/// When the latest start began, by the monotonic clock, in nanoseconds.
static BEGAN_AT: AtomicU64 = AtomicU64::new(0);
/// When a start may begin again, by the monotonic clock, in nanoseconds.
static AGAIN_AT: AtomicU64 = AtomicU64::new(0);
/// How many starts have failed in a row.
static FAILED: AtomicU32 = AtomicU32::new(0);
/// Whether the latest start found that this process must not be recorded.
static OFF: AtomicBool = AtomicBool::new(false);
/// The id of the library's own thread, which starts and exports; 0 for none.
static OWN_THREAD: AtomicU32 = AtomicU32::new(0);
/// The operations that begin before there is a ledger.
pub static EARLY: EarlyTable = EarlyTable::new();
/// The counts from before there is a ledger.
static UNCOUNTED: Uncounted = Uncounted {
    unavailable: AtomicU64::new(0),
    unmatched: AtomicU64::new(0),
    malformed: AtomicU64::new(0),
};

/// What the first ledger will count.
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
    /// Nowhere: this process must not be recorded.
    Nowhere,
}

/// The running host. `None` if there is none or it has to stop.
pub fn host() -> Option<&'static Host> {
    let host = HOST.load(Ordering::SeqCst);
    // SAFETY: the published pointer came from `Box::leak` and is never freed or written.
    let host: &'static Host = unsafe { host.as_ref() }?;
    if host.is_to_stop() {
        stop(host);
        return None;
    }
    Some(host)
}

/// Ends a running host. From now on notifications return at once, and the host's file is closed. A
/// later notification may start the library again.
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
        // Closing the file can take long. If there is no exporter, another thread does it. If the
        // system creates no thread, the file stays open.
        None => {
            STOPPED.store(pointer, Ordering::Release);
            let _ = platform::start_thread(close_stopped);
        }
    }
}

fn close_stopped() {
    let stopped = STOPPED.swap(std::ptr::null_mut(), Ordering::Acquire);
    // SAFETY: the published pointer came from `Box::leak` and is never freed or written.
    if let Some(host) = unsafe { stopped.as_ref() } {
        host.ledger.close();
    }
}

/// Where PRE records its operation. Starts the library if needed, and waits for nothing.
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

/// Creates the thread that starts the library, unless a start is under way or it is too soon.
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
        // Another start ended after this thread saw no host.
        STATE.store(WAITING, order);
        return;
    }
    BEGAN_AT.store(now, Ordering::Relaxed);
    // A thread must never wake up in code that was unloaded.
    platform::pin_module();
    if platform::start_thread(run).is_err() {
        give_up();
    }
}

/// Moves an operation that has just ended from the early table into the ledger. If there is no
/// ledger yet, the thread that makes it moves the operation: after it publishes the ledger, it
/// looks through the table.
pub fn take_in(index: usize) {
    // Pairs with the fence in `publish`: either this thread sees the ledger, or the other one sees
    // that the operation has ended.
    fence(Ordering::SeqCst);
    if let Some(host) = host() {
        if let Some(body) = EARLY.take_finished(index) {
            host.record(body);
        }
    } else if OFF.load(Ordering::Relaxed) {
        // The operation must not be recorded.
        EARLY.take_finished(index);
    }
}

/// Counts a notification that found no ledger. If there is a ledger by now, the count goes there.
pub fn count(counter: fn(&Uncounted) -> &AtomicU64) {
    counter(&UNCOUNTED).fetch_add(1, Ordering::Relaxed);
    // Pairs with the fence in `publish`, as in `take_in`.
    fence(Ordering::SeqCst);
    if let Some(host) = host() {
        UNCOUNTED.carry_into(host);
    }
}

/// Waits until the start that is under way has ended, but not longer than [`PATIENCE`] after its
/// beginning.
pub fn wait() {
    if STATE.load(Ordering::SeqCst) == STARTING {
        let began = BEGAN_AT.load(Ordering::Relaxed);
        let waited = Duration::from_nanos(platform::awake_nanos().saturating_sub(began));
        platform::wait_while(&STATE, STARTING, PATIENCE.saturating_sub(waited));
    }
}

/// Ends a failed start. A later notification tries again.
pub fn give_up() {
    OFF.store(false, Ordering::Relaxed);
    let failed = FAILED.fetch_add(1, Ordering::Relaxed) as usize;
    end_start(RETRIES[failed.min(RETRIES.len() - 1)]);
}

/// Whether the calling thread is the library's own.
pub fn is_own_thread() -> bool {
    OWN_THREAD.load(Ordering::Relaxed) == platform::thread_id()
}

/// Lets a notification start the library again after `pause`.
fn end_start(pause: Duration) {
    set_again_at(pause);
    // The exporter's thread ends here, too, when no start is under way.
    if STATE.compare_exchange(STARTING, WAITING, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
        platform::wake_all(&STATE);
    }
}

fn set_again_at(pause: Duration) {
    let again_at = platform::awake_nanos().saturating_add(pause.as_nanos() as u64);
    AGAIN_AT.store(again_at, Ordering::Relaxed);
}

/// The library's own thread: starts the library and then exports, unless the agent exports.
fn run() {
    let this = platform::thread_id();
    OWN_THREAD.store(this, Ordering::Relaxed);
    silence_panics();
    if catch_unwind(work).is_err() {
        give_up();
    }
    // A later start's thread may have set it meanwhile.
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

/// Makes `host` the running host, and moves earlier operations into its ledger.
fn publish(host: &'static Host) {
    OFF.store(false, Ordering::Relaxed);
    FAILED.store(0, Ordering::Relaxed);
    // From here on a PRE records in the ledger. A PRE that looked just before may still use the
    // early table; its POST then sees the host and moves the operation into the ledger itself.
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

/// Keeps a panic's message from the host's stderr. The panic itself is caught before it crosses
/// into C. The hook belongs to this library's own copy of the standard library.
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
    /// Makes everything that a host needs. `None` if this process must not be recorded. An error if
    /// operations cannot be recorded anywhere.
    fn new() -> Result<Option<Self>, ()> {
        let system = System::host();
        let settings = Settings::resolve(&system);
        let identity = Identity::current();
        if settings.disabled || settings.excludes(&identity.executable) {
            return Ok(None);
        }
        let folder = LedgerFolder::new(&settings.ledger_dir);
        // A page that cannot be read counts as missing.
        let control = ControlPage::open(&folder.control_page()).ok().flatten();
        if control.as_ref().is_some_and(ControlPage::stop_is_set) {
            return Ok(None);
        }
        let mut random = [0_u8; 24];
        // Repeated ids would mix traces up, so without random bytes the start fails.
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
            // The agent can read only files, so a ledger in this process' memory would never be
            // exported.
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

/// Makes the ledger's file if an agent empties the folder, or if the folder has room for one more.
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
