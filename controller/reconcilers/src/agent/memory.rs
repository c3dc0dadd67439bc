//! What an actor remembers of its Works between reconciles. All of it can be lost: a restart finds it out again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pando_context::Instant;
use pando_runtime::store::{Key, Uid};

use super::outcome::{Dispatch, Outcome, Result};

/// The memory of one actor.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Facts>);

#[derive(Default)]
struct Facts {
    /// Of every Work that was carried out.
    works: HashMap<Key, Note>,
    accepted: BTreeMap<Key, BTreeMap<Box<str>, Box<str>>>,
    parked: BTreeSet<Key>,
    /// Of the last moments only: see [`Memory::sweep`].
    status_written: BTreeMap<Key, Instant>,
    /// Since when an object of a Work has not been there, and could not be put back.
    missing: BTreeMap<Key, Instant>,
    /// Since when the release of a Work has been held up.
    held: BTreeMap<Key, Instant>,
    hasher: RandomState,
}

/// What is remembered of one Work. There is one for each Work for ever, so it is kept small.
#[derive(Default)]
struct Note {
    last: Option<Last>,
    /// Of the first object, which is mostly the only one.
    write: Option<Write>,
    /// Of the others, by their position in the Work.
    writes: BTreeMap<usize, Write>,
}

/// The last outcome.
enum Last {
    /// One object, as wanted: what nearly all of them come to.
    Applied {
        uid: Option<Uid>,
        generation: Option<i64>,
        verb: &'static str,
    },
    Other(Box<Outcome>),
}

/// The last write of one object.
struct Write {
    /// Hash of the hash of what was wanted.
    wanted: u64,
    at: Instant,
    /// How often in a row the same was written again, because somebody in the member had changed or deleted it.
    repairs: u32,
}

impl From<Outcome> for Last {
    fn from(outcome: Outcome) -> Self {
        if let Dispatch::Done(results) = &outcome.dispatch
            && let [Result::Applied(verb)] = results.as_slice()
        {
            return Self::Applied { uid: outcome.uid.as_deref().map(Uid::from), generation: outcome.generation, verb };
        }
        Self::Other(Box::new(outcome))
    }
}

impl Last {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Applied { uid, generation, verb } => Outcome {
                uid: uid.as_ref().map(Uid::to_string),
                generation: *generation,
                dispatch: Dispatch::Done(vec![Result::Applied(verb)]),
            },
            Self::Other(outcome) => outcome.as_ref().clone(),
        }
    }
}

impl Note {
    fn write(&self, ordinal: usize) -> Option<&Write> {
        if ordinal == 0 { self.write.as_ref() } else { self.writes.get(&ordinal) }
    }
}

/// Repairs further apart than this are not in a row.
const ROW: Duration = Duration::from_secs(60);
/// Statuses that were written before this time hold no other back: many times the least time between two.
const STATUS: Duration = Duration::from_secs(10);
/// The first repair in a row that may have to wait.
pub(crate) const FIRST_SLOW_REPAIR: u32 = 4;
/// Longest time between two repairs.
const SLOWEST: Duration = Duration::from_secs(30);

impl Write {
    /// Time from this write to the next repair: none for the first three in a row, then 1 s, 2 s, 4 s, … 30 s.
    fn pause(&self) -> Duration {
        match self.repairs.checked_sub(FIRST_SLOW_REPAIR - 1) {
            Some(doublings) => (Duration::from_secs(1) * 2_u32.saturating_pow(doublings.min(5))).min(SLOWEST),
            None => Duration::ZERO,
        }
    }
}

impl Memory {
    /// The last outcome of a Work.
    pub(crate) fn outcome(&self, work: &Key) -> Option<Outcome> {
        self.facts().works.get(work)?.last.as_ref().map(Last::outcome)
    }

    /// Replaces the last outcome and returns it.
    pub(crate) fn set_outcome(&self, work: &Key, outcome: Outcome) -> Option<Outcome> {
        let mut facts = self.facts();
        let before = facts.works.entry(work.clone()).or_default().last.replace(outcome.into());
        before.as_ref().map(Last::outcome)
    }

    /// The Works with an object that waits in this namespace of the member.
    pub(crate) fn waiting_in(&self, namespace: &str) -> Vec<Key> {
        self.those(|outcome| outcome.waits_in(namespace))
    }

    /// In order. Of a Work that is as wanted nothing is asked: it waits for nothing.
    fn those(&self, which: impl Fn(&Outcome) -> bool) -> Vec<Key> {
        let facts = self.facts();
        let is_it = |note: &Note| matches!(&note.last, Some(Last::Other(outcome)) if which(outcome));
        let mut those: Vec<Key> =
            facts.works.iter().filter(|(_, note)| is_it(note)).map(|(work, _)| work.clone()).collect();
        those.sort_unstable();
        those
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

    /// The object was written; returns how many repairs in a row that makes. The first write of something new is none.
    pub(crate) fn note_write(&self, work: &Key, ordinal: usize, wanted: &str) -> u32 {
        let mut facts = self.facts();
        let wanted = facts.hasher.hash_one(wanted);
        let note = facts.works.entry(work.clone()).or_default();
        let repairs = match note.write(ordinal).filter(|last| last.wanted == wanted) {
            Some(last) if last.at.elapsed() <= ROW => last.repairs.saturating_add(1),
            Some(_) => 1,
            None => 0,
        };
        let write = Write { wanted, at: Instant::now(), repairs };
        if ordinal == 0 {
            note.write = Some(write);
        } else {
            note.writes.insert(ordinal, write);
        }
        repairs
    }

    /// How long writing the same again has to wait. Otherwise two writers that disagree would fill the member with writes.
    pub(crate) fn repair_due(&self, work: &Key, ordinal: usize, wanted: &str) -> Option<Duration> {
        let facts = self.facts();
        let wanted = facts.hasher.hash_one(wanted);
        let last = facts.works.get(work)?.write(ordinal).filter(|last| last.wanted == wanted)?;
        last.pause().checked_sub(last.at.elapsed()).filter(|wait| !wait.is_zero())
    }

    /// Keeps a Work until the member is back.
    pub(crate) fn park(&self, work: &Key) {
        self.facts().parked.insert(work.clone());
    }

    /// The Works that waited for the member, those among them that found it lost. What was postponed for a cause of its own
    /// has its own pause: one hanging call must not drive a healthy member from return to return.
    pub(crate) fn unpark(&self) -> BTreeSet<Key> {
        let refused = self.those(Outcome::waits_for_member);
        let mut parked = std::mem::take(&mut self.facts().parked);
        parked.extend(refused);
        parked
    }

    /// How many Works wait for the member.
    pub(crate) fn parked(&self) -> usize {
        self.facts().parked.len()
    }

    /// How long the release of a Work has been held up, from the first time this was asked.
    pub(crate) fn held_for(&self, work: &Key) -> Duration {
        self.facts().held.entry(work.clone()).or_insert_with(Instant::now).elapsed()
    }

    /// When the status of a Work was last written.
    pub(crate) fn status_written(&self, work: &Key) -> Option<Instant> {
        self.facts().status_written.get(work).copied()
    }

    /// The status of a Work was written.
    pub(crate) fn note_status_written(&self, work: &Key, at: Instant) {
        self.facts().status_written.insert(work.clone(), at);
    }

    /// Forgets when statuses were written, where that was so long ago that it holds nothing back any more.
    pub(crate) fn sweep(&self) {
        self.facts().status_written.retain(|_, at| at.elapsed() < STATUS);
    }

    /// How long an object of a Work has been missing, from the first time this was said in a row; `None` while none is.
    pub(crate) fn missing_for(&self, work: &Key, is_missing: bool) -> Option<Duration> {
        let mut facts = self.facts();
        if !is_missing {
            facts.missing.remove(work);
            return None;
        }
        Some(facts.missing.entry(work.clone()).or_insert_with(Instant::now).elapsed())
    }

    /// Forgets a Work that is gone.
    pub(crate) fn forget(&self, work: &Key) {
        let mut facts = self.facts();
        facts.works.remove(work);
        facts.accepted.remove(work);
        facts.parked.remove(work);
        facts.status_written.remove(work);
        facts.missing.remove(work);
        facts.held.remove(work);
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

    #[pando_context::test(paused)]
    async fn repairs_in_a_row_become_slower_and_a_quiet_minute_ends_the_row() {
        let (memory, work) = (Memory::default(), Key::namespaced("karmada-es-bj", "web"));
        let due = |wanted: &str| memory.repair_due(&work, 0, wanted).unwrap_or_default().as_secs();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            memory.note_write(&work, 0, "wanted");
            pauses.push(due("wanted"));
            assert_eq!(due("wanted later"), 0, "a change of what is wanted never waits");
            tokio::time::advance(Duration::from_secs(due("wanted"))).await;
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
        tokio::time::advance(ROW + Duration::from_secs(1)).await;
        assert_eq!(memory.note_write(&work, 0, "wanted"), 1);
        assert_eq!(due("wanted"), 0);
        assert_eq!(memory.note_write(&work, 1, "wanted"), 0, "another object of the Work");
    }

    #[test]
    fn an_outcome_is_remembered_as_it_was_however_it_is_kept() {
        let (memory, work) = (Memory::default(), Key::namespaced("karmada-es-bj", "web"));
        let uid = || Some("0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa".to_owned());
        let outcome = |dispatch| Outcome { uid: uid(), generation: Some(3), dispatch };
        let failed = || Result::Failed { message: "over quota".into(), retry: None };
        let outcomes = [
            outcome(Dispatch::Done(vec![Result::Applied("created")])),
            outcome(Dispatch::Done(vec![failed()])),
            outcome(Dispatch::Done(vec![Result::Applied("kept"), Result::Applied("kept")])),
            outcome(Dispatch::Done(Vec::new())),
            outcome(Dispatch::Suspended),
            Outcome { uid: None, ..outcome(Dispatch::Done(vec![Result::Applied("kept")])) },
        ];
        let mut before = None;
        for outcome in outcomes {
            assert_eq!(memory.set_outcome(&work, outcome.clone()), before);
            before = Some(outcome);
            assert_eq!(memory.outcome(&work), before);
        }
    }

    #[pando_context::test(paused)]
    async fn when_a_status_was_written_is_remembered_for_as_long_as_that_matters() {
        let (memory, work) = (Memory::default(), Key::namespaced("karmada-es-bj", "web"));
        memory.note_status_written(&work, Instant::now());
        memory.sweep();
        assert!(memory.status_written(&work).is_some());
        tokio::time::advance(STATUS).await;
        memory.sweep();
        assert_eq!(memory.status_written(&work), None);
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
