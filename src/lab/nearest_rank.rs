//! Quantiles by nearest rank.

/// The value at the nearest rank of `sorted` values, each with how often it is there. The zero value
/// if there are none.
pub fn nearest_rank<T: Default>(sorted: impl Iterator<Item = (T, u64)> + Clone, share: f64) -> T {
    let count: u64 = sorted.clone().map(|(_, times)| times).sum();
    let mut rest = (count as f64 * share).ceil() as u64;
    for (value, times) in sorted {
        if rest <= times {
            return value;
        }
        rest -= times;
    }
    T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let sorted = [(5, 10), (20, 9), (900, 1)];
        let quantile = |share| nearest_rank(sorted.into_iter(), share);
        assert_eq!([0.0, 0.5, 0.51, 0.95, 0.96, 1.0].map(quantile), [5, 5, 20, 20, 900, 900]);
        assert_eq!(nearest_rank([(7.0, 1)].into_iter(), 0.5), 7.0);
        assert_eq!(nearest_rank(std::iter::empty::<(u64, u64)>(), 0.5), 0);
    }
}
