//! Writes are counted by the API servers themselves.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::audit::{self, AuditLog, Mark};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::install::{controller_user, member_user};
use pando_e2e::provider::Cluster;
use serde_json::json;

use crate::objects;
use crate::split::founded;
use crate::world::World;

const SOON: Duration = Duration::from_secs(180);
/// How long nothing may follow before writes are counted.
const QUIET: Duration = Duration::from_secs(3);

pub(crate) fn log(cluster: &Cluster) -> Result<&AuditLog> {
    cluster.audit.as_ref().context("this provider keeps no audit logs")
}

/// A mark in the log of every cluster, the hub first.
pub(crate) fn marks(federation: &Federation) -> Result<Vec<(&Cluster, Mark)>> {
    [&federation.hub]
        .into_iter()
        .chain(&federation.members)
        .map(|cluster| Ok((cluster, log(cluster)?.mark()?)))
        .collect()
}

/// Pando's identity in a cluster.
pub(crate) fn pando(cluster: &Cluster, federation: &Federation) -> String {
    if cluster.name == federation.hub.name { controller_user() } else { member_user(&cluster.name) }
}

/// Waits until nobody of Pando has written for a while.
pub(crate) async fn quiet(federation: &Federation) -> Result<()> {
    at_rest(federation, |_| true).await
}

/// As [`quiet`], but that Events may still come: after a member left there is one for each binding, from a small budget.
pub(crate) async fn quiet_but_for_events(federation: &Federation) -> Result<()> {
    at_rest(federation, |entry| entry.resource != "events").await
}

async fn at_rest(federation: &Federation, counts: fn(&audit::Entry) -> bool) -> Result<()> {
    eventually::some(SOON, "Pando to come to rest", || async {
        let before = marks(federation)?;
        tokio::time::sleep(QUIET).await;
        for (cluster, mark) in before {
            let user = pando(cluster, federation);
            let mut writes = log(cluster)?.writes_since(mark, |by| by == user)?;
            writes.retain(counts);
            ensure!(writes.is_empty(), "{}:\n{}", cluster.name, audit::print(&writes));
        }
        Ok(Some(()))
    })
    .await
}

/// The controller dies and starts again, which looks at everything once more. Gives what it wrote, by cluster.
pub(crate) async fn written_by_a_restart(federation: &Federation) -> Result<Vec<(&Cluster, Vec<audit::Entry>)>> {
    // What a member serves is read at a start and every five minutes: other tests' definitions may be news.
    restart(federation).await?;
    let before = marks(federation)?;
    restart(federation).await?;
    let written = |(cluster, mark)| {
        let user = pando(cluster, federation);
        Ok((cluster, log(cluster)?.writes_since(mark, |by| by == user)?))
    };
    before.into_iter().map(written).collect()
}

async fn restart(federation: &Federation) -> Result<()> {
    federation.controller().kill().await?;
    federation.start_controller().await?;
    quiet(federation).await
}

pub(crate) async fn a_new_config_map_costs_ten_hub_and_three_member_writes(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let everywhere = ["bj-prod", "sh-prod", "sz-prod"];
    // The namespace and its Works are there already.
    objects::namespace(hub, "budget").await?;
    objects::create(hub, &objects::config_map("budget", "before")).await?;
    objects::create(hub, &objects::duplicated("budget", "v1", "ConfigMap", "before", &everywhere)).await?;
    objects::create(hub, &objects::duplicated("budget", "v1", "ConfigMap", "counted", &everywhere)).await?;
    applied(federation, "budget", "before-configmap").await?;
    quiet(federation).await?;

    let before = marks(federation)?;
    objects::create(hub, &objects::config_map("budget", "counted")).await?;
    applied(federation, "budget", "counted-configmap").await?;
    quiet(federation).await?;
    for (cluster, mark) in before {
        let user = pando(cluster, federation);
        let mut writes = log(cluster)?.writes_since(mark, |by| by == user)?;
        // Events have a small budget of their own.
        writes.retain(|entry| entry.resource != "events");
        let limit = if cluster.name == federation.hub.name { 10 } else { 1 };
        ensure!(
            !writes.is_empty() && writes.len() <= limit,
            "{} writes in {}, at most {limit}:\n{}",
            writes.len(),
            cluster.name,
            audit::print(&writes)
        );
        println!("{}: {} writes", cluster.name, writes.len());
    }
    Ok(())
}

/// Waits until the binding says that every member has it.
async fn applied(federation: &Federation, namespace: &str, binding: &str) -> Result<()> {
    let probe = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": namespace, "name": binding },
    });
    eventually::some(SOON, "the binding to be fully applied", || async {
        let seen = objects::get(&federation.hub.client, &probe).await?.context("no binding")?;
        let status = &seen.data["status"];
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let fully = conditions.iter().any(|one| one["type"] == "FullyApplied" && one["status"] == "True");
        let items = status["aggregatedStatus"].as_array().map_or(0, Vec::len);
        ensure!(fully && items == federation.members.len(), "status {status}");
        Ok(Some(()))
    })
    .await
}

pub(crate) async fn only_pando_writes_propagated_objects(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let before = marks(federation)?;
    let (template, _) = founded(federation, "writers").await?;
    objects::merge(&federation.hub.client, &template, &json!({ "spec": { "replicas": 13 } })).await?;
    crate::split::settles(federation, "writers", "web-service", [6, 4, 3]).await?;
    for (cluster, mark) in before {
        if cluster.name == federation.hub.name {
            continue;
        }
        let user = pando(cluster, federation);
        let mut writes = log(cluster)?.writes_since(mark, |_| true)?;
        writes.retain(|entry| {
            entry.namespace == "writers" && entry.name == "web-service" && entry.resource == "deployments"
        });
        let (ours, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(|entry| entry.user == user);
        let others: Vec<_> = others.into_iter().filter(|entry| !entry.is_status()).collect();
        ensure!(others.is_empty(), "others write in {}:\n{}", cluster.name, audit::print(&others));
        ensure!(!ours.is_empty(), "Pando did not write in {} as {user}", cluster.name);
    }
    Ok(())
}
