//! Watching what is ours in a member, kind by kind, as long as a Work uses the kind.
//!
//! Every watch selects `karmada.io/managed=true`, so objects of the member's other users never cross the wire. What is kept of
//! an object is its metadata and one [`Reading`](crate::object::Reading); the object itself is dropped after it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::select;
use kube::core::ApiResource;
use pando_api::labels;
use pando_context::Kind;
use pando_runtime::store::{Change, Key, Read, Store};
use pando_runtime::watch;
use tokio::sync::{Notify, oneshot};

use crate::link::Member;
use crate::object::{Decode, MemberObject};

static WATCH: Kind = Kind::new("watch");

/// Objects in one page of a list: with the largest answer that is taken, this bounds the memory of a list under way.
const PAGE: u32 = 250;
/// More objects of ours of one kind than this, no member has: a list that goes on is no list.
const MOST_OBJECTS: usize = 200_000;

/// Told about every change of one of our objects, after its reading was made. Must not block.
pub type OnChange = Arc<dyn Fn(&ApiResource, &Change<MemberObject>) + Send + Sync>;

/// The watches of one member.
pub struct Watches {
    member: Member,
    decode: Decode,
    on_change: OnChange,
    wake: Arc<Notify>,
    running: Mutex<BTreeMap<Gvk, Watch>>,
}

/// `apiVersion` and kind.
type Gvk = (Box<str>, Box<str>);

struct Watch {
    store: Store<MemberObject>,
    users: BTreeSet<Key>,
    /// Dropping it ends the watch. Not a scope: a scope in here would keep the member's context from ending as long as
    /// somebody holds the watches.
    _end: oneshot::Sender<()>,
}

impl Watches {
    /// No watches yet. They will run under the member's context.
    #[must_use]
    pub fn new(member: Member, decode: Decode, on_change: OnChange) -> Self {
        Self { member, decode, on_change, wake: Arc::default(), running: Mutex::default() }
    }

    /// The store of a kind; starts its watch when `user` (a Work) is the first to need it.
    pub fn acquire(&self, resource: &ApiResource, user: &Key) -> Store<MemberObject> {
        let mut running = self.running();
        let gvk = (resource.api_version.as_str().into(), resource.kind.as_str().into());
        // The plural may have been a guess until discovery knew better.
        let outdated = running.get(&gvk).is_some_and(|watch| watch.store.resource() != resource);
        let users = if outdated { running.remove(&gvk).map(|watch| watch.users) } else { None };
        let watch = running.entry(gvk).or_insert_with(|| self.start(resource));
        watch.users.extend(users.into_iter().flatten());
        watch.users.insert(user.clone());
        watch.store.clone()
    }

    /// The kinds that are watched, each with the Works that need it.
    #[must_use]
    pub fn users(&self) -> Vec<(ApiResource, Vec<Key>)> {
        let running = self.running();
        running.values().map(|watch| (watch.store.resource().clone(), watch.users.iter().cloned().collect())).collect()
    }

    /// Ends the watch of a kind whose place in the member has changed (it is not served any more, or anew): what it knew
    /// counts no longer. The next user starts another one.
    pub fn restart(&self, api_version: &str, kind: &str) {
        self.running().remove(&(Box::from(api_version), Box::from(kind)));
    }

    /// The member is back: watches that pause after a failure go on at once.
    pub fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// `user` is gone: ends the watches that nobody else needs.
    pub fn release(&self, user: &Key) {
        self.running().retain(|_, watch| {
            watch.users.remove(user);
            !watch.users.is_empty()
        });
    }

    /// What the watch of a kind knows under `key`; `Unreadable` when the kind is not watched.
    #[must_use]
    pub fn read(&self, api_version: &str, kind: &str, key: &Key) -> Read<MemberObject> {
        match self.store(api_version, kind) {
            Some(store) => store.read(key),
            None => Read::Unreadable(format!("{kind} {key}: the kind is not watched")),
        }
    }

    /// The store of a kind that is watched.
    #[must_use]
    pub fn store(&self, api_version: &str, kind: &str) -> Option<Store<MemberObject>> {
        self.running().get(&(Box::from(api_version), Box::from(kind))).map(|watch| watch.store.clone())
    }

    /// How the watch of each kind is doing.
    #[must_use]
    pub fn health(&self) -> Vec<(ApiResource, watch::Health)> {
        let running = self.running();
        running.values().map(|watch| (watch.store.resource().clone(), watch.store.health())).collect()
    }

    /// How many kinds are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running().len()
    }

    /// Is nothing watched?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn start(&self, resource: &ApiResource) -> Watch {
        let store: Store<MemberObject> = Store::new(resource.clone());
        let (decode, on_change, kind) = (Arc::clone(&self.decode), Arc::clone(&self.on_change), resource.clone());
        store.subscribe(move |change| {
            if let Some(object) = &change.new {
                object.reading(&kind, &decode);
            }
            on_change(&kind, change);
        });
        let options = watch::Options {
            labels: Some(format!("{}={}", labels::MANAGED, labels::MANAGED_VALUE)),
            page_size: PAGE,
            most_objects: MOST_OBJECTS,
            ..watch::Options::default()
        };
        let (client, fed, wake) = (self.member.watches().clone(), store.clone(), Arc::clone(&self.wake));
        let (end, ended) = oneshot::channel();
        let watch = move |ctx| async move {
            select(pin!(watch::run_woken(ctx, client, fed, options, wake)), ended).await;
        };
        self.member.ctx().spawn_named(&WATCH, &resource.plural, watch).detach();
        Watch { store, users: BTreeSet::new(), _end: end }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Gvk, Watch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
