#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Division, Error, Ties, divide};

/// Parties a, b, c, ... with these weights.
fn weights(of: &[u64]) -> BTreeMap<String, u64> {
    of.iter().enumerate().map(|(index, weight)| (party(index), *weight)).collect()
}

fn party(index: usize) -> String {
    format!("m{index:03}")
}

fn parts(total: u32, of: &[u64], ties: Ties) -> Vec<u32> {
    divide(total, &weights(of), ties).unwrap().into_parts().into_values().collect()
}

/// The specification: one seat after the other, quotients compared as fractions.
fn seat_by_seat(total: u32, weights: &BTreeMap<String, u64>, ties: Ties) -> BTreeMap<String, u32> {
    let mut seats: BTreeMap<String, u32> = weights.keys().map(|name| (name.clone(), 0)).collect();
    for _ in 0..total {
        let mut best: Option<(&String, u64, u32)> = None;
        for (name, votes) in weights {
            let mine = seats[name];
            let wins = best.is_none_or(|(other, other_votes, other_seats)| {
                let left = u128::from(*votes) * (2 * u128::from(other_seats) + 1);
                let right = u128::from(other_votes) * (2 * u128::from(mine) + 1);
                left > right
                    || left == right && mine < other_seats
                    || left == right
                        && mine == other_seats
                        && match ties {
                            Ties::SmallerName => name < other,
                            Ties::LargerName => name > other,
                        }
            });
            if wins {
                best = Some((name, *votes, mine));
            }
        }
        let winner = best.unwrap().0.clone();
        *seats.get_mut(&winner).unwrap() += 1;
    }
    seats
}

/// Karmada's arithmetic: quotients as `float64`.
fn seat_by_seat_in_floats(total: u32, weights: &BTreeMap<String, u64>) -> BTreeMap<String, u32> {
    let mut seats: BTreeMap<String, u32> = weights.keys().map(|name| (name.clone(), 0)).collect();
    let quotient = |votes: u64, seats: u32| votes as f64 / f64::from(2 * seats + 1);
    for _ in 0..total {
        let winner = weights
            .iter()
            .max_by(|(a, a_votes), (b, b_votes)| {
                quotient(**a_votes, seats[*a])
                    .total_cmp(&quotient(**b_votes, seats[*b]))
                    .then_with(|| seats[*b].cmp(&seats[*a]))
                    .then_with(|| b.cmp(a))
            })
            .unwrap()
            .0
            .clone();
        *seats.get_mut(&winner).unwrap() += 1;
    }
    seats
}

#[test]
fn worked_examples_of_static_weights() {
    let rows: &[(u32, &[u64], &[u32])] = &[
        (10, &[50, 30, 20], &[5, 3, 2]),
        (11, &[50, 30, 20], &[6, 3, 2]),
        (13, &[50, 30, 20], &[6, 4, 3]),
        (10, &[20, 30, 50], &[2, 3, 5]),
        (10, &[50, 30], &[6, 4]),
        (3, &[50, 30, 20], &[1, 1, 1]),
        (7, &[3, 2, 2], &[3, 2, 2]),
        (8, &[3, 2, 2], &[4, 2, 2]),
        (7, &[1, 1, 1], &[3, 2, 2]),
        (10, &[1, 1, 1], &[4, 3, 3]),
        (100, &[1, 1, 1], &[34, 33, 33]),
        (12, &[3, 2, 1], &[6, 4, 2]),
        (13, &[3, 2, 1], &[7, 4, 2]),
        (14, &[3, 2, 1], &[7, 5, 2]),
        (9, &[1, 2], &[3, 6]),
        (9, &[1, 3], &[2, 7]),
        (5, &[2, 1], &[3, 2]),
        (3, &[10, 1], &[3, 0]),
        (6, &[10, 1], &[5, 1]),
        (1, &[1, 1, 1], &[1, 0, 0]),
        (2, &[1, 1, 1], &[1, 1, 0]),
        (4, &[1200, 900, 400], &[2, 1, 1]),
        (8, &[100_000, 80_000, 30_000, 20_000], &[3, 3, 1, 1]),
    ];
    for (total, weights, expected) in rows {
        assert_eq!(parts(*total, weights, Ties::SmallerName), *expected, "{total} @ {weights:?}");
    }
}

#[test]
fn an_odd_uid_gives_the_remainder_to_the_last_name() {
    assert_eq!(parts(7, &[1, 1, 1], Ties::LargerName), [2, 2, 3]);
}

#[test]
fn uid_parity_decides_the_direction_of_ties() {
    for even in ["", "a", "00000000-0000-0000-0000-000000000001"] {
        assert_eq!(Ties::of_template(even), Ties::SmallerName, "{even:?}");
    }
    for odd in ["b", "abc", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(Ties::of_template(odd), Ties::LargerName, "{odd:?}");
    }
}

#[test]
fn zero_replicas_give_everybody_nothing() {
    assert_eq!(parts(0, &[50, 30, 20], Ties::SmallerName), [0, 0, 0]);
    assert_eq!(divide(0, &weights(&[]), Ties::SmallerName).unwrap().into_parts(), BTreeMap::new());
}

#[test]
fn nobody_to_give_to_is_an_error() {
    assert_eq!(divide(1, &weights(&[]), Ties::SmallerName), Err(Error::NoParties { total: 1 }));
}

#[test]
fn the_largest_replica_count_divides_at_once() {
    let total = i32::MAX as u32;
    assert_eq!(parts(total, &[1], Ties::SmallerName), [total]);
    let [a, b, c] = parts(total, &[50, 30, 20], Ties::SmallerName)[..] else { panic!("three parts") };
    assert_eq!((a, b, c), (1_073_741_824, 644_245_094, 429_496_729));

    let many: Vec<u64> = (1..=10_000).collect();
    assert_eq!(parts(total, &many, Ties::LargerName).iter().copied().map(u64::from).sum::<u64>(), u64::from(total));
}

#[test]
fn the_largest_weights_do_not_overflow() {
    assert_eq!(parts(u32::MAX, &[u64::MAX; 3], Ties::SmallerName), [u32::MAX / 3; 3]);
    assert_eq!(parts(5, &[u64::MAX, 1, 0], Ties::SmallerName), [5, 0, 0]);
}

#[test]
fn weights_that_floats_cannot_tell_apart_are_told_apart() {
    // As float64 both are 2^63 and the first name would win.
    assert_eq!(parts(1, &[i64::MAX as u64 - 1, i64::MAX as u64], Ties::SmallerName), [0, 1]);
}

#[test]
fn parts_that_do_not_add_up_are_no_division() {
    let parts = BTreeMap::from([("bj", 5), ("sh", 3)]);
    assert_eq!(Division::new(10, parts.clone()), Err(Error::DoesNotAddUp { total: 10, sum: 8 }));
    assert_eq!(Division::new(8, parts).unwrap().to_string(), "bj 5, sh 3");
}

fn any_ties() -> impl Strategy<Value = Ties> {
    prop_oneof![Just(Ties::SmallerName), Just(Ties::LargerName)]
}

fn any_weights() -> impl Strategy<Value = Vec<u64>> {
    // Small weights make ties, zeroes are legal, huge ones reach the limits of u64.
    let weight = prop_oneof![4 => 0..6u64, 3 => 1..1000u64, 1 => any::<u64>()];
    prop::collection::vec(weight, 1..12)
}

proptest! {
    #[test]
    fn equals_giving_seat_by_seat(total in 0..300u32, of in any_weights(), ties in any_ties()) {
        let weights = weights(&of);
        prop_assert_eq!(divide(total, &weights, ties).unwrap().into_parts(), seat_by_seat(total, &weights, ties));
    }

    #[test]
    fn equals_karmadas_floats_for_realistic_weights(total in 0..300u32, of in prop::collection::vec(1..1_000_000u64, 1..8)) {
        let weights = weights(&of);
        let exact = divide(total, &weights, Ties::SmallerName).unwrap().into_parts();
        prop_assert_eq!(exact, seat_by_seat_in_floats(total, &weights));
    }

    #[test]
    fn parts_add_up(total in any::<u32>(), of in any_weights(), ties in any_ties()) {
        let division = divide(total, &weights(&of), ties).unwrap();
        prop_assert_eq!(division.iter().map(|(_, part)| u64::from(part)).sum::<u64>(), u64::from(total));
    }

    #[test]
    fn a_larger_total_takes_from_nobody(total in 0..u32::MAX - 1000, more in 0..1000u32, of in any_weights(), ties in any_ties()) {
        let before = parts(total, &of, ties);
        let after = parts(total + more, &of, ties);
        prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "{before:?} → {after:?}");
    }

    #[test]
    fn a_larger_weight_never_gets_less(total in any::<u32>(), of in any_weights(), ties in any_ties()) {
        let given = parts(total, &of, ties);
        for (a, a_given) in of.iter().zip(&given) {
            for (b, b_given) in of.iter().zip(&given) {
                prop_assert!(a <= b || a_given >= b_given);
            }
        }
    }
}
