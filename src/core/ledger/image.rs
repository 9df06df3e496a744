//! Checks a ledger's bytes, which were copied out of a file that may be anything.
//!
//! Nothing here touches a file, and nothing trusts a byte: what comes out is either within the
//! format's limits or marked corrupt. fuzz/ feeds this code with random bytes.

use super::header::Keeper;
use super::layout::{
    Body, Geometry, HEADER_SIZE, Header, MAGIC, NO_SESSION, NUMBER_STRIDE, SLOT_SIZE, SLOT_WORDS,
    StoredSlot, TALLY_WORDS, Tally, VERSION, v1,
};
use super::state::{PHASE_BITS, Phase};
use crate::origin::Origin;
use crate::platform;
use crate::process::Identity;
use crate::trace_context::{IdSource, Parent};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64};

/// More operations than one machine ever has: a larger counter is damaged.
const LARGEST_COUNT: u64 = 1 << 48;

/// Why bytes cannot be read as a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// There are zeros, or nothing at all, in the place of the magic. The host is still making the
    /// file, or it died or the machine lost power while the host made it.
    #[error("its host had not finished making it")]
    Unborn,
    /// The file ends before its header does.
    #[error("it ends within its header")]
    Short,
    /// The magic is another number.
    #[error("it does not begin with a ledger's magic number")]
    Magic,
    /// Sizes or fields that no version of this program writes.
    #[error("sizes or fields in its header are not valid")]
    Header,
    /// A newer mpr-otel made it.
    #[error("it has version {0}, which only a newer mpr-otel reads")]
    Newer(u32),
}

/// A header that was read and checked.
#[derive(Clone, Debug)]
pub struct HeaderImage {
    /// Where the slots are.
    pub geometry: Geometry,
    /// What the spans of this ledger share.
    pub origin: Origin,
    /// Who exports from it.
    pub keeper: Keeper,
    /// The anchor by the machine's monotonic clock, in nanoseconds. In version 1 that clock counted
    /// sleep.
    pub anchor_monotonic: u64,
    /// This host's counters, except `seen`, which is computed from the slots. All zero if a counter
    /// has a value that cannot be right.
    pub counters: Tally,
    /// When its exporter was last alive, in nanoseconds after the anchor.
    pub last_seen: u64,
    /// When a collector last accepted a batch, in nanoseconds since 1970; 0 for never.
    pub last_export_unix_nanos: u64,
    /// Losses already reported on a span.
    pub lost_told: u64,
    /// How often each group of 64 slots was written to. Only counted if the agent exports.
    pub activity: [u64; SLOT_WORDS],
    /// Why its exporter failed last; empty if it did not fail. The text may be anything.
    pub last_error: String,
}

impl HeaderImage {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corruption> {
        if bytes.iter().take(size_of_val(&MAGIC)).all(|byte| *byte == 0) {
            return Err(Corruption::Unborn);
        }
        let header = Header::read(bytes.first_chunk().ok_or(Corruption::Short)?);
        if header.magic.into_inner() != MAGIC {
            return Err(Corruption::Magic);
        }
        if header.version > VERSION {
            return Err(Corruption::Newer(header.version));
        }
        let geometry = match header.version {
            VERSION => Geometry::V2,
            1 => Geometry::V1,
            _ => return Err(Corruption::Header),
        };
        let sizes = [header.header_size, header.slot_size, header.slot_count];
        let Geometry { slot_size, slot_count, .. } = geometry;
        let fits = sizes == [HEADER_SIZE, slot_size, slot_count].map(|size| size as u32);
        let keeper = Keeper::from_byte(header.keeper);
        let executable = header.executable.get(..header.executable_units.into());
        let (true, Some(keeper), Some(executable)) = (fits, keeper, executable) else {
            return Err(Corruption::Header);
        };
        let parent = Parent { trace_id: header.parent_trace_id, span_id: header.parent_span_id };
        let named = parent.trace_id != [0; 16] && parent.span_id != [0; 8];
        let parent = (header.has_parent == 1 && named).then_some(parent);
        let tally =
            |words: [AtomicU64; TALLY_WORDS]| Tally::from_words(words.map(AtomicU64::into_inner));
        // Version 1 has neither a service nor an error; zeros in their places mean the same.
        let service = header.service.get(..header.service_units.into());
        let service = service.filter(|units| !units.is_empty()).map(String::from_utf16_lossy);
        let error = header.last_error.map(AtomicU8::into_inner);
        let error = error.get(..header.last_error_bytes.into_inner().into()).unwrap_or_default();
        Ok(Self {
            geometry,
            origin: Origin {
                identity: Identity {
                    pid: header.pid,
                    executable: String::from_utf16_lossy(executable).into(),
                    session_id: Some(header.session_id).filter(|session| *session != NO_SESSION),
                    service: service.map(Arc::from),
                },
                boot_id: header.boot_id,
                parent,
                ids: IdSource::new(header.id_seed, parent),
                anchor_unix_nanos: header.anchor_unix_nanos,
                recovered: false,
            },
            keeper,
            anchor_monotonic: header.anchor_monotonic,
            counters: plausible(Tally { seen: 0, ..tally(header.counters) }),
            last_seen: header.last_seen.into_inner(),
            last_export_unix_nanos: header.last_export_unix_nanos.into_inner(),
            lost_told: header.lost_told.into_inner(),
            activity: header.activity.map(|activity| activity.writes.into_inner()),
            last_error: String::from_utf8_lossy(error).into_owned(),
        })
    }

    /// The time now, in nanoseconds after its anchor, by its clock.
    pub fn now(&self) -> u64 {
        let now = match self.geometry.version {
            1 => platform::awake_nanos().saturating_add(platform::asleep_nanos()),
            _ => platform::awake_nanos(),
        };
        now.saturating_sub(self.anchor_monotonic)
    }

    /// Reads one of its slots. `None` if `bytes` are too few.
    pub fn slot(&self, bytes: &[u8]) -> Option<SlotImage> {
        if self.geometry.version != 1 {
            return bytes.first_chunk().map(SlotImage::parse);
        }
        let slot = v1::StoredSlot::read(bytes.first_chunk()?);
        let Origin { anchor_unix_nanos, identity, .. } = &self.origin;
        let session = identity.session_id.unwrap_or(NO_SESSION);
        Some(SlotImage::of(slot.state, slot.body(*anchor_unix_nanos, session)))
    }

    /// The tally of this host alone. `recorded` is how many operations its slots have had. A
    /// counter that cannot be right counts as 0.
    pub fn tally(&self, recorded: u64) -> Tally {
        let seen = recorded.saturating_add(self.counters.unrecorded());
        plausible(Tally { seen, ..self.counters })
    }
}

/// The tally, or an empty one if no sequence of operations could lead to it.
fn plausible(tally: Tally) -> Tally {
    let sane = tally.words().iter().all(|word| *word <= LARGEST_COUNT);
    if sane { tally } else { Tally::default() }
}

/// A slot that was read and checked.
#[derive(Clone, Copy, Debug)]
pub struct SlotImage {
    /// `None` if the state word is not one that this program writes.
    pub phase: Option<Phase>,
    /// Operations that the slot has had.
    pub generation: u64,
    /// What is recorded. Only the fields that the phase promises are complete.
    pub body: Body,
}

impl SlotImage {
    /// Reads a slot of this version.
    pub fn parse(bytes: &[u8; SLOT_SIZE]) -> Self {
        let StoredSlot { state, body } = StoredSlot::read(bytes);
        Self::of(state, body)
    }

    fn of(state: u64, body: Body) -> Self {
        let generation = state >> PHASE_BITS;
        let phase = Phase::from_byte(state as u8)
            // All zeros is a slot that was never used. Every other slot has had an operation.
            .filter(|phase| {
                (generation > 0 || *phase == Phase::Free) && generation <= LARGEST_COUNT
            });
        Self { phase, generation, body }
    }

    /// Whether a finished body is what POST wrote. An unfinished operation has no checksum and counts as intact.
    pub fn is_intact(&self) -> bool {
        self.phase != Some(Phase::Done) || self.body.checksum == self.body.sum()
    }

    /// Operations that the slot has had. An invalid state word does not prove that the slot was
    /// never used, so it counts as at least one operation.
    pub fn had(&self) -> u64 {
        match self.phase {
            None if self.generation > LARGEST_COUNT => 1,
            None => self.generation.max(1),
            Some(_) => self.generation,
        }
    }

    /// The operation's number in its ledger.
    pub fn number(&self, slot: usize) -> u64 {
        self.generation.wrapping_mul(NUMBER_STRIDE).wrapping_add(slot as u64)
    }
}
