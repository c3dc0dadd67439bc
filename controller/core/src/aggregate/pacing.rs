//! When the status of a binding may be written: at once when it was quiet, seldom while changes keep coming.
//!
//! ```text
//! change ──20 ms──► write ──100 ms──► write ──200 ms──► write ── … 2 s ──► write      (changes all the time)
//!   └ leading edge: what belongs together is written together        └ the last change is always written
//! ```
//!
//! One [`Pace`] for each binding. It holds no timers and reads no clock: moments are durations since any fixed one, from
//! a clock that never goes back. What it says is when to look; whoever looks and finds nothing new writes nothing.

#[cfg(test)]
mod tests;

use std::time::Duration;

/// How long a change is folded with what follows at once.
pub const LEADING_EDGE: Duration = Duration::from_millis(20);
/// How long the first answers of slow members are awaited before a new object is reported without them.
pub const SETTLE: Duration = Duration::from_millis(400);
/// Least time between two reports of one binding.
pub const LEAST: Duration = Duration::from_millis(100);
/// The same while changes keep coming: no report is later than this for the sake of few writes.
pub const MOST: Duration = Duration::from_secs(2);

/// A change within this many intervals of the last report belongs to a series of changes.
const SERIES: u32 = 4;
/// The interval is at least this many times what the last report took: a slow hub is asked less often.
const SHARE: u32 = 8;

/// The pace of one binding's reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    last: Option<Last>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    /// When the last report was begun.
    at: Duration,
    /// How long the next one has to stay away.
    interval: Duration,
}

impl Pace {
    /// How long to wait with a change that was seen at `now`. `complete` says that nobody's first answer is outstanding.
    #[must_use]
    pub fn wait(&self, now: Duration, complete: bool) -> Duration {
        let fold = if complete { LEADING_EDGE } else { SETTLE };
        self.hold(now).map_or(fold, |hold| hold.max(fold))
    }

    /// How long no report may be written yet; `None`: it may.
    #[must_use]
    pub fn hold(&self, now: Duration) -> Option<Duration> {
        let last = self.last.as_ref()?;
        last.at.saturating_add(last.interval).checked_sub(now).filter(|left| !left.is_zero())
    }

    /// A report was begun at `now` and took so long. Doubles the interval within a series of changes and halves it for
    /// every quiet stretch before.
    pub fn reported(&mut self, now: Duration, took: Duration) {
        let interval = self.last.as_ref().map_or(LEAST, |last| last.next(now));
        let interval = interval.max(took.saturating_mul(SHARE)).min(MOST);
        self.last = Some(Last { at: now, interval });
    }

    /// Whether everything was quiet for so long that nothing is worth remembering.
    #[must_use]
    pub fn is_quiet(&self, now: Duration) -> bool {
        self.last.as_ref().is_none_or(|last| now.saturating_sub(last.at) >= MOST * SERIES * 2)
    }
}

impl Last {
    fn next(&self, now: Duration) -> Duration {
        let mut quiet = now.saturating_sub(self.at);
        if quiet < self.interval * SERIES {
            return self.interval * 2;
        }
        let mut interval = self.interval;
        while quiet >= interval * SERIES && interval > LEAST {
            quiet = quiet.saturating_sub(interval * SERIES);
            interval /= 2;
        }
        interval.max(LEAST)
    }
}
