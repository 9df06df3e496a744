//! What notifications and the exporter share in one process.

use crate::channel::{Channel, Signal};
use mpr_otel_core::clock::Clock;
use mpr_otel_core::control_page::ControlPage;
use mpr_otel_core::ledger::{Body, Handle, Ledger, Loss};
use mpr_otel_core::origin::Origin;
use mpr_otel_core::settings::Settings;
use std::sync::atomic::AtomicBool;

/// The library in its host, when it has a ledger.
#[derive(Debug)]
pub struct Host {
    pub ledger: Ledger,
    /// The channel to the exporter. `None` if the agent exports.
    pub channel: Option<Channel>,
    pub clock: Clock,
    /// What all spans of this host have in common.
    pub origin: Origin,
    /// The settings as they were at start-up.
    pub settings: Settings,
    /// The page through which administrators and the agent reach this host. `None` if there was no
    /// page at start-up.
    pub control: Option<ControlPage>,
    /// The host has stopped: it records nothing more.
    pub stopped: AtomicBool,
}

impl Host {
    /// Whether the host has to stop.
    pub fn is_to_stop(&self) -> bool {
        self.control.as_ref().is_some_and(ControlPage::stop_is_set)
    }

    /// Records an operation that began before there was a ledger, and returns its handle. `None` if
    /// there is no room; that is counted.
    pub fn begin(&self, body: Body) -> Option<Handle> {
        let (slot, mut claim) = self.ledger.claim(body.thread_id)?;
        let started = body.started;
        *claim = body;
        let (handle, generation) = self.ledger.publish(slot, claim);
        self.send(Signal::Before { slot, generation, started });
        Some(handle)
    }

    /// Records an operation that began and ended before there was a ledger.
    pub fn record(&self, body: Body) {
        let ended = body.ended;
        if let Some(handle) = self.begin(body)
            && let Some((slot, completion)) = self.ledger.complete(handle.to_context())
        {
            self.ledger.finish(slot, completion);
            self.send(Signal::After { slot, ended });
        }
    }

    /// Sends the exporter a signal, if there is an exporter.
    pub fn send(&self, signal: Signal) {
        if let Some(channel) = &self.channel
            && !channel.send(signal)
        {
            // The channel has room for the signals of all slots, so this cannot happen. If it did,
            // the operation would wait in the ledger for the agent.
            self.ledger.header().count_lost(Loss::ChannelFull, 1);
        }
    }
}
