//! What goes wrong on an ordinary day: about one operation in a hundred.

use super::random::Rng;

/// Adds that fail.
const ADDS_FAILING: f64 = 0.009;
/// Adds whose prompt the user closes.
const ADDS_CANCELLED: f64 = 0.005;
/// Cancels that fail: files are open.
const CANCELS_FAILING: f64 = 0.005;
/// Cancels of a connection that is not there: a script that cancels first, to be sure.
const CANCELS_OF_NOTHING: f64 = 0.02;

/// How an add fails: code and weight. A misspelt share leads; every class of errors has its part,
/// and that a user cannot be identified is rare, because a healthy fleet's users are.
const ADD: [(u32, f64); 18] = [
    (67, 17.0),
    (5, 14.0),
    (1219, 8.0),
    (85, 6.0),
    (53, 7.0),
    (64, 5.0),
    (59, 2.0),
    (71, 5.0),
    (1816, 3.0),
    (1450, 3.0),
    (1326, 7.0),
    (1909, 2.0),
    (87, 6.0),
    (50, 4.0),
    (1272, 2.0),
    (1231, 2.0),
    // Not in the table of codes: class `other`.
    (31, 3.0),
    (1359, 4.0),
];

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
    match rng.unit() {
        draw if draw < CANCELS_FAILING => 2401,
        draw if draw < CANCELS_FAILING + CANCELS_OF_NOTHING => 2250,
        _ => 0,
    }
}

/// One of `codes`, by weight.
pub(super) fn pick(codes: &[(u32, f64)], rng: &mut Rng) -> u32 {
    let index = rng.weighted(codes.iter().map(|(_, weight)| *weight));
    codes.get(index).map_or(0, |(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpr_otel_core::operation::{Kind, Outcome};
    use mpr_otel_core::win32_error::Class;
    use std::collections::BTreeSet;

    #[test]
    fn every_class_of_errors_is_among_them_and_one_add_in_a_hundred_fails() {
        let mut rng = Rng::of(&[5]);
        let failures: Vec<Class> = (0..100_000)
            .filter_map(|_| Outcome::of(Kind::Add, Some(add(&mut rng))).class())
            .collect();
        assert!((800..1000).contains(&failures.len()), "{}", failures.len());
        let classes: BTreeSet<Class> = failures.iter().copied().collect();
        assert_eq!(classes, Class::ALL.into());
        let authentication = failures.iter().filter(|class| **class == Class::Authentication);
        assert!(authentication.count() < 150);
    }

    #[test]
    fn some_cancels_fail_and_more_have_nothing_to_do() {
        let mut rng = Rng::of(&[5]);
        let outcomes: Vec<Outcome> =
            (0..10_000).map(|_| Outcome::of(Kind::Cancel, Some(cancel(&mut rng)))).collect();
        let count = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|one| of(one)).count();
        let failing = count(|one| matches!(one, Outcome::Failure(_)));
        let nothing_to_do = count(|one| *one == Outcome::NothingToDo);
        assert!((20..100).contains(&failing), "{failing}");
        assert!((120..300).contains(&nothing_to_do), "{nothing_to_do}");
    }
}
