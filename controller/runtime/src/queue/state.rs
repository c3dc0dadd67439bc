//! The rules of the queue as a value: the time is handed in, nothing waits, nothing is locked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use pando_context::Instant;

use super::{Key, Priority};
use crate::backoff::Backoff;

/// While normal keys wait, every so many-th key taken is a background one: they get their turn even
/// when normal work never ends.
const BACKGROUND_TURN: u32 = 16;

/// How much is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready, somebody waits for them.
    pub normal: usize,
    /// Ready, nobody waits for them.
    pub background: usize,
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
        self.normal + self.background
    }
}

/// The state of a queue.
#[derive(Debug)]
pub struct State<K> {
    /// Keys that need processing. With a place: in `normal` or `background`. Without one: being
    /// processed at the moment, and to be queued when that ends.
    dirty: HashMap<K, (Priority, Option<u64>)>,
    processing: HashSet<K>,
    normal: BTreeMap<u64, (K, Instant)>,
    background: BTreeMap<u64, (K, Instant)>,
    /// By due time, then by the order in which they were added.
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    /// Places given out so far: first come, first served.
    places: u64,
    /// Normal keys taken since the last background one.
    turn: u32,
}

impl<K: Key> State<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            dirty: HashMap::new(),
            processing: HashSet::new(),
            normal: BTreeMap::new(),
            background: BTreeMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            places: 0,
            turn: 0,
        }
    }

    fn lane(&mut self, priority: Priority) -> &mut BTreeMap<u64, (K, Instant)> {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::Background => &mut self.background,
        }
    }

    fn place(&mut self) -> u64 {
        self.places += 1;
        self.places
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
                if let Some((_, waiting)) = self.lane(known).remove(&place) {
                    since = waiting;
                }
            }
            None => {}
        }
        if self.processing.contains(&key) {
            self.dirty.insert(key, (priority, None));
        } else {
            let place = self.place();
            self.dirty.insert(key.clone(), (priority, Some(place)));
            self.lane(priority).insert(place, (key, since));
        }
    }

    /// Adds a key at a time; of several times, the earliest counts.
    pub fn add_at(&mut self, key: K, due: Instant) {
        if let Some(known) = self.due.get(&key).copied() {
            if known.0 <= due {
                return;
            }
            self.delayed.remove(&known);
        }
        let at = (due, self.place());
        self.delayed.insert(at, key.clone());
        self.due.insert(key, at);
    }

    /// Takes the next key that is ready, the delayed ones that are due among them.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        self.promote(now);
        let background_first = self.turn >= BACKGROUND_TURN && !self.background.is_empty();
        let lane = match background_first || self.normal.is_empty() {
            true => Priority::Background,
            false => Priority::Normal,
        };
        let (_, (key, _)) = self.lane(lane).pop_first()?;
        self.turn = match lane {
            Priority::Background => 0,
            Priority::Normal => self.turn.saturating_add(1),
        };
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key, Priority::Normal, now);
        }
    }

    /// When the next delayed key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.keys().next().map(|(due, _)| *due)
    }

    /// Whether a key could be taken.
    pub fn has_ready(&self) -> bool {
        !self.normal.is_empty() || !self.background.is_empty()
    }

    /// Ends the processing of a key; if it was added meanwhile, it is ready now.
    pub fn release(&mut self, key: &K, now: Instant) {
        if self.processing.remove(key)
            && let Some((priority, None)) = self.dirty.remove(key)
        {
            self.add(key.clone(), priority, now);
        }
    }

    /// Counts a failure and plans the retry; returns the delay.
    pub fn failed(&mut self, key: &K, now: Instant) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let delay = Backoff::KEY.delay(*failures);
        self.add_at(key.clone(), now + delay);
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
        let first = |lane: &BTreeMap<u64, (K, Instant)>| lane.values().next().map(|entry| entry.1);
        let since = [first(&self.normal), first(&self.background)].into_iter().flatten().min();
        Depth {
            normal: self.normal.len(),
            background: self.background.len(),
            delayed: self.delayed.len(),
            processing: self.processing.len(),
            failing: self.failures.len(),
            oldest: since.map(|since| now.saturating_duration_since(since)),
        }
    }
}

impl<K: Key> Default for State<K> {
    fn default() -> Self {
        Self::new()
    }
}
