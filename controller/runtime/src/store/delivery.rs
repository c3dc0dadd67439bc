//! What a store learns, from replies and from its feed, and how its subscribers are told.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::held::Held;
use super::table::{self, Kept as _, Observed, Outcome, Table};
use super::{Change, Fault, Key, Pending, Record, Revision, Store, Uid, Verdict};
use crate::watch::Health;

/// So many changes at a time wait for their delivery as they are. Those of a list are read one by one when their turn
/// comes: it may have a hundred thousand.
const FEW: usize = 16;

pub(super) type Subscriber<T> = Arc<dyn Fn(&Change<T>) + Send + Sync>;

/// Changes on their way to the subscribers: one task at a time delivers, so that every subscriber
/// sees the changes in the order of the table.
pub(super) struct Outbox<T> {
    queue: VecDeque<Letter<T>>,
    delivering: bool,
}

/// A change on its way.
enum Letter<T> {
    Open(Change<T>),
    Packed(table::Change<Held<T>>),
}

impl<T> Outbox<T> {
    pub(super) const fn new() -> Self {
        Self { queue: VecDeque::new(), delivering: false }
    }
}

/// An object that has just come, and as what it is held.
struct Fresh<T> {
    held: Held<T>,
    object: Arc<T>,
}

struct Told {
    verdict: Verdict,
    fault: Option<Fault>,
    synced: bool,
}

/// Frees the outbox when a subscriber panics.
struct Delivery<'a, T> {
    outbox: &'a Mutex<Outbox<T>>,
    over: bool,
}

impl<T> Drop for Delivery<'_, T> {
    fn drop(&mut self) {
        if !self.over {
            self.outbox.lock().unwrap_or_else(PoisonError::into_inner).delivering = false;
        }
    }
}

/// Replies to writes of ours.
impl<T: Record> Store<T> {
    /// Puts in the object that a write of ours was answered with.
    ///
    /// An object that is being deleted and has no finalizer left is the API server's answer to the
    /// write that removed the last one: it is gone. Only write objects that the watch of this store
    /// selects.
    pub fn written(&self, mut object: T) {
        object.prune();
        let meta = object.meta();
        let (key, uid) = (Key::of(meta), Uid::of(meta));
        if finally_deleted(meta) {
            return self.bury(&key, &uid);
        }
        let revision = match Revision::of(meta) {
            Ok(revision) => revision,
            Err(error) => {
                tracing::warn!(kind = %self.shared.resource.kind, %key, %error, "a reply cannot be placed, waiting for the watch instead");
                return;
            }
        };
        object.placed();
        let fresh = self.hold(&key, &uid, revision, Arc::new(object));
        let held = fresh.held.clone();
        let verdict = self.tell(Some(&fresh), |table| table.written(&key, &uid, revision, held)).verdict;
        let counter = if verdict == Verdict::Accepted { &self.shared.written } else { &self.shared.late };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A delete of ours is done: this incarnation is gone. (Where finalizers remain the answer is
    /// the object: [`Store::written`].)
    pub fn removed(&self, key: &Key, uid: &str) {
        self.bury(key, &Uid::from(uid));
    }

    fn bury(&self, key: &Key, uid: &Uid) {
        self.tell(None, |table| table.removed(key, uid));
    }
}

/// The feed: used by [`watch`](crate::watch) and by tests that play the API server.
impl<T: Record> Store<T> {
    pub(crate) fn note_health(&self, note: impl FnOnce(&mut Health)) {
        note(&mut self.shared.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A list is about to be asked for.
    pub(crate) fn list_begins(&self) {
        self.write_state().table.list_begins();
    }

    /// An item of the list.
    pub(crate) fn listed(&self, seen: Observed<Arc<T>>) -> Option<Fault> {
        let (seen, _) = self.taken(seen);
        self.tell(None, |table| table.listed(seen)).fault
    }

    /// The list is complete.
    pub(crate) fn list_ends(&self) -> Verdict {
        self.tell(None, Table::list_ends).verdict
    }

    /// A watch event: added or modified.
    pub(crate) fn applied(&self, seen: Observed<Arc<T>>) -> (Verdict, Option<Fault>) {
        let (seen, fresh) = self.taken(seen);
        let told = self.tell(fresh.as_ref(), |table| table.applied(seen));
        (told.verdict, told.fault)
    }

    /// A watch event: deleted.
    pub(crate) fn deleted(&self, seen: Observed<Arc<T>>) -> Verdict {
        let Observed { key, uid, revision, .. } = seen;
        self.tell(None, |table| table.deleted(Observed { key, uid, revision, value: Err(String::new()) })).verdict
    }

    /// An object without a usable version.
    pub(crate) fn unplaced(&self, key: Key, uid: Uid, error: String) -> Option<Fault> {
        self.tell(None, |table| table.unplaced(key, uid, error)).fault
    }

    /// Writes that the feed has not echoed.
    pub(crate) fn pending(&self) -> Vec<Pending> {
        self.read_state().table.pending()
    }

    /// What a read at revision `at` said of a pending write.
    pub(crate) fn confirm(&self, pending: &Pending, at: Revision, found: Option<Observed<Arc<T>>>) {
        let (found, fresh) = found.map(|found| self.taken(found)).unzip();
        self.tell(fresh.flatten().as_ref(), |table| table.confirm(pending, at, found));
    }
}

impl<T: Record> Store<T> {
    /// What was observed, as the table takes it.
    fn taken(&self, seen: Observed<Arc<T>>) -> (Observed<Held<T>>, Option<Fresh<T>>) {
        let Observed { key, uid, revision, value } = seen;
        match value {
            Ok(object) => {
                let fresh = self.hold(&key, &uid, revision, object);
                (Observed { key, uid, revision, value: Ok(fresh.held.clone()) }, Some(fresh))
            }
            Err(error) => (Observed { key, uid, revision, value: Err(error) }, None),
        }
    }

    /// How an object shall be held. The echo of what is held already is not packed again.
    fn hold(&self, key: &Key, uid: &Uid, revision: Revision, object: Arc<T>) -> Fresh<T> {
        let Some(packing) = &self.shared.packing else {
            return Fresh { held: Held::Whole(Arc::clone(&object)), object };
        };
        let known = self.read_state().table.version(key, uid, revision).cloned();
        let packed = known.or_else(|| packing.pack(&object).map(Held::Packed));
        Fresh { held: packed.unwrap_or_else(|| Held::Whole(Arc::clone(&object))), object }
    }

    /// Lets the table learn something, keeps the indexes in step, and delivers the changes.
    fn tell(&self, fresh: Option<&Fresh<T>>, learn: impl FnOnce(&mut Table<Held<T>>) -> Outcome<Held<T>>) -> Told {
        let told = {
            let mut state = self.write_state();
            let Outcome { changes, verdict, fault } = learn(&mut state.table);
            let are_few = changes.len() <= FEW;
            let mut letters = Vec::with_capacity(changes.len());
            for change in changes {
                let opened = (are_few || !state.indexes.is_empty()).then(|| self.open(&change, fresh)).flatten();
                if let Some(change) = &opened {
                    state.indexes.change(change);
                }
                letters.push(opened.filter(|_| are_few).map_or(Letter::Packed(change), Letter::Open));
            }
            // Under the table's lock, so that the outbox has the table's order.
            self.outbox().queue.extend(letters);
            Told { verdict, fault, synced: state.table.is_synced() }
        };
        if told.verdict == Verdict::Rewound {
            self.shared.rewinds.fetch_add(1, Ordering::Relaxed);
        }
        self.deliver();
        if told.synced {
            self.shared.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
        }
        told
    }

    /// The change with its objects read. `None` when one cannot be (a bug): then nobody may take it for gone.
    fn open(&self, change: &table::Change<Held<T>>, fresh: Option<&Fresh<T>>) -> Option<Change<T>> {
        let show = |held: &Option<Held<T>>| match (held, fresh) {
            (None, _) => Some(None),
            (Some(held), Some(fresh)) if held.is(&fresh.held) => Some(Some(Arc::clone(&fresh.object))),
            (Some(held), _) => self.show(held).map(Some),
        };
        Some(Change { key: change.key.clone(), old: show(&change.old)?, new: show(&change.new)? })
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox<T>> {
        self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what is in the outbox, unless another task (or a caller further up this very stack)
    /// is at it: then that one does.
    fn deliver(&self) {
        if std::mem::replace(&mut self.outbox().delivering, true) {
            return;
        }
        let mut delivery = Delivery { outbox: &self.shared.outbox, over: false };
        loop {
            // One at a time: what a panicking subscriber leaves behind is delivered by whoever comes next.
            let letter = {
                let mut outbox = self.outbox();
                let Some(letter) = outbox.queue.pop_front() else {
                    // Under the same lock as the look at the queue: whoever adds after this
                    // delivers.
                    outbox.delivering = false;
                    outbox.queue.shrink_to(FEW);
                    delivery.over = true;
                    return;
                };
                letter
            };
            let change = match letter {
                Letter::Open(change) => Some(change),
                Letter::Packed(change) => self.open(&change, None),
            };
            let subscribers = self.shared.subscribers.read().unwrap_or_else(PoisonError::into_inner).clone();
            for (change, subscriber) in subscribers.iter().filter_map(|subscriber| Some((change.as_ref()?, subscriber)))
            {
                subscriber(change);
            }
        }
    }
}

/// True for the last state of an object: being deleted, nothing holds it back. kube-apiserver's
/// `ShouldDeleteDuringUpdate` deletes it in the same request.
fn finally_deleted(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
        && meta.finalizers.as_deref().unwrap_or_default().is_empty()
        && meta.deletion_grace_period_seconds.unwrap_or_default() == 0
}
