//! Listing again: what a complete list replaces, and what it leaves alone.

use std::collections::BTreeMap;

use super::graves::Graves;
use super::{Ahead, Change, Fault, Kept, Observed, Outcome, Revision, Row, Slot, Table, Verdict, newest};
use crate::store::{Key, Uid};

/// A list under way. Nothing of it shows before it is complete.
#[derive(Debug)]
pub(super) struct Listing<V> {
    /// In the order of arrival, which is nearly that of the keys.
    items: Vec<(Key, Slot<V>)>,
    faults: BTreeMap<Key, Fault>,
    highest: Revision,
}

impl<V: Kept> Table<V> {
    /// A list will be asked for. Must be called before the request is sent; a list that was under
    /// way is forgotten.
    pub fn list_begins(&mut self) {
        self.epoch += 1;
        self.listing = Some(Listing { items: Vec::new(), faults: BTreeMap::new(), highest: Revision::default() });
    }

    /// An item of the list.
    pub fn listed(&mut self, seen: Observed<V>) -> Outcome<V> {
        let known = self.faults.get(&seen.key);
        let Some(listing) = self.listing.as_mut() else {
            return Outcome::of(Verdict::Stale);
        };
        let mut outcome = Outcome::of(Verdict::Accepted);
        let Observed { key, uid, revision, value } = seen;
        let value = match value {
            // Where it is the version that is shown already, this copy is dropped at once: a long
            // list must not double the memory.
            Ok(value) => match self.rows.get(&key) {
                Some(row) => newest(row, &uid, revision, Some(value)),
                None => Some(value),
            },
            Err(error) => {
                let fault = Fault { key: key.clone(), uid: uid.clone(), revision, error };
                outcome.fault = known.is_none_or(|known| !known.same_version(&fault)).then(|| fault.clone());
                listing.faults.insert(key.clone(), fault);
                None
            }
        };
        listing.highest = listing.highest.max(revision);
        listing.items.push((key, Slot { uid, revision, value }));
        outcome
    }

    /// The feed showed an object whose version cannot be read, so that it has no place in the
    /// order: a fault, and never an absence.
    pub fn unplaced(&mut self, key: Key, uid: Uid, error: String) -> Outcome<V> {
        let fault = Fault { key: key.clone(), uid, revision: Revision::default(), error };
        let known = self.faults.get(&key).is_some_and(|known| known.same_version(&fault));
        if let Some(listing) = self.listing.as_mut() {
            let shown = self.rows.get(&key).and_then(|row| row.feed.as_ref()).filter(|slot| slot.uid == fault.uid);
            let slot = match shown {
                Some(slot) => Slot { uid: slot.uid.clone(), revision: slot.revision, value: slot.value.clone() },
                None => Slot { uid: fault.uid.clone(), revision: Revision::default(), value: None },
            };
            listing.items.push((key.clone(), slot));
            listing.faults.insert(key, fault.clone());
        } else {
            self.faults.insert(key, fault.clone());
        }
        let mut outcome = Outcome::of(Verdict::Stale);
        outcome.fault = (!known).then_some(fault);
        outcome
    }

    /// The list is complete (rules 4 to 6).
    pub fn list_ends(&mut self) -> Outcome<V> {
        let Some(listing) = self.listing.take() else {
            return Outcome::of(Verdict::Stale);
        };
        let rewound = self.out_of_order || self.contradicts(&listing);
        self.out_of_order = false;
        self.synced = true;
        self.faults = listing.faults;
        let before = self.graves.clone();
        for (_, slot) in &listing.items {
            self.graves.came_back(&slot.uid);
        }
        let mut outcome = Outcome::of(if rewound { Verdict::Rewound } else { Verdict::Accepted });
        if rewound {
            self.progress = listing.highest;
            self.graves.forget_before(self.epoch);
        } else {
            self.progress = self.progress.max(listing.highest).max(self.highest_covered());
        }
        self.replace(listing.items, &before, rewound, &mut outcome.changes);
        let rows = &self.rows;
        self.graves.listed(self.epoch, self.progress, |key, uid| rows.get(key).is_some_and(|row| row.feed_is(uid)));
        outcome
    }

    /// The highest revision that was written before the list was asked for: the list is not older.
    fn highest_covered(&self) -> Revision {
        let covered = |(revision, key): &(Revision, Key)| {
            let ahead = self.rows.get(key)?.ahead.as_ref()?;
            (ahead.epoch < self.epoch).then_some(*revision)
        };
        self.ahead.iter().rev().find_map(covered).unwrap_or_default()
    }

    /// Does the list show less than the same server had shown before the list was asked for?
    fn contradicts(&self, listing: &Listing<V>) -> bool {
        listing.items.iter().filter(|(_, item)| item.revision > Revision::default()).any(|(key, item)| {
            let row = self.rows.get(key);
            let in_feed = row.and_then(|row| row.feed.as_ref()).is_some_and(|slot| slot.revision > item.revision);
            let written = row.and_then(|row| row.ahead.as_ref());
            let written = written.is_some_and(|ahead| ahead.epoch < self.epoch && ahead.revision > item.revision);
            in_feed || written || self.graves.forbids(&item.uid, self.epoch)
        })
    }

    /// Puts the items in the place of what the feed showed before; `before` are the graves of that
    /// time. Both sides are sorted and walked once: with a hundred thousand objects this is what a
    /// restart waits for.
    fn replace(
        &mut self,
        mut items: Vec<(Key, Slot<V>)>,
        before: &Graves,
        rewound: bool,
        changes: &mut Vec<Change<V>>,
    ) {
        items.sort_by(|(one, _), (other, _)| one.cmp(other));
        items.dedup_by(|(one, _), (other, _)| one == other); // a snapshot has none; a broken server might
        for place in 1..items.len() {
            if let Some([(before, _), (key, _)]) = items.get_mut(place - 1..=place) {
                key.share_namespace(before);
            }
        }
        let mut items = items.into_iter().peekable();
        let mut rows = Vec::with_capacity(items.len().max(self.rows.len()));
        for (key, row) in std::mem::take(&mut self.rows) {
            while let Some((key, slot)) = items.next_if(|(listed, _)| *listed < key) {
                rows.push(self.replace_row(key, Row::default(), Some(slot), None, rewound, changes));
            }
            let item = items.next_if(|(listed, _)| *listed == key).map(|(_, slot)| slot);
            let old = row.view(before).cloned();
            rows.push(self.replace_row(key, row, item, old, rewound, changes));
        }
        for (key, slot) in items {
            rows.push(self.replace_row(key, Row::default(), Some(slot), None, rewound, changes));
        }
        self.rows = rows.into_iter().filter(|(_, row)| !row.is_empty()).collect();
    }

    fn replace_row(
        &mut self,
        key: Key,
        mut row: Row<V>,
        item: Option<Slot<V>>,
        old: Option<V>,
        rewound: bool,
        changes: &mut Vec<Change<V>>,
    ) -> (Key, Row<V>) {
        let gone = self.vanished(&row, item.as_ref());
        for uid in gone.iter().flatten().filter(|_| !rewound) {
            if !self.graves.holds(uid) {
                self.graves.settle(uid.clone(), key.clone(), self.epoch);
            }
        }
        let was_ahead = row.ahead_at();
        row.feed = item.map(|slot| Slot { value: newest(&row, &slot.uid, slot.revision, slot.value), ..slot });
        row.ahead.take_if(|ahead| ahead.covered(self.epoch, self.progress));
        if let Some(ahead) = row.ahead.as_mut().filter(|ahead| gone.iter().flatten().any(|uid| *uid == ahead.uid)) {
            ahead.value = None; // it stays as the mark below which nothing is news
        }
        self.reindex(&key, was_ahead, row.ahead_at());
        self.report(&key, old, row.view(&self.graves).cloned(), changes);
        (key, row)
    }

    /// The incarnations of a key that existed before the list and are not in it: they are gone,
    /// whatever else a reply said of them (rule 5).
    fn vanished(&self, row: &Row<V>, item: Option<&Slot<V>>) -> [Option<Uid>; 2] {
        let in_feed = row.feed.as_ref().map(|slot| &slot.uid);
        let known = |ahead: &&Ahead<V>| ahead.known < self.epoch || ahead.covered(self.epoch, self.progress);
        let written = row.ahead.as_deref().filter(known).map(|ahead| &ahead.uid);
        let listed = item.map(|slot| &slot.uid);
        [in_feed, written].map(|uid| uid.filter(|uid| Some(*uid) != listed).cloned())
    }
}

impl<V> Ahead<V> {
    /// True when the list of this `epoch`, which is at `progress` or above, already says what this
    /// reply said.
    fn covered(&self, epoch: u64, progress: Revision) -> bool {
        self.epoch < epoch || self.revision <= progress
    }
}

impl Fault {
    pub(super) fn same_version(&self, other: &Self) -> bool {
        self.uid == other.uid && self.revision == other.revision
    }
}
