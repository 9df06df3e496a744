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
//! - Laid out as layout.rs says, and nowhere else.
//! - Read by other processes: a reader copies first (access.rs) and checks then (image.rs).
//!
//! # Rules
//!
//! - **Owner.** The host holds an exclusive lock on the file for as long as it lives. The kernel
//!   releases it, so an unlocked ledger belongs to a dead host. Process ids cannot be used for
//!   this, because Windows reuses them.
//! - **Birth.** The magic is written when the file is locked and whole. A file without the magic
//!   holds nothing. If it is locked, or was made a moment ago, its host is still making it. If not,
//!   the host died or the machine lost power meanwhile, and the file is removed.
//! - **Death.** The agent, or a person's `drain`, takes the lock of a dead host's ledger, takes its
//!   operations over and removes the file (intake/).
//! - **Agent.** If `keeper` is the agent, it takes operations over while the host lives, too. It
//!   frees a slot by writing the phase's byte. The host takes a slot by compare-and-exchange. PRE
//!   and POST count in `activity`, so that the agent reads only slots that have changed.
//! - **Write.** PRE takes a slot, writes it and publishes `Open`. POST moves it to `Completing`,
//!   writes, adds the checksum and publishes `Done`. A `Done` slot whose checksum is wrong is lost
//!   as corrupt. The exporter frees the slot once a collector has the span. state.rs lists the
//!   phases and says who may touch the body in each.
//! - **Count.** `seen = exported + pending + lost`. `seen` is the sum of all slots' generations,
//!   plus the operations that found the table full or no ledger. An operation's number is
//!   `generation * 1024 + slot`, unique in the file. An operation is counted first, and then its slot is
//!   freed. A host's count of exported operations ends with its ledger: the agent counts itself
//!   what it took over, and reads only the losses from a header.
//! - **Ids.** Trace id and span id are functions of `id_seed` and the operation's number
//!   (trace_context.rs). So PRE fixes them, and every process that exports the slot makes the same
//!   ids.
//! - **Names.** `<pid>-<random>.ledger`.
//! - **Versions.** A version 1 ledger is read when its host is dead: image.rs turns its slots into
//!   slots of version 2. A ledger of a newer version is not touched.

mod access;
mod body;
pub mod early_table;
mod handle;
mod header;
mod image;
mod layout;
pub(crate) mod mapping;
pub mod occupancy;
mod slot;
pub mod state;

pub use access::{Access, Owner};
pub use handle::Handle;
pub use header::{Keeper, Loss};
pub use image::{Corruption, HeaderImage, SlotImage};
pub(crate) use layout::offset;
pub use layout::{
    Body, ELEVATION_DEFAULT, ELEVATION_FULL, ELEVATION_LIMITED, FILE_SIZE, Geometry, HEADER_SIZE,
    Header, KIND_ADD, KIND_CANCEL, LARGEST_FILE, LOCAL_UNITS, LOSSES, NO_SESSION, NUMBER_STRIDE,
    PROVIDER_UNITS, REMOTE_UNITS, SENT, SENT_UNFINISHED, SLOT_COUNT, SLOT_SIZE, SLOT_WORDS, Tally,
    VERSION as NEWEST_VERSION,
};
pub use slot::{Claim, Completion};

use crate::clock::Clock;
use crate::platform;
use crate::process::Identity;
use crate::trace_context::Parent;
use mapping::Mapping;
use occupancy::Occupancy;
use state::Phase;
use std::path::{Path, PathBuf};

/// How a ledger's file name ends.
pub const EXTENSION: &str = "ledger";

/// The name of a ledger's file.
fn file_name(pid: u32, chance: u64) -> String {
    format!("{pid}-{chance:016x}.{EXTENSION}")
}

/// Whether a file of this name may be a ledger. Other files are not touched.
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
    /// The file system refused.
    #[error("cannot {what} the ledger {}: {source}", path.display())]
    File {
        /// What was tried, as a verb: `open`, `map`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file may come from another user: no host makes one like it.
    #[error("{} is left alone: {refused}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it is, or who uses it.
        refused: platform::Refused,
    },
    /// The folder is not one that a host program may touch during a WNet call.
    #[error("the ledger folder {} is not on a local disk; set MPR_OTEL_LEDGER_DIR to a folder that is", path.display())]
    NotLocal {
        /// The folder.
        path: PathBuf,
    },
    /// Nobody empties the folder.
    #[error("the ledger folder {} is full; start the agent, which empties it", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// The agent could not read a ledger that is made here.
    #[error("the agent that empties {} does not read ledgers of this version; update the agent", path.display())]
    AgentTooOld {
        /// The folder.
        path: PathBuf,
    },
    /// The system gave no memory for a ledger without a file.
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

/// What a new ledger is made from.
#[derive(Clone, Copy, Debug)]
pub struct Seed<'a> {
    /// The process that the ledger belongs to.
    pub identity: &'a Identity,
    /// The parent of every span of this process.
    pub parent: Option<&'a Parent>,
    /// The process' clock.
    pub clock: Clock,
    /// Random words that ids are made from.
    pub id_seed: [u64; 3],
    /// The boot of the machine; 0 if it is not known.
    pub boot_id: u64,
    /// Who exports.
    pub keeper: Keeper,
}

/// A finished or given-up operation, copied out of its slot.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Whether the operation was given up before POST came.
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
    /// Which slots are taken. `None` if another process frees slots: then the slot states are the
    /// only record.
    occupancy: Option<Occupancy<SLOT_WORDS>>,
    /// Marks this process's handles, so that another process's handle is never taken for one of
    /// them.
    tag: u64,
}

impl Ledger {
    /// Creates a ledger file in `folder`. On Windows the installer makes the folder; elsewhere it
    /// is created if it is missing.
    pub fn create(folder: &Path, seed: Seed<'_>) -> Result<Self, LedgerError> {
        if !platform::is_local(folder) {
            return Err(LedgerError::NotLocal { path: folder.into() });
        }
        #[cfg(not(windows))]
        std::fs::create_dir_all(folder).map_err(|source| LedgerError::File {
            what: "make the folder for",
            path: folder.into(),
            source,
        })?;
        let name = file_name(seed.identity.pid, seed.id_seed[0]);
        let mapping = Mapping::create(&folder.join(name), Header::new(seed))?;
        Ok(Self::over(mapping, seed))
    }

    /// The same table in memory only: its operations are lost with the process.
    pub fn anonymous(seed: Seed<'_>) -> Result<Self, LedgerError> {
        let mapping = Mapping::anonymous(Header::new(seed))?;
        Ok(Self::over(mapping, seed))
    }

    /// Whether recorded operations survive the process.
    pub fn is_protected(&self) -> bool {
        self.mapping.path().is_some()
    }

    /// The header, with the counters.
    pub fn header(&self) -> &Header {
        self.mapping.header()
    }

    fn over(mapping: Mapping, seed: Seed<'_>) -> Self {
        // Every reader of the file knows the seed. So the tag is made from it by another function
        // than the ids are.
        let tag = seed.id_seed.iter().fold(0, |tag: u64, word| tag.rotate_left(23) ^ word);
        let occupancy = (seed.keeper == Keeper::Host).then(|| Occupancy::new(SLOT_COUNT));
        Self { mapping, occupancy, tag }
    }

    /// Takes a slot for a new operation and counts it as seen. Returns the slot's index and the
    /// access to it. `None` if the table is full, which is counted as a loss.
    ///
    /// Threads start in different parts of the table, so that they do not share cache lines.
    pub fn claim(&self, thread_id: u32) -> Option<(usize, Claim<'_>)> {
        // Thread ids are multiples of four on Windows and consecutive on Linux: this spreads both.
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

    /// Takes a slot by its state, because the agent frees slots without a signal to this process.
    /// The search tries each slot once.
    fn claim_shared(&self, start: usize) -> Option<(usize, Claim<'_>)> {
        let slots = self.mapping.slots();
        let from = start % SLOT_WORDS * 64;
        let order = (0..SLOT_COUNT).map(|step| (from + step) % SLOT_COUNT);
        let found = order.into_iter().find_map(|index| Some((index, slots[index].try_claim()?)));
        if found.is_none() {
            self.header().count_lost(Loss::TableFull, 1);
        }
        found
    }

    /// Makes a claimed operation visible as open. Returns its handle for `lpContext`, and its
    /// generation.
    pub fn publish(&self, index: usize, claim: Claim<'_>) -> (Handle, u64) {
        let generation = claim.publish();
        self.note_activity(index);
        (Handle::new(self.tag.wrapping_add(generation), index), generation)
    }

    /// Takes the open operation that `lpContext` names. Returns its slot and the access to it.
    /// `None` if there is no such operation; that is counted, and nothing changes.
    pub fn complete(&self, context: usize) -> Option<(usize, Completion<'_>)> {
        let completion = Handle::from_context(context).and_then(|handle| {
            let slot = handle.slot();
            let expected = |generation| handle.names(self.tag.wrapping_add(generation));
            Some((slot, self.mapping.slots().get(slot)?.complete(expected)?))
        });
        if completion.is_none() {
            self.header().count_unmatched();
        }
        completion
    }

    /// Makes an operation visible as done. From here on the operation survives the host.
    pub fn finish(&self, index: usize, completion: Completion<'_>) {
        completion.finish();
        self.note_activity(index);
    }

    /// Counts a write for the agent. Does nothing if the host exports.
    fn note_activity(&self, index: usize) {
        if self.occupancy.is_none() {
            self.header().note_activity(index);
        }
    }

    /// Gives up the operation of `generation` in `slot` as unfinished, at `now` nanoseconds after
    /// the anchor. False if POST came first.
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
        let number = generation.wrapping_mul(NUMBER_STRIDE).wrapping_add(slot as u64);
        Some(Record { unfinished: phase == Phase::Unfinished, number, body })
    }

    /// Frees the slot of an operation that is exported or lost. For the exporter's thread alone.
    pub fn release(&self, slot: usize) {
        self.mapping.slots()[slot].release();
        if let Some(occupancy) = &self.occupancy {
            occupancy.release(slot);
        }
    }

    /// Notes that a request with the span in `slot` is made. Counts the span as repeated if an
    /// earlier request had it. For the exporter's thread alone.
    pub fn note_sent(&self, slot: usize) {
        if self.mapping.slots()[slot].note_sent() {
            self.header().count_repeated(1);
        }
    }

    /// Closes the file and so releases its lock: to other processes this host is dead. The memory
    /// stays, because a caller may be using it.
    pub fn close(&self) {
        self.mapping.close();
    }

    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.mapping.path()
    }
}

/// Why the exporter of the ledger at `path` failed last; empty if it did not fail. The text may be
/// anything.
pub fn read_last_error(path: &Path) -> Result<String, LedgerError> {
    Ok(Access::at(path)?.header()?.last_error)
}

/// Reads the counters of the ledger at `path`, whether its host lives or not. All zero if the host
/// is still making the ledger. Operations that the agent took out of a ledger count as exported by
/// its host.
pub fn read_tally(path: &Path) -> Result<Tally, LedgerError> {
    let access = Access::at(path)?;
    let header = match access.header() {
        Err(LedgerError::Corrupt { corruption: Corruption::Unborn, .. }) => {
            return Ok(Tally::default());
        }
        header => header?,
    };
    let (mut recorded, mut waiting) = (0_u64, 0);
    access
        .all_slots(&header, |_, slot| {
            recorded = recorded.saturating_add(slot.had());
            waiting += u64::from(slot.phase != Some(Phase::Free));
        })
        .map_err(|source| LedgerError::File { what: "read", path: path.into(), source })?;
    let mut tally = header.tally(recorded);
    if header.keeper == Keeper::Agent {
        tally.exported = recorded.saturating_sub(waiting);
    }
    Ok(tally)
}
