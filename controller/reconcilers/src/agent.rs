//! One member as its arrows see it: what waits, what is watched, what is remembered, and how to talk to it.
//!
//! The [`Agent`] runs nothing. [`execution`](crate::execution) and [`work_status`](crate::work_status) work on it and meet in
//! it; [`member_agent`](crate::member_agent) makes it, wires its queues to them, and ends it.

mod decode;
pub(crate) mod memory;
pub mod outcome;
pub(crate) mod sight;

use std::sync::{Arc, Weak};
use std::time::Duration;

use kube::core::{ApiResource, GroupVersionKind};
use pando_api::cluster::Cluster;
use pando_api::names::{self, ClusterName, ExecutionNamespace};
use pando_api::work::Work;
use pando_core::drift::Desired;
use pando_member::gateway::{self, Gateway};
use pando_member::object::{Decode, MemberObject, Verdict};
use pando_member::probe::Discovered;
use pando_member::registry::{Entry, State};
use pando_member::target::Target;
use pando_member::watches::Watches;
use pando_runtime::clock::Clock;
use pando_runtime::events::{self, Level, Recorder};
use pando_runtime::metrics::{Member, Metrics};
use pando_runtime::queue::{Priority, Queue};
use pando_runtime::store::{Change, Key, Store};
use pando_runtime::term::Term;

use self::memory::Memory;
use self::outcome::Outcome;
use self::sight::{Sights, Trouble};
use crate::bindings::Bindings;
use crate::hub::Hub;

/// How members are worked on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Statuses of one member's Works that are written at the same time, at least 1. How many Works are carried out at the
    /// same time is the member's own limit, which moves.
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
    pub bindings: Bindings,
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

/// The actor of one member.
pub struct Agent {
    parts: Parts,
    entry: Arc<Entry>,
    namespace: ExecutionNamespace,
    gateway: Gateway,
    watches: Watches,
    decode: Decode,
    /// Works to carry out.
    pub(crate) execution: Queue<Key>,
    /// Works whose status may have to change.
    pub(crate) status: Queue<Key>,
    memory: Memory,
    sights: Sights,
}

impl Agent {
    /// The agent of a member that was just attached.
    pub(crate) fn new(parts: Parts, entry: Arc<Entry>) -> Arc<Self> {
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
                sights: Sights::default(),
            }
        })
    }

    /// The watches that a Work needs; starts those that do not run.
    pub(crate) fn needs(&self, work: &Work) -> (Key, Vec<Store<MemberObject>>) {
        let key = Key::of(&work.metadata);
        let desired = Desired::of_work(&self.parts.federation, work).unwrap_or_default();
        let stores = desired.iter().map(|desired| self.watches.acquire(&self.target(desired).resource, &key)).collect();
        (key, stores)
    }

    /// A Work of this member changed on the hub.
    pub(crate) fn work_changed(&self, change: &Change<Work>) {
        let (Some(old), Some(new)) = (&change.old, &change.new) else {
            self.execution.add_with(change.key.clone(), self.urgency(&change.key));
            return;
        };
        let wants = |work: &Work| {
            (work.metadata.uid.clone(), work.metadata.generation, work.metadata.deletion_timestamp.is_some())
        };
        if wants(old) != wants(new) || old.spec != new.spec {
            self.execution.add_with(change.key.clone(), self.urgency(&change.key));
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
                self.execution.add_with(work.clone(), self.urgency(work));
            }
        }
        // Gone, without our label, or claimed by another Work: its former Work puts it back.
        if let Some(work) = before.filter(|work| now.as_ref() != Some(work)) {
            let urgency = self.urgency(&work);
            self.execution.add_with(work, urgency);
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

    pub(crate) const fn bindings(&self) -> &Bindings {
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

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// The execution namespace of the member.
    pub(crate) const fn namespace(&self) -> &ExecutionNamespace {
        &self.namespace
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
            self.flush();
        }
    }

    /// The member is back: everything that waited for it starts, the most urgent first. The member's limit says how fast.
    pub(crate) fn flush(&self) {
        self.watches.wake();
        for work in self.memory.unpark() {
            let urgency = self.urgency(&work);
            self.execution.add_with(work, urgency);
        }
    }

    /// Releases come first, then what somebody changed, then what only has to be looked at again.
    pub(crate) fn urgency(&self, work: &Key) -> Priority {
        match self.parts.works.get(work) {
            None => Priority::Removal,
            Some(work) if work.metadata.deletion_timestamp.is_some() => Priority::Removal,
            Some(found) => match self.memory.outcome(work) {
                Some(outcome) if outcome.generation == found.metadata.generation => Priority::Reaction,
                _ => Priority::Normal,
            },
        }
    }

    /// The kinds that the member serves have changed. Where a kind in use is served anew, no more, or elsewhere, what its
    /// watch knew counts no longer and its Works are looked at.
    pub(crate) fn kinds_changed(&self, before: &Discovered, now: &Discovered) {
        for (resource, users) in self.watches.users() {
            let place = |discovered: &Discovered| discovered.resource(&resource.api_version, &resource.kind);
            if place(before) == place(now) {
                continue;
            }
            tracing::info!(cluster = %self.name(), kind = %resource.kind, served = place(now).is_some(), "a kind in use is served otherwise");
            self.watches.restart(&resource.api_version, &resource.kind);
            for work in users {
                self.execution.add_with(work, Priority::Reaction);
            }
        }
    }

    /// Looks how the watches are doing. Where a kind cannot be followed any more, or can be again, its Works say so.
    pub(crate) fn look_around(&self) {
        self.memory.sweep();
        let watches = if self.entry.is_connected() { self.watches.health() } else { Vec::new() };
        let news = self.sights.look(&watches);
        if news.is_empty() {
            return;
        }
        for (resource, users) in self.watches.users() {
            if news.contains(&(resource.api_version.into(), resource.kind.into())) {
                users.into_iter().for_each(|work| self.status.add_after(work, self.parts.settings.settle));
            }
        }
    }

    /// The trouble with following a kind, if any.
    pub(crate) fn trouble(&self, api_version: &str, kind: &str) -> Option<Trouble> {
        self.sights.trouble(api_version, kind)
    }

    /// The traffic at this moment.
    pub(crate) fn traffic(&self) -> Member {
        let traffic = self.entry.member().gate().traffic();
        Member {
            cluster: self.name().to_string(),
            state: traffic.state.as_str(),
            cause: match &traffic.state {
                State::Lost { cause, .. } => cause.clone(),
                State::Connecting | State::Connected => String::new(),
            },
            in_flight: traffic.in_flight,
            peak: traffic.peak,
            limit: traffic.limit,
            waiting: traffic.waiting,
            parked: self.memory.parked(),
            lost: traffic.opened,
        }
    }

    /// A namespace was made in the member: what waited for it goes on at once.
    pub(crate) fn namespace_made(&self, namespace: &str) {
        for work in self.memory.waiting_in(namespace) {
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
