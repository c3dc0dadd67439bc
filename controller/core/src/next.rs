//! When a reconcile wants to run again.

use std::{cmp::Ordering, time::Duration};

/// When to look again. Several wishes merge with [`min`](Ord::min): the earliest wins, and [`Next::forget`] wins only
/// against nothing else.
///
/// Failures are not expressed here: a reconcile that returns an error backs off in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next(When);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    // declared from early to late: the derived order is the order of merging
    After(Duration),
    AwaitChange,
    Forget,
}

impl Next {
    /// Look again when something that was read changes; not before.
    #[must_use]
    pub const fn await_change() -> Self {
        Self(When::AwaitChange)
    }

    /// The object is gone: nothing about it needs to be remembered.
    #[must_use]
    pub const fn forget() -> Self {
        Self(When::Forget)
    }

    /// Look again after this time, or earlier when something changes.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self(When::After(delay))
    }

    /// The delay to wait, if one was asked for.
    #[must_use]
    pub const fn delay(self) -> Option<Duration> {
        match self.0 {
            When::After(delay) => Some(delay),
            When::AwaitChange | When::Forget => None,
        }
    }

    /// Whether the object is gone.
    #[must_use]
    pub const fn is_forget(self) -> bool {
        matches!(self.0, When::Forget)
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Next;

    #[test]
    fn the_earliest_wish_wins() {
        let [soon, late] = [1, 60].map(|seconds| Next::after(Duration::from_secs(seconds)));
        assert_eq!(late.min(soon), soon);
        assert_eq!(Next::await_change().min(late), late);
        assert_eq!(Next::forget().min(Next::await_change()), Next::await_change());
        assert_eq!(Next::forget().min(Next::forget()), Next::forget());
        assert_eq!([late, Next::await_change(), soon].into_iter().min(), Some(soon));
    }

    #[test]
    fn only_a_wish_for_time_has_a_delay() {
        assert_eq!(Next::after(Duration::from_secs(5)).delay(), Some(Duration::from_secs(5)));
        assert_eq!(Next::await_change().delay(), None);
        assert_eq!(Next::forget().delay(), None);
        assert!(Next::forget().is_forget() && !Next::await_change().is_forget());
    }
}
