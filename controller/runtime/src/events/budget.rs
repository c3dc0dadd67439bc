//! A token bucket, as a value: the time is handed in.

use std::time::Duration;

use pando_context::Instant;

/// Lets `rate` pass per second, and up to `burst` at once after a quiet time.
#[derive(Debug)]
pub(super) struct Budget {
    interval: Duration,
    burst: u32,
    /// When the bucket was, or will be, empty: tokens are the intervals since then.
    empty_at: Instant,
}

impl Budget {
    pub(super) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / rate.max(1);
        // A full bucket. At the beginning of the clock there may be no such time before.
        let empty_at = now.checked_sub(interval * burst).unwrap_or(now);
        Self { interval, burst, empty_at }
    }

    /// Takes a token, or says how long until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full = now.checked_sub(self.interval * self.burst).unwrap_or(self.empty_at);
        let after = self.empty_at.max(full) + self.interval;
        match after.checked_duration_since(now) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.empty_at = after;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now() + Duration::from_secs(1000);
        let mut budget = Budget::new(5, 3, start);
        for _ in 0..3 {
            assert_eq!(budget.take(start), Ok(()));
        }
        assert_eq!(budget.take(start), Err(Duration::from_millis(200)));
        let later = start + Duration::from_millis(200);
        assert_eq!(budget.take(later), Ok(()));
        assert_eq!(budget.take(later), Err(Duration::from_millis(200)));
        let quiet = later + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| budget.take(quiet).is_ok()).count(), 3);
    }
}
