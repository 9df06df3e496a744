//! The ledger: one host process' operations, in a file that is mapped into its memory.
//!
//! A store into mapped memory is safe from the death of the process at the next instruction,
//! and costs no more than any other store. Power loss is another matter: nothing here is ever
//! flushed.
//!
//! # Constraints
//!
//! - Written by any program of any user, 32- or 64-bit, on whatever thread calls MPR.
//! - Never larger than [`FILE_SIZE`]; its disk space is taken when it is made.
//! - Little endian, as every Windows is. Every field is an integer or an array of integers.
//! - Read by other processes: a reader copies first (access.rs) and checks then (image.rs).
//!
//! # Layout, version 1
//!
//! ```text
//! Header (4096 bytes)                          Slot (768 bytes), 1024 of them behind the header
//!    0  magic        "MPROTEL\0"                  0  state        generation << 8 | phase
//!    8  version      u32 = 1                      8  started      u64 ns after the anchor
//!   12  header_size  u32 = 4096                  16  ended        u64 ns after the anchor
//!   16  slot_size    u32 = 768                   24  thread_id    u32
//!   20  slot_count   u32 = 1024                  28  flags        u32 CONNECT_*
//!   24  pid          u32                         32  type         u32 RESOURCETYPE_*
//!   28  session_id   u32, !0 = none              36  status       u32 Win32 code
//!   32  anchor       u64 ns since 1970           40  kind         u8  1 add, 2 cancel
//!   40  parent_trace 16 bytes                    41  force        u8
//!   56  parent_span  8 bytes                     42  truncated    u8
//!   64  has_parent   u8                          43  sent         u8
//!   65  pointer      u8  4 or 8                  44  units of remote, local, provider: u16
//!   66  executable   u16 units, then             56  text         344 UTF-16 units: remote,
//!   68               260 UTF-16 units                 local and provider, one behind the other
//!  592  id_seed      3 x u64                    744  0            24 bytes
//!  616  monotonic    u64 ns, the anchor by the machine's monotonic clock
//!  624  keeper       u8  who exports: 0 host, 1 agent, 2 nobody
//! 1024  exported     u64
//! 1032  lost         u64 for each reason
//! 1080  unmatched, malformed, unprotected, repeated: u64
//! 1112  last_seen    u64 ns after the anchor
//! 1120  last_export  u64 ns since 1970
//! 1128  lost_told    u64 losses that a span has told
//! 1136  buried       u8  1: another ledger has the counters
//! 1152  inherited    seen and the counters of ledgers that its exporter removed: 12 x u64
//! 1280  told         what the agent's metrics have said, in its own ledger: 12 x u64
//! 2048  activity     u64 for each 64 slots, on cache lines of their own
//! ```
//!
//! # Rules
//!
//! - **Owner.** The host holds an exclusive lock on the file for as long as it lives. The kernel
//!   releases it, so an unlocked ledger is a dead host's. Process ids tell nothing: they are used
//!   again. The file gets its name when it is locked; before that it ends in `.new`.
//! - **Adoption.** Whoever takes the lock of a dead host's ledger exports what it holds, as its
//!   host would have, and removes the file (adoption/). An adopter that dies releases the lock.
//! - **Agent.** Where `keeper` is the agent, the agent alone exports, while the host lives too. It
//!   frees a slot by writing the phase's byte; the host takes a slot by compare-and-exchange. PRE
//!   and POST count in `activity`, so that the agent looks at nothing twice.
//! - **Write.** PRE takes a slot, writes it, publishes `Open`. POST moves it to `Completing`,
//!   writes, publishes `Done`. The exporter frees it once a collector has the span. The phases
//!   and who may touch the body in each are in `state.rs`.
//! - **Count.** `seen = exported + pending + lost`, where `seen` is the sum of all slots'
//!   generations and of the operations that found the table full. An operation's number,
//!   `generation * 1024 + slot`, is unique in the file. An operation is counted first and its slot
//!   freed then: who dies between the two leaves one more counted than there were, and an adopter
//!   makes it add up again. Before a ledger is removed, its counters go to the remover's own
//!   ledger: first `buried` is set, then they are inherited, so that a remover that dies between
//!   the two forgets counts and never doubles them.
//! - **Ids.** Trace and span id are functions of `id_seed` and the operation's number
//!   (trace_context.rs), so they are fixed with PRE and the same for whoever exports the slot.
//! - **Names.** `<pid>-<random>.ledger`.

mod access;
mod handle;
mod header;
mod image;
pub(crate) mod mapping;
pub mod occupancy;
mod slot;
pub mod state;

pub use access::{Access, Owner};
pub use handle::Handle;
pub use header::{Header, Keeper, Loss, Tally};
pub(crate) use header::{TALLY_WORDS, offset};
pub use image::{Corruption, HeaderImage, SlotImage};
pub use slot::{
    Body, Claim, Completion, KIND_ADD, KIND_CANCEL, LOCAL_UNITS, PROVIDER_UNITS, REMOTE_UNITS,
    SENT, SENT_UNFINISHED,
};

use crate::clock::Clock;
use crate::platform;
use crate::process::Identity;
use crate::trace_context::Parent;
use mapping::Mapping;
use occupancy::Occupancy;
use state::Phase;
use std::path::{Path, PathBuf};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 4096;
/// Bytes of a slot.
pub const SLOT_SIZE: usize = 768;
/// Slots of a ledger: operations that one host can have under way and unexported at a time.
pub const SLOT_COUNT: usize = 1024;
/// Bytes of a ledger file.
pub const FILE_SIZE: usize = HEADER_SIZE + SLOT_SIZE * SLOT_COUNT;
/// How a ledger's file name ends.
pub const EXTENSION: &str = "ledger";
/// How its name ends until it is locked and whole.
pub const UNBORN: &str = "new";

/// The name of a ledger's file.
fn file_name(pid: u32, chance: u64) -> String {
    format!("{pid}-{chance:016x}.{EXTENSION}")
}

/// Whether a file called this may be a ledger. Others are none of our business.
pub fn is_ledger_name(name: &str) -> bool {
    let parts = name.strip_suffix(EXTENSION).and_then(|stem| stem.strip_suffix('.'));
    parts.and_then(|stem| stem.split_once('-')).is_some_and(|(pid, chance)| {
        pid.parse::<u32>().is_ok()
            && chance.len() == 16
            && chance.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Why a ledger could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system said no.
    #[error("cannot {what} the ledger {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder is not one that a host program may touch during a WNet call.
    #[error("the ledger folder {} is not on a local disk; set MPR_OTEL_LEDGER_DIR to a folder that is", path.display())]
    NotLocal {
        /// The folder.
        path: PathBuf,
    },
    /// No memory for the fallback.
    #[error("no memory for a ledger: {0}")]
    Memory(#[source] std::io::Error),
    /// Not a ledger, or a damaged one.
    #[error("{} cannot be read as a ledger: {corruption}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        corruption: Corruption,
    },
}

/// What makes a new ledger.
#[derive(Clone, Copy, Debug)]
pub struct Seed<'a> {
    /// Whose ledger it is.
    pub identity: &'a Identity,
    /// The parent of every span of this process.
    pub parent: Option<&'a Parent>,
    /// The process' clock.
    pub clock: Clock,
    /// What ids are made from: random.
    pub id_seed: [u64; 3],
    /// Who exports.
    pub keeper: Keeper,
}

/// A finished or given-up operation, copied out of its slot.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Whether it was given up before POST came.
    pub unfinished: bool,
    /// The operation's number, unique in its ledger.
    pub number: u64,
    /// What was recorded.
    pub body: Body,
}

/// The host's table of operations. See the [module](self).
#[derive(Debug)]
pub struct Ledger {
    mapping: Mapping,
    /// Which slots are taken; `None` where another process frees them: there the states tell.
    occupancy: Option<Occupancy<{ SLOT_COUNT / 64 }>>,
    /// What tells this process' handles from all others'.
    tag: u64,
}

impl Ledger {
    /// Creates a ledger file in `folder`, which is created if it is missing.
    pub fn create(folder: &Path, seed: Seed<'_>) -> Result<Self, LedgerError> {
        if !platform::is_local(folder) {
            return Err(LedgerError::NotLocal { path: folder.into() });
        }
        std::fs::create_dir_all(folder).map_err(|source| LedgerError::File {
            what: "make the folder for",
            path: folder.into(),
            source,
        })?;
        let name = file_name(seed.identity.pid, seed.id_seed[0]);
        let mapping = Mapping::create(&folder.join(name), Header::new(seed))?;
        Ok(Self::over(mapping, seed))
    }

    /// The same table in memory only: what it holds dies with the process.
    pub fn anonymous(seed: Seed<'_>) -> Result<Self, LedgerError> {
        let mapping = Mapping::anonymous(Header::new(seed))?;
        Ok(Self::over(mapping, seed))
    }

    /// Whether what is recorded survives the process.
    pub fn is_protected(&self) -> bool {
        self.mapping.path().is_some()
    }

    /// The counters, among other things.
    pub fn header(&self) -> &Header {
        self.mapping.header()
    }

    fn over(mapping: Mapping, seed: Seed<'_>) -> Self {
        // The file knows the seed, so the tag is another function of it than the ids are.
        let tag = seed.id_seed.iter().fold(0, |tag: u64, word| tag.rotate_left(23) ^ word);
        let occupancy = (seed.keeper == Keeper::Host).then(|| Occupancy::new(SLOT_COUNT));
        Self { mapping, occupancy, tag }
    }

    /// Takes a slot for a new operation and counts it as seen: its index and the access to it.
    /// `None` if the table is full, which is counted as a loss.
    ///
    /// Threads start in different parts of the table, so that they do not take each other's cache
    /// lines.
    pub fn claim(&self, thread_id: u32) -> Option<(usize, Claim<'_>)> {
        // Windows' thread ids are multiples of four, Linux' follow each other: both spread.
        let start = (thread_id ^ (thread_id >> 2)) as usize;
        let Some(occupancy) = &self.occupancy else {
            return self.claim_shared(start);
        };
        let Some(index) = occupancy.claim(start) else {
            self.header().count_lost(Loss::TableFull, 1);
            return None;
        };
        Some((index, self.mapping.slots()[index].claim()))
    }

    /// Takes a slot by its state, because the agent frees slots without telling this process.
    /// The search ends after one look at each.
    fn claim_shared(&self, start: usize) -> Option<(usize, Claim<'_>)> {
        let slots = self.mapping.slots();
        let from = start % (SLOT_COUNT / 64) * 64;
        let order = (0..SLOT_COUNT).map(|step| (from + step) % SLOT_COUNT);
        let found = order.into_iter().find_map(|index| Some((index, slots[index].try_claim()?)));
        if found.is_none() {
            self.header().count_lost(Loss::TableFull, 1);
        }
        found
    }

    /// Makes a claimed operation visible as open: its handle for `lpContext`, and its generation.
    pub fn publish(&self, index: usize, claim: Claim<'_>) -> (Handle, u64) {
        let generation = claim.publish();
        self.note_activity(index);
        (Handle::new(self.tag.wrapping_add(generation), index), generation)
    }

    /// Takes the open operation that `lpContext` names: its slot and the access to it. `None` if
    /// there is no such operation, which is counted and changes nothing.
    pub fn complete(&self, context: usize) -> Option<(usize, Completion<'_>)> {
        let completion = Handle::from_context(context).and_then(|handle| {
            let slot = handle.slot();
            let expected = |generation| handle.names(self.tag.wrapping_add(generation));
            Some((slot, self.mapping.slots()[slot].complete(expected)?))
        });
        if completion.is_none() {
            self.header().count_unmatched();
        }
        completion
    }

    /// Makes an operation visible as done. From here on it survives the host.
    pub fn finish(&self, index: usize, completion: Completion<'_>) {
        completion.finish();
        self.note_activity(index);
    }

    /// Tells the agent, where it exports, that there is something to see.
    fn note_activity(&self, index: usize) {
        if self.occupancy.is_none() {
            self.header().note_activity(index);
        }
    }

    /// Gives up the operation of `generation` in `slot` as unfinished. False if POST came first.
    pub fn abandon(&self, slot: usize, generation: u64, now: u64) -> bool {
        let given_up = self.mapping.slots()[slot].abandon(generation);
        if given_up {
            self.mapping.slots()[slot].set_abandoned_at(now);
        }
        given_up
    }

    /// A copy of a finished or given-up operation. For the exporter's thread alone.
    pub fn settled(&self, slot: usize) -> Option<Record> {
        let (phase, generation, body) = self.mapping.slots()[slot].settled()?;
        let number = generation.wrapping_mul(SLOT_COUNT as u64).wrapping_add(slot as u64);
        Some(Record { unfinished: phase == Phase::Unfinished, number, body })
    }

    /// Frees the slot of an operation that is exported or lost. For the exporter's thread alone.
    pub fn release(&self, slot: usize) {
        self.mapping.slots()[slot].release();
        if let Some(occupancy) = &self.occupancy {
            occupancy.release(slot);
        }
    }

    /// Notes that a request with the span in `slot` is made; counts it if there was one before.
    /// For the exporter's thread alone.
    pub fn note_sent(&self, slot: usize) {
        if self.mapping.slots()[slot].note_sent() {
            self.header().count_repeated(1);
        }
    }

    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.mapping.path()
    }

    /// Removes the file of a ledger that was never used.
    pub fn discard(self) {
        let path = self.mapping.path().map(Path::to_path_buf);
        drop(self);
        if let Some(path) = path {
            // Best effort: an unlocked ledger without operations is no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Reads the counters of the ledger at `path`, inherited ones included, whether its host lives
/// or not. None, if another ledger has them.
pub fn read_tally(path: &Path) -> Result<Tally, LedgerError> {
    let access = Access::open(path)?;
    let header = access.header()?;
    if header.buried {
        return Ok(Tally::default());
    }
    let mut recorded = 0_u64;
    access
        .each_slot(0..SLOT_COUNT, |_, slot| recorded = recorded.saturating_add(slot.had()))
        .map_err(|source| LedgerError::File { what: "read", path: path.into(), source })?;
    let mut tally = header.tally(recorded);
    tally += header.inherited;
    Ok(tally)
}
