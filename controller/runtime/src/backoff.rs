//! How long to wait after the n-th failure in a row.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Delays that double from `initial` up to `max`. A value without state: the caller counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// For one key of a work queue: 5 ms as in client-go, but at most 30 s. (client-go and Karmada
    /// go to 1000 s; an object whose cause was fixed should not wait a quarter of an hour.)
    pub const KEY: Self = Self::new(Duration::from_millis(5), Duration::from_secs(30));

    /// For one key whose write lost against somebody else's: reading again settles it, and the other side may write on
    /// and on, so the delay stays short.
    pub const CONTENDED: Self = Self::new(Duration::from_millis(5), Duration::from_secs(1));

    /// Delays from `initial` (the first one) to `max` (never more).
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The delay after this many failures in a row; after none it is zero.
    pub fn delay(self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.initial.saturating_mul(factor).min(self.max)
            }
        }
    }
}

/// A random number in [0, 1), for jitter: the keys of a fresh hasher are random enough to spread clients.
pub fn fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit() {
        let delays = |failures: u32| Backoff::KEY.delay(failures).as_millis();
        assert_eq!([0, 1, 2, 3, 12].map(delays), [0, 5, 10, 20, 10_240]);
        assert_eq!([13, 14, 33, 34, u32::MAX].map(delays), [20_480, 30_000, 30_000, 30_000, 30_000]);
    }
}
