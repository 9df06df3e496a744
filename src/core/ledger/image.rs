//! A ledger's bytes, copied out of a file that may be anything, and judged.
//!
//! Nothing here touches a file, and nothing trusts a byte: what comes out is either within the
//! format's limits or named corrupt. This is what fuzz/ feeds with chance.

use super::header::{EXECUTABLE_UNITS, Keeper, MAGIC, NO_SESSION, TALLY_WORDS, VERSION, offset};
use super::state::{PHASE_BITS, Phase};
use super::{Body, HEADER_SIZE, Loss, SLOT_COUNT, SLOT_SIZE, Tally};
use crate::origin::Origin;
use crate::process::Identity;
use crate::trace_context::{IdSource, Parent};

/// More operations than one machine ever sees: a counter above it is damage.
const LARGEST_COUNT: u64 = 1 << 48;

/// Why bytes are not a ledger that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The file ends before its header does.
    #[error("it ends within its header")]
    Short,
    /// The magic number is another.
    #[error("it does not begin as a ledger does")]
    Magic,
    /// Sizes or fields that no program of ours writes.
    #[error("its header does not add up")]
    Header,
    /// A newer mpr-otel made it.
    #[error("it is of version {0}, and a newer mpr-otel reads it")]
    Newer(u32),
}

/// A header that was read and checked.
#[derive(Clone, Debug)]
pub struct HeaderImage {
    /// What the spans of this ledger share.
    pub origin: Origin,
    /// Who exports from it.
    pub keeper: Keeper,
    /// The anchor by the monotonic clock.
    pub anchor_monotonic: u64,
    /// The counters of this host, but for `seen`, which the slots tell. None, if they are damaged
    /// beyond belief.
    pub counters: Tally,
    /// The counters of ledgers that its exporter removed.
    pub inherited: Tally,
    /// When its exporter was last alive, in nanoseconds after the anchor.
    pub last_seen: u64,
    /// When a collector last accepted a batch, in nanoseconds since 1970; 0 for never.
    pub last_export_unix_nanos: u64,
    /// Losses that a span has told of.
    pub lost_told: u64,
    /// Whether another ledger has the counters.
    pub buried: bool,
    /// How often each 64 slots were written to, where the agent exports.
    pub activity: [u64; SLOT_COUNT / 64],
}

impl HeaderImage {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corruption> {
        let bytes: &[u8; HEADER_SIZE] = bytes.first_chunk().ok_or(Corruption::Short)?;
        if bytes[..8] != MAGIC {
            return Err(Corruption::Magic);
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(Corruption::Newer(version));
        }
        let sizes = [HEADER_SIZE, SLOT_SIZE, SLOT_COUNT];
        let fits = (0..3).all(|index| u32_at(bytes, 12 + 4 * index) as usize == sizes[index]);
        let keeper = Keeper::from_byte(bytes[624]);
        let units = usize::from(u16_at(bytes, 66));
        let (true, Some(keeper), true) =
            (fits && version == VERSION, keeper, units <= EXECUTABLE_UNITS)
        else {
            return Err(Corruption::Header);
        };
        let executable = char::decode_utf16((0..units).map(|unit| u16_at(bytes, 68 + 2 * unit)))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>();
        let session = u32_at(bytes, 28);
        let parent = (bytes[64] == 1)
            .then(|| Parent { trace_id: array_at(bytes, 40), span_id: array_at(bytes, 56) });
        let parent = parent.filter(|parent| parent.trace_id != [0; 16] && parent.span_id != [0; 8]);
        let id_seed = std::array::from_fn(|word| u64_at(bytes, 592 + 8 * word));
        let tally =
            |at: usize| Tally::from_words(std::array::from_fn(|word| u64_at(bytes, at + 8 * word)));
        // The counters lie as a tally does, but `seen` is not among them.
        let counters = plausible(Tally { seen: 0, ..tally(offset::COUNTERS - 8) });
        Ok(Self {
            origin: Origin {
                identity: Identity {
                    pid: u32_at(bytes, 24),
                    executable: executable.into(),
                    session_id: (session != NO_SESSION).then_some(session),
                },
                parent,
                ids: IdSource::new(id_seed, parent),
                anchor_unix_nanos: u64_at(bytes, 32),
                recovered: false,
            },
            keeper,
            anchor_monotonic: u64_at(bytes, 616),
            counters,
            inherited: plausible(tally(offset::INHERITED)),
            last_seen: u64_at(bytes, offset::LAST_SEEN),
            last_export_unix_nanos: u64_at(bytes, offset::LAST_EXPORT),
            lost_told: u64_at(bytes, offset::LOST_TOLD),
            buried: bytes[offset::BURIED] != 0,
            activity: std::array::from_fn(|word| u64_at(bytes, offset::ACTIVITY + 64 * word)),
        })
    }

    /// The tally of this host alone, for slots that have had `recorded` operations; what is
    /// damaged beyond belief counts as nothing.
    pub fn tally(&self, recorded: u64) -> Tally {
        let unrecorded = self.counters.lost[Loss::TableFull as usize];
        plausible(Tally { seen: recorded.saturating_add(unrecorded), ..self.counters })
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
    /// `None`: the state word is none that we write.
    pub phase: Option<Phase>,
    /// Operations that the slot has had.
    pub generation: u64,
    /// What is recorded. Only what the phase promises is whole.
    pub body: Body,
}

impl SlotImage {
    /// Reads a slot.
    pub fn parse(bytes: &[u8; SLOT_SIZE]) -> Self {
        let state = u64_at(bytes, 0);
        let generation = state >> PHASE_BITS;
        let phase = Phase::from_byte(state as u8)
            // Zeros are a slot that was never used; otherwise it has had an operation.
            .filter(|phase| {
                (generation > 0 || *phase == Phase::Free) && generation <= LARGEST_COUNT
            });
        let body = Body {
            started: u64_at(bytes, 8),
            ended: u64_at(bytes, 16),
            thread_id: u32_at(bytes, 24),
            flags: u32_at(bytes, 28),
            resource_type: u32_at(bytes, 32),
            status: u32_at(bytes, 36),
            kind: bytes[40],
            force: bytes[41],
            truncated: bytes[42],
            sent: bytes[43],
            remote_units: u16_at(bytes, 44),
            local_units: u16_at(bytes, 46),
            provider_units: u16_at(bytes, 48),
            reserved_text: [0; 6],
            // Most slots are free, and nobody reads what was in them.
            text: match phase {
                Some(Phase::Free) => [0; _],
                _ => std::array::from_fn(|unit| u16_at(bytes, 56 + 2 * unit)),
            },
            rest: [0; 24],
        };
        Self { phase, generation, body }
    }

    /// Operations that the slot has had. A state that is none does not say that there were none.
    pub fn had(&self) -> u64 {
        match self.phase {
            None if self.generation > LARGEST_COUNT => 1,
            None => self.generation.max(1),
            Some(_) => self.generation,
        }
    }

    /// The operation's number in its ledger.
    pub fn number(&self, slot: usize) -> u64 {
        self.generation.wrapping_mul(SLOT_COUNT as u64).wrapping_add(slot as u64)
    }
}

const _: () = assert!(offset::COUNTERS + 8 * (TALLY_WORDS - 1) == offset::LAST_SEEN);

/// `N` bytes at `at`, which every caller keeps within the array; zeros if it did not.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
