//! Where an operation stands in the plan of its host.

/// Names one operation of the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) host: u32,
    pub(super) day: u32,
    pub(super) visit: u16,
    pub(super) step: u16,
}

impl Place {
    /// What names its random numbers.
    pub(super) fn name(self) -> [u64; 4] {
        [self.host.into(), self.day.into(), self.visit.into(), self.step.into()]
    }

    /// Its number in its process: unique in its host.
    pub(super) fn number(self) -> u64 {
        u64::from(self.day) << 32 | u64::from(self.visit) << 16 | u64::from(self.step)
    }
}
