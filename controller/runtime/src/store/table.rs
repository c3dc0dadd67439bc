//! What is known of one kind of object, from two sources that race: the *feed* (list, then watch)
//! and the *replies* to our own requests.
//!
//! This is a pure data structure: no locks, no clock, no waiting. [`Store`](super::Store) wraps it
//! for use by many tasks.
//!
//! # The rules
//!
//! etcd gives every change of every object one number, and a watch delivers the changes of a kind
//! in that order. So the feed has a *progress* `P`: what it has said is the exact state of the
//! server at one revision. (Right after a list that is the list's revision `L`, of which `P` is
//! only a lower bound, because kube's watcher does not pass `L` on. The first event after the list
//! is above `L`, and from then on `P` is exact.) A reply is used only where it is *ahead* of the
//! feed:
//!
//! 1. **A reply at or below `P` says nothing new.** The feed has been there; if it shows nothing,
//!    the object is gone. The reply is dropped.
//! 2. **A reply above `P` lies over the feed until the feed has passed it.** By then the feed has
//!    shown the same or a later state of that key, or has proven that the object was gone already
//!    when the list was made. Either way the feed is right, and nothing goes back in time.
//! 3. **A delete reply buries a uid.** Whatever either source still says of that uid is not shown.
//!    The grave is levelled when the feed has provably passed the deletion; from there on rule 1
//!    does its work.
//! 4. **A list proves absence for what was known before it was asked for.** It is a quorum read, so
//!    `L` is not below anything that had been delivered when the request left. Replies recorded
//!    after [`Table::list_begins`] may be newer than `L`: they stay ahead until rule 2 decides. On
//!    a quiet kind no event may come to decide it; [`Table::pending`] names such entries, and one
//!    read each settles them ([`Table::confirm`]).
//! 5. **What a list shows to be gone is remembered until the first event after it**: only that
//!    event lifts `P` above `L`, and until then a very late reply could raise the dead. A reply
//!    that was ahead leaves its revision behind as a mark below which nothing is news.
//! 6. **A server that contradicts itself was restored from a backup.** An item older than what the
//!    feed had shown, an object that a delete was answered for, an event at or below `P`: the list
//!    is believed as it stands, older knowledge is forgotten, and the caller is told
//!    ([`Verdict::Rewound`]).
//!
//! What follows from them, and what the tests hold over random histories: what is shown of a name
//! never goes back to an older revision; a uid that is known to be deleted never shows again; an
//! object that exists and was shown stays shown; a reply is visible from the moment it is recorded;
//! once everything in flight has arrived, the view is the server's state and nothing else is
//! remembered.
//!
//! # What they need
//!
//! Lists are quorum reads and are asked for after `list_begins`; [`watch`](crate::watch) sees to
//! both. Where the feed has a selector, "deleted" includes "left the selection", and an object may
//! come back with the same uid. That is handled, except that such an object may be hidden or shown
//! for the moment that the feed needs to catch up if it leaves and returns while replies of ours
//! about it are under way.

mod graves;
mod list;
mod named;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::graves::{Grave, Graves, Waits};
use self::list::Listing;
use super::{Key, Revision, Uid};

/// What a table keeps of an object: a handle. Its clones are the same object; of two objects neither is the other, however
/// equal they are.
pub trait Kept: Clone {
    /// Whether this is a clone of `other`.
    fn is(&self, other: &Self) -> bool;
}

impl<T> Kept for Arc<T> {
    fn is(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

/// A change of the view of one key. `old` and `new` may be different incarnations (uids) of the
/// name.
#[derive(Clone, Debug)]
pub struct Change<V> {
    /// The key that changed.
    pub key: Key,
    /// What was shown before; `None` when nothing was.
    pub old: Option<V>,
    /// What is shown now; `None` when the object is gone.
    pub new: Option<V>,
}

/// One object as a source described it.
#[derive(Debug)]
pub struct Observed<V> {
    /// Its key.
    pub key: Key,
    /// Its incarnation.
    pub uid: Uid,
    /// The revision of its last change (for a deletion: the revision of the deletion).
    pub revision: Revision,
    /// Its content, or why that could not be read.
    pub value: Result<V, String>,
}

/// An object that exists but cannot be read: neither a value nor an absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which object.
    pub key: Key,
    /// Its incarnation; empty when even that could not be read.
    pub uid: Uid,
    /// The version that could not be read; zero when the version itself was invalid.
    pub revision: Revision,
    /// Why, in one line.
    pub error: String,
}

/// How a source's word was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was news, and is in the table.
    Accepted,
    /// The table knew as much or more; nothing changed.
    Stale,
    /// The feed broke its order (a revision at or below its progress): list again, the table will
    /// believe that list.
    Relist,
    /// The list contradicts what the server had said before: it was taken as the truth, everything
    /// older was forgotten.
    Rewound,
}

/// What came of telling the table something.
#[derive(Debug)]
#[must_use]
pub struct Outcome<V> {
    /// Changes of the view, in the order they happened.
    pub changes: Vec<Change<V>>,
    /// How the word was taken.
    pub verdict: Verdict,
    /// Set when this was the first sight of an unreadable version.
    pub fault: Option<Fault>,
}

impl<V> Outcome<V> {
    fn of(verdict: Verdict) -> Self {
        Self { changes: Vec::new(), verdict, fault: None }
    }
}

/// A written object that the feed has not confirmed yet (rule 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Which object.
    pub key: Key,
    /// The incarnation that was written.
    pub uid: Uid,
    /// The revision in the reply.
    pub revision: Revision,
    epoch: u64,
}

/// What the table has to say about a key.
#[derive(Debug)]
pub enum Look<'a, V> {
    /// The object, as new as the table knows it.
    Found(&'a V),
    /// There is none, as far as the feed and the replies go.
    Absent,
    /// There is one, and it cannot be read.
    Unreadable(&'a Fault),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Table<V> {
    rows: BTreeMap<Key, Row<V>>,
    shown: usize,
    /// `P`: every change up to here is in `feed` (rule 1). Rises only, but for rule 6.
    progress: Revision,
    /// Lists begun so far; what was recorded in an earlier epoch is covered by the list of this
    /// one.
    epoch: u64,
    listing: Option<Listing<V>>,
    synced: bool,
    out_of_order: bool,
    /// Rows with an `ahead`, by its revision.
    ahead: BTreeSet<(Revision, Key)>,
    graves: Graves,
    faults: BTreeMap<Key, Fault>,
}

#[derive(Debug)]
struct Row<V> {
    feed: Option<Slot<V>>,
    ahead: Option<Box<Ahead<V>>>,
}

impl<V> Default for Row<V> {
    fn default() -> Self {
        Self { feed: None, ahead: None }
    }
}

/// What the feed shows of a key.
#[derive(Debug)]
struct Slot<V> {
    uid: Uid,
    revision: Revision,
    /// The last readable content of this uid; `None` when there never was one.
    value: Option<V>,
}

/// What a reply shows of a key that the feed has not reached.
#[derive(Debug)]
struct Ahead<V> {
    uid: Uid,
    revision: Revision,
    /// When this reply was recorded.
    epoch: u64,
    /// When the first reply of this uid was recorded: the uid has existed at least since then.
    known: u64,
    /// A GET after the last list has shown it, so its echo must come.
    confirmed: bool,
    /// `None`: it is gone, and so is everything older.
    value: Option<V>,
}

impl<V> Row<V> {
    fn view(&self, graves: &Graves) -> Option<&V> {
        match (&self.ahead, &self.feed) {
            (Some(ahead), _) => ahead.value.as_ref(),
            (None, Some(slot)) if !graves.holds(&slot.uid) => slot.value.as_ref(),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.feed.is_none() && self.ahead.is_none()
    }

    fn ahead_at(&self) -> Option<Revision> {
        self.ahead.as_ref().map(|ahead| ahead.revision)
    }

    fn feed_is(&self, uid: &Uid) -> bool {
        self.feed.as_ref().is_some_and(|slot| slot.uid == *uid)
    }
}

impl<V: Kept> Default for Table<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Kept> Table<V> {
    /// An empty table that has seen no list yet.
    pub fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            shown: 0,
            progress: Revision::default(),
            epoch: 0,
            listing: None,
            synced: false,
            out_of_order: false,
            ahead: BTreeSet::new(),
            graves: Graves::default(),
            faults: BTreeMap::new(),
        }
    }

    /// The feed says that an object was added or changed.
    pub fn applied(&mut self, seen: Observed<V>) -> Outcome<V> {
        if let Some(outcome) = self.refuse(&seen) {
            return outcome;
        }
        self.advance(seen.revision);
        let mut outcome = Outcome::of(Verdict::Accepted);
        outcome.fault = self.note_fault(&seen);
        let Observed { key, uid, revision, value } = seen;
        self.edit(&key, &mut outcome.changes, |row| {
            let value = newest(row, &uid, revision, value.ok());
            row.feed = Some(Slot { uid, revision, value });
            row.ahead.take_if(|ahead| ahead.revision <= revision);
        });
        self.pass(&mut outcome.changes);
        outcome
    }

    /// The feed says that an object was deleted, or has left the selection that the feed shows. Its
    /// `value` is not looked at.
    pub fn deleted(&mut self, seen: Observed<V>) -> Outcome<V> {
        if let Some(outcome) = self.refuse(&seen) {
            return outcome;
        }
        self.advance(seen.revision);
        self.faults.remove(&seen.key);
        let mut outcome = Outcome::of(Verdict::Accepted);
        self.edit(&seen.key, &mut outcome.changes, |row| {
            row.feed = None;
            row.ahead.take_if(|ahead| ahead.revision <= seen.revision);
        });
        self.graves.level(&seen.uid);
        self.pass(&mut outcome.changes);
        outcome
    }

    /// A request of ours was answered with this object. Replies may come late and in any order.
    pub fn written(&mut self, key: &Key, uid: &Uid, revision: Revision, value: V) -> Outcome<V> {
        let newer =
            self.rows.get(key).and_then(|row| row.ahead.as_ref()).is_some_and(|ahead| ahead.revision >= revision);
        if revision <= self.progress || newer || self.graves.holds(uid) {
            return Outcome::of(Verdict::Stale);
        }
        let mut outcome = Outcome::of(Verdict::Accepted);
        let epoch = self.epoch;
        self.edit(key, &mut outcome.changes, |row| {
            let known = row.ahead.as_ref().filter(|ahead| ahead.uid == *uid).map_or(epoch, |ahead| ahead.known);
            let ahead = Ahead { uid: uid.clone(), revision, epoch, known, confirmed: false, value: Some(value) };
            row.ahead = Some(Box::new(ahead));
        });
        outcome
    }

    /// A delete request of ours has finished: this uid is gone for ever. (Not: it was accepted and
    /// finalizers remain; that is [`Table::written`].)
    pub fn removed(&mut self, key: &Key, uid: &Uid) -> Outcome<V> {
        if self.graves.holds(uid) {
            return Outcome::of(Verdict::Stale);
        }
        let row = self.rows.get(key);
        let ahead =
            row.and_then(|row| row.ahead.as_ref()).filter(|ahead| ahead.uid == *uid).map(|ahead| ahead.revision);
        let in_feed = row.is_some_and(|row| row.feed_is(uid));
        let epoch = self.epoch;
        let mut outcome = Outcome::of(if ahead.is_some() || in_feed { Verdict::Accepted } else { Verdict::Stale });
        let before = self.view_of(key);
        let waits = Waits::for_end(ahead, in_feed);
        self.graves.dig(uid.clone(), Grave { key: key.clone(), epoch, certain: true, waits });
        self.edit_from(key, before, &mut outcome.changes, |row| {
            if let Some(ahead) = row.ahead.as_mut().filter(|ahead| ahead.uid == *uid) {
                // Not dropped: an older incarnation in the feed must not show through.
                ahead.value = None;
            }
        });
        outcome
    }

    /// Written objects that the feed has not shown yet and no GET has confirmed. Normally an echo
    /// resolves them within milliseconds; what stays for seconds should be read once and told to
    /// [`Table::confirm`]. Empty while a list is under way.
    pub fn pending(&self) -> Vec<Pending> {
        if self.listing.is_some() || !self.synced {
            return Vec::new();
        }
        let rows = self.ahead.iter().filter_map(|(_, key)| self.rows.get_key_value(key));
        rows.filter_map(|(key, row)| {
            let ahead = row.ahead.as_ref().filter(|ahead| ahead.value.is_some() && !ahead.confirmed)?;
            Some(Pending { key: key.clone(), uid: ahead.uid.clone(), revision: ahead.revision, epoch: self.epoch })
        })
        .collect()
    }

    /// The answer of a quorum read that was sent after `pending` was taken: what the feed selects
    /// under that key at revision `at`.
    pub fn confirm(&mut self, pending: &Pending, at: Revision, found: Option<Observed<V>>) -> Outcome<V> {
        let Some(found) = found else { return self.absent(&pending.key, at) };
        let outcome = match found.value {
            Ok(value) => self.written(&found.key, &found.uid, found.revision, value),
            Err(_) => Outcome::of(Verdict::Stale), // the feed will report it
        };
        // It exists after the list was made, and is not what the list showed: its last change is
        // newer than the list, and its echo must come.
        if pending.epoch == self.epoch
            && self.listing.is_none()
            && let Some(ahead) = self.rows.get_mut(&found.key).and_then(|row| row.ahead.as_mut())
        {
            ahead.confirmed = true;
        }
        outcome
    }

    /// At this revision there was nothing under `key`: whatever is older is over.
    fn absent(&mut self, key: &Key, at: Revision) -> Outcome<V> {
        let older = |ahead: &Ahead<V>| ahead.revision <= at && ahead.value.is_some();
        if !self.rows.get(key).and_then(|row| row.ahead.as_deref()).is_some_and(older) {
            return Outcome::of(Verdict::Stale);
        }
        let epoch = self.epoch;
        let mut outcome = Outcome::of(Verdict::Accepted);
        self.edit(key, &mut outcome.changes, |row| {
            if let Some(ahead) = row.ahead.as_mut() {
                ahead.value = None;
                ahead.revision = at;
                ahead.epoch = epoch;
            }
        });
        outcome
    }

    /// The object under `key`.
    pub fn get(&self, key: &Key) -> Option<&V> {
        self.rows.get(key)?.view(&self.graves)
    }

    /// What is known under `key`, with unreadable told from absent.
    pub fn look(&self, key: &Key) -> Look<'_, V> {
        let Some(row) = self.rows.get(key) else {
            return self.faults.get(key).map_or(Look::Absent, Look::Unreadable);
        };
        match (row.view(&self.graves), &row.ahead) {
            (Some(value), Some(_)) => Look::Found(value),
            (None, Some(_)) => Look::Absent,
            (view, None) => match (self.faults.get(key), view) {
                (Some(fault), _) if !self.graves.holds(&fault.uid) => Look::Unreadable(fault),
                (_, Some(value)) => Look::Found(value),
                (_, None) => Look::Absent,
            },
        }
    }

    /// Every object, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.rows.iter().filter_map(|(key, row)| Some((key, row.view(&self.graves)?)))
    }

    /// The objects of one namespace, in name order.
    pub fn namespace(&self, namespace: &str) -> impl Iterator<Item = (&Key, &V)> {
        let first = Key { namespace: Some(namespace.into()), name: "".into() };
        let rows = self.rows.range(first..).take_while(move |(key, _)| key.namespace() == Some(namespace));
        rows.filter_map(|(key, row)| Some((key, row.view(&self.graves)?)))
    }

    /// How many objects are shown.
    pub fn len(&self) -> usize {
        self.shown
    }

    /// True when nothing is shown.
    pub fn is_empty(&self) -> bool {
        self.shown == 0
    }

    /// True once one list was complete.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The revision up to which the feed has told everything.
    pub fn progress(&self) -> Revision {
        self.progress
    }

    /// The objects that exist and cannot be read.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values()
    }

    /// Remembered deletions and entries ahead of the feed: bookkeeping that must stay small (for
    /// tests and metrics).
    pub fn remembered(&self) -> usize {
        self.graves.len() + self.ahead.len()
    }

    /// A feed event at or below the progress: the same word twice, or a broken order (rule 6).
    fn refuse(&mut self, seen: &Observed<V>) -> Option<Outcome<V>> {
        if seen.revision > self.progress {
            return None;
        }
        let slot = self.rows.get(&seen.key).and_then(|row| row.feed.as_ref());
        if slot.is_some_and(|slot| slot.uid == seen.uid && slot.revision == seen.revision) {
            return Some(Outcome::of(Verdict::Stale));
        }
        self.out_of_order = true;
        Some(Outcome::of(Verdict::Relist))
    }

    fn advance(&mut self, revision: Revision) {
        self.progress = revision;
        self.graves.first_event();
    }

    /// Lets the feed win wherever it has caught up with a reply (rule 2), and levels graves that it
    /// has passed (rule 3).
    fn pass(&mut self, changes: &mut Vec<Change<V>>) {
        while let Some((revision, key)) = self.ahead.first() {
            if *revision > self.progress {
                break;
            }
            let key = key.clone();
            self.edit(&key, changes, |row| row.ahead = None);
        }
        let rows = &self.rows;
        self.graves.pass(self.progress, |key, uid| rows.get(key).is_some_and(|row| row.feed_is(uid)));
    }

    /// Records or clears the fault of a key; returns it when this version was not known to be
    /// unreadable.
    fn note_fault(&mut self, seen: &Observed<V>) -> Option<Fault> {
        match &seen.value {
            Ok(_) => {
                self.faults.remove(&seen.key);
                None
            }
            Err(error) => {
                let fault = Fault {
                    key: seen.key.clone(),
                    uid: seen.uid.clone(),
                    revision: seen.revision,
                    error: error.clone(),
                };
                let known = self.faults.insert(seen.key.clone(), fault.clone());
                let news = known.is_none_or(|known| !known.same_version(&fault));
                news.then_some(fault)
            }
        }
    }
}

/// The value to show for a version that the feed brought: what we have already, if it is the same
/// version, so that an echo changes nothing; what was readable before, if the new version is not.
fn newest<V: Clone>(row: &Row<V>, uid: &Uid, revision: Revision, value: Option<V>) -> Option<V> {
    let ahead = row.ahead.as_ref().filter(|ahead| ahead.uid == *uid);
    let slot = row.feed.as_ref().filter(|slot| slot.uid == *uid);
    let same_ahead = ahead.filter(|ahead| ahead.revision == revision).and_then(|ahead| ahead.value.clone());
    let same_slot = || slot.filter(|slot| slot.revision == revision).and_then(|slot| slot.value.clone());
    let before = || ahead.and_then(|ahead| ahead.value.clone()).or_else(|| slot.and_then(|slot| slot.value.clone()));
    same_ahead.or_else(same_slot).or(value).or_else(before)
}
