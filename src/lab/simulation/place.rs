//! Where an operation stands in the plan of its machine.

/// Names one operation of the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) machine: u32,
    /// Of a routine: how often it was done before.
    pub(super) day: u32,
    pub(super) visit: u16,
    pub(super) step: u16,
    /// The number of the routine that it is of; `None`: it is of the machine's day.
    pub(super) routine: Option<u16>,
}

impl Place {
    /// What names its random numbers.
    pub(super) fn name(self) -> [u64; 4] {
        let of = self.routine.map_or(0, |routine| 1 + u64::from(routine));
        [self.machine.into(), of << 32 | u64::from(self.day), self.visit.into(), self.step.into()]
    }

    /// Its number in its process: unique on its machine.
    pub(super) fn number(self) -> u64 {
        let number = u64::from(self.day) << 32 | u64::from(self.visit) << 16 | u64::from(self.step);
        match self.routine {
            None => number,
            // A routine has no visits and no steps.
            Some(routine) => 1 << 63 | u64::from(routine) << 40 | u64::from(self.day),
        }
    }
}
