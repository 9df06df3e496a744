//! Round numbers along an axis.

/// Ticks from 0 to at least `most`, five or so.
pub fn ticks(most: f64) -> Vec<f64> {
    if most.is_nan() || most <= 0.0 {
        return vec![0.0, 1.0];
    }
    let rough = most / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|each| each * power);
    let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
    (0..)
        .map(|index| f64::from(index) * step)
        .scan(false, |done, tick| {
            let over = *done;
            *done = tick >= most;
            (!over).then_some(tick)
        })
        .collect()
}

/// Whole hours of a day between two moments in seconds, about eight of them.
pub fn hours(from: f64, to: f64) -> Vec<f64> {
    let each = [900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 14_400.0];
    let step = each.into_iter().find(|step| (to - from) / step <= 9.0).unwrap_or(14_400.0);
    let first = (from / step).ceil() as u32;
    let last = (to / step).floor() as u32;
    (first..=last).map(|index| f64::from(index) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_largest_value() {
        assert_eq!(ticks(7.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(100.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(0.0), [0.0, 1.0]);
    }

    #[test]
    fn hours_are_whole() {
        assert_eq!(
            hours(18_000.0, 36_000.0),
            [18_000.0, 21_600.0, 25_200.0, 28_800.0, 32_400.0, 36_000.0]
        );
    }
}
