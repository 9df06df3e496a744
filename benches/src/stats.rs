//! Medians and minima.
//!
//! The median says what it costs on this machine as it is; the minimum says what it costs when
//! nothing else gets in the way.

use serde::{Deserialize, Serialize};

/// What a series of samples comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle sample.
    pub median: f64,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
}

impl Summary {
    /// Sums `samples` up; `None` if there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: *sorted.get(sorted.len() / 2)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_does_not_depend_on_the_order_of_the_samples() {
        let summary = Summary { median: 2.0, min: 1.0, max: 9.0 };
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0]), Some(summary));
        assert_eq!(Summary::of(&[]), None);
    }
}
