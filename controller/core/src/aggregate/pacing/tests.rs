#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One binding, its place in a queue whose earliest wish wins, and a hub that answers after `took`.
struct Rig {
    pace: Pace,
    took: Duration,
    /// When to look, and the change that is outstanding, if there is one.
    due: Option<Duration>,
    outstanding: bool,
    /// When a report was written.
    writes: Vec<Duration>,
}

impl Rig {
    fn new(took: Duration) -> Self {
        Self { pace: Pace::default(), took, due: None, outstanding: false, writes: Vec::new() }
    }

    fn changed(&mut self, now: Duration, complete: bool) {
        self.outstanding = true;
        let due = now + self.pace.wait(now, complete);
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    fn look(&mut self, now: Duration) {
        self.due = None;
        if let Some(hold) = self.pace.hold(now) {
            self.due = Some(now + hold);
        } else if std::mem::take(&mut self.outstanding) {
            self.writes.push(now);
            self.pace.reported(now, self.took);
        }
    }

    /// Plays changes (time, complete) in order until everything rests.
    fn play(took: Duration, changes: impl IntoIterator<Item = (Duration, bool)>) -> Vec<Duration> {
        let mut rig = Self::new(took);
        for (at, complete) in changes {
            rig.until(at);
            rig.changed(at, complete);
        }
        rig.until(Duration::MAX);
        assert!(!rig.outstanding, "a change was never reported");
        rig.writes
    }

    fn until(&mut self, end: Duration) {
        while let Some(due) = self.due.filter(|due| *due <= end) {
            self.look(due);
        }
    }
}

fn every(step: u64, count: u64) -> Vec<(Duration, bool)> {
    (0..count).map(|i| (ms(1000 + i * step), true)).collect()
}

fn millis(writes: &[Duration]) -> Vec<u128> {
    writes.iter().map(Duration::as_millis).collect()
}

#[test]
fn a_single_change_is_reported_after_the_leading_edge() {
    assert_eq!(Rig::play(ms(0), [(ms(1000), true)]), [ms(1020)]);
}

#[test]
fn changes_that_belong_together_are_one_report() {
    assert_eq!(Rig::play(ms(0), [(ms(1000), true), (ms(1005), true), (ms(1019), true)]), [ms(1020)]);
}

#[test]
fn a_new_object_waits_for_its_slow_member_but_not_for_ever() {
    assert_eq!(Rig::play(ms(0), [(ms(1000), false), (ms(1100), false)]), [ms(1400)]);
    assert_eq!(Rig::play(ms(0), [(ms(1000), false), (ms(1100), true)]), [ms(1120)]);
}

#[test]
fn while_changes_keep_coming_reports_become_seldom() {
    let writes = Rig::play(ms(0), every(10, 1000));
    assert_eq!(millis(&writes), [1020, 1120, 1320, 1720, 2520, 4120, 6120, 8120, 10120, 12120]);
}

#[test]
fn changes_far_apart_are_each_reported_at_once() {
    let writes = Rig::play(ms(0), every(1000, 5));
    assert_eq!(millis(&writes), [1020, 2020, 3020, 4020, 5020]);
}

#[test]
fn after_a_storm_the_first_change_is_reported_at_once_again() {
    let mut changes = every(10, 1000);
    changes.push((ms(20_000), true));
    let writes = Rig::play(ms(0), changes);
    assert_eq!(writes.last(), Some(&ms(20_020)));
}

#[test]
fn quiet_stretches_bring_the_interval_back_step_by_step() {
    let mut pace = Pace { last: Some(Last { at: ms(0), interval: MOST }) };
    pace.reported(ms(8000), ms(0));
    assert_eq!(pace.last, Some(Last { at: ms(8000), interval: ms(1000) }));
    pace.reported(ms(8000 + 4000 + 2000), ms(0));
    assert_eq!(pace.last, Some(Last { at: ms(14_000), interval: ms(250) }));
    pace.reported(ms(60_000), ms(0));
    assert_eq!(pace.last, Some(Last { at: ms(60_000), interval: LEAST }));
}

#[test]
fn a_slow_hub_is_written_to_less_often() {
    let mut pace = Pace::default();
    pace.reported(ms(0), ms(100));
    assert_eq!(pace.hold(ms(0)), Some(ms(800)));
    pace.reported(ms(800), ms(30_000));
    assert_eq!(pace.hold(ms(800)), Some(MOST));
}

#[test]
fn what_is_quiet_can_be_forgotten_without_a_difference() {
    let mut pace = Pace::default();
    assert!(pace.is_quiet(ms(0)));
    pace.reported(ms(1000), ms(0));
    assert!(!pace.is_quiet(ms(1000)));
    let later = ms(1000) + MOST * SERIES * 2;
    assert!(pace.is_quiet(later));
    assert_eq!(pace.wait(later, true), Pace::default().wait(later, true));
}

proptest! {
    #[test]
    fn no_change_is_lost_and_none_waits_too_long(
        gaps in proptest::collection::vec(prop_oneof![0_u64..3000, 0_u64..500], 1..60),
        complete in proptest::collection::vec(any::<bool>(), 60),
        took in 0_u64..400,
    ) {
        let mut at = ms(0);
        let changes: Vec<_> = gaps.iter().zip(&complete).map(|(gap, complete)| {
            at += ms(*gap);
            (at, *complete)
        }).collect();
        let writes = Rig::play(ms(took), changes.clone());
        // Every change is followed by a report that is not later than the longest interval.
        let reports: BTreeMap<_, _> = writes.iter().map(|at| (*at, ())).collect();
        for (at, _) in &changes {
            let (report, ()) = reports.range(*at..).next().expect("a report after every change");
            prop_assert!(*report <= *at + MOST.max(SETTLE) + LEADING_EDGE);
        }
        // No more reports than changes, few in any stretch of time, and never two at once.
        prop_assert!(writes.len() <= changes.len());
        let span = writes.last().zip(writes.first()).map_or(ms(0), |(last, first)| *last - *first);
        prop_assert!(writes.len() as u128 <= 6 + span.as_millis() / 400, "{} reports in {span:?}", writes.len());
        for pair in writes.windows(2) {
            prop_assert!(pair[1] - pair[0] >= LEAST);
        }
    }

    #[test]
    fn a_storm_of_any_density_costs_few_reports(step in 1_u64..90, seconds in 1_u64..40) {
        let writes = Rig::play(ms(0), every(step, seconds * 1000 / step));
        // Five doublings, then one every two seconds, and the trailing edge.
        prop_assert!(writes.len() as u64 <= 6 + seconds / 2 + 1, "{} reports in {seconds} s", writes.len());
    }
}
