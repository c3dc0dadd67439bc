//! Replica division by the Webster (Sainte-Laguë) method, as Karmada 1.19 does it.
//!
//! Seats (replicas) go one by one to the party (cluster) with the largest `votes / (2 · seats + 1)`. On a tie the party
//! with fewer seats wins, then the name decides in the direction of [`Ties`].
//!
//! ```text
//!   10 replicas at weights 50 : 30 : 20
//!   50  30  20  16.7(bj)  10(bj,sh)  7.1(bj) 6.7(sz) 6(sh) 5.6(bj)      → bj 5, sh 3, sz 2
//! ```
//!
//! Two things differ from Karmada's code, and neither changes a result in any real cluster:
//!
//! * **Exact comparison.** Karmada divides in `float64`. Two different quotients `a/b > c/d` lie apart by at least the
//!   factor `1 + 1/(b·c)`, so a correctly rounded float sees the difference while `weight · (2 · seats + 1) < 2^51`:
//!   weights up to half a million with 2³¹−1 replicas, or far larger weights with fewer replicas. Equal quotients are
//!   equal in both. Beyond that range floats see ties that are none; here the comparison is a product of `u128`.
//!   Karmada also computes `2 · seats + 1` in 32 bits, which overflows from 2³⁰ seats on; here it does not.
//! * **No loop over seats.** All seats whose quotient exceeds a safe threshold are given at once; at most one seat per
//!   party remains for the heap. So 2³¹−1 replicas take as long as ten.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    fmt,
};

use thiserror::Error;

#[cfg(test)]
mod tests;

/// Who wins when two parties have equal quotients and equal seats.
///
/// Karmada 1.19 derives it from the template's uid, so that over many templates the remainder does not always go to
/// the cluster whose name sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The name that sorts first wins.
    SmallerName,
    /// The name that sorts last wins.
    LargerName,
}

impl Ties {
    /// The direction for a template: ascending for an empty uid or an even FNV-1a-32 hash of it, else descending.
    #[must_use]
    pub fn of_template(uid: &str) -> Self {
        if uid.is_empty() || pando_api::names::fnv1a32(uid).is_multiple_of(2) {
            Self::SmallerName
        } else {
            Self::LargerName
        }
    }

    /// `Greater` when `a` wins against `b`.
    fn rank<K: Ord>(self, a: &K, b: &K) -> Ordering {
        match self {
            Self::SmallerName => b.cmp(a),
            Self::LargerName => a.cmp(b),
        }
    }
}

/// A total and its parts, which add up to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division<K: Ord> {
    total: u32,
    parts: BTreeMap<K, u32>,
}

/// Why a total could not be divided.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// There is nobody to give to.
    #[error("{total} replicas cannot be divided over no clusters: select at least one")]
    NoParties {
        /// What was to be divided.
        total: u32,
    },
    /// The parts are not a division of the total. Seen only when the algorithm is broken.
    #[error("parts add up to {sum}, not to {total}")]
    DoesNotAddUp {
        /// What was to be divided.
        total: u32,
        /// What the parts add up to.
        sum: u64,
    },
}

impl<K: Ord> Division<K> {
    /// Checks that `parts` add up to `total`.
    ///
    /// # Errors
    ///
    /// [`Error::DoesNotAddUp`] when they do not.
    pub fn new(total: u32, parts: BTreeMap<K, u32>) -> Result<Self, Error> {
        let sum = parts.values().copied().map(u64::from).sum();
        if sum == u64::from(total) { Ok(Self { total, parts }) } else { Err(Error::DoesNotAddUp { total, sum }) }
    }

    /// What was divided.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// The part of one party; `None` for a stranger, `Some(0)` for a party that got nothing.
    #[must_use]
    pub fn part(&self, party: &K) -> Option<u32> {
        self.parts.get(party).copied()
    }

    /// Every part, also the empty ones, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.parts.iter().map(|(party, part)| (party, *part))
    }

    /// The parts by name, also the empty ones.
    #[must_use]
    pub fn into_parts(self) -> BTreeMap<K, u32> {
        self.parts
    }
}

/// `bj 5, sh 3, sz 2`: for explanations and tests.
impl<K: Ord + fmt::Display> fmt::Display for Division<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (party, part)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{party} {part}")?;
        }
        Ok(())
    }
}

/// Divides `total` by `weights`. When every weight is 0, all weigh the same.
///
/// The result depends on the values only, and is house monotone: a larger total takes nothing from anybody.
///
/// # Errors
///
/// [`Error::NoParties`] when there is something to divide and nobody to get it.
pub fn divide<K: Ord + Clone>(total: u32, weights: &BTreeMap<K, u64>, ties: Ties) -> Result<Division<K>, Error> {
    if weights.is_empty() && total > 0 {
        return Err(Error::NoParties { total });
    }
    // With no votes at all every quotient is 0 and only "fewer seats, then name" decides: just as with equal votes.
    let nobody_voted = weights.values().all(|votes| *votes == 0);
    let mut seated: Vec<Claim<'_, K>> = weights
        .iter()
        .map(|(party, votes)| Claim { party, votes: if nobody_voted { 1 } else { *votes }, seats: 0, ties })
        .collect();

    let given = seat_everyone_above_the_threshold(total, &mut seated);
    let seated = seat_one_by_one(total.saturating_sub(given), seated);

    Division::new(total, seated.into_iter().map(|claim| (claim.party.clone(), claim.seats)).collect())
}

/// Gives every seat whose quotient is larger than a threshold that at most `total` quotients exceed, and returns how
/// many were given. In the order of quotients these come before all others, however ties are broken.
///
/// With `n` parties and `v` votes in all, a threshold `t` is exceeded by at most `(v/t + n) / 2` quotients, so
/// `t = v / (2 · total - n)` is safe. It is exceeded by at least `total - n` of them, so no more than `n` seats are left.
fn seat_everyone_above_the_threshold<K: Ord>(total: u32, claims: &mut [Claim<'_, K>]) -> u32 {
    let all_votes: u128 = claims.iter().map(|claim| u128::from(claim.votes)).sum();
    let Some(scale) = (2 * u128::from(total)).checked_sub(claims.len() as u128) else {
        return 0;
    };
    if all_votes == 0 {
        return 0;
    }
    let mut given = 0;
    for claim in claims {
        // Seats s with votes / (2s + 1) > all_votes / scale, that is 2s + 1 < votes · scale / all_votes.
        let odd_numbers_below = (u128::from(claim.votes) * scale).div_ceil(all_votes) / 2;
        claim.seats = u32::try_from(odd_numbers_below).unwrap_or(u32::MAX);
        given += claim.seats;
    }
    given
}

fn seat_one_by_one<K: Ord>(seats: u32, claims: Vec<Claim<'_, K>>) -> Vec<Claim<'_, K>> {
    let mut queue = BinaryHeap::from(claims);
    for _ in 0..seats {
        if let Some(mut next) = queue.peek_mut() {
            next.seats += 1; // the guard restores the heap when it is dropped
        }
    }
    queue.into_vec()
}

/// A party's claim to the next seat; the greatest claim gets it.
struct Claim<'a, K> {
    party: &'a K,
    votes: u64,
    seats: u32,
    ties: Ties,
}

impl<K: Ord> Ord for Claim<'_, K> {
    fn cmp(&self, other: &Self) -> Ordering {
        // a / (2s + 1) against b / (2t + 1) without division; 64 + 33 bits
        let mine = u128::from(self.votes) * (2 * u128::from(other.seats) + 1);
        let theirs = u128::from(other.votes) * (2 * u128::from(self.seats) + 1);
        mine.cmp(&theirs)
            .then_with(|| Reverse(self.seats).cmp(&Reverse(other.seats)))
            .then_with(|| self.ties.rank(self.party, other.party))
    }
}

impl<K: Ord> PartialOrd for Claim<'_, K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord> PartialEq for Claim<'_, K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Ord> Eq for Claim<'_, K> {}
