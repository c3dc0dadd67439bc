//! How many calls a member gets at the same time. A value: no lock, no clock, nothing waits.
//!
//! Additive increase, multiplicative decrease, as TCP has it. A member that answers quickly gets more, up to [`MOST`]; one that
//! does not answer, says that it is overloaded, or has become much slower than it is by nature gets less, down to
//! [`LEAST`]. What is quick is the member's own measure: far away is not overloaded.

use std::time::Duration;

use pando_context::Instant;

/// Every member gets so many calls at a time, however badly it answers: enough to notice that it is well again.
pub const LEAST: usize = 4;
/// No member gets more than so many. An API server's fair share for one client is in this order.
pub const MOST: usize = 64;

/// Slower than so many times the member's own measure …
const MUCH_SLOWER: u32 = 4;
/// … and by at least this much is overload. Below it are the whims of any network.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// Calls that are measured apart: a write waits for the member's disk, a read does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// GET.
    Read,
    /// Everything that changes something.
    Write,
}

/// What one finished call says about the load of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// It was answered, after this time.
    Answered(Class, Duration),
    /// It was not answered in time, refused for load (429, 5xx), or its connection broke.
    Overload,
}

/// The limit of one member.
#[derive(Clone, Debug)]
pub struct Limit {
    now: usize,
    /// It stays as it is, whatever the calls say.
    is_fixed: bool,
    /// Up to here every answer makes room for one more call, above every round of answers does.
    steep_until: usize,
    /// Answers since the last step.
    answers: usize,
    /// Calls that began earlier say nothing new.
    cut: Option<Instant>,
    reads: Pace,
    writes: Pace,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            now: LEAST,
            is_fixed: false,
            steep_until: MOST,
            answers: 0,
            cut: None,
            reads: Pace::default(),
            writes: Pace::default(),
        }
    }
}

impl Limit {
    /// A limit that stays as it is: for tests of load. Beyond [`MOST`] if need be.
    #[must_use]
    pub fn fixed(calls: usize) -> Self {
        Self { now: calls, is_fixed: true, ..Self::default() }
    }

    /// The present limit, from [`LEAST`] to [`MOST`] unless it is fixed.
    #[must_use]
    pub fn get(&self) -> usize {
        self.now
    }

    /// Takes in a call that began at `began` and has ended at `now`; `in_flight` counts it and those beside it. A limit
    /// that is not used is not raised: nobody knows what the member would say to more.
    pub fn observe(&mut self, sample: Sample, began: Instant, in_flight: usize, now: Instant) {
        if self.is_fixed {
            return;
        }
        let is_slow = match sample {
            Sample::Answered(Class::Read, took) => self.reads.is_much_slower(took),
            Sample::Answered(Class::Write, took) => self.writes.is_much_slower(took),
            Sample::Overload => return self.cut(began, now, 1, 2),
        };
        if is_slow {
            self.cut(began, now, 3, 4);
        } else if in_flight.saturating_mul(2) > self.now {
            self.grow();
        }
    }

    /// Begins anew after an outage: from [`LEAST`] on, steeply up to half of what it was.
    pub fn restart(&mut self) {
        if self.is_fixed {
            return;
        }
        self.steep_until = (self.now / 2).max(LEAST * 4);
        self.now = LEAST;
        self.answers = 0;
    }

    fn grow(&mut self) {
        self.answers += 1;
        let needed = if self.now < self.steep_until { 1 } else { self.now };
        if self.answers >= needed {
            self.answers = 0;
            self.now = (self.now + 1).min(MOST);
        }
    }

    /// Once for each round: the calls that were in flight together tell of the same overload.
    fn cut(&mut self, began: Instant, now: Instant, times: usize, over: usize) {
        if self.cut.is_some_and(|cut| began < cut) {
            return;
        }
        self.cut = Some(now);
        self.now = (self.now * times / over).max(LEAST);
        self.steep_until = self.now;
        self.answers = 0;
    }
}

/// The member's own measure for one class of calls.
#[derive(Clone, Debug, Default)]
struct Pace {
    /// What it takes by nature: the lowest seen, rising slowly.
    usual: Option<Duration>,
    /// What it takes at present, smoothed: one slow call is not a slow member.
    recent: Duration,
}

impl Pace {
    fn is_much_slower(&mut self, took: Duration) -> bool {
        let Some(usual) = self.usual else {
            (self.usual, self.recent) = (Some(took), took);
            return false;
        };
        self.recent = self.recent - self.recent / 8 + took / 8;
        // A member that has become slower for good is believed after some thousand calls.
        let usual = took.min(usual + took.saturating_sub(usual) / 2048);
        self.usual = Some(usual);
        self.recent > usual * MUCH_SLOWER + NOTICEABLE
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const QUICK: Sample = Sample::Answered(Class::Write, Duration::from_millis(5));

    /// A member that is always asked for as much as is allowed; each round of calls takes 10 ms.
    struct Rounds {
        limit: Limit,
        at: Instant,
    }

    impl Rounds {
        fn new() -> Self {
            Self { limit: Limit::default(), at: Instant::now() }
        }

        fn rounds(&mut self, count: usize, sample: Sample) {
            for _ in 0..count {
                self.round(sample);
            }
        }

        fn round(&mut self, sample: Sample) -> usize {
            let (began, calls) = (self.at, self.limit.get());
            self.at += Duration::from_millis(10);
            for _ in 0..calls {
                self.limit.observe(sample, began, calls, self.at);
            }
            self.limit.get()
        }
    }

    #[test]
    fn a_quick_member_soon_gets_much() {
        let mut rounds = Rounds::new();
        let limits: Vec<usize> = (0..6).map(|_| rounds.round(QUICK)).collect();
        assert_eq!(limits, [8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn one_round_of_overload_halves_once_and_then_it_grows_slowly() {
        let mut rounds = Rounds::new();
        rounds.rounds(6, QUICK);
        assert_eq!(rounds.round(Sample::Overload), 32);
        assert_eq!([rounds.round(QUICK), rounds.round(QUICK)], [33, 34]);
        let down: Vec<usize> = (0..4).map(|_| rounds.round(Sample::Overload)).collect();
        assert_eq!(down, [17, 8, 4, 4]);
    }

    #[test]
    fn a_limit_that_is_not_used_stays() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        (0..100).for_each(|_| limit.observe(QUICK, now, 1, now));
        assert_eq!(limit.get(), LEAST);
    }

    #[test]
    fn far_away_is_not_overloaded_but_much_slower_than_usual_is() {
        let far = Sample::Answered(Class::Write, Duration::from_millis(600));
        let mut rounds = Rounds::new();
        rounds.rounds(6, far);
        assert_eq!(rounds.limit.get(), MOST);
        let slow = Sample::Answered(Class::Write, Duration::from_secs(4));
        rounds.rounds(3, slow);
        assert!(rounds.limit.get() < MOST, "{}", rounds.limit.get());
    }

    #[test]
    fn one_slow_call_is_not_a_slow_member() {
        let mut rounds = Rounds::new();
        rounds.rounds(6, QUICK);
        let (began, now) = (rounds.at, rounds.at + Duration::from_secs(1));
        rounds.limit.observe(Sample::Answered(Class::Write, Duration::from_millis(900)), began, 40, now);
        assert_eq!(rounds.limit.get(), MOST);
    }

    #[test]
    fn after_an_outage_it_begins_small_and_finds_back_to_half_of_what_it_was_at_once() {
        let mut rounds = Rounds::new();
        rounds.rounds(6, QUICK);
        rounds.limit.restart();
        assert_eq!(rounds.limit.get(), LEAST);
        let limits: Vec<usize> = (0..4).map(|_| rounds.round(QUICK)).collect();
        assert_eq!(limits, [8, 16, 32, 33]);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_limit_stays_in_its_bounds_and_overload_never_raises_it(
            steps in proptest::collection::vec((0_u8..5, 0_u64..5_000, 1_usize..80, 0_u64..200), 1..400)
        ) {
            let (mut limit, mut now) = (Limit::default(), Instant::now());
            for (what, took, in_flight, pause) in steps {
                let before = limit.get();
                let took = Duration::from_millis(took);
                let began = now;
                now += Duration::from_millis(pause);
                match what {
                    0 => limit.restart(),
                    1 => limit.observe(Sample::Overload, began, in_flight, now),
                    2 => limit.observe(Sample::Answered(Class::Read, took), began, in_flight, now),
                    _ => limit.observe(Sample::Answered(Class::Write, took), began, in_flight, now),
                }
                prop_assert!((LEAST..=MOST).contains(&limit.get()));
                prop_assert!(limit.get() <= before + 1, "one call never makes room for more than one");
                if what < 2 {
                    prop_assert!(limit.get() <= before);
                }
            }
        }
    }
}
