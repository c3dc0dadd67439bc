//! What was said lately, so that it is not said again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use pando_context::Instant;

/// Entries kept at most; beyond that the oldest are forgotten early.
const CAPACITY: usize = 16_384;

/// Stands for an (object, reason, message). A collision costs one event in 2^64.
pub(super) type Key = u64;

/// The key of an event. Objects are told apart by uid, or by name where there is none.
pub(super) fn key(about: &ObjectReference, reason: &str, message: &str) -> Key {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let object = match &about.uid {
        Some(uid) => (Some(uid), None),
        None => (None, Some((&about.kind, &about.namespace, &about.name))),
    };
    STATE.hash_one((object, reason, message))
}

/// A set whose entries expire.
#[derive(Debug)]
pub(super) struct Recent {
    memory: Duration,
    said: HashMap<Key, Instant>,
    order: VecDeque<(Instant, Key)>,
}

impl Recent {
    pub(super) fn new(memory: Duration) -> Self {
        Self { memory, said: HashMap::new(), order: VecDeque::new() }
    }

    /// Adds an entry; false if it is there and young enough. Repeating does not make it younger.
    pub(super) fn insert(&mut self, key: Key, now: Instant) -> bool {
        self.expire(now);
        if self.said.contains_key(&key) {
            return false;
        }
        self.said.insert(key, now);
        self.order.push_back((now, key));
        true
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.said.remove(&key);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.order.front().copied() {
            let old = now.saturating_duration_since(at) >= self.memory;
            if !old && self.order.len() < CAPACITY {
                return;
            }
            self.order.pop_front();
            // An entry that was removed and added again has a later line in `order`.
            if self.said.get(&key) == Some(&at) {
                self.said.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_entry_is_new_again_after_its_time_and_not_before() {
        let (mut recent, start) = (Recent::new(10 * MINUTE), Instant::now());
        assert!(recent.insert(1, start));
        assert!(!recent.insert(1, start + 9 * MINUTE));
        assert!(recent.insert(1, start + 10 * MINUTE), "repeating does not prolong the silence");
        recent.remove(1);
        assert!(recent.insert(1, start + 10 * MINUTE));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut recent, start) = (Recent::new(10 * MINUTE), Instant::now());
        for key in 0..(2 * CAPACITY as u64) {
            assert!(recent.insert(key, start));
        }
        assert!(recent.said.len() <= CAPACITY && recent.order.len() <= CAPACITY);
    }
}
