//! Leaving: a Cluster that is deleted goes when nothing of it is left, and says meanwhile what it waits for.
//!
//! ```text
//! the scheduler takes it out of bindings → the execution namespace goes, with it the Works → each Work takes its objects
//! out of the member (a member that is Ready) or leaves them there (one that is not; said in an event) → no binding names
//! it, or the scheduler has had its time → registry.detach: every task, connection and call has ended → the finalizer goes
//! ```
//!
//! The order is Karmada 1.19's. `pando.io/detach-force` and a passed `pando.io/detach-deadline` count as "not Ready". A
//! binding that nobody schedules any more (its policy is gone, or holds or suspends it) keeps the name of the cluster; it
//! does not keep the cluster.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use pando_api::cluster::{Cluster, SyncMode};
use pando_api::conditions::{DETACHING, READY};
use pando_api::names::ClusterName;
use pando_api::work::Work;
use pando_api::{annotations, events, finalizers};
use pando_context::Ctx;
use pando_core::conditions::{self, Verdict};
use pando_core::next::Next;
use pando_member::registry::State;
use pando_runtime::events::Level;
use pando_runtime::store::Key;
use serde_json::json;

use super::attach::{self, Link};
use super::namespace::{self, Found};
use super::{Env, Error, has_finalizer, status};

/// How often a leaving cluster is looked at.
const POLL: Duration = Duration::from_secs(1);
/// How long the scheduler has to take the cluster out of the bindings before its namespace goes all the same: then the
/// Works go through their bindings, in the order that these want. Bindings that still name it then are not waited for.
const SCHEDULER_HEAD_START: SignedDuration = SignedDuration::from_secs(10);

/// What is left of a leaving cluster.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    bindings: usize,
    works: usize,
    namespace: bool,
}

impl Left {
    /// May the cluster go? `waited`: the scheduler has had its time, or the cluster is forced.
    fn lets_go(&self, waited: bool) -> bool {
        self.works == 0 && !self.namespace && (self.bindings == 0 || waited)
    }

    fn message(&self) -> String {
        let namespace =
            if self.namespace { "its execution namespace is there" } else { "its execution namespace is gone" };
        format!("waiting: {} bindings name it, {} Works are left, {namespace}", self.bindings, self.works)
    }
}

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
    let execution = name.execution_namespace();
    let works = env.works.list(Some(execution.as_str()));
    let found = namespace::find(ctx, env, name).await?;
    let bindings = env
        .bindings
        .list(None)
        .iter()
        .filter(|binding| binding.spec.clusters.iter().any(|target| target.name == name.as_str()))
        .count();
    let left = Left { bindings, works: works.len(), namespace: !matches!(found, Found::Absent) };
    let waited = age(env, cluster) >= SCHEDULER_HEAD_START || is_forced(env, cluster);
    if left.lets_go(waited) {
        if bindings > 0 {
            tracing::warn!(cluster = %name, bindings, "the cluster leaves although bindings name it that nobody schedules");
        }
        forget(env, name).await?;
        return release(ctx, env, key, cluster).await;
    }
    report(ctx, env, key, &left).await?;
    if let Found::Active(uid) = found
        && (bindings == 0 || waited)
    {
        remove_namespace(ctx, env, name, cluster, uid).await?;
    }
    if !works.is_empty() && gives_up(ctx, env, key, name, cluster).await? {
        abandon(ctx, env, name, cluster, &works).await?;
    }
    Ok(Next::after(POLL))
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

/// Is the member beyond reach for good, as far as leaving is concerned? Ready says so, which has its hysteresis: a blip
/// leaves nothing behind.
async fn gives_up(ctx: &Ctx, env: &Env, key: &Key, name: &ClusterName, cluster: &Cluster) -> Result<bool, Error> {
    if is_forced(env, cluster) {
        return Ok(true);
    }
    if cluster.spec.sync_mode == SyncMode::Push {
        // Also after a restart in the middle of leaving: the Works need the member.
        let link = attach::attach(ctx, env, name, cluster).await?;
        // The report above has made a newer version.
        let current = env.clusters.get(key);
        status::publish(ctx, env, key, name, current.as_deref().unwrap_or(cluster), &link).await?;
        if let Link::Attached(entry) = &link
            && !matches!(entry.state(), State::Lost { .. })
        {
            return Ok(false);
        }
    }
    let current = env.clusters.get(key);
    let ready = current
        .as_ref()
        .and_then(|cluster| cluster.status.as_ref())
        .is_some_and(|status| conditions::is_true(&status.conditions, READY));
    Ok(!ready)
}

fn is_forced(env: &Env, cluster: &Cluster) -> bool {
    let annotation = |key: &str| cluster.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let deadline = annotation(annotations::DETACH_DEADLINE).and_then(|text| text.parse::<SignedDuration>().ok());
    annotation(annotations::DETACH_FORCE).is_some_and(|force| force == "true")
        || deadline.is_some_and(|deadline| age(env, cluster) >= deadline)
}

/// Since when the cluster is leaving.
fn age(env: &Env, cluster: &Cluster) -> SignedDuration {
    cluster
        .metadata
        .deletion_timestamp
        .as_ref()
        .map_or(SignedDuration::ZERO, |since| env.clock.now().duration_since(since.0))
}

/// Lets the Works of an unreachable member go; their objects stay there.
async fn abandon(
    ctx: &Ctx,
    env: &Env,
    name: &ClusterName,
    cluster: &Cluster,
    works: &[std::sync::Arc<Work>],
) -> Result<(), Error> {
    let mut abandoned = 0_usize;
    for work in works {
        let all = work.metadata.finalizers.iter().flatten();
        let kept: Vec<&String> = all.clone().filter(|finalizer| *finalizer != finalizers::EXECUTION).collect();
        if work.metadata.deletion_timestamp.is_none() || kept.len() == all.count() {
            continue;
        }
        let patch = json!({"metadata": {"uid": work.metadata.uid, "resourceVersion": work.metadata.resource_version, "finalizers": kept}});
        match env.hub.patch(ctx, &env.works, &Key::of(&work.metadata), &patch).await {
            Err(error) if !(error.is_not_found() || error.is_conflict()) => {
                return Err(error.into());
            }
            Err(_) => {}
            Ok(_) => abandoned += 1,
        }
    }
    if abandoned > 0 {
        let message = format!(
            "the objects of {abandoned} Works stay in cluster {name}, which is not ready: delete them there by label karmada.io/managed=true"
        );
        tracing::warn!(cluster = %name, abandoned, "objects left in a member that is not ready");
        env.event(cluster, Level::Warning, events::CLEANUP_WORK_FAILED, &message);
    }
    Ok(())
}

/// Says in condition Detaching what is left.
async fn report(ctx: &Ctx, env: &Env, key: &Key, left: &Left) -> Result<(), Error> {
    let Some(cluster) = env.clusters.get(key) else {
        return Ok(());
    };
    let mut status = cluster.status.clone().unwrap_or_default();
    if conditions::set(
        &mut status.conditions,
        Verdict::holds(DETACHING, "Waiting", left.message()),
        &Time(env.clock.now()),
    ) {
        status::write(ctx, env, key, &cluster, &status).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaving_cluster_says_what_it_waits_for() {
        let left = Left { bindings: 2, works: 3, namespace: true };
        assert_eq!(left.message(), "waiting: 2 bindings name it, 3 Works are left, its execution namespace is there");
    }

    #[test]
    fn bindings_that_nobody_schedules_do_not_keep_a_cluster() {
        let left = |bindings, works, namespace| Left { bindings, works, namespace };
        assert!(left(0, 0, false).lets_go(false));
        assert!(!left(1, 0, false).lets_go(false), "the scheduler has its head start");
        assert!(left(1, 0, false).lets_go(true));
        assert!(!left(0, 1, false).lets_go(true), "objects in the member are never forgotten by time alone");
        assert!(!left(0, 0, true).lets_go(true));
    }
}
