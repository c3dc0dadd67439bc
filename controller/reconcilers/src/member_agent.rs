//! One actor per member: what works on its [`Agent`], all under `cluster/<name>`.
//!
//! ```text
//! root > term > cluster/<name> ─┬─ execution    workers of arrow 4     > reconcile > call
//!                               ├─ work_status  the one writer of each Work's status
//!                               ├─ watch/<kind> what is ours in the member
//!                               ├─ state        flushes parked Works when the member is back
//!                               ├─ sight        notices kinds that cannot be followed
//!                               └─ kinds        starts anew what was missing a kind
//! ```
//!
//! The same actor serves push members (in the hub's process) and pull members (in the agent's): only who calls
//! [`Agents::start`] differs. Detaching the cluster ends all of it; nothing in here outlives its scope.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use pando_api::names::{ClusterName, ExecutionNamespace};
use pando_context::{Ctx, Kind, Stop};
use pando_member::object::MemberObject;
use pando_member::registry::{Entry, State};
use pando_runtime::controller::{self, Spec};
use pando_runtime::queue::Priority;
use pando_runtime::store::{Key, Store};

pub use crate::agent::{Agent, Parts, Settings};
use crate::{execution, next, work_status};

static START: Kind = Kind::new("start");
static STATE: Kind = Kind::new("state");
static KINDS: Kind = Kind::new("kinds");
static SIGHT: Kind = Kind::new("sight");
static SYNC: Kind = Kind::new("sync");

/// How long the first lists of a member's kinds may hold up its workers. After that they read object by object.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at how the watches are doing.
const LOOK: Duration = Duration::from_secs(2);

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
        let metrics = parts.metrics.clone();
        let inner = Arc::new(Inner { parts, live: Mutex::default() });
        let (route, shown) = (Arc::downgrade(&inner), Arc::downgrade(&inner));
        metrics.watch_members(move || {
            let agents = shown.upgrade().map(|inner| inner.live().values().cloned().collect::<Vec<_>>());
            agents.iter().flatten().map(|agent| agent.traffic()).collect()
        });
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
        run(agent);
    }

    /// The id of the federation that they work for.
    #[must_use]
    pub fn federation(&self) -> &str {
        &self.inner.parts.federation
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

/// Starts the tasks of a member. They end with its context and hold the agent until then.
fn run(agent: Arc<Agent>) {
    let ctx = agent.entry().member().ctx().clone();
    let followed = Arc::clone(&agent);
    ctx.spawn(&STATE, move |ctx| async move { follow_state(&ctx, &followed).await }).detach();
    let followed = Arc::clone(&agent);
    ctx.spawn(&KINDS, move |ctx| async move { follow_kinds(&ctx, &followed).await }).detach();
    let followed = Arc::clone(&agent);
    ctx.spawn(&SIGHT, move |ctx| async move { follow_watches(&ctx, &followed).await }).detach();
    let worked = Arc::clone(&agent);
    controller::run(&ctx, spec(&agent, "work_status"), agent.status.clone(), move |ctx, key| {
        let agent = Arc::clone(&worked);
        async move { work_status::reconcile(&ctx, &agent, &key).await.map(next::action) }
    })
    .detach();
    let warmed = Arc::clone(&agent);
    ctx.spawn(&START, move |ctx| async move { warm_up(&ctx, &warmed).await }).detach();
    // No more Works under way than calls that the member may get: the others wait in the queue, where they are merged and
    // the most urgent comes first, and not in a reconcile whose time runs out.
    let gate = Arc::clone(agent.entry().member().gate());
    let (spec, queue) = (spec(&agent, "execution"), agent.execution.clone());
    controller::run_within(
        &ctx,
        spec,
        queue,
        move || gate.limit(),
        move |ctx, key| {
            let agent = Arc::clone(&agent);
            async move { execution::reconcile(&ctx, &agent, &key).await.map(next::action) }
        },
    )
    .detach();
}

fn spec(agent: &Agent, name: &'static str) -> Spec {
    let Settings { concurrency, reconcile, .. } = *agent.settings();
    Spec { name, concurrency, timeout: reconcile, metrics: agent.metrics().clone() }
}

/// Starts the watches that the existing Works need, and queues each Work when its own have listed: what a watch knows
/// costs no request, so a restart in a steady state costs the lists and nothing else. A kind that cannot be listed holds
/// its Works up for a while only; then they are looked at object by object.
async fn warm_up(ctx: &Ctx, agent: &Agent) -> Result<(), Stop> {
    agent.works().synced(ctx).await?;
    agent.entry().connected(ctx).await?;
    let mut waiting: Vec<(Key, Vec<Store<MemberObject>>)> = Vec::new();
    // What cannot be read is in the log, and has nothing to be done.
    agent.works().visit(Some(agent.namespace().as_str()), |work| waiting.push(agent.needs(work))).ok();
    let synced = try_join_all(waiting.iter().map(|(key, stores)| async move {
        for store in stores {
            store.synced(ctx).await?;
        }
        agent.execution.add_with(key.clone(), Priority::Background);
        Ok::<(), Stop>(())
    }));
    if let Ok(synced) = ctx.timeout(&SYNC, SYNC_PATIENCE, synced).await {
        return synced.map(drop);
    }
    ctx.check()?;
    for (key, _) in waiting.iter().filter(|(_, stores)| !stores.iter().all(Store::is_synced)) {
        agent.execution.add_with(key.clone(), Priority::Background);
    }
    Ok(())
}

async fn follow_state(ctx: &Ctx, agent: &Agent) -> Result<(), Stop> {
    let mut states = agent.entry().states();
    loop {
        // The sender lives in the entry: it cannot go away meanwhile.
        let state = ctx.run(async { states.borrow_and_update().state().clone() }).await?;
        match state {
            State::Connected => agent.flush(),
            State::Lost { cause, .. } => tracing::warn!(cluster = %agent.name(), cause, "member lost, its Works wait"),
            State::Connecting => {}
        }
        ctx.run(states.changed()).await?.ok();
    }
}

async fn follow_kinds(ctx: &Ctx, agent: &Agent) -> Result<(), Stop> {
    let mut discoveries = agent.entry().discoveries();
    let mut known = Arc::clone(&discoveries.borrow_and_update());
    loop {
        ctx.run(discoveries.changed()).await?.ok();
        let now = Arc::clone(&discoveries.borrow_and_update());
        agent.kinds_changed(&known, &now);
        known = now;
    }
}

async fn follow_watches(ctx: &Ctx, agent: &Agent) -> Result<(), Stop> {
    loop {
        ctx.sleep(LOOK).await?;
        agent.look_around();
    }
}
