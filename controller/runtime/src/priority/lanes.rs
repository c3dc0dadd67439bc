//! What waits, in the order in which it is served.

use std::collections::BTreeMap;

use pando_context::Instant;

use super::Priority;

/// The most urgent goes first, within a priority who came first. Every `turn`-th served is whoever has waited longest,
/// however unimportant: so nobody waits for ever, and a flood of unimportant work takes at most that share.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: [BTreeMap<Place, (Instant, T)>; Priority::COUNT],
    /// Places given out so far.
    places: u64,
    turn: u32,
    /// Served since the last one that had waited longest.
    served: u32,
}

/// A place in a lane: who came first has the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u64);

impl<T> Lanes<T> {
    /// Nothing waits. `turn` is at least 1.
    pub(crate) fn new(turn: u32) -> Self {
        Self { lanes: Default::default(), places: 0, turn, served: 0 }
    }

    /// Puts something at the end of its lane. `since` is when its waiting began, for those who look.
    pub(crate) fn push(&mut self, priority: Priority, since: Instant, item: T) -> Place {
        self.places += 1;
        let place = Place(self.places);
        self.lanes[priority.lane()].insert(place, (since, item));
        place
    }

    /// Takes something out before its turn.
    pub(crate) fn remove(&mut self, priority: Priority, place: Place) -> Option<(Instant, T)> {
        self.lanes[priority.lane()].remove(&place)
    }

    /// Takes out what is served next.
    pub(crate) fn pop(&mut self) -> Option<(Priority, Instant, T)> {
        let waiting = || Priority::ALL.into_iter().filter(|priority| !self.lanes[priority.lane()].is_empty());
        let urgent = waiting().next()?;
        let longest = waiting().min_by_key(|priority| self.lanes[priority.lane()].keys().next().copied())?;
        self.served += 1;
        let priority = if self.served >= self.turn { longest } else { urgent };
        if priority == longest {
            self.served = 0;
        }
        let (_, (since, item)) = self.lanes[priority.lane()].pop_first()?;
        Some((priority, since, item))
    }

    /// How much waits with this priority.
    pub(crate) fn len(&self, priority: Priority) -> usize {
        self.lanes[priority.lane()].len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(BTreeMap::is_empty)
    }

    /// Since when the first of each lane have waited, the earliest.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.values().next()).map(|(since, _)| *since).min()
    }

    /// All that wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().flat_map(BTreeMap::values).map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const TURN: u32 = 8;

    fn any_priority() -> impl Strategy<Value = Priority> {
        proptest::sample::select(Priority::ALL.to_vec())
    }

    #[test]
    fn the_most_urgent_goes_first_and_within_a_priority_who_came_first() {
        let (mut lanes, now) = (Lanes::new(TURN), Instant::now());
        for priority in
            [Priority::Status, Priority::Background, Priority::Normal, Priority::Removal, Priority::Reaction]
        {
            lanes.push(priority, now, 1);
            lanes.push(priority, now, 2);
        }
        // The longest waiting ones are served by their rank before the turn comes round.
        let order: Vec<_> = std::iter::from_fn(|| lanes.pop()).take(7).map(|(priority, _, n)| (priority, n)).collect();
        let ranks = [Priority::Removal, Priority::Normal, Priority::Reaction, Priority::Status];
        let expected: Vec<_> = ranks.into_iter().flat_map(|priority| [(priority, 1), (priority, 2)]).take(7).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn a_flood_of_urgent_work_leaves_a_share_to_those_who_wait_longest() {
        let (mut lanes, now) = (Lanes::new(TURN), Instant::now());
        (0..3).for_each(|n| {
            lanes.push(Priority::Background, now, n);
        });
        let mut at = Vec::new();
        for served in 1..100 {
            lanes.push(Priority::Removal, now, 100);
            if lanes.pop().unwrap().0 == Priority::Background {
                at.push(served);
            }
        }
        assert_eq!(at, [8, 16, 24]);
    }

    #[test]
    fn a_backlog_of_unimportant_work_takes_no_more_than_its_share() {
        let (mut lanes, now) = (Lanes::new(TURN), Instant::now());
        (0..1000).for_each(|n| {
            lanes.push(Priority::Background, now, n);
        });
        (0..80).for_each(|n| {
            lanes.push(Priority::Normal, now, n);
        });
        let first: Vec<_> = std::iter::from_fn(|| lanes.pop()).take(80).map(|(priority, ..)| priority).collect();
        assert_eq!(first.iter().filter(|priority| **priority == Priority::Background).count(), 10);
    }

    proptest! {
        /// Whatever comes meanwhile, whoever has `n` before it in time is served after at most `TURN * (n + 1)` others.
        #[test]
        fn nobody_starves(before in proptest::collection::vec(any_priority(), 0..20), own in any_priority(),
                          flood in proptest::collection::vec(any_priority(), 1..8)) {
            let (mut lanes, now) = (Lanes::new(TURN), Instant::now());
            before.iter().for_each(|priority| { lanes.push(*priority, now, false); });
            lanes.push(own, now, true);
            let mut flood = flood.into_iter().cycle();
            let bound = TURN as usize * (before.len() + 1);
            let mut served = 0;
            loop {
                flood.by_ref().take(2).for_each(|priority| { lanes.push(priority, now, false); });
                served += 1;
                if lanes.pop().unwrap().2 {
                    break;
                }
                prop_assert!(served <= bound, "{served} others were served first");
            }
        }

        /// What is put in comes out once, or was removed.
        #[test]
        fn nothing_is_lost(items in proptest::collection::vec((any_priority(), any::<bool>()), 0..40)) {
            let (mut lanes, now) = (Lanes::new(TURN), Instant::now());
            let mut expected = Vec::new();
            for (n, (priority, removed)) in items.into_iter().enumerate() {
                let place = lanes.push(priority, now, n);
                match removed {
                    true => prop_assert_eq!(lanes.remove(priority, place), Some((now, n))),
                    false => expected.push(n),
                }
            }
            let mut served: Vec<_> = std::iter::from_fn(|| lanes.pop()).map(|(.., n)| n).collect();
            served.sort_unstable();
            prop_assert_eq!(served, expected);
            prop_assert!(lanes.is_empty());
        }
    }
}
