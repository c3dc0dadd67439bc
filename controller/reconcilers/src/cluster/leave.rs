//! Leaving: a Cluster that is deleted goes when nothing of it is left, and says meanwhile what it waits for.
//!
//! ```text
//! observe   its bindings, Works and execution namespace, the annotations, how the member is       reads only
//! plan      the next step, what keeps it, what its condition says (`core::detach`)                pure, in core
//! report    condition Detaching; an event when a deadline has passed or somebody forces it         writes only
//! apply     the execution namespace goes, Works are let go by force; at the end its life is
//!           stopped (registry.detach: every task, connection and call has ended), then its
//!           finalizer goes                                                                         writes only
//! ```
//!
//! Every write can be the last one of this process: each step is decided from what is there. Other than with Karmada 1.19 a
//! member that is not ready keeps its Cluster, until it is back or somebody forces it (`docs/detach.md`).

mod let_go;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::cluster::{Cluster, SyncMode};
use pando_api::conditions::{DETACH_DEADLINE_EXCEEDED, DETACH_FORCED, DETACHING};
use pando_api::names::ClusterName;
use pando_api::work::Work;
use pando_api::{events, finalizers};
use pando_context::Ctx;
use pando_core::conditions::{self, Verdict};
use pando_core::detach::{self, Leaving, Member, Space, Wishes, WorkLeft};
use pando_core::next::Next;
use pando_member::registry::State;
use pando_runtime::events::Level;
use pando_runtime::store::Key;
use serde_json::json;

use super::attach::{self, Link};
use super::namespace::{self, Found};
use super::{Env, Error, has_finalizer, status};
use crate::bindings::BINDINGS_BY_CLUSTER;

/// How often a leaving cluster is looked at.
const POLL: Duration = Duration::from_secs(1);

/// One step of leaving.
pub(super) async fn step(
    ctx: &Ctx,
    env: &Env,
    key: &Key,
    name: &ClusterName,
    cluster: &Cluster,
) -> Result<Next, Error> {
    if !has_finalizer(cluster) {
        return Ok(Next::await_change());
    }
    let works = env.works.list(Some(name.execution_namespace().as_str()));
    let found = namespace::find(ctx, env, name).await?;
    let member = if works.is_empty() { Member::Unknown } else { member(ctx, env, key, name, cluster).await? };
    let leaving = observed(env, name, cluster, &works, &found, member);
    let decision = detach::decide(&leaving);
    tracing::debug!(cluster = %name, %decision, "leaving");
    if decision.ends {
        return end(ctx, env, key, name, cluster, &leaving).await;
    }
    report(ctx, env, key, &decision.condition).await?;
    if let Found::Active(uid) = found
        && decision.removes_namespace
    {
        remove_namespace(ctx, env, name, cluster, uid).await?;
    }
    if !decision.lets_go.is_empty() {
        let who = leaving.wishes.forced_by.as_deref().unwrap_or_default();
        let_go::run(ctx, env, &let_go::Order { name, cluster, who, works: &works, chosen: &decision.lets_go }).await?;
    }
    Ok(Next::after(POLL))
}

fn observed(
    env: &Env,
    name: &ClusterName,
    cluster: &Cluster,
    works: &[Arc<Work>],
    found: &Found,
    member: Member,
) -> Leaving {
    let now = env.clock.now();
    let bindings = env.bindings.by_index(BINDINGS_BY_CLUSTER, name.as_str());
    let naming = bindings.iter().filter(|binding| binding.spec.clusters.iter().any(|one| one.name == name.as_str()));
    Leaving {
        now,
        since: cluster.metadata.deletion_timestamp.as_ref().map_or(now, |since| since.0),
        wishes: Wishes::of(cluster.metadata.annotations.as_ref()),
        member,
        bindings: naming.map(|binding| Key::of(&binding.metadata).to_string()).collect(),
        works: works.iter().map(|work| WorkLeft::of(work)).collect(),
        namespace: match found {
            Found::Absent => Space::Absent,
            Found::Terminating(why) => Space::Terminating(why.clone()),
            Found::Active(_) => Space::Active,
        },
    }
}

/// How the member is. It is connected for that: its Works need it, also after a restart in the middle of leaving; and what
/// its Cluster says of it stays true.
async fn member(ctx: &Ctx, env: &Env, key: &Key, name: &ClusterName, cluster: &Cluster) -> Result<Member, Error> {
    let link = match cluster.spec.sync_mode {
        SyncMode::Pull => detach::Link::Agent,
        SyncMode::Push => {
            let link = attach::attach(ctx, env, name, cluster).await?;
            status::publish(ctx, env, key, name, cluster, &link).await?;
            match link {
                Link::Refused(why) => detach::Link::Refused(why),
                Link::Attached(entry) => match entry.state() {
                    State::Connected => detach::Link::Connected,
                    State::Lost { .. } => detach::Link::Lost,
                    State::Connecting => detach::Link::Connecting,
                },
            }
        }
    };
    let current = env.clusters.get(key);
    let status = current.as_deref().unwrap_or(cluster).status.as_ref();
    Ok(Member::of(link, status.map_or(&[], |status| &status.conditions)))
}

/// Nothing is left on the hub: everything that was started for the cluster ends, then its finalizer goes.
async fn end(
    ctx: &Ctx,
    env: &Env,
    key: &Key,
    name: &ClusterName,
    cluster: &Cluster,
    leaving: &Leaving,
) -> Result<Next, Error> {
    if let Err(running) = forget(env, name).await {
        report(ctx, env, key, &detach::still_running(leaving)).await?;
        return Err(running);
    }
    if !leaving.bindings.is_empty() {
        let bindings = leaving.bindings.len();
        tracing::warn!(cluster = %name, bindings, "the cluster leaves although bindings name it that nobody schedules");
    }
    release(ctx, env, key, cluster).await
}

/// Ends everything that belongs to the member, and returns when nothing of it is left.
pub(super) async fn forget(env: &Env, name: &ClusterName) -> Result<(), Error> {
    env.registry.detach(name).await?;
    env.agents.forget(name);
    env.memory.forget(name);
    Ok(())
}

async fn remove_namespace(
    ctx: &Ctx,
    env: &Env,
    name: &ClusterName,
    cluster: &Cluster,
    uid: String,
) -> Result<(), Error> {
    let execution = name.execution_namespace();
    match namespace::delete(ctx, env, name, uid).await {
        Ok(()) => {
            env.event(
                cluster,
                Level::Normal,
                events::REMOVE_EXECUTION_SPACE_SUCCEED,
                &format!("Removed execution namespace({execution}) for cluster({name})"),
            );
            Ok(())
        }
        Err(error) => {
            env.event(cluster, Level::Warning, events::REMOVE_EXECUTION_SPACE_FAILED, &error.to_string());
            Err(error)
        }
    }
}

/// Says in condition Detaching what is left and what keeps it.
async fn report(ctx: &Ctx, env: &Env, key: &Key, verdict: &Verdict) -> Result<(), Error> {
    let Some(cluster) = env.clusters.get(key) else {
        return Ok(());
    };
    let mut status = cluster.status.clone().unwrap_or_default();
    let before = conditions::find(&status.conditions, DETACHING).map(|condition| condition.reason.clone());
    if !conditions::set(&mut status.conditions, verdict.clone(), &Time(env.clock.now())) {
        return Ok(());
    }
    status::write(ctx, env, key, &cluster, &status).await?;
    if before.as_ref() != Some(&verdict.reason) {
        let event = match verdict.reason.as_str() {
            DETACH_DEADLINE_EXCEEDED => Some(events::DETACH_BLOCKED),
            DETACH_FORCED => Some(events::DETACH_FORCED),
            _ => None,
        };
        tracing::info!(cluster = %key.name, reason = verdict.reason, message = verdict.message, "leaving");
        if let Some(event) = event {
            env.event(&cluster, Level::Warning, event, &verdict.message);
        }
    }
    Ok(())
}

async fn release(ctx: &Ctx, env: &Env, key: &Key, cluster: &Cluster) -> Result<Next, Error> {
    let kept: Vec<&String> =
        cluster.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != finalizers::CLUSTER).collect();
    let patch = json!({"metadata": {"uid": cluster.metadata.uid, "resourceVersion": cluster.metadata.resource_version, "finalizers": kept}});
    match env.hub.patch(ctx, &env.clusters, key, &patch).await {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(Next::forget()),
    }
}
