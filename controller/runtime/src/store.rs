//! The hub store: what this process knows of one kind of object, shared by all that want to know.
//!
//! One watch feeds it ([`watch`](crate::watch)), and every reply to a write of ours is put in at
//! once ([`Store::written`]), so that the next stage starts without waiting for the echo. The races
//! between the two are settled in [`table`]. The store adds the lock, the order of callbacks, and
//! indexes.

mod index;
mod key;
mod record;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::discovery::ApiResource;
use pando_context::{Ctx, Stop};
use tokio::sync::watch;

use self::index::Indexes;
pub use self::index::{Lookup, Values};
pub use self::key::{InvalidRevision, Key, Revision, Uid};
pub use self::record::{Record, decode_error};
pub use self::table::{Change, Fault, Pending, Verdict};
use self::table::{Look, Observed, Outcome, Table};
use crate::watch::Health;

/// The objects of one kind. Cheap to clone; all clones are the same store.
pub struct Store<T> {
    shared: Arc<Shared<T>>,
}

/// What a store knows under a key.
#[derive(Debug)]
pub enum Read<T> {
    /// The object.
    Found(Arc<T>),
    /// There is none: a complete list has been seen, and neither feed nor replies show one.
    Absent,
    /// Nobody can say: the store has not seen a complete list yet, or the object cannot be read.
    /// Never treat it as absent.
    Unreadable(String),
}

/// Not every object that a decision needs can be read: the object and the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot be read, so nothing is decided that needs it: {0}")]
pub struct Unreadable(pub String);

/// How a store has been doing, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects shown.
    pub objects: u64,
    /// Objects that exist and cannot be read.
    pub faults: u64,
    /// Replies that were ahead of the feed and went in.
    pub written: u64,
    /// Replies that came after the feed had shown as much.
    pub late: u64,
    /// Lists that contradicted what the server had said before (restored from a backup).
    pub rewinds: u64,
}

struct Shared<T> {
    resource: ApiResource,
    state: RwLock<State<T>>,
    outbox: Mutex<Outbox<T>>,
    subscribers: RwLock<Vec<Subscriber<T>>>,
    synced: watch::Sender<bool>,
    health: Mutex<Health>,
    written: AtomicU64,
    late: AtomicU64,
    rewinds: AtomicU64,
}

type Subscriber<T> = Arc<dyn Fn(&Change<T>) + Send + Sync>;

struct State<T> {
    table: Table<T>,
    indexes: Indexes<T>,
}

impl<T> State<T> {
    fn list(&self, namespace: Option<&str>) -> Vec<Arc<T>> {
        match namespace {
            Some(namespace) => self.table.namespace(namespace).map(|(_, value)| Arc::clone(value)).collect(),
            None => self.table.iter().map(|(_, value)| Arc::clone(value)).collect(),
        }
    }

    fn values(&self, keys: Vec<&Key>) -> Vec<Arc<T>> {
        keys.into_iter().filter_map(|key| self.table.get(key).cloned()).collect()
    }
}

/// Changes on their way to the subscribers: one task at a time delivers, so that every subscriber
/// sees the changes in the order of the table.
struct Outbox<T> {
    queue: VecDeque<Change<T>>,
    delivering: bool,
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("kind", &self.shared.resource.kind)
            .field("len", &self.read_state().table.len())
            .finish()
    }
}

impl<T> Store<T> {
    fn read_state(&self) -> RwLockReadGuard<'_, State<T>> {
        // A panic of another task under the lock cannot leave a half-made table that would be worse
        // than ending here as well.
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.shared.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox<T>> {
        self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Record> Store<T> {
    /// An empty store for the objects of `resource`.
    pub fn new(resource: ApiResource) -> Self {
        let shared = Shared {
            resource,
            state: RwLock::new(State { table: Table::new(), indexes: Indexes::default() }),
            outbox: Mutex::new(Outbox { queue: VecDeque::new(), delivering: false }),
            subscribers: RwLock::new(Vec::new()),
            synced: watch::Sender::new(false),
            health: Mutex::new(Health::default()),
            written: AtomicU64::new(0),
            late: AtomicU64::new(0),
            rewinds: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps an index: `values` adds the values under which [`Store::by_index`] finds an object. It must be a pure
    /// function of the object. Adding an index under a known name replaces it.
    #[must_use]
    pub fn with_index(self, name: &'static str, values: fn(&T, &mut Values)) -> Self {
        {
            let mut state = self.write_state();
            let State { table, indexes } = &mut *state;
            indexes.add(name, values, table.iter());
        }
        self
    }

    /// The kind of object in this store.
    pub fn resource(&self) -> &ApiResource {
        &self.shared.resource
    }

    /// The object under `key`, as new as this process knows it. `None` also before the first list
    /// and for an object that was never readable: where absence decides something, use
    /// [`Store::read`].
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.read_state().table.get(key).cloned()
    }

    /// What is known under `key`, with doubt told from absence.
    pub fn read(&self, key: &Key) -> Read<T> {
        let state = self.read_state();
        match state.table.look(key) {
            Look::Found(value) => Read::Found(Arc::clone(value)),
            Look::Unreadable(fault) => Read::Unreadable(fault.to_string()),
            Look::Absent if state.table.is_synced() => Read::Absent,
            Look::Absent => {
                Read::Unreadable(format!("{} {key}: the first list is not complete yet", self.shared.resource.kind))
            }
        }
    }

    /// All objects of a namespace, or all (`None`), in key order.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<T>> {
        self.read_state().list(namespace)
    }

    /// The objects of one name in all namespaces, in key order. Costs a look-up for each namespace that holds an object of
    /// this kind, not one for each object.
    pub fn named(&self, name: &str) -> Vec<Arc<T>> {
        self.read_state().table.named(name).cloned().collect()
    }

    /// All objects of a namespace, or all (`None`), for decisions that take a missing one as gone.
    ///
    /// # Errors
    ///
    /// The first list is not complete, or an object of the namespace exists and cannot be read.
    pub fn complete(&self, namespace: Option<&str>) -> Result<Vec<Arc<T>>, Unreadable> {
        let state = self.read_state();
        self.readable(&state, namespace)?;
        Ok(state.list(namespace))
    }

    /// Whether [`Store::complete`] would answer, without making the list.
    pub fn is_complete(&self, namespace: Option<&str>) -> bool {
        self.readable(&self.read_state(), namespace).is_ok()
    }

    fn readable(&self, state: &State<T>, namespace: Option<&str>) -> Result<(), Unreadable> {
        let kind = &self.shared.resource.kind;
        if !state.table.is_synced() {
            return Err(Unreadable(format!("{kind}: the first list is not complete yet")));
        }
        let concerns = |key: &Key| namespace.is_none_or(|namespace| key.namespace() == Some(namespace));
        match state.table.faults().find(|fault| concerns(&fault.key)) {
            Some(fault) => Err(Unreadable(format!("{kind} {}: {}", fault.key, fault.error))),
            None => Ok(()),
        }
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> Vec<Key> {
        self.read_state().table.iter().map(|(key, _)| key.clone()).collect()
    }

    /// The objects for which the function of [`Store::with_index`] added `value`, in key order. An
    /// index that was never added finds nothing.
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<T>> {
        self.find(name, Lookup::Value(value), None)
    }

    /// What an index finds in a namespace, or everywhere (`None`), in key order. An index that was never added finds
    /// nothing. Costs what it finds, whatever else the store holds.
    pub fn find(&self, name: &str, lookup: Lookup<'_>, namespace: Option<&str>) -> Vec<Arc<T>> {
        let state = self.read_state();
        state.values(state.indexes.keys(name, lookup, namespace).unwrap_or_default())
    }

    /// How many objects [`Store::find`] would find in all namespaces, for choosing between look-ups. An object that has
    /// several values with a prefix counts as often.
    pub fn count(&self, name: &str, lookup: Lookup<'_>) -> usize {
        self.read_state().indexes.count(name, lookup)
    }

    /// What an index finds under any of these values at one moment, in key order and each once, for decisions that take a
    /// missing object as gone.
    ///
    /// # Errors
    ///
    /// As [`Store::complete`]: nobody knows under which values an unreadable object belongs. An index that was never
    /// added knows nothing, either.
    pub fn complete_by_index(
        &self,
        name: &str,
        values: &[&str],
        namespace: Option<&str>,
    ) -> Result<Vec<Arc<T>>, Unreadable> {
        let state = self.read_state();
        self.readable(&state, namespace)?;
        let missing = || Unreadable(format!("{}: there is no index {name:?}", self.shared.resource.kind));
        let mut keys = Vec::new();
        for value in values {
            keys.extend(state.indexes.keys(name, Lookup::Value(value), namespace).ok_or_else(missing)?);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(state.values(keys))
    }

    /// How many objects are shown.
    pub fn len(&self) -> usize {
        self.read_state().table.len()
    }

    /// True when no object is shown.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects that exist and cannot be read.
    pub fn faults(&self) -> Vec<Fault> {
        self.read_state().table.faults().cloned().collect()
    }

    /// Figures for metrics.
    pub fn counts(&self) -> Counts {
        let state = self.read_state();
        Counts {
            objects: state.table.len() as u64,
            faults: state.table.faults().count() as u64,
            written: self.shared.written.load(Ordering::Relaxed),
            late: self.shared.late.load(Ordering::Relaxed),
            rewinds: self.shared.rewinds.load(Ordering::Relaxed),
        }
    }

    /// True once the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Waits for the first complete list.
    pub async fn synced(&self, ctx: &Ctx) -> Result<(), Stop> {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `self`: it cannot go away meanwhile.
        ctx.run(async { synced.wait_for(|synced| *synced).await.is_ok() }).await.map(|_| ())
    }

    /// Calls `subscriber` for every change from now on, in the order in which the table changed and
    /// after it has. It is called by whichever task brought the change (or the one that was
    /// delivering at that moment) and must not block: note the key, and return. It may use the
    /// store.
    pub fn subscribe(&self, subscriber: impl Fn(&Change<T>) + Send + Sync + 'static) {
        self.shared.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(subscriber));
    }

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
            return self.removed(&key, uid.as_str());
        }
        let revision = match Revision::of(meta) {
            Ok(revision) => revision,
            Err(error) => {
                tracing::warn!(kind = %self.shared.resource.kind, %key, %error, "a reply cannot be placed, waiting for the watch instead");
                return;
            }
        };
        let value = Arc::new(object);
        let verdict = self.tell(|table| table.written(&key, &uid, revision, value)).verdict;
        let counter = if verdict == Verdict::Accepted { &self.shared.written } else { &self.shared.late };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A delete of ours is done: this incarnation is gone. (Where finalizers remain the answer is
    /// the object: [`Store::written`].)
    pub fn removed(&self, key: &Key, uid: &str) {
        self.tell(|table| table.removed(key, &Uid::from(uid)));
    }

    /// How the watch that feeds this store is doing.
    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the table learn something, keeps the indexes in step, and delivers the changes.
    fn tell(&self, learn: impl FnOnce(&mut Table<T>) -> Outcome<T>) -> Told {
        let told = {
            let mut state = self.write_state();
            let Outcome { changes, verdict, fault } = learn(&mut state.table);
            for change in &changes {
                state.indexes.change(change);
            }
            // Under the table's lock, so that the outbox has the table's order.
            self.outbox().queue.extend(changes);
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

    /// Delivers what is in the outbox, unless another task (or a caller further up this very stack)
    /// is at it: then that one does.
    fn deliver(&self) {
        if std::mem::replace(&mut self.outbox().delivering, true) {
            return;
        }
        let mut delivery = Delivery { outbox: &self.shared.outbox, over: false };
        loop {
            // One at a time: what a panicking subscriber leaves behind is delivered by whoever comes next.
            let change = {
                let mut outbox = self.outbox();
                let Some(change) = outbox.queue.pop_front() else {
                    // Under the same lock as the look at the queue: whoever adds after this
                    // delivers.
                    outbox.delivering = false;
                    delivery.over = true;
                    return;
                };
                change
            };
            let subscribers = self.shared.subscribers.read().unwrap_or_else(PoisonError::into_inner).clone();
            for subscriber in &subscribers {
                subscriber(&change);
            }
        }
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
    pub(crate) fn listed(&self, seen: Observed<T>) -> Option<Fault> {
        self.tell(|table| table.listed(seen)).fault
    }

    /// The list is complete.
    pub(crate) fn list_ends(&self) -> Verdict {
        self.tell(Table::list_ends).verdict
    }

    /// A watch event: added or modified.
    pub(crate) fn applied(&self, seen: Observed<T>) -> (Verdict, Option<Fault>) {
        let told = self.tell(|table| table.applied(seen));
        (told.verdict, told.fault)
    }

    /// A watch event: deleted.
    pub(crate) fn deleted(&self, seen: Observed<T>) -> Verdict {
        self.tell(|table| table.deleted(seen)).verdict
    }

    /// An object without a usable version.
    pub(crate) fn unplaced(&self, key: Key, uid: Uid, error: String) -> Option<Fault> {
        self.tell(|table| table.unplaced(key, uid, error)).fault
    }

    /// Writes that the feed has not echoed.
    pub(crate) fn pending(&self) -> Vec<Pending> {
        self.read_state().table.pending()
    }

    /// What a read at revision `at` said of a pending write.
    pub(crate) fn confirm(&self, pending: &Pending, at: Revision, found: Option<Observed<T>>) {
        self.tell(|table| table.confirm(pending, at, found));
    }
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

/// True for the last state of an object: being deleted, nothing holds it back. kube-apiserver's
/// `ShouldDeleteDuringUpdate` deletes it in the same request.
fn finally_deleted(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
        && meta.finalizers.as_deref().unwrap_or_default().is_empty()
        && meta.deletion_grace_period_seconds.unwrap_or_default() == 0
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (version {}): {}", self.key, self.revision, self.error)
    }
}
