//! A ledger's bytes, copied out of a file that may be anything, and judged.
//!
//! Nothing here touches a file, and nothing trusts a byte: what comes out is either within the
//! format's limits or named corrupt. This is what fuzz/ feeds with random bytes.

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

/// More operations than one machine ever sees: a counter above it is damage.
const LARGEST_COUNT: u64 = 1 << 48;

/// Why bytes are not a ledger that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// There are zeros, or nothing at all, where the magic is to be: its host is making it, or died or
    /// lost power when it did.
    #[error("its host had not finished making it")]
    Unborn,
    /// The file ends before its header does.
    #[error("it ends within its header")]
    Short,
    /// The magic number is another.
    #[error("it does not begin as a ledger does")]
    Magic,
    /// Sizes or fields that no version of this program writes.
    #[error("its header does not add up")]
    Header,
    /// A newer mpr-otel made it.
    #[error("it is of version {0}, and a newer mpr-otel reads it")]
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
    /// The anchor by the monotonic clock, which counted sleep in version 1.
    pub anchor_monotonic: u64,
    /// This host's counters, except `seen`, which is computed from the slots. All zero if they are
    /// damaged beyond belief.
    pub counters: Tally,
    /// When its exporter was last alive, in nanoseconds after the anchor.
    pub last_seen: u64,
    /// When a collector last accepted a batch, in nanoseconds since 1970; 0 for never.
    pub last_export_unix_nanos: u64,
    /// Losses already reported on a span.
    pub lost_told: u64,
    /// How often each 64 slots were written to, where the agent exports.
    pub activity: [u64; SLOT_WORDS],
    /// Why its exporter failed last; empty if it did not. Of any content.
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
        // Version 1 has neither, and its zeros say so.
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

    /// Now, in nanoseconds after its anchor, by its clock.
    pub fn now(&self) -> u64 {
        let now = match self.geometry.version {
            1 => platform::awake_nanos().saturating_add(platform::asleep_nanos()),
            _ => platform::awake_nanos(),
        };
        now.saturating_sub(self.anchor_monotonic)
    }

    /// Reads one of its slots; `None` if these are too few bytes.
    pub fn slot(&self, bytes: &[u8]) -> Option<SlotImage> {
        if self.geometry.version != 1 {
            return bytes.first_chunk().map(SlotImage::parse);
        }
        let slot = v1::StoredSlot::read(bytes.first_chunk()?);
        let Origin { anchor_unix_nanos, identity, .. } = &self.origin;
        let session = identity.session_id.unwrap_or(NO_SESSION);
        Some(SlotImage::of(slot.state, slot.body(*anchor_unix_nanos, session)))
    }

    /// The tally of this host alone, for slots that have had `recorded` operations; what is
    /// damaged beyond belief counts as nothing.
    pub fn tally(&self, recorded: u64) -> Tally {
        let seen = recorded.saturating_add(self.counters.unrecorded());
        plausible(Tally { seen, ..self.counters })
    }
}

/// The tally, or an empty one if no history could have led to it.
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
    /// What is recorded. Only what the phase promises is whole.
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
            // Zeros are a slot that was never used; otherwise it has had an operation.
            .filter(|phase| {
                (generation > 0 || *phase == Phase::Free) && generation <= LARGEST_COUNT
            });
        Self { phase, generation, body }
    }

    /// Whether what POST finished is what it wrote; of what POST did not finish nobody knows.
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
