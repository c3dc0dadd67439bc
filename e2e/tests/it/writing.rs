//! Members that work against us, by accident or by policy, and that are written all the same, once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::audit::{self, Entry, Mark};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use serde_json::{Value, json};

use crate::budget::{log, pando, quiet};
use crate::objects;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);
const MEMBER: &str = "bj-prod";

/// An object in one member, and its namespace there.
async fn propagated<'a>(federation: &'a Federation, namespace: &str, object: &Value) -> Result<&'a Cluster> {
    let hub = &federation.hub.client;
    objects::namespace(hub, namespace).await?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let policy = objects::duplicated(namespace, text("/apiVersion"), text("/kind"), text("/metadata/name"), &[MEMBER]);
    objects::create(hub, &policy).await?;
    objects::create(hub, object).await?;
    let member = federation.member(MEMBER)?;
    eventually::some(SOON, "the object in the member", || objects::get(&member.client, object)).await?;
    quiet(federation).await?;
    Ok(member)
}

/// What Pando changed at an object since then, refused attempts included.
fn changes(federation: &Federation, member: &Cluster, since: Mark, object: &Value) -> Result<Vec<Entry>> {
    let user = pando(member, federation);
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let mut entries = log(member)?.since(since)?;
    entries.retain(|entry| {
        entry.user == user
            && namespace == &entry.namespace
            && name == &entry.name
            && !matches!(entry.verb.as_str(), "get" | "list" | "watch")
    });
    Ok(entries)
}

pub(crate) async fn a_namespace_deleted_in_a_member_comes_back_with_its_objects(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let object = objects::config_map("writing-namespace", "inside");
    let member = propagated(federation, "writing-namespace", &object).await?;
    let before = objects::get(&member.client, &object).await?.context("propagated")?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "writing-namespace" } });
    objects::delete(&member.client, &namespace).await?;
    eventually::some(SOON, "another ConfigMap in another namespace", || async {
        let seen = objects::get(&member.client, &object).await?;
        Ok(seen.filter(|seen| seen.metadata.uid != before.metadata.uid).map(drop))
    })
    .await
}

pub(crate) async fn a_member_that_mutates_our_writes_is_not_written_in_a_loop(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let member = federation.member(MEMBER)?;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": "stubborn" },
        "spec": {
            "reinvocationPolicy": "Never",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                "operations": ["CREATE", "UPDATE"],
            }]},
            "matchConditions": [{ "name": "ours", "expression": "object.metadata.namespace == 'writing-mutated'" }],
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": { "expression": "Object{data: {'key': 'as the member likes it'}}" },
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": "stubborn" },
        "spec": { "policyName": "stubborn" },
    });
    pando_e2e::install::apply(&member.client, &policy).await?;
    pando_e2e::install::apply(&member.client, &binding).await?;
    // It takes effect when it mutates something.
    objects::namespace(hub, "writing-mutated").await?;
    let probe = objects::config_map("writing-mutated", "probe");
    eventually::some(SOON, "the mutation to take effect", || async {
        let params = kube::api::PostParams { dry_run: true, ..Default::default() };
        let seen =
            objects::api_of(&member.client, &probe)?.create(&params, &serde_json::from_value(probe.clone())?).await?;
        Ok((seen.data["data"]["key"] != "value").then_some(()))
    })
    .await?;

    let object = objects::config_map("writing-mutated", "mutated");
    let before = log(member)?.mark()?;
    objects::create(hub, &objects::duplicated("writing-mutated", "v1", "ConfigMap", "mutated", &[MEMBER])).await?;
    objects::create(hub, &object).await?;
    eventually::some(SOON, "the object in the member", || objects::get(&member.client, &object)).await?;
    quiet(federation).await?;
    let seen = changes(federation, member, before, &object)?;
    ensure!(!seen.is_empty() && seen.len() <= 3, "no loop:\n{}", audit::print(&seen));
    // Not left behind: such an object is applied once more after a restart, which only memory prevents.
    objects::delete(hub, &object).await?;
    eventually::some(SOON, "the object to leave the member", || async {
        Ok(objects::get(&member.client, &object).await?.is_none().then_some(()))
    })
    .await
}
