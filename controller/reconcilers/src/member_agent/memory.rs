//! What an actor remembers of its Works between reconciles. All of it can be lost: a restart finds it out again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pando_context::Instant;
use pando_runtime::store::Key;

use crate::execution::outcome::Outcome;

/// The memory of one actor.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Facts>);

#[derive(Default)]
struct Facts {
    outcomes: BTreeMap<Key, Outcome>,
    accepted: BTreeMap<Key, BTreeMap<Box<str>, Box<str>>>,
    parked: BTreeSet<Key>,
    status_written: BTreeMap<Key, Instant>,
}

impl Memory {
    /// The last outcome of a Work.
    pub(crate) fn outcome(&self, work: &Key) -> Option<Outcome> {
        self.facts().outcomes.get(work).cloned()
    }

    /// Replaces the last outcome and returns it.
    pub(crate) fn set_outcome(&self, work: &Key, outcome: Outcome) -> Option<Outcome> {
        self.facts().outcomes.insert(work.clone(), outcome)
    }

    /// The Works that wait for something in the member.
    pub(crate) fn waiting(&self) -> Vec<Key> {
        let facts = self.facts();
        let waiting = facts.outcomes.iter().filter(|(_, outcome)| outcome.is_waiting());
        waiting.map(|(work, _)| work.clone()).collect()
    }

    /// Right after our own write the member showed `live` where `desired` was wanted: that is how it keeps it there.
    pub(crate) fn accept(&self, work: &Key, desired: Box<str>, live: Box<str>) {
        let mut facts = self.facts();
        let of_work = facts.accepted.entry(work.clone()).or_default();
        // One entry per manifest of the Work; hashes of earlier generations make room.
        if of_work.len() >= 16 {
            of_work.clear();
        }
        of_work.insert(desired, live);
    }

    /// Was exactly this difference there right after our own write?
    pub(crate) fn is_accepted(&self, work: &Key, desired: &str, live: &str) -> bool {
        self.facts()
            .accepted
            .get(work)
            .and_then(|of_work| of_work.get(desired))
            .is_some_and(|accepted| **accepted == *live)
    }

    /// Keeps a Work until the member is back.
    pub(crate) fn park(&self, work: &Key) {
        self.facts().parked.insert(work.clone());
    }

    /// The Works that waited for the member.
    pub(crate) fn unpark(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.facts().parked)
    }

    /// When the status of a Work was last written.
    pub(crate) fn status_written(&self, work: &Key) -> Option<Instant> {
        self.facts().status_written.get(work).copied()
    }

    /// The status of a Work was written.
    pub(crate) fn note_status_written(&self, work: &Key, at: Instant) {
        self.facts().status_written.insert(work.clone(), at);
    }

    /// Forgets a Work that is gone.
    pub(crate) fn forget(&self, work: &Key) {
        let mut facts = self.facts();
        facts.outcomes.remove(work);
        facts.accepted.remove(work);
        facts.parked.remove(work);
        facts.status_written.remove(work);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_difference_that_our_own_write_left_is_accepted() {
        let (memory, work) = (Memory::default(), Key::namespaced("karmada-es-bj", "web"));
        memory.accept(&work, "wanted".into(), "as kept".into());
        assert!(memory.is_accepted(&work, "wanted", "as kept"));
        assert!(!memory.is_accepted(&work, "wanted", "edited by hand"));
        assert!(!memory.is_accepted(&work, "wanted later", "as kept"));
        memory.forget(&work);
        assert!(!memory.is_accepted(&work, "wanted", "as kept"));
    }

    #[test]
    fn parked_works_come_back_once() {
        let (memory, work) = (Memory::default(), Key::namespaced("karmada-es-bj", "web"));
        memory.park(&work);
        memory.park(&work);
        assert_eq!(memory.unpark().len(), 1);
        assert!(memory.unpark().is_empty());
    }
}
