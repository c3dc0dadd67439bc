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
use pando_context::{Ctx, Instant, Kind, Reason, ReasonKind, Scope, Stop};
use pando_runtime::client::Credentials;
use tokio::sync::watch;

use crate::breaker::Breaker;
pub use crate::breaker::{State, Why};
use crate::connect::{Connection, Refused};
use crate::gate::Gate;
use crate::link::Member;
use crate::missing::Missing;
use crate::probe::Discovered;

static CLUSTER: Kind = Kind::new("cluster");
static DETACH: Kind = Kind::new("detach");

/// How long a detach waits for what is in flight. Calls end at once when their context does; this is for their drops.
pub const GRACE: Duration = Duration::from_secs(10);

/// One member, as long as its connection parameters stay the same.
pub struct Entry {
    member: Member,
    /// `None` for a link that brought its own clients.
    credentials: Option<Credentials>,
    fingerprint: u64,
    discovered: watch::Sender<Arc<Discovered>>,
    missing: Mutex<Missing>,
}

impl Entry {
    /// The link.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    fn gate(&self) -> &Gate {
        self.member.gate()
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> State {
        self.gate().state()
    }

    /// Is it known to work at present?
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.gate().is_closed()
    }

    /// Records how the member is known to be at this moment. True when this changed the state.
    pub fn set_state(&self, found: State) -> bool {
        self.probed(found, self.outages())
    }

    /// Records what a probe found which began after so many [`outages`](Self::outages). True when this changed the state: a
    /// member that was lost meanwhile stays so until another probe.
    pub fn probed(&self, found: State, outages: u64) -> bool {
        self.gate().probed(found, outages)
    }

    /// How often the member was lost so far.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.gate().outages()
    }

    /// Follows the state. The first `changed` is the first change after this call.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Breaker> {
        self.gate().follow()
    }

    /// Waits until the member is connected.
    ///
    /// # Errors
    /// The context ended first.
    pub async fn connected(&self, ctx: &Ctx) -> Result<(), Stop> {
        let mut states = self.states();
        // The sender lives in `self`: the wait can only end by the state.
        ctx.run(async move { states.wait_for(Breaker::is_closed).await.map(drop) }).await.map(|_| ())
    }

    /// The kinds that the member serves, as last discovered.
    #[must_use]
    pub fn discovered(&self) -> Arc<Discovered> {
        Arc::clone(&self.discovered.borrow())
    }

    /// Follows the kinds. The first `changed` is the first change after this call.
    #[must_use]
    pub fn discoveries(&self) -> watch::Receiver<Arc<Discovered>> {
        self.discovered.subscribe()
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
        self.missing().looked(&self.discovered(), Instant::now());
    }

    /// Says that somebody needs a kind that the member did not serve when it was last asked: it is asked again at once, and
    /// from then on often, until the kind is there or nobody has needed it for a while. A kind that was served when it was last
    /// asked may have been taken away since: it is asked once, if that is not just what it was.
    pub fn misses(&self, api_version: &str, kind: &str) {
        let is_listed = self.discovered().resource(api_version, kind).is_some();
        let (mut missing, now) = (self.missing(), Instant::now());
        if !(is_listed && missing.is_fresh(now)) && missing.mention(api_version, kind, now) {
            self.suspect();
        }
    }

    /// Says that the member is about to serve a kind: where it does not yet, it is asked again at once and often.
    pub fn expects(&self, api_version: &str, kind: &str) {
        if self.discovered().resource(api_version, kind).is_none() {
            self.missing().expect(api_version, kind, Instant::now());
            self.suspect();
        }
    }

    /// When the kinds are to be looked at again because somebody misses one; `None`: nobody does.
    #[must_use]
    pub fn rediscovery(&self) -> Option<Duration> {
        self.missing().period()
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a call failed for a reason that concerns the whole cluster: the next probe is due at once.
    pub fn suspect(&self) {
        self.gate().suspect();
    }

    /// Waits until someone suspects the member.
    pub async fn suspected(&self) {
        self.gate().suspected().await;
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

/// Something of a detached cluster did not end within [`GRACE`]. It is waited for; detaching again waits for it, too.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster} is not fully detached after {GRACE:?}; /debug/contexts shows what is left; retried")]
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
    /// Lives that were cancelled and have not ended yet. Each has a task of its own that waits for it, so that it is not
    /// forgotten when whoever asked for the end gives up waiting.
    leaving: BTreeMap<ClusterName, watch::Receiver<Draining>>,
}

/// How far the end of a life is.
#[derive(Clone, Debug)]
enum Draining {
    /// This was left after [`GRACE`]: the context tree. `None` before.
    Waiting(Option<String>),
    /// Nothing is left.
    Ended,
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
        let gate = Gate::new();
        let (requests, watches) = connection.open(scope.ctx(), &gate)?;
        let member = Member::over(name.clone(), scope.ctx().clone(), requests, watches).behind(gate);
        let credentials = Some(connection.credentials().clone());
        Ok(Attached::New(self.enter(member, scope, credentials, connection.fingerprint())))
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
        let (requests, watches) = open(scope.ctx());
        let member = Member::new(name.clone(), scope.ctx().clone(), requests, watches);
        Ok(self.enter(member, scope, None, 0))
    }

    fn enter(&self, member: Member, scope: Scope, credentials: Option<Credentials>, fingerprint: u64) -> Arc<Entry> {
        let name = member.name().clone();
        let (discovered, missing) = (watch::Sender::default(), Mutex::default());
        let entry = Arc::new(Entry { member, credentials, fingerprint, discovered, missing });
        self.slots().attached.insert(name, (scope, Arc::clone(&entry)));
        entry
    }

    /// Ends everything that belongs to a member and returns when nothing of it is left. Detaching what is not attached
    /// is fine. Whoever stops waiting, or calls while another call waits, does not end the wait: no new life of the member
    /// begins before this one has ended.
    ///
    /// # Errors
    /// [`StillRunning`] after [`GRACE`]; the rest is remembered and waited for, and the next call goes on waiting, too.
    pub async fn detach(&self, name: &ClusterName) -> Result<(), StillRunning> {
        self.end(name);
        let Some(mut draining) = self.slots().leaving.get(name).cloned() else { return Ok(()) };
        let left = |left: &str| Err(StillRunning { cluster: name.clone(), left: left.to_owned() });
        draining.mark_unchanged();
        loop {
            if matches!(*draining.borrow(), Draining::Ended) {
                return Ok(());
            }
            if draining.changed().await.is_err() {
                return left("the process ends before it");
            }
            if let Draining::Waiting(Some(tree)) = &*draining.borrow_and_update() {
                return left(tree);
            }
        }
    }

    /// Cancels the life of a member, if it has one, and starts what waits for its end.
    fn end(&self, name: &ClusterName) {
        let (progress, draining) = watch::channel(Draining::Waiting(None));
        let scope = {
            let mut slots = self.slots();
            let Some((scope, _)) = slots.attached.remove(name) else { return };
            slots.leaving.insert(name.clone(), draining);
            scope
        };
        let reason = |name: &ClusterName| Reason::new(ReasonKind::Detached, format!("cluster {name} is detached"));
        scope.cancel(reason(name));
        let (registry, cluster) = (self.clone(), name.clone());
        let wait = move |_: Ctx| async move {
            let (mut scope, mut told) = (scope, false);
            loop {
                match scope.stop(reason(&cluster), GRACE).await {
                    Ok(stopped) => {
                        tracing::info!(cluster = %cluster, after = ?stopped.after, aborted = ?stopped.aborted, "detached");
                        registry.slots().leaving.remove(&cluster);
                        progress.send_replace(Draining::Ended);
                        return;
                    }
                    Err(running) => {
                        let left = running.tree().to_string();
                        // Once: it is a whole tree, and a stuck one stays for long.
                        if told {
                            tracing::debug!(cluster = %cluster, left, "still not ended; waited for");
                        } else {
                            tracing::warn!(cluster = %cluster, left, "not ended within {GRACE:?} of its detach; waited for");
                        }
                        told = true;
                        progress.send_replace(Draining::Waiting(Some(left)));
                        scope = running.into_scope();
                    }
                }
            }
        };
        self.inner.parent.spawn_named(&DETACH, name, wait).detach();
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
