//! Which members there are, and how each of them is connected right now.
//!
//! One entry per cluster owns the scope `cluster/<name>`: its connections, watches, queues and calls all live under it.
//! [`Registry::detach`] stops that scope and returns when nothing of it is left, so a cluster that is detached and joined
//! again never has two lives at once.
//!
//! Locks here are held for map operations only, never across an await.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use pando_api::names::ClusterName;
use pando_context::{Ctx, Kind, Reason, ReasonKind, Scope, Stop};
use pando_runtime::client::Credentials;
use tokio::sync::{Notify, watch};

use crate::connect::{Connection, Refused};
use crate::link::Member;
use crate::probe::Discovered;

static CLUSTER: Kind = Kind::new("cluster");

/// How long a detach waits for what is in flight. Calls end at once when their context does; this is for their drops.
pub const GRACE: Duration = Duration::from_secs(10);

/// How the link to a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not probed since it was attached.
    Connecting,
    /// The last probe was answered by an API server that can be worked with, and that is the cluster which joined.
    Connected,
    /// It cannot be worked with at present; work for it is kept, not retried object by object.
    Lost {
        /// Why, in one line.
        cause: String,
    },
}

/// One member, as long as its connection parameters stay the same.
pub struct Entry {
    member: Member,
    /// `None` for a link that brought its own clients.
    credentials: Option<Credentials>,
    fingerprint: u64,
    state: watch::Sender<State>,
    discovered: watch::Sender<Arc<Discovered>>,
    suspected: Notify,
}

impl Entry {
    /// The link.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Is it known to work at present?
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), State::Connected)
    }

    /// Records what a probe found. True when this changed the state.
    pub fn set_state(&self, next: State) -> bool {
        self.state.send_if_modified(|state| {
            // A lost member stays lost for the first reason: later probes only find its consequences.
            let changed = std::mem::discriminant(state) != std::mem::discriminant(&next);
            if changed {
                *state = next;
            }
            changed
        })
    }

    /// Follows the state. The first `changed` is the first change after this call.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until the member is connected.
    ///
    /// # Errors
    /// The context ended first.
    pub async fn connected(&self, ctx: &Ctx) -> Result<(), Stop> {
        let mut states = self.state.subscribe();
        // The sender lives in `self`: the wait can only end by the state.
        ctx.run(async move { states.wait_for(|state| *state == State::Connected).await.map(drop) }).await.map(|_| ())
    }

    /// The kinds that the member serves, as last discovered.
    #[must_use]
    pub fn discovered(&self) -> Arc<Discovered> {
        Arc::clone(&self.discovered.borrow())
    }

    /// Records what discovery found; groups that did not answer keep what was known of them.
    pub fn set_discovered(&self, discovered: Discovered) {
        self.discovered.send_if_modified(|known| {
            let merged = discovered.or_from(known);
            let changed = **known != merged;
            if changed {
                *known = Arc::new(merged);
            }
            changed
        });
    }

    /// Says that a call failed for a reason that concerns the whole cluster: the next probe is due at once.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Waits until someone suspects the member.
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {:?})", self.member.name(), self.state())
    }
}

/// What [`Registry::attach`] had to do.
#[derive(Debug)]
pub enum Attached {
    /// A new life began: everything per member is to be built on its context.
    New(Arc<Entry>),
    /// Nothing but, possibly, the token changed; connections stay.
    Kept(Arc<Entry>),
}

impl Attached {
    /// The entry, either way.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        match self {
            Self::New(entry) | Self::Kept(entry) => entry,
        }
    }
}

/// A member could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its parameters are not usable.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its former life has not ended yet.
    #[error(transparent)]
    StillRunning(#[from] StillRunning),
}

/// Something of a detached cluster did not end within [`GRACE`]. Detaching again goes on waiting for it.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster} is not fully detached after {GRACE:?}: {left}; retried")]
pub struct StillRunning {
    /// The member.
    pub cluster: ClusterName,
    /// What is left: the context tree below it.
    pub left: String,
}

/// All members. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    parent: Ctx,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    attached: BTreeMap<ClusterName, (Scope, Arc<Entry>)>,
    /// Lives that were cancelled and have not ended yet.
    leaving: BTreeMap<ClusterName, Scope>,
}

impl Registry {
    /// A registry whose clusters live under `parent` (the leader's term).
    #[must_use]
    pub fn new(parent: Ctx) -> Self {
        Self { inner: Arc::new(Inner { parent, slots: Mutex::default() }) }
    }

    /// The entry of an attached member.
    #[must_use]
    pub fn get(&self, name: &ClusterName) -> Option<Arc<Entry>> {
        self.slots().attached.get(name).map(|(_, entry)| Arc::clone(entry))
    }

    /// Makes sure that `name` is connected by these parameters: a new life when endpoint, certificate authority or proxy
    /// changed (the old one has ended before), a swapped token when only that changed, nothing when nothing changed.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub async fn attach(&self, name: &ClusterName, connection: &Connection) -> Result<Attached, AttachError> {
        let known = self.get(name).filter(|entry| entry.fingerprint == connection.fingerprint());
        if let Some((entry, credentials)) = known.as_ref().and_then(|entry| Some((entry, entry.credentials.as_ref()?)))
        {
            if connection.hand_token_to(credentials)? {
                tracing::info!(cluster = %name, "token swapped in place");
            }
            return Ok(Attached::Kept(Arc::clone(entry)));
        }
        self.detach(name).await?;
        let scope = self.inner.parent.child_named(&CLUSTER, name);
        let clients = connection.open(scope.ctx())?;
        let credentials = Some(connection.credentials().clone());
        Ok(Attached::New(self.enter(name, scope, clients, credentials, connection.fingerprint())))
    }

    /// Begins a life of a member over clients that the caller brings (requests, watches): the link of an agent that runs
    /// inside its member, and of tests. Replaces an earlier life, which has ended before.
    ///
    /// # Errors
    /// [`StillRunning`]: the earlier life has not ended yet.
    pub async fn attach_by(
        &self,
        name: &ClusterName,
        open: impl FnOnce(&Ctx) -> (Client, Client),
    ) -> Result<Arc<Entry>, StillRunning> {
        self.detach(name).await?;
        let scope = self.inner.parent.child_named(&CLUSTER, name);
        let clients = open(scope.ctx());
        Ok(self.enter(name, scope, clients, None, 0))
    }

    fn enter(
        &self,
        name: &ClusterName,
        scope: Scope,
        (requests, watches): (Client, Client),
        credentials: Option<Credentials>,
        fingerprint: u64,
    ) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            member: Member::new(name.clone(), scope.ctx().clone(), requests, watches),
            credentials,
            fingerprint,
            state: watch::Sender::new(State::Connecting),
            discovered: watch::Sender::default(),
            suspected: Notify::new(),
        });
        self.slots().attached.insert(name.clone(), (scope, Arc::clone(&entry)));
        entry
    }

    /// Ends everything that belongs to a member and returns when nothing of it is left. Detaching what is not attached
    /// is fine.
    ///
    /// # Errors
    /// [`StillRunning`] after [`GRACE`]; the rest is remembered, and the next call goes on waiting for it.
    pub async fn detach(&self, name: &ClusterName) -> Result<(), StillRunning> {
        let scope = {
            let mut slots = self.slots();
            let attached = slots.attached.remove(name).map(|(scope, _)| scope);
            attached.or_else(|| slots.leaving.remove(name))
        };
        let Some(scope) = scope else { return Ok(()) };
        let reason = Reason::new(ReasonKind::Detached, format!("cluster {name} is detached"));
        match scope.stop(reason, GRACE).await {
            Ok(stopped) => {
                tracing::info!(cluster = %name, after = ?stopped.after, "detached");
                Ok(())
            }
            Err(running) => {
                let left = running.tree().to_string();
                self.slots().leaving.insert(name.clone(), running.into_scope());
                Err(StillRunning { cluster: name.clone(), left })
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
