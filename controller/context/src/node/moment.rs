//! Points in time in half the space, and where that will do at a fraction of the price.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Instant;

/// Nanoseconds since an hour before the first node: half as long as an [`Instant`], and a word of its own for "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// Where moments are counted from, as the two clocks have it.
struct Epoch {
    instant: Instant,
    /// What the kernel's clock said, whose last tick is cheap to read.
    kernel: Duration,
}

/// An hour before the first node, for clocks of tests that start a little before it.
#[expect(clippy::disallowed_methods, reason = "no test's clock: it has to serve all of them")]
static EPOCH: LazyLock<Epoch> = LazyLock::new(|| {
    const BEFORE: Duration = Duration::from_secs(3600);
    // In this order, so that no moment is ahead of its time.
    let (now, kernel) = (std::time::Instant::now(), kernel::now().unwrap_or_default());
    match (now.checked_sub(BEFORE), kernel.checked_sub(BEFORE)) {
        (Some(instant), Some(kernel)) => Epoch { instant: instant.into(), kernel },
        _ => Epoch { instant: now.into(), kernel }, // up for less than an hour
    }
});

/// Whether a test has made time stand still. The kernel's clock does not know.
static VIRTUAL: AtomicBool = AtomicBool::new(false);

/// From now on, moments follow the runtime's clock even where the kernel's would be cheaper.
pub(crate) fn follow_virtual_time() {
    VIRTUAL.store(true, Ordering::Relaxed);
}

/// The kernel's monotonic clock. Reading its last tick costs a few loads; asking for the time itself costs a context's
/// whole budget on some virtual machines.
#[cfg(target_os = "linux")]
mod kernel {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn now() -> Option<Duration> {
        read(ClockId::Monotonic)
    }

    pub(super) fn last_tick() -> Option<Duration> {
        read(ClockId::MonotonicCoarse)
    }

    fn read(clock: ClockId) -> Option<Duration> {
        let at = clock_gettime(clock);
        Some(Duration::new(u64::try_from(at.tv_sec).ok()?, u32::try_from(at.tv_nsec).ok()?))
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::time::Duration;

    pub(super) fn now() -> Option<Duration> {
        None
    }

    pub(super) fn last_tick() -> Option<Duration> {
        None
    }
}

impl Moment {
    /// Also every moment that is further away than the clock of a computer will ever get: 584 years.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Now, or up to some milliseconds ago. Good for ages, not for deadlines.
    pub(super) fn about_now() -> Self {
        let tick = (!VIRTUAL.load(Ordering::Relaxed)).then(kernel::last_tick).flatten();
        tick.map_or_else(|| Instant::now().into(), |tick| Self::after(tick.saturating_sub(EPOCH.kernel)))
    }

    fn after(epoch: Duration) -> Self {
        const NANOS: u64 = 1_000_000_000;
        Self(epoch.as_secs().saturating_mul(NANOS).saturating_add(u64::from(epoch.subsec_nanos())))
    }

    /// The moment as others know it; `None` for [`Moment::NEVER`].
    pub(super) fn instant(self) -> Option<Instant> {
        (self != Self::NEVER).then(|| EPOCH.instant + Duration::from_nanos(self.0))
    }
}

impl From<Instant> for Moment {
    fn from(at: Instant) -> Self {
        Self::after(at.saturating_duration_since(EPOCH.instant))
    }
}

impl From<Option<Instant>> for Moment {
    fn from(at: Option<Instant>) -> Self {
        at.map_or(Self::NEVER, Self::from)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Moment;
    use crate::Instant;

    #[test]
    fn a_moment_is_the_instant_it_was_made_of_to_the_nanosecond() {
        let now = Instant::now();
        for at in [now, now + Duration::from_nanos(1), now + Duration::from_secs(86_400 * 365 * 100)] {
            assert_eq!(Moment::from(at).instant(), Some(at));
        }
        assert!(Moment::from(now) < Moment::from(now + Duration::from_nanos(1)));
    }

    #[test]
    fn no_deadline_is_later_than_all_others() {
        assert_eq!(Moment::from(None), Moment::NEVER);
        assert_eq!(Moment::NEVER.instant(), None);
        assert!(Moment::about_now() < Moment::NEVER);
    }

    #[test]
    fn about_now_is_not_long_ago() {
        let before = Instant::now();
        let about = Moment::about_now().instant().unwrap_or(before);
        assert!(about <= Instant::now(), "never ahead: ages would be cut off at zero");
        assert!(before.saturating_duration_since(about) < Duration::from_secs(1));
    }
}
