//! Ledgers of other processes, emptied from here: those of hosts that have died, and those of
//! live hosts that leave the export to the agent.
//!
//! The agent and `drain` look into the folder (`LedgerFolder`), open what they find
//! ([`ForeignLedger`]), build spans as the host would have, and remove the file when nothing is left
//! in it ([`Adopter`]). No host does.

mod adopter;
mod agent_ledger;
mod census;
mod estate;
mod folder;
mod foreign;
mod inflight;
mod watch;

pub use adopter::{Adopter, Batch, Buried, Look};
pub use agent_ledger::{AgentLedger, AgentLedgerError, AgentStatus};
pub use census::{Census, HostError};
pub use folder::{AGENT_FOLDER, CONTROL_PAGE, Entry, LedgerFolder, QUARANTINE_FOLDER, Survey};
pub use foreign::ForeignLedger;
pub use inflight::{Inflight, Snapshot};
pub use watch::{HostSlots, Recorded, Watch};
