//! Member health → Cluster: one life for each member, from joining to leaving.
//!
//! ```text
//! observe   the Cluster, its secret, the last probe (a task of its own per member)      reads only
//! plan      Ready with hysteresis (`core::health`), taints, what leaving still waits for  pure
//! apply     finalizer, execution namespace, attach or detach, token                     writes only
//! report    conditions, version, kinds; only when they differ                           writes only
//! ```
//!
//! Probing runs under `cluster/<name>`, so a silent member delays neither the probes nor the reconciles of others. What a
//! probe finds is told to this controller; no reconcile of it ever waits for a member (but for renewing a token).

mod attach;
mod error;
mod leave;
mod memory;
mod namespace;
mod probing;
mod secret;
mod status;
mod taints;
mod token;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use pando_api::cluster::{Cluster, SyncMode};
use pando_api::finalizers;
use pando_api::names::ClusterName;
use pando_api::work::Work;
use pando_context::Ctx;
use pando_core::health::Thresholds;
use pando_core::next::Next;
use pando_member::registry::Registry;
use pando_runtime::clock::Clock;
use pando_runtime::events::{self, Level, Recorder};
use pando_runtime::queue::Queue;
use pando_runtime::store::{Change, Key, Read, Store};
use serde_json::json;

use crate::bindings::Bindings;
use crate::hub::Hub;
use crate::member_agent::Agents;
use crate::template::Template;

#[cfg(test)]
mod tests;

pub use error::Error;
use memory::Memory;

/// How clusters are looked after. The defaults are Karmada 1.19's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between two probes of a member (`--cluster-status-update-frequency`).
    pub probe_period: Duration,
    /// The same while the member is lost: its return shall not wait for a period.
    pub lost_period: Duration,
    /// Time between two looks at version, identity and kinds.
    pub discovery_period: Duration,
    /// How long a change of health must last before Ready flips.
    pub thresholds: Thresholds,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_secs(10),
            lost_period: Duration::from_secs(1),
            discovery_period: Duration::from_secs(60),
            thresholds: Thresholds::default(),
        }
    }
}

/// What this controller works with.
#[derive(Clone)]
pub struct Env {
    /// Writes to the hub.
    pub hub: Hub,
    /// Namespaces and secrets of the hub, which no store holds.
    pub client: Client,
    /// The members.
    pub clusters: Store<Cluster>,
    /// What each member must run; a leaving member waits for its own to go.
    pub works: Store<Work>,
    /// A leaving member waits until none of them names it.
    pub bindings: Bindings,
    /// The connections.
    pub registry: Registry,
    /// The actors that work on members.
    pub agents: Agents,
    /// Events on Clusters.
    pub events: Recorder,
    /// The only clock.
    pub clock: Arc<dyn Clock>,
    /// Clusters that need a look, by their cluster-scoped key.
    pub queue: Queue<Key>,
    /// How clusters are looked after.
    pub settings: Settings,
    memory: Arc<Memory>,
}

/// The parts of an [`Env`] that the composition root has.
pub struct Parts {
    /// See [`Env::hub`].
    pub hub: Hub,
    /// See [`Env::client`].
    pub client: Client,
    /// See [`Env::clusters`].
    pub clusters: Store<Cluster>,
    /// See [`Env::works`].
    pub works: Store<Work>,
    /// See [`Env::bindings`].
    pub bindings: Bindings,
    /// The hub's namespaces, if they are followed: an execution namespace that vanishes is made again at once.
    pub namespaces: Option<Store<Template>>,
    /// See [`Env::registry`].
    pub registry: Registry,
    /// See [`Env::agents`].
    pub agents: Agents,
    /// See [`Env::events`].
    pub events: Recorder,
    /// See [`Env::clock`].
    pub clock: Arc<dyn Clock>,
    /// See [`Env::settings`].
    pub settings: Settings,
}

impl Env {
    /// The environment of the controller. Call it before the watches of Clusters and namespaces start: its queue follows
    /// their changes.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { hub, client, clusters, works, bindings, namespaces, registry, agents, events, clock, settings } =
            parts;
        let queue = Queue::new("cluster");
        let changed = queue.clone();
        clusters.subscribe(move |change: &Change<Cluster>| {
            let own_status = match (&change.old, &change.new) {
                (Some(old), Some(new)) => {
                    old.spec == new.spec
                        && old.metadata.generation == new.metadata.generation
                        && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
                        && old.metadata.finalizers == new.metadata.finalizers
                        && old.metadata.annotations == new.metadata.annotations
                }
                _ => false,
            };
            if !own_status {
                changed.add(change.key.clone());
            }
        });
        let memory = Arc::default();
        if let Some(namespaces) = &namespaces {
            namespace::follow(namespaces, &memory, &queue);
        }
        Self { hub, client, clusters, works, bindings, registry, agents, events, clock, queue, settings, memory }
    }

    fn event(&self, cluster: &Cluster, level: Level, reason: &str, message: &str) {
        self.events.record(&events::about(cluster), level, reason, message);
    }
}

/// Looks after one cluster.
///
/// # Errors
/// A read or write on the hub failed, or a detached life has not ended yet.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    let Ok(name) = ClusterName::parse(&key.name) else {
        tracing::error!(cluster = %key.name, "not a cluster name, left alone");
        return Ok(Next::await_change());
    };
    let cluster = match env.clusters.read(key) {
        Read::Found(cluster) => cluster,
        Read::Absent => {
            leave::forget(env, &name).await?;
            return Ok(Next::forget());
        }
        Read::Unreadable(why) => return Err(Error::Unreadable { cluster: name, why }),
    };
    begin_life(env, &name, &cluster).await?;
    if cluster.metadata.deletion_timestamp.is_some() {
        return leave::step(ctx, env, key, &name, &cluster).await;
    }
    if !has_finalizer(&cluster) {
        add_finalizer(ctx, env, key, &cluster).await?;
    }
    if let Some(wait) = namespace::ensure(ctx, env, &name, &cluster).await? {
        return Ok(wait);
    }
    if cluster.spec.sync_mode == SyncMode::Pull {
        // Its agent connects, probes and reports; two that write to one member would get into each other's way.
        attach::disconnect(env, &name, "its spec.syncMode is Pull").await?;
        return Ok(Next::await_change());
    }
    let attached = attach::attach(ctx, env, &name, &cluster).await?;
    let published = status::publish(ctx, env, key, &name, &cluster, &attached).await?;
    taints::follow(ctx, env, key).await?;
    let renewal = token::renew(ctx, env, &name).await;
    Ok(attached.next().min(published).min(renewal))
}

/// Makes sure that nothing remembered of an earlier Cluster of this name is taken for this one's.
async fn begin_life(env: &Env, name: &ClusterName, cluster: &Cluster) -> Result<(), Error> {
    let uid = &cluster.metadata.uid;
    if env.memory.of(name, |facts| facts.uid.is_some() && facts.uid != *uid) {
        leave::forget(env, name).await?;
    }
    env.memory.of(name, |facts| facts.uid.clone_from(uid));
    Ok(())
}

fn has_finalizer(cluster: &Cluster) -> bool {
    cluster.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == finalizers::CLUSTER)
}

async fn add_finalizer(ctx: &Ctx, env: &Env, key: &Key, cluster: &Cluster) -> Result<(), Error> {
    let mut all = cluster.metadata.finalizers.clone().unwrap_or_default();
    all.push(finalizers::CLUSTER.to_owned());
    let patch = json!({"metadata": {"resourceVersion": cluster.metadata.resource_version, "finalizers": all}});
    env.hub.patch(ctx, &env.clusters, key, &patch).await?;
    Ok(())
}
