//! Reproducible random numbers.
//!
//! Every draw belongs to something with a name: a machine, its day, one operation. So nothing that
//! happens to one of them changes the numbers of another.

use std::f64::consts::TAU;

/// A source of numbers, made from the words that name what they are for.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// A generator seeded by `name`: the same name gives the same numbers.
    pub(super) fn of(name: &[u64]) -> Self {
        Self(name.iter().fold(0x6D70_722D_6F74_656C, |state, word| mix(state ^ mix(*word))))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `least` to `most`, without `most`.
    pub(super) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + self.unit() * (most - least)
    }

    /// One of `count` numbers from 0 on.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Whether something happens that does so with this probability.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// The index of one of these weights, by weight; the last if they are all zero.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut rest = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (index, weight) in weights.enumerate() {
            if rest < weight {
                return index;
            }
            rest -= weight;
            last = index;
        }
        last
    }

    /// By the normal distribution: mean 0, deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's output function.
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_has_the_same_numbers_and_another_name_others() {
        assert_eq!(Rng::of(&[1, 2]).bits(), Rng::of(&[1, 2]).bits());
        let firsts: std::collections::HashSet<u64> =
            (0..1000).map(|machine| Rng::of(&[1, machine]).bits()).collect();
        assert_eq!(firsts.len(), 1000);
        assert_ne!(Rng::of(&[1, 2]).bits(), Rng::of(&[2, 1]).bits());
    }

    #[test]
    fn weights_decide_how_often() {
        let mut rng = Rng::of(&[7]);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[rng.weighted([1.0, 0.0, 3.0].into_iter())] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2200..2800).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut rng = Rng::of(&[7]);
        let numbers: Vec<f64> = (0..10_000).map(|_| rng.normal()).collect();
        let mean = numbers.iter().sum::<f64>() / 1e4;
        let variance = numbers.iter().map(|number| number * number).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
    }
}
