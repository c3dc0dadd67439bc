//! Pauses between attempts of a watch.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::backoff::Backoff;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// Doubling pauses with jitter: 100–200 ms first, at most 30 s.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let whole = BACKOFF.delay(self.failures);
        // The upper half only: a fleet of watches spreads out, and none of them hammers.
        whole / 2 + (whole / 2).mul_f64(fraction())
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number in [0, 1): the keys of a fresh hasher are random enough to spread clients.
fn fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_begin_anew_after_a_success() {
        let mut pauses = Pauses::default();
        for upper in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let pause = pauses.next();
            let upper = Duration::from_millis(upper);
            assert!(pause >= upper / 2 && pause <= upper, "{pause:?} is not within the upper half of {upper:?}");
        }
        pauses.reset();
        assert!(pauses.next() <= Duration::from_millis(200));
    }
}
