//! What goes wrong on an ordinary day: about one operation in a hundred.

use super::random::Rng;

/// Adds that fail.
const ADDS_FAILING: f64 = 0.009;
/// Adds whose prompt the user closes.
const ADDS_CANCELLED: f64 = 0.005;
/// Cancels that fail.
const CANCELS_FAILING: f64 = 0.012;

/// How an add fails: code and weight. A misspelt share leads; every class of errors has its part,
/// and that a user cannot be identified is rare, because a healthy fleet's users are.
const ADD: [(u32, f64); 15] = [
    (67, 17.0),
    (5, 14.0),
    (1219, 8.0),
    (85, 6.0),
    (53, 7.0),
    (64, 5.0),
    (59, 2.0),
    (71, 7.0),
    (1816, 4.0),
    (1326, 7.0),
    (1909, 2.0),
    (87, 6.0),
    (50, 4.0),
    // Not in the table of codes: class `other`.
    (1450, 7.0),
    (1359, 4.0),
];

/// How a cancel fails.
const CANCEL: [(u32, f64); 2] = [(2250, 6.0), (2401, 4.0)];

/// The code that an add ends with.
pub(super) fn add(rng: &mut Rng) -> u32 {
    let code = pick(&ADD, rng);
    match rng.unit() {
        draw if draw < ADDS_FAILING => code,
        draw if draw < ADDS_FAILING + ADDS_CANCELLED => 1223,
        _ => 0,
    }
}

/// The code that a cancel ends with.
pub(super) fn cancel(rng: &mut Rng) -> u32 {
    let code = pick(&CANCEL, rng);
    if rng.happens(CANCELS_FAILING) { code } else { 0 }
}

/// One of `codes`, by weight.
pub(super) fn pick(codes: &[(u32, f64)], rng: &mut Rng) -> u32 {
    let index = rng.weighted(codes.iter().map(|(_, weight)| *weight));
    codes.get(index).map_or(0, |(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpr_otel_core::win32_error::{Class, Meaning, meaning};
    use std::collections::BTreeSet;

    #[test]
    fn every_class_of_errors_is_among_them_and_one_add_in_a_hundred_fails() {
        let mut rng = Rng::of(&[5]);
        let failures: Vec<Class> = (0..100_000)
            .filter_map(|_| match meaning(add(&mut rng)) {
                Meaning::Failure(class) => Some(class),
                _ => None,
            })
            .collect();
        assert!((800..1000).contains(&failures.len()), "{}", failures.len());
        let classes: BTreeSet<Class> = failures.iter().copied().collect();
        assert_eq!(classes.len(), 8, "{classes:?}");
        let authentication = failures.iter().filter(|class| **class == Class::Authentication);
        assert!(authentication.count() < 150);
    }

    #[test]
    fn some_cancels_fail() {
        let mut rng = Rng::of(&[5]);
        let failing = (0..10_000).filter(|_| cancel(&mut rng) != 0).count();
        assert!((60..200).contains(&failing), "{failing}");
    }
}
