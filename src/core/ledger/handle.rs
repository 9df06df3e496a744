//! What PRE leaves in `lpContext`: a checked handle, never a pointer.

use super::layout::SLOT_COUNT;
use std::num::NonZeroUsize;

/// Bits that hold `slot + 1`; the rest holds the tag, cut to what fits.
const SLOT_BITS: u32 = 8;
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;
/// Operations that can begin before there is a ledger.
pub const EARLY_SLOTS: usize = 16;
/// The slots of a ledger, then those of the early table.
const SLOTS: usize = SLOT_COUNT + EARLY_SLOTS;
const _: () = assert!(SLOTS < 1 << SLOT_BITS);

/// Names one operation of one process: `tag << 8 | slot + 1`, never zero.
///
/// The tag is the slot's generation plus a random value of the process. So a handle of another
/// process, of an earlier operation or a random one finds no open slot with its tag. A 64-bit
/// host compares 56 bits of the tag, a 32-bit host 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(NonZeroUsize);

impl Handle {
    /// The handle with `tag` for `slot`.
    pub fn new(tag: u64, slot: usize) -> Self {
        let bits = (tag as usize) << SLOT_BITS | (slot + 1);
        // `slot + 1` is at least 1 and fits its bits, so the fallback is never taken.
        Self(NonZeroUsize::new(bits).unwrap_or(NonZeroUsize::MIN))
    }

    /// Reads `lpContext`, which may be anything. `None` if it can name no slot.
    pub fn from_context(context: usize) -> Option<Self> {
        let handle = Self(NonZeroUsize::new(context)?);
        (1..=SLOTS).contains(&(context & SLOT_MASK)).then_some(handle)
    }

    /// The value for `lpContext`.
    pub fn to_context(self) -> usize {
        self.0.get()
    }

    /// The slot: of the ledger below [`SLOT_COUNT`], else of the [early table](super::early_table).
    pub fn slot(self) -> usize {
        (self.0.get() & SLOT_MASK) - 1
    }

    /// Whether this handle was made with `tag`.
    pub fn names(self, tag: u64) -> bool {
        self.0.get() >> SLOT_BITS == ((tag as usize) << SLOT_BITS) >> SLOT_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_gives_back_its_slot_and_knows_its_tag() {
        for slot in [0, 1, SLOT_COUNT - 1, SLOTS - 1] {
            for tag in [0, 1, 0xABCD_EF01_2345, u64::MAX] {
                let handle = Handle::new(tag, slot);
                let again = Handle::from_context(handle.to_context());
                assert_eq!(again, Some(handle));
                assert_eq!(handle.slot(), slot);
                assert!(handle.names(tag));
                assert!(!handle.names(tag ^ 1));
            }
        }
    }

    #[test]
    fn values_that_name_no_slot_are_refused() {
        assert_eq!(Handle::from_context(0), None);
        assert_eq!(Handle::from_context(1 << SLOT_BITS), None);
        assert_eq!(Handle::from_context(SLOTS + 1), None);
        assert_eq!(Handle::from_context(usize::MAX), None);
    }
}
