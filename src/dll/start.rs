//! Starts the library in its host: at the first notification, once for the life of the process.
//!
//! There is no lock to start under. Threads that arrive before the start is done each make a
//! runtime; one of them is published, the others are thrown away. So no thread waits for another,
//! and a thread that is killed half-way leaves nothing behind that others wait for.

#![allow(unsafe_code)] // A pointer to what lives as long as the process.

use crate::channel::Channel;
use crate::exporter;
use crate::host::Host;
use mpr_otel_core::adoption::{Adopter, LedgerFolder, Whose};
use mpr_otel_core::clock::Clock;
use mpr_otel_core::ledger::{Keeper, Ledger, Seed};
use mpr_otel_core::origin::Origin;
use mpr_otel_core::platform;
use mpr_otel_core::process::Identity;
use mpr_otel_core::settings::{DeliveryMode, Settings, System};
use mpr_otel_core::trace_context::{IdSource, Parent};
use std::sync::atomic::{AtomicPtr, Ordering};

/// What the first notification decided.
enum Runtime {
    /// Switched off, excluded, or without memory for a ledger.
    Off,
    On(Box<Host>),
}

static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());

/// The running host, started if need be; `None` if this process is to be left alone.
pub fn host() -> Option<&'static Host> {
    let published = RUNTIME.load(Ordering::Acquire);
    // SAFETY: what is published came from `Box::leak` in `start` and is never freed or written.
    match unsafe { published.as_ref() } {
        Some(Runtime::On(host)) => Some(host),
        Some(Runtime::Off) => None,
        None => start(),
    }
}

#[cold]
fn start() -> Option<&'static Host> {
    let ours = Box::into_raw(Box::new(Runtime::new()));
    let null = std::ptr::null_mut();
    match RUNTIME.compare_exchange(null, ours, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            // SAFETY: `ours` came from a box that is published now and so never freed.
            let Runtime::On(host) = (unsafe { &*ours }) else {
                return None;
            };
            platform::pin_module();
            silence_panics();
            if let Some(channel) = &host.channel {
                exporter::spawn(host, channel);
            }
            Some(host)
        }
        Err(theirs) => {
            // SAFETY: `ours` was not published, so this thread is its only owner.
            if let Runtime::On(host) = *unsafe { Box::from_raw(ours) } {
                host.ledger.discard();
            }
            // SAFETY: as in `host`: another thread published it for ever.
            match unsafe { &*theirs } {
                Runtime::On(host) => Some(host),
                Runtime::Off => None,
            }
        }
    }
}

/// Gives up the oldest ledgers if there are too many. The exporter does so as well; but there is
/// none where the agent exports, and that of a host that ends at once does not come to it.
fn make_room(settings: &Settings, ledger: &Ledger) {
    let folder = LedgerFolder::new(&settings.ledger_dir);
    let bounds = settings.ledger_bounds();
    if folder.is_crowded(bounds) {
        let mut adopter = Adopter::new(folder, Whose::Mine, bounds, settings.unfinished_after);
        // A folder that cannot be listed is for the exporter to tell of.
        let _ = adopter.prune(ledger.header(), false);
    }
}

/// A panic of ours is caught at the FFI edge; its message must not reach the host's stderr. The
/// hook is that of this library's own copy of the standard library.
fn silence_panics() {
    #[cfg(not(test))]
    std::panic::set_hook(Box::new(|_| {}));
}

impl Runtime {
    fn new() -> Self {
        let settings = Settings::resolve(&System::open());
        let identity = Identity::current();
        if settings.disabled || settings.excludes(&identity.executable) {
            return Self::Off;
        }
        let mut random = [0_u8; 24];
        if getrandom::fill(&mut random).is_err() {
            // Ids that repeat would mix up traces: better none at all.
            return Self::Off;
        }
        let id_seed = std::array::from_fn(|word| {
            u64::from_le_bytes(std::array::from_fn(|byte| random[word * 8 + byte]))
        });
        let parent =
            std::env::var("TRACEPARENT").ok().and_then(|value| Parent::parse(value.trim()));
        let clock = Clock::start();
        let keeper = match settings.delivery {
            DeliveryMode::InProcess => Keeper::Host,
            DeliveryMode::Agent => Keeper::Agent,
        };
        let seed = Seed {
            identity: &identity,
            parent: parent.as_ref(),
            clock,
            id_seed,
            boot_id: 0,
            keeper,
        };
        let (ledger, unprotected) = match Ledger::create(&settings.ledger_dir, seed) {
            Ok(ledger) => (ledger, None),
            // Memory of ours is nothing that the agent could export from.
            Err(_) if keeper == Keeper::Agent => return Self::Off,
            Err(error) => match Ledger::anonymous(seed) {
                Ok(ledger) => (ledger, Some(error)),
                Err(_) => return Self::Off,
            },
        };
        if unprotected.is_none() {
            make_room(&settings, &ledger);
        }
        let channel = match settings.delivery {
            DeliveryMode::InProcess => Some(Channel::default()),
            DeliveryMode::Agent => None,
        };
        Self::On(Box::new(Host {
            ledger,
            unprotected,
            channel,
            clock,
            origin: Origin {
                anchor_unix_nanos: clock.anchor_unix_nanos(),
                boot_id: 0,
                ids: IdSource::new(id_seed, parent),
                identity,
                parent,
                recovered: false,
            },
            settings,
        }))
    }
}
