//! One actor per member: its queues, workers, watches and memory, all under `cluster/<name>`.
//!
//! ```text
//! root > term > cluster/<name> ─┬─ execution    workers of arrow 4     > reconcile > call
//!                               ├─ work-status  the one writer of each Work's status
//!                               ├─ watch/<kind> what is ours in the member
//!                               └─ state        flushes parked Works when the member is back
//! ```
//!
//! The same actor serves push members (in the hub's process) and pull members (in the agent's): only who calls
//! [`Agents::start`] differs. Detaching the cluster ends all of it; nothing in here outlives its scope.

mod decode;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::try_join_all;
use kube::core::{ApiResource, GroupVersionKind};
use pando_api::cluster::Cluster;
use pando_api::names::{self, ClusterName, ExecutionNamespace};
use pando_api::work::{ResourceBinding, Work};
use pando_context::{Ctx, Kind, Stop};
use pando_core::drift::Desired;
use pando_member::gateway::{self, Gateway};
use pando_member::object::{Decode, MemberObject, Verdict};
use pando_member::registry::{Entry, State};
use pando_member::target::Target;
use pando_member::watches::Watches;
use pando_runtime::clock::Clock;
use pando_runtime::controller::{self, Spec};
use pando_runtime::events::{self, Level, Recorder};
use pando_runtime::metrics::Metrics;
use pando_runtime::queue::{Priority, Queue};
use pando_runtime::store::{Change, Key, Store};
use pando_runtime::term::Term;

use crate::execution::outcome::Outcome;
use crate::hub::Hub;
use crate::{execution, next, work_status};
use memory::Memory;

pub(crate) use memory::FIRST_SLOW_REPAIR;

static START: Kind = Kind::new("start");
static STATE: Kind = Kind::new("state");
static SYNC: Kind = Kind::new("sync");

/// How long the first lists of a member's kinds may hold up its workers. After that they read object by object.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);

/// How members are worked on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Works of one member that are carried out at the same time (1 to 64).
    pub concurrency: usize,
    /// Deadline of one call to a member.
    pub call: Duration,
    /// Deadline of one reconcile of a Work.
    pub reconcile: Duration,
    /// How long a first change of a Work's status waits for others that belong to it (leading edge).
    pub settle: Duration,
    /// Least time between two writes of one Work's status.
    pub status_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 8,
            call: gateway::DEADLINE,
            reconcile: Duration::from_secs(30),
            settle: Duration::from_millis(20),
            status_interval: Duration::from_millis(250),
        }
    }
}

/// What every actor works with.
#[derive(Clone)]
pub struct Parts {
    /// Writes to the hub.
    pub hub: Hub,
    /// The Works of all members.
    pub works: Store<Work>,
    /// The bindings: a Work that its binding still wants does not take its object along.
    pub bindings: Store<ResourceBinding>,
    /// The members: those that leave take all their objects along.
    pub clusters: Store<Cluster>,
    /// The federation's id: the uid of the hub's `kube-system` namespace.
    pub federation: Arc<str>,
    /// Events on Works.
    pub events: Recorder,
    /// The only clock.
    pub clock: Arc<dyn Clock>,
    /// Counts requests to members and reconciles.
    pub metrics: Metrics,
    /// How members are worked on.
    pub settings: Settings,
}

/// The actors of all members. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    live: Mutex<BTreeMap<ClusterName, Arc<Agent>>>,
}

impl Agents {
    /// No actors yet; from now on, changes of Works reach the actor of their member.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let works = parts.works.clone();
        let inner = Arc::new(Inner { parts, live: Mutex::default() });
        let route = Arc::downgrade(&inner);
        works.subscribe(move |change| {
            let namespace = change.key.namespace().and_then(ExecutionNamespace::parse);
            let agent = namespace.and_then(|namespace| route.upgrade()?.agent(&namespace.cluster()));
            if let Some(agent) = agent {
                agent.work_changed(change);
            }
        });
        Self { inner }
    }

    /// Builds the actor of a member that was just attached, and starts it under the member's context. An actor of an
    /// earlier life is replaced; its tasks ended with that life.
    pub fn start(&self, entry: &Arc<Entry>) {
        let agent = Agent::new(self.inner.parts.clone(), Arc::clone(entry));
        self.inner.live().insert(entry.member().name().clone(), Arc::clone(&agent));
        agent.run();
    }

    /// Drops the actor of a detached member.
    pub fn forget(&self, name: &ClusterName) {
        self.inner.live().remove(name);
    }

    /// The actor of a member.
    #[must_use]
    pub fn get(&self, name: &ClusterName) -> Option<Arc<Agent>> {
        self.inner.agent(name)
    }
}

impl Inner {
    fn agent(&self, name: &ClusterName) -> Option<Arc<Agent>> {
        self.live().get(name).cloned()
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<ClusterName, Arc<Agent>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The actor of one member.
pub struct Agent {
    parts: Parts,
    entry: Arc<Entry>,
    namespace: ExecutionNamespace,
    gateway: Gateway,
    watches: Watches,
    decode: Decode,
    execution: Queue<Key>,
    status: Queue<Key>,
    memory: Memory,
}

impl Agent {
    fn new(parts: Parts, entry: Arc<Entry>) -> Arc<Self> {
        let member = entry.member().clone();
        let (execution, status) = (
            Queue::of_member("execution", member.name().as_str()),
            Queue::of_member("work_status", member.name().as_str()),
        );
        let namespace = member.name().execution_namespace();
        let decode = decode::decoder(Arc::clone(&parts.federation), parts.works.clone(), namespace.clone());
        let metrics = parts.metrics.clone();
        let gateway = Gateway::new(member.clone()).with_deadline(parts.settings.call).counted_by(Arc::new(
            move |member, verb, outcome, _| {
                metrics.member_request(member.name().as_str(), verb, outcome);
            },
        ));
        Arc::new_cyclic(|this: &Weak<Self>| {
            let this = Weak::clone(this);
            let on_change = Arc::new(move |_: &ApiResource, change: &Change<MemberObject>| {
                if let Some(agent) = this.upgrade() {
                    agent.member_changed(change);
                }
            });
            Self {
                watches: Watches::new(member, Arc::clone(&decode), on_change),
                parts,
                entry,
                namespace,
                gateway,
                decode,
                execution,
                status,
                memory: Memory::default(),
            }
        })
    }

    /// Starts the tasks. They end with the member's context and hold the actor until then.
    fn run(self: Arc<Self>) {
        let ctx = self.entry.member().ctx().clone();
        let agent = Arc::clone(&self);
        ctx.spawn(&STATE, move |ctx| async move { agent.follow_state(&ctx).await }).detach();
        let agent = Arc::clone(&self);
        controller::run(&ctx, self.spec("work_status"), self.status.clone(), move |ctx, key| {
            let agent = Arc::clone(&agent);
            async move { work_status::reconcile(&ctx, &agent, &key).await.map(next::action) }
        })
        .detach();
        let agent = Arc::clone(&self);
        ctx.spawn(&START, move |ctx| async move { agent.warm_up(&ctx).await }).detach();
        controller::run(&ctx, self.spec("execution"), self.execution.clone(), move |ctx, key| {
            let agent = Arc::clone(&self);
            async move { execution::reconcile(&ctx, &agent, &key).await.map(next::action) }
        })
        .detach();
    }

    fn spec(&self, name: &'static str) -> Spec {
        let Settings { concurrency, reconcile, .. } = self.parts.settings;
        Spec { name, concurrency, timeout: reconcile, metrics: self.parts.metrics.clone() }
    }

    /// Starts the watches that the existing Works need, and queues each Work when its own have listed: what a watch knows
    /// costs no request, so a restart in a steady state costs the lists and nothing else. A kind that cannot be listed holds
    /// its Works up for a while only; then they are looked at object by object.
    async fn warm_up(&self, ctx: &Ctx) -> Result<(), Stop> {
        self.parts.works.synced(ctx).await?;
        self.entry.connected(ctx).await?;
        let works = self.parts.works.list(Some(self.namespace.as_str()));
        let waiting: Vec<(Key, Vec<Store<MemberObject>>)> = works.iter().map(|work| self.needs(work)).collect();
        let synced = try_join_all(waiting.iter().map(|(key, stores)| async move {
            for store in stores {
                store.synced(ctx).await?;
            }
            self.execution.add_with(key.clone(), Priority::Background);
            Ok::<(), Stop>(())
        }));
        if let Ok(synced) = ctx.timeout(&SYNC, SYNC_PATIENCE, synced).await {
            return synced.map(drop);
        }
        ctx.check()?;
        for (key, _) in waiting.iter().filter(|(_, stores)| !stores.iter().all(Store::is_synced)) {
            self.execution.add_with(key.clone(), Priority::Background);
        }
        Ok(())
    }

    /// The watches that a Work needs; starts those that do not run.
    fn needs(&self, work: &Work) -> (Key, Vec<Store<MemberObject>>) {
        let key = Key::of(&work.metadata);
        let desired = Desired::of_work(&self.parts.federation, work).unwrap_or_default();
        let stores = desired.iter().map(|desired| self.watches.acquire(&self.target(desired).resource, &key)).collect();
        (key, stores)
    }

    async fn follow_state(&self, ctx: &Ctx) -> Result<(), Stop> {
        let mut states = self.entry.states();
        loop {
            // The sender lives in `entry`: it cannot go away meanwhile.
            let state = ctx.run(async { states.borrow_and_update().clone() }).await?;
            match state {
                State::Connected => self.memory.unpark().into_iter().for_each(|key| self.execution.add(key)),
                State::Lost { cause } => {
                    tracing::warn!(cluster = %self.name(), cause, "member lost, its Works wait")
                }
                State::Connecting => {}
            }
            ctx.run(states.changed()).await?.ok();
        }
    }

    /// A Work of this member changed on the hub.
    fn work_changed(&self, change: &Change<Work>) {
        let (Some(old), Some(new)) = (&change.old, &change.new) else {
            self.execution.add(change.key.clone());
            return;
        };
        let wants = |work: &Work| {
            (work.metadata.uid.clone(), work.metadata.generation, work.metadata.deletion_timestamp.is_some())
        };
        if wants(old) != wants(new) || old.spec != new.spec {
            self.execution.add(change.key.clone());
        } else if old.status != new.status {
            // Mostly our own write. If it was somebody else's, ours is put back.
            self.status.add_after(change.key.clone(), self.parts.settings.status_interval);
        }
    }

    /// One of our objects changed in the member.
    fn member_changed(&self, change: &Change<MemberObject>) {
        let of = |object: &Option<Arc<MemberObject>>| object.as_ref().and_then(|object| object.known()?.work.clone());
        let (before, now) = (of(&change.old), of(&change.new));
        if let (Some(work), Some(object)) = (&now, &change.new) {
            self.status.add_after(work.clone(), self.parts.settings.settle);
            if let Some(reading) = object.known()
                && self.needs_look(work, &reading.verdict)
            {
                self.execution.add(work.clone());
            }
        }
        // Gone, without our label, or claimed by another Work: its former Work puts it back.
        if let Some(work) = before.filter(|work| now.as_ref() != Some(work)) {
            self.execution.add(work);
        }
    }

    fn needs_look(&self, work: &Key, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Matches(_) => self.memory.outcome(work).is_none_or(|outcome| !outcome.is_applied()),
            Verdict::Differs { desired, live } => !self.memory.is_accepted(work, desired, live),
            Verdict::Unclaimed => false,
        }
    }
}

/// What the reconcilers of a member use.
impl Agent {
    pub(crate) fn name(&self) -> &ClusterName {
        self.entry.member().name()
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.parts.hub
    }

    pub(crate) fn term(&self) -> &Term {
        self.parts.hub.term()
    }

    pub(crate) fn works(&self) -> &Store<Work> {
        &self.parts.works
    }

    pub(crate) fn bindings(&self) -> &Store<ResourceBinding> {
        &self.parts.bindings
    }

    pub(crate) fn clusters(&self) -> &Store<Cluster> {
        &self.parts.clusters
    }

    pub(crate) fn federation(&self) -> &str {
        &self.parts.federation
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    pub(crate) fn decode(&self) -> &Decode {
        &self.decode
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn outcome(&self, work: &Key) -> Option<Outcome> {
        self.memory.outcome(work)
    }

    /// Where an object lives in this member. A kind that discovery has not shown (yet) is addressed by Kubernetes' rule
    /// for plurals; where that is wrong, the member says that it does not serve the kind.
    pub(crate) fn target(&self, desired: &Desired) -> Target {
        let manifest = &desired.manifest;
        let discovered = self.entry.discovered().resource(manifest.api_version(), manifest.kind());
        let (resource, namespaced) = discovered.unwrap_or_else(|| {
            let (group, version) = manifest.api_version().split_once('/').unwrap_or(("", manifest.api_version()));
            (ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, manifest.kind())), true)
        });
        Target::new(resource, manifest.namespace().filter(|_| namespaced), manifest.name())
    }

    /// Keeps a Work for the time when the member is back.
    pub(crate) fn park(&self, work: &Key) {
        self.memory.park(work);
        // The member may have come back between the caller's look and now.
        if self.entry.is_connected() {
            self.memory.unpark().into_iter().for_each(|key| self.execution.add(key));
        }
    }

    /// A namespace was made in the member: what waited for it goes on at once.
    pub(crate) fn wake_waiting(&self) {
        for work in self.memory.waiting() {
            self.execution.add(work);
        }
    }

    /// A namespace is not in the member. If its Work took it for given (it was there without our marks, so no watch shows
    /// it), the Work makes it again; a Work that fails already has its own pace.
    pub(crate) fn namespace_missing(&self, namespace: &str) {
        let work = Key::namespaced(self.namespace.as_str(), &names::work_name(None, "Namespace", namespace));
        if self.memory.outcome(&work).is_some_and(|outcome| outcome.is_applied()) {
            self.execution.add(work);
        }
    }

    /// Hands an outcome to the writer of the Work's status; an event where what it says changed.
    pub(crate) fn report(&self, key: &Key, outcome: Outcome) {
        let news = outcome.applied();
        let before = self.memory.set_outcome(key, outcome);
        if news.is_some() && before.and_then(|before| before.applied()) == news {
            return; // nothing that a status says has changed
        }
        self.status.add_after(key.clone(), self.parts.settings.settle);
    }

    /// An event on a Work.
    pub(crate) fn event(&self, work: &Work, level: Level, reason: &str, message: &str) {
        self.parts.events.record(&events::about(work), level, reason, message);
    }

    /// A Work is gone: nothing about it is kept.
    pub(crate) fn forget(&self, work: &Key) {
        self.memory.forget(work);
        self.watches.release(work);
        self.execution.forget(work);
        self.status.forget(work);
    }
}
