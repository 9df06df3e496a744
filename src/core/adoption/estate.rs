//! What a host left when it died, as its ledger tells it. Finding it out changes nothing.

use crate::ledger::{Access, HeaderImage, Loss, SENT_UNFINISHED, Tally, state::Phase};
use std::io;

/// What is in a dead host's ledger.
#[derive(Debug)]
pub(super) struct Estate {
    /// Operations to be exported: slot and generation.
    pub ready: Vec<(usize, u64)>,
    /// Slots to be freed, and how many operations each has had: their last one cannot be told, or
    /// has been.
    pub spent: Vec<(usize, u64)>,
    /// Operations that were recorded.
    pub recorded: u64,
    /// The host's counters, with what cannot be told counted as lost.
    pub counters: Tally,
    /// The counters of ledgers that it removed.
    pub inherited: Tally,
    /// The latest time that the ledger knows of, in nanoseconds after the anchor.
    pub last_moment: u64,
    /// Whether something in it is damaged.
    pub damaged: bool,
}

impl Estate {
    /// Reads all slots.
    pub fn read(access: &Access, header: &HeaderImage) -> io::Result<Self> {
        let (mut ready, mut spent) = (Vec::new(), Vec::new());
        let (mut slots, mut recorded, mut torn) = (0, 0_u64, 0);
        let slot_count = header.geometry.slot_count;
        let mut last_moment = header.last_seen;
        let mut damaged = !access.is_whole(header);
        access.all_slots(header, |slot, image| {
            slots += 1;
            recorded = recorded.saturating_add(image.had());
            match image.phase {
                Some(Phase::Free) => {}
                // PRE had not returned: nothing was promised, and nothing can be told.
                Some(Phase::Claimed) => {
                    torn += 1;
                    spent.push((slot, image.had()));
                }
                None => {
                    damaged = true;
                    torn += 1;
                    spent.push((slot, image.had()));
                }
                Some(_) if image.body.sent & SENT_UNFINISHED != 0 => {
                    spent.push((slot, image.had()));
                }
                Some(_) => ready.push((slot, image.generation)),
            }
            if matches!(image.phase, Some(phase) if phase != Phase::Claimed) {
                last_moment = last_moment.max(image.body.started);
            }
            if matches!(image.phase, Some(Phase::Done | Phase::Unfinished | Phase::Free)) {
                last_moment = last_moment.max(image.body.ended);
            }
        })?;
        // It may have become shorter since it was opened.
        damaged |= slots < slot_count;

        let left = ready.len() as u64 + torn;
        let unrecorded = header.counters.unrecorded();
        let seen = recorded.saturating_add(unrecorded);
        let (mut counters, astray) = Tally { seen, ..header.counters }.balanced(left, slot_count);
        let recorded = counters.seen.saturating_sub(unrecorded);
        counters.lost[Loss::Corrupt as usize] += torn;
        // The host may have died while it inherited.
        let (inherited, _) = header.inherited.balanced(0, slot_count);
        damaged |= astray;
        Ok(Self { ready, spent, recorded, counters, inherited, last_moment, damaged })
    }
}
