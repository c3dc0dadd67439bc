//! Pauses between attempts of a watch.

use std::time::Duration;

use pando_context::Instant;

use crate::backoff::{Backoff, fraction};

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// The longest pause while the server cannot be reached at all: nobody is there to be spared, and what changed meanwhile
/// should not wait for half a minute after its return.
const AWAY: Duration = Duration::from_secs(3);
/// What has worked for so long works. A server that answers every list and refuses every watch never does, and must not be
/// listed again and again.
const STABLE: Duration = Duration::from_secs(10);

/// Doubling pauses with jitter: 100–200 ms first, at most 30 s; anew after a stable time.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
    /// When the last pause is over.
    resumed: Option<Instant>,
}

impl Pauses {
    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let now = Instant::now();
        if self.resumed.is_some_and(|resumed| now.saturating_duration_since(resumed) >= STABLE) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let whole = BACKOFF.delay(self.failures);
        // The upper half only: a fleet of watches spreads out, and none of them hammers.
        let pause = whole / 2 + (whole / 2).mul_f64(fraction());
        self.resumed = Some(now + pause);
        pause
    }

    /// The pause after one more attempt that did not reach the server.
    pub(super) fn unreached(&mut self) -> Duration {
        self.next().min(AWAY.mul_f64(1.0 - fraction() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[pando_context::test(paused)]
    async fn pauses_double_up_to_half_a_minute_and_begin_anew_after_a_stable_time_only() {
        let mut pauses = Pauses::default();
        for upper in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let pause = pauses.next();
            let upper = Duration::from_millis(upper);
            assert!(pause >= upper / 2 && pause <= upper, "{pause:?} is not within the upper half of {upper:?}");
            tokio::time::advance(pause + Duration::from_secs(9)).await;
        }
        let pause = pauses.next();
        assert!(pause >= Duration::from_secs(15), "nine good seconds are not yet stable: {pause:?}");
        tokio::time::advance(pause + STABLE).await;
        assert!(pauses.next() <= Duration::from_millis(200));
    }

    #[pando_context::test(paused)]
    async fn a_server_that_is_away_is_looked_for_every_few_seconds() {
        let mut pauses = Pauses::default();
        let all: Vec<_> = (0..20).map(|_| pauses.unreached()).collect();
        assert!(all[0] <= Duration::from_millis(200) && all.iter().all(|pause| *pause <= AWAY), "{all:?}");
        assert!(all[10..].iter().all(|pause| *pause >= AWAY / 2), "{all:?}");
    }
}
