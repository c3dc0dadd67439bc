//! Replicas are divided by weight, exactly, and the template shows the sum.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use pando_e2e::eventually;
use pando_e2e::federation::{Federation, Replicas, replicas};
use pando_e2e::install;
use serde_json::{Value, json};

use crate::objects::{self, spread};
use crate::world::World;

/// Generous: the machine may be busy, the split itself takes a second.
const SOON: Duration = Duration::from_secs(60);

/// The sample files, unchanged but for the namespace that they leave open.
pub(crate) fn sample(file: &str, namespace: &str) -> Result<Value> {
    let path = pando_e2e::workspace::root().join("deploy/samples").join(file);
    let mut object = install::read_file(&path)?.remove(0);
    object["metadata"]["namespace"] = json!(namespace);
    Ok(object)
}

/// Waits for this division, all of it ready, and the sum at the template.
pub(crate) async fn settles(federation: &Federation, namespace: &str, name: &str, wanted: [i32; 3]) -> Result<()> {
    let steady = |count: i32| Some(Replicas { wanted: count, existing: count, ready: count });
    let mut all: Vec<Option<Replicas>> = wanted.map(steady).to_vec();
    all.push(steady(wanted.iter().sum()));
    eventually::equal(SOON, "replicas of bj, sh, sz and the template", &all, || async {
        let mut seen = Vec::new();
        for cluster in federation.members.iter().chain([&federation.hub]) {
            seen.push(replicas(&cluster.client, namespace, name).await?);
        }
        Ok(seen)
    })
    .await
}

/// The founding sample in a namespace of its own, settled at 5/3/2. Gives the policy back.
pub(crate) async fn founded(federation: &Federation, namespace: &str) -> Result<(Value, Value)> {
    let hub = &federation.hub.client;
    objects::namespace(hub, namespace).await?;
    let template = sample("web-service.yaml", namespace)?;
    let policy = sample("prod-web-app-policy.yaml", namespace)?;
    objects::create(hub, &template).await?;
    objects::create(hub, &policy).await?;
    settles(federation, namespace, "web-service", [5, 3, 2]).await?;
    Ok((template, policy))
}

pub(crate) async fn the_founding_policy_gives_five_three_two(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    founded(federation, "founding").await?;
    Ok(())
}

pub(crate) async fn other_weights_give_two_three_five(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (_, policy) = founded(federation, "weights").await?;
    let weights: Vec<Value> = [("bj-prod", 20), ("sh-prod", 30), ("sz-prod", 50)]
        .iter()
        .map(|(cluster, weight)| json!({ "targetCluster": { "clusterNames": [cluster] }, "weight": weight }))
        .collect();
    let change = json!({ "spec": { "placement": { "replicaScheduling": {
        "weightPreference": { "staticWeightList": weights },
    }}}});
    objects::merge(&federation.hub.client, &policy, &change).await?;
    settles(federation, "weights", "web-service", [2, 3, 5]).await
}

pub(crate) async fn thirteen_replicas_give_six_four_three(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "thirteen").await?;
    objects::merge(&federation.hub.client, &template, &json!({ "spec": { "replicas": 13 } })).await?;
    settles(federation, "thirteen", "web-service", [6, 4, 3]).await
}

pub(crate) async fn the_hub_runs_no_template_itself(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    founded(federation, "hub-idle").await?;
    ensure!(spread(federation, "hub-idle", "web-service").await? == [Some(5), Some(3), Some(2)]);
    let pods = Api::<Pod>::all(federation.hub.client.clone()).list(&ListParams::default()).await?;
    ensure!(pods.items.is_empty(), "pods on the hub: {:?}", pods.items);
    Ok(())
}
