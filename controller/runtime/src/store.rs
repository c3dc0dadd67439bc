//! The hub store: what this process knows of one kind of object, shared by all that want to know.
//!
//! One watch feeds it ([`watch`](crate::watch)), and every reply to a write of ours is put in at
//! once ([`Store::written`]), so that the next stage starts without waiting for the echo. The races
//! between the two are settled in [`table`]. The store adds the lock, the order of callbacks, and
//! indexes; and where there are many objects, it keeps them [packed](Store::packed) and reads them for whoever asks.

mod delivery;
mod held;
mod index;
mod key;
mod packed;
mod record;
pub mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::discovery::ApiResource;
use pando_context::{Ctx, Stop};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use self::delivery::{Outbox, Subscriber};
use self::held::{Held, Packing};
use self::index::Indexes;
pub use self::index::{Lookup, Values};
pub use self::key::{InvalidRevision, Key, Revision, Uid};
pub use self::packed::{Packer, Role};
pub use self::record::{Record, decode_error};
pub use self::table::{Fault, Pending, Verdict};
use self::table::{Look, Table};
use crate::watch::Health;

/// A change of what a store shows under one key. `old` and `new` may be different incarnations (uids) of the name.
pub type Change<T> = table::Change<Arc<T>>;

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
    /// How objects are packed; `None` in a store that holds them as they are.
    packing: Option<Packing<T>>,
    state: RwLock<State<T>>,
    outbox: Mutex<Outbox<T>>,
    subscribers: RwLock<Vec<Subscriber<T>>>,
    synced: watch::Sender<bool>,
    health: Mutex<Health>,
    written: AtomicU64,
    late: AtomicU64,
    rewinds: AtomicU64,
}

struct State<T> {
    table: Table<Held<T>>,
    indexes: Indexes<T>,
}

impl<T> State<T> {
    fn list(&self, namespace: Option<&str>) -> Vec<Held<T>> {
        match namespace {
            Some(namespace) => self.table.namespace(namespace).map(|(_, held)| held.clone()).collect(),
            None => self.table.iter().map(|(_, held)| held.clone()).collect(),
        }
    }

    fn held(&self, keys: Vec<&Key>) -> Vec<Held<T>> {
        keys.into_iter().filter_map(|key| self.table.get(key).cloned()).collect()
    }
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
}

impl<T: Record> Store<T> {
    /// An empty store for the objects of `resource`, held as they are.
    pub fn new(resource: ApiResource) -> Self {
        Self::with(resource, None)
    }

    /// An empty store for the objects of `resource`, of which there may be very many: they are held packed, beside the
    /// others of their `family`, and read anew for whoever asks. A reader pays some ten microseconds for each object.
    pub fn packed(resource: ApiResource, packer: &Packer, role: Role, family: fn(&T) -> Option<Key>) -> Self
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        Self::with(resource, Some(Packing::new(packer, role, family)))
    }

    fn with(resource: ApiResource, packing: Option<Packing<T>>) -> Self {
        let shared = Shared {
            resource,
            packing,
            state: RwLock::new(State { table: Table::new(), indexes: Indexes::default() }),
            outbox: Mutex::new(Outbox::new()),
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
            indexes.add(name, values, table.iter().filter_map(|(key, held)| Some((key, self.show(held)?))));
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
        let held = self.read_state().table.get(key).cloned();
        self.show(&held?)
    }

    /// What is known under `key`, with doubt told from absence.
    pub fn read(&self, key: &Key) -> Read<T> {
        let held = {
            let state = self.read_state();
            match state.table.look(key) {
                Look::Found(held) => held.clone(),
                Look::Unreadable(fault) => return Read::Unreadable(fault.to_string()),
                Look::Absent if state.table.is_synced() => return Read::Absent,
                Look::Absent => {
                    let kind = &self.shared.resource.kind;
                    return Read::Unreadable(format!("{kind} {key}: the first list is not complete yet"));
                }
            }
        };
        self.show(&held).map_or_else(|| Read::Unreadable(self.illegible(key)), Read::Found)
    }

    /// All objects of a namespace, or all (`None`), in key order. For a walk over very many see [`Store::visit`].
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<T>> {
        let held = self.read_state().list(namespace);
        self.show_all(&held)
    }

    /// Shows all objects of a namespace, or all (`None`), in key order and one after the other: no more than one of them is
    /// in memory as a whole on behalf of this call. They are those of one moment.
    ///
    /// # Errors
    ///
    /// An object is there and cannot be read; the others have been shown.
    pub fn visit(&self, namespace: Option<&str>, mut visitor: impl FnMut(&T)) -> Result<(), Unreadable> {
        let held = self.read_state().list(namespace);
        let mut all = Ok(());
        for held in &held {
            match self.show(held) {
                Some(object) => visitor(&object),
                None => all = Err(Unreadable(self.illegible("an object"))),
            }
        }
        all
    }

    /// The objects of one name in all namespaces, in key order. Costs a look-up for each namespace that holds an object of
    /// this kind, not one for each object.
    pub fn named(&self, name: &str) -> Vec<Arc<T>> {
        let held: Vec<_> = self.read_state().table.named(name).cloned().collect();
        self.show_all(&held)
    }

    /// All objects of a namespace, or all (`None`), for decisions that take a missing one as gone.
    ///
    /// # Errors
    ///
    /// The first list is not complete, or an object of the namespace exists and cannot be read.
    pub fn complete(&self, namespace: Option<&str>) -> Result<Vec<Arc<T>>, Unreadable> {
        let held = {
            let state = self.read_state();
            self.readable(&state, namespace)?;
            state.list(namespace)
        };
        self.show_every(&held)
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

    /// This key, in the copy that the store has, if it has one: for who keeps keys of many objects, so that their text is
    /// in memory once.
    pub fn own(&self, key: Key) -> Key {
        self.read_state().table.own(&key).cloned().unwrap_or(key)
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
        let held = {
            let state = self.read_state();
            state.held(state.indexes.keys(name, lookup, namespace).unwrap_or_default())
        };
        self.show_all(&held)
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
        let held = {
            let state = self.read_state();
            self.readable(&state, namespace)?;
            let missing = || Unreadable(format!("{}: there is no index {name:?}", self.shared.resource.kind));
            let mut keys = Vec::new();
            for value in values {
                keys.extend(state.indexes.keys(name, Lookup::Value(value), namespace).ok_or_else(missing)?);
            }
            keys.sort_unstable();
            keys.dedup();
            state.held(keys)
        };
        self.show_every(&held)
    }

    /// The values that objects have in an index, in order and each once. An index that was never added has none.
    pub fn index_values(&self, name: &str) -> Vec<Box<str>> {
        self.read_state().indexes.values(name)
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

    /// How the watch that feeds this store is doing.
    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The object, read anew where it is packed.
    fn show(&self, held: &Held<T>) -> Option<Arc<T>> {
        match held {
            Held::Whole(object) => Some(Arc::clone(object)),
            Held::Packed(packed) => {
                let object = self.shared.packing.as_ref().and_then(|packing| packing.unpack(packed));
                if object.is_none() {
                    tracing::error!(kind = %self.shared.resource.kind, ?packed, "an object that was packed cannot be read again: a bug");
                }
                object.map(Arc::new)
            }
        }
    }

    fn show_all(&self, held: &[Held<T>]) -> Vec<Arc<T>> {
        held.iter().filter_map(|held| self.show(held)).collect()
    }

    fn show_every(&self, held: &[Held<T>]) -> Result<Vec<Arc<T>>, Unreadable> {
        let shown = held.iter().map(|held| self.show(held)).collect::<Option<_>>();
        shown.ok_or_else(|| Unreadable(self.illegible("an object")))
    }

    fn illegible(&self, what: impl fmt::Display) -> String {
        format!("{} {what}: what was packed cannot be read again: a bug", self.shared.resource.kind)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (version {}): {}", self.key, self.revision, self.error)
    }
}
