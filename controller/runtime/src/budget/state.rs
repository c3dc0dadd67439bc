//! The rules of the budget as a value: the time is handed in, nothing waits, nothing is locked.

use std::time::Duration;

use pando_context::Instant;

use super::Outcome;
use crate::backoff::Backoff;
use crate::priority::{Lanes, Place, Priority};

/// Every so many-th write is the one that has waited longest, whatever its priority.
const TURN: u32 = 8;
/// A server is never given fewer writes at the same time than this, or the most that is allowed: less would not help
/// it, and would hide that it has recovered.
const FEWEST: usize = 4;
/// The longest pause of all writes for a refusal of one: it may concern that kind of write alone. A server that is
/// overloaded for real refuses the next ones too, and each time fewer are sent.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Refusals that come closer together than this, with answers in between, concern some writes and not all.
const TOGETHER: Duration = Duration::from_secs(30);
/// A server that has left so many writes in a row without an answer in time is away.
const SILENT: u32 = 8;
/// Kubernetes' own objective for the latency of a write (the 99th percentile over 5 minutes). What is answered in this
/// time is not slow.
const SLOW: Duration = Duration::from_secs(1);
/// Between attempts to reach a server that is away.
const AWAY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// How fast the usual latency follows: in so many writes when they get slower, and when they get faster. A server that
/// is merely far away, or slow for good, becomes usual; one that gets slower under load is noticed before.
const USUAL_SLOWER: u32 = 256;
const USUAL_FASTER: u32 = 16;

/// What is worth saying about the end of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The server wants to be left alone: as long as it asked, and as long as it gets.
    Paused { asked: Duration, granted: Duration },
    /// The server cannot be reached any more.
    Away,
    /// The server answers again.
    Back,
}

/// Why writes were slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server asked for a pause.
    Later,
    /// The server failed, or did not answer in time.
    Overloaded,
    /// The server was much slower than usual.
    Slow,
    /// The server cannot be reached.
    Away,
}

impl Cause {
    /// As it is called in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Later => "later",
            Self::Overloaded => "overloaded",
            Self::Slow => "slow",
            Self::Away => "away",
        }
    }
}

/// What the end of a write has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lesson {
    pub(super) slowed: Option<Cause>,
    pub(super) notice: Option<Notice>,
}

/// A write that may be sent.
#[derive(Debug)]
pub(super) struct Granted<W> {
    pub(super) waiter: W,
    pub(super) priority: Priority,
    pub(super) waited: Duration,
}

/// The state of a budget. `W` is whoever waits.
#[derive(Debug)]
pub(super) struct State<W> {
    most: usize,
    limit: usize,
    in_flight: usize,
    waiting: Lanes<W>,
    /// No write is sent before this time.
    paused_until: Option<Instant>,
    /// Attempts in a row that did not reach the server.
    unreached: u32,
    /// Writes in a row without an answer in time.
    late: u32,
    /// When a write was last refused for now, and whether others were answered since.
    refused_at: Option<Instant>,
    has_answered: bool,
    /// Writes well answered since the limit last moved, while it was used.
    credit: usize,
    /// When writes were last slowed down: what was sent before says nothing new.
    slowed_at: Option<Instant>,
    usual: Option<Duration>,
}

impl<W> State<W> {
    /// At most `most` writes at the same time, and at least one.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            limit: most,
            in_flight: 0,
            waiting: Lanes::new(TURN),
            paused_until: None,
            unreached: 0,
            late: 0,
            refused_at: None,
            has_answered: false,
            credit: 0,
            slowed_at: None,
            usual: None,
        }
    }

    /// How many writes may be under way now. While the server is away, one that tries.
    pub(super) fn limit(&self) -> usize {
        if self.is_away() { 1 } else { self.limit }
    }

    /// Whether the last attempts did not reach the server.
    pub(super) const fn is_away(&self) -> bool {
        self.unreached > 0
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> [usize; Priority::COUNT] {
        Priority::ALL.map(|priority| self.waiting.len(priority))
    }

    pub(super) fn waiters(&self) -> impl Iterator<Item = &W> {
        self.waiting.iter()
    }

    /// Puts a write in line.
    pub(super) fn enter(&mut self, priority: Priority, waiter: W, now: Instant) -> Place {
        self.waiting.push(priority, now, waiter)
    }

    /// Takes a write out of the line, if it is still there.
    pub(super) fn leave(&mut self, priority: Priority, place: Place) {
        self.waiting.remove(priority, place);
    }

    /// The next write that may be sent, if one may. It is under way from here on.
    pub(super) fn grant(&mut self, now: Instant) -> Option<Granted<W>> {
        if self.pause(now).is_some() || self.in_flight >= self.limit() {
            return None;
        }
        let (priority, since, waiter) = self.waiting.pop()?;
        self.in_flight += 1;
        Some(Granted { waiter, priority, waited: now.saturating_duration_since(since) })
    }

    /// How long no write is sent from now on; `None` if there is no pause.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let left = self.paused_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// A write that was sent at `sent` has ended.
    pub(super) fn ended(&mut self, sent: Instant, outcome: Outcome, now: Instant) -> Lesson {
        let is_used = self.in_flight >= self.limit() || !self.waiting.is_empty();
        self.in_flight = self.in_flight.saturating_sub(1);
        let took = now.saturating_duration_since(sent);
        let outcome = self.judge(outcome);
        let mut lesson = Lesson::default();
        if !matches!(outcome, Outcome::Unreachable | Outcome::Abandoned) && std::mem::take(&mut self.unreached) > 0 {
            self.paused_until = None;
            lesson.notice = Some(Notice::Back);
        }
        match outcome {
            Outcome::Abandoned => {}
            Outcome::Answered => match self.is_slow(took) {
                true => lesson.slowed = self.slow_down(sent, now, Cause::Slow),
                false if is_used => self.speed_up(),
                false => {}
            },
            Outcome::Overloaded | Outcome::Late => lesson.slowed = self.slow_down(sent, now, Cause::Overloaded),
            Outcome::Later(asked) => {
                let granted = asked.min(LONGEST_PAUSE);
                lesson.slowed = self.slow_down(sent, now, Cause::Later);
                if self.concerns_all(now) && self.pause_until(now + granted) {
                    lesson.notice = Some(Notice::Paused { asked, granted });
                }
            }
            // Of several that were under way when the server went away, the first says it all.
            Outcome::Unreachable if self.unreached > 0 && self.slowed_at.is_some_and(|at| sent < at) => {}
            Outcome::Unreachable => {
                lesson.slowed = Some(Cause::Away);
                lesson.notice = (self.unreached == 0).then_some(Notice::Away);
                self.unreached = self.unreached.saturating_add(1);
                self.slowed_at = Some(now);
                self.pause_until(now + AWAY.delay(self.unreached));
            }
        }
        lesson
    }

    /// Takes a server that has not answered for long, or not since it was away, to be away.
    fn judge(&mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Late => self.late = self.late.saturating_add(1),
            Outcome::Unreachable | Outcome::Abandoned => {}
            Outcome::Overloaded | Outcome::Later(_) => self.late = 0,
            Outcome::Answered => (self.late, self.has_answered) = (0, true),
        }
        let is_silent = outcome == Outcome::Late && (self.late >= SILENT || self.is_away());
        if is_silent { Outcome::Unreachable } else { outcome }
    }

    /// Whether a refusal is taken to concern every write: unless others have been answered since the last one.
    fn concerns_all(&mut self, now: Instant) -> bool {
        let has_answered = std::mem::take(&mut self.has_answered);
        let before = self.refused_at.replace(now);
        !(has_answered && before.is_some_and(|at| now.saturating_duration_since(at) < TOGETHER))
    }

    /// Extends the pause; false if it is as long already.
    fn pause_until(&mut self, end: Instant) -> bool {
        let longer = self.paused_until.is_none_or(|until| until < end);
        if longer {
            self.paused_until = Some(end);
        }
        longer
    }

    /// Learns the usual latency; true when this write took far longer.
    fn is_slow(&mut self, took: Duration) -> bool {
        let Some(usual) = self.usual else {
            self.usual = Some(took);
            return false;
        };
        self.usual = Some(match took.checked_sub(usual) {
            Some(more) => usual + more / USUAL_SLOWER,
            None => usual - (usual - took) / USUAL_FASTER,
        });
        took > SLOW.max(usual * 2)
    }

    /// Fewer at the same time: by a tenth when the server is slow, by a third when it fails. Once for all that was
    /// under way together.
    fn slow_down(&mut self, sent: Instant, now: Instant, cause: Cause) -> Option<Cause> {
        if self.slowed_at.is_some_and(|at| sent < at) {
            return None;
        }
        let less = if cause == Cause::Slow { self.limit.div_ceil(10) } else { self.limit.div_ceil(3) };
        self.limit = (self.limit - less).max(FEWEST).min(self.most);
        self.credit = 0;
        self.slowed_at = Some(now);
        Some(cause)
    }

    /// One more at the same time, after as many good answers as may be under way.
    const fn speed_up(&mut self) {
        self.credit += 1;
        if self.credit >= self.limit {
            self.credit = 0;
            if self.limit < self.most {
                self.limit += 1;
            }
        }
    }
}
