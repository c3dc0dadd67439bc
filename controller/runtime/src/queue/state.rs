//! The rules of the queue as a value: the time is handed in, nothing waits, nothing is locked.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pando_context::Instant;

use super::{Key, Priority};
use crate::backoff::Backoff;
use crate::priority::{Lanes, Place};

/// Every so many-th key taken is the one that has waited longest, whatever its priority: keys get their turn even when
/// more urgent work never ends, and a resync of everything takes no more than this share.
const TURN: u32 = 16;

/// So much room a map may have, however little is in it.
const ROOM: usize = 128;

/// How much is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready, in the order of [`Priority::ALL`].
    pub waiting: [usize; Priority::COUNT],
    /// Waiting for the end of a delay.
    pub delayed: usize,
    /// Taken and not given back.
    pub processing: usize,
    /// Keys whose last attempt failed.
    pub failing: usize,
    /// How long the longest-waiting ready key has been ready.
    pub oldest: Option<Duration>,
}

impl Depth {
    /// Keys that could be taken right now.
    pub fn ready(&self) -> usize {
        self.waiting.iter().sum()
    }
}

/// The state of a queue.
#[derive(Debug)]
pub struct State<K> {
    /// Keys that need processing. With a place: in `ready`. Without one: being processed at the moment, and to be
    /// queued when that ends.
    dirty: HashMap<K, (Priority, Option<Place>)>,
    processing: HashMap<K, Priority>,
    ready: Lanes<K>,
    /// By due time, then by the order in which they were added.
    delayed: BTreeMap<(Instant, u64), (K, Priority)>,
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    /// Delays given out so far.
    delays: u64,
}

/// A key that was ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popped<K> {
    /// The key.
    pub key: K,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it was ready.
    pub waited: Duration,
}

impl<K: Key> State<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            dirty: HashMap::new(),
            processing: HashMap::new(),
            ready: Lanes::new(TURN),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            delays: 0,
        }
    }

    /// Marks a key as needing processing, and queues it unless it waits already or is being
    /// processed.
    pub fn add(&mut self, key: K, priority: Priority, now: Instant) {
        let mut since = now;
        match self.dirty.get(&key).copied() {
            Some((known, _)) if known >= priority => return,
            Some((_, None)) => {
                self.dirty.insert(key, (priority, None));
                return;
            }
            Some((known, Some(place))) => {
                if let Some((waiting, _)) = self.ready.remove(known, place) {
                    since = waiting;
                }
            }
            None => {}
        }
        if self.processing.contains_key(&key) {
            self.dirty.insert(key, (priority, None));
        } else {
            let place = self.ready.push(priority, since, key.clone());
            self.dirty.insert(key, (priority, Some(place)));
        }
    }

    /// Adds a key at a time; of several times the earliest counts, and of several priorities the highest.
    pub fn add_at(&mut self, key: K, priority: Priority, due: Instant) {
        let mut priority = priority;
        if let Some(known) = self.due.get(&key).copied() {
            if let Some((_, other)) = self.delayed.get_mut(&known) {
                priority = priority.max(*other);
                *other = priority;
            }
            if known.0 <= due {
                return;
            }
            self.delayed.remove(&known);
        }
        self.delays += 1;
        let at = (due, self.delays);
        self.delayed.insert(at, (key.clone(), priority));
        self.due.insert(key, at);
    }

    /// Takes the next key that is ready, the delayed ones that are due among them.
    pub fn pop(&mut self, now: Instant) -> Option<Popped<K>> {
        self.promote(now);
        let (priority, since, key) = self.ready.pop()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone(), priority);
        Some(Popped { key, priority, waited: now.saturating_duration_since(since) })
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let (due, _) = *entry.key();
            let (key, priority) = entry.remove();
            self.due.remove(&key);
            self.add(key, priority, due);
        }
    }

    /// When the next delayed key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.keys().next().map(|(due, _)| *due)
    }

    /// Whether a key could be taken.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Ends the processing of a key; if it was added meanwhile, it is ready now.
    pub fn release(&mut self, key: &K, now: Instant) {
        if self.processing.remove(key).is_some()
            && let Some((priority, None)) = self.dirty.remove(key)
        {
            self.add(key.clone(), priority, now);
        }
        slim(&mut self.dirty);
        slim(&mut self.processing);
        slim(&mut self.due);
        slim(&mut self.failures);
    }

    /// Looks at a key that is being processed again at this time, as urgent as it was.
    pub fn again_at(&mut self, key: &K, due: Instant) {
        let priority = self.processing.get(key).copied().unwrap_or_default();
        self.add_at(key.clone(), priority, due);
    }

    /// Counts a failure and plans the retry; returns the delay.
    pub fn failed(&mut self, key: &K, backoff: Backoff, now: Instant) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let delay = backoff.delay(*failures);
        self.again_at(key, now + delay);
        delay
    }

    /// Forgets the failures of a key.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Forgets the failures of a key and the delay it waits for.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
        if let Some(at) = self.due.remove(key) {
            self.delayed.remove(&at);
        }
    }

    /// How much is in the queue. Keys whose delay has ended count as ready.
    pub fn depth(&mut self, now: Instant) -> Depth {
        self.promote(now);
        Depth {
            waiting: Priority::ALL.map(|priority| self.ready.len(priority)),
            delayed: self.delayed.len(),
            processing: self.processing.len(),
            failing: self.failures.len(),
            oldest: self.ready.oldest().map(|since| now.saturating_duration_since(since)),
        }
    }
}

/// Gives back the room that a burst has taken: a restart puts every key of a kind in here once.
fn slim<K: Key, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > ROOM && map.len() < map.capacity() / 8 {
        map.shrink_to((2 * map.len()).max(ROOM / 2));
    }
}

impl<K: Key> Default for State<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let (mut state, now) = (State::new(), Instant::now());
        for key in 0..5000_u32 {
            state.add_at(key, Priority::Normal, now);
            state.add(key, Priority::Background, now);
        }
        let mut taken = 0;
        while let Some(popped) = state.pop(now) {
            state.release(&popped.key, now);
            taken += 1;
        }
        assert_eq!(taken, 5000);
        let rooms = [state.dirty.capacity(), state.processing.capacity(), state.due.capacity()];
        assert!(rooms.iter().all(|room| *room <= 2 * ROOM), "{rooms:?}");
    }
}
