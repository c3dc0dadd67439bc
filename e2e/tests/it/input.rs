//! Odd input gets an answer that says what to change, never a storm or a crash.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use serde_json::{Value, json};

use crate::budget::{log, pando, quiet};
use crate::objects::{self, spread};
use crate::split::sample;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);

/// Everything that Pando says about a template: conditions of its binding, and events in its namespace.
async fn said(federation: &Federation, namespace: &str) -> Result<String> {
    let hub = &federation.hub.client;
    let events = Api::<Event>::namespaced(hub.clone(), namespace).list(&ListParams::default()).await?;
    let mut all: Vec<String> = events.items.into_iter().filter_map(|event| event.message).collect();
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": namespace, "name": "web-service-deployment" },
    });
    if let Some(binding) = objects::get(hub, &binding).await? {
        all.push(binding.data["status"]["conditions"].to_string());
    }
    Ok(all.join("\n"))
}

/// The founding sample with another placement, in a namespace of its own.
async fn placed(federation: &Federation, namespace: &str, change: impl FnOnce(&mut Value)) -> Result<Value> {
    let hub = &federation.hub.client;
    objects::namespace(hub, namespace).await?;
    let template = sample("web-service.yaml", namespace)?;
    let mut policy = sample("prod-web-app-policy.yaml", namespace)?;
    change(&mut policy["spec"]["placement"]);
    objects::create(hub, &policy).await?;
    objects::create(hub, &template).await?;
    Ok(template)
}

pub(crate) async fn an_unknown_cluster_is_named_and_the_others_are_placed(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    placed(federation, "unknown", |placement| {
        placement["clusterAffinity"]["clusterNames"][2] = json!("gz-prod");
        let list = &mut placement["replicaScheduling"]["weightPreference"]["staticWeightList"];
        list[2]["targetCluster"]["clusterNames"][0] = json!("gz-prod");
    })
    .await?;
    eventually::equal(SOON, "6/4 without the unknown one", &vec![Some(6), Some(4), None], || {
        spread(federation, "unknown", "web-service")
    })
    .await?;
    eventually::some(SOON, "somebody to name gz-prod", || async {
        let said = said(federation, "unknown").await?;
        ensure!(said.contains("gz-prod"), "said: {said}");
        Ok(Some(()))
    })
    .await
}

pub(crate) async fn what_is_not_built_yet_holds_the_template_and_says_so(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    placed(federation, "held", |placement| {
        placement["replicaScheduling"]["weightPreference"] = json!({ "dynamicWeight": "AvailableReplicas" });
    })
    .await?;
    eventually::some(SOON, "a word about dynamicWeight", || async {
        let said = said(federation, "held").await?;
        ensure!(said.contains("dynamicWeight"), "said: {said}");
        Ok(Some(()))
    })
    .await?;
    quiet(federation).await?;
    let placed = spread(federation, "held", "web-service").await?;
    ensure!(placed == [None, None, None], "it was placed: {placed:?}");
    Ok(())
}

pub(crate) async fn an_object_that_a_member_refuses_is_reported_without_a_storm(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let member = federation.member("sz-prod")?;
    objects::namespace(hub, "refused").await?;
    // A quota in the member refuses every ConfigMap but those that are there.
    objects::create(hub, &objects::config_map("refused", "first")).await?;
    objects::create(hub, &objects::duplicated("refused", "v1", "ConfigMap", "first", &["sz-prod"])).await?;
    let first = objects::config_map("refused", "first");
    eventually::some(SOON, "the namespace in the member", || objects::get(&member.client, &first)).await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "namespace": "refused", "name": "none" },
        "spec": { "hard": { "configmaps": "0" } },
    });
    objects::create(&member.client, &quota).await?;
    eventually::some(SOON, "the quota to be counted", || async {
        let seen = objects::get(&member.client, &quota).await?.context("gone")?;
        Ok(seen.data["status"]["used"]["configmaps"].as_str().map(drop))
    })
    .await?;
    quiet(federation).await?;

    let before = log(member)?.mark()?;
    objects::create(hub, &objects::config_map("refused", "second")).await?;
    objects::create(hub, &objects::duplicated("refused", "v1", "ConfigMap", "second", &["sz-prod"])).await?;
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": "refused", "name": "second-configmap" },
    });
    eventually::some(SOON, "the refusal in the binding's status", || async {
        let seen = objects::get(hub, &binding).await?.context("no binding")?;
        let status = seen.data["status"].to_string();
        ensure!(status.contains("exceeded quota"), "status {status}");
        Ok(Some(()))
    })
    .await?;
    // The condition under test is a rate: attempts in ten seconds.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let user = pando(member, federation);
    let attempts: Vec<_> = log(member)?
        .since(before)?
        .into_iter()
        .filter(|entry| entry.user == user && entry.name == "second" && entry.verb != "get")
        .collect();
    ensure!(
        (1..=15).contains(&attempts.len()),
        "{} attempts in ten seconds, see\n{}",
        attempts.len(),
        pando_e2e::audit::print(&attempts)
    );
    Ok(())
}
